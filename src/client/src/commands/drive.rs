//! Leading a transaction to its end: plan, confirmation, authorisation, progress, result.
//!
//! Whatever happens here, the transaction is the daemon's: when this program ends, it goes on.

use std::io::{self, BufRead, Write};

use backstep_bus::record::RiskRow;
use backstep_bus::{CallError, TransactionProperties, TransactionProxy};
use backstep_core::{ErrorCode, TransactionState};
use tokio::signal::unix::{Signal, SignalKind, signal};
use zbus::OwnedObjectPath;

use crate::agent::Agent;
use crate::args::RunOptions;
use crate::commands::log::tail;
use crate::commands::risks::risks;
use crate::error::{ClientError, EXIT_CANCELLED, EXIT_LEFT};
use crate::follow::{Follower, Sight, is_over};
use crate::render::escape::escaped;
use crate::render::progress::Progress;
use crate::render::result::{exit_code, result, short};
use crate::render::{json, plan, risk};
use crate::session::Session;
use crate::ui::Ui;

/// Takes a new transaction from `created` to its end. Answers the exit code.
pub(crate) async fn drive(session: &mut Session, ui: &Ui, path: &OwnedObjectPath, run: RunOptions) -> Result<u8, ClientError> {
    let (id, proxy) = session.at(path).await?;
    let mut interrupts = interrupts()?;
    proxy.prepare().await?;
    let mut follower = Follower::new(session, id.to_string(), proxy).await?;
    let planned = tokio::select! {
        planned = planned(ui, &mut follower) => planned?,
        _ = interrupts.recv() => return give_up(ui, &follower.proxy).await,
    };
    if planned.transaction_state() != Some(TransactionState::Prepared) {
        return finish(ui, &planned, &follower.proxy).await;
    }
    let risks = tokio::select! {
        risks = worth_telling(follower.session(), ui, &planned, run) => risks,
        _ = interrupts.recv() => return give_up(ui, &follower.proxy).await,
    };
    if let Some(code) = settle(ui, (&planned, &risks), &follower.proxy, run, &mut interrupts).await? {
        return Ok(code);
    }
    let executed = tokio::select! {
        executed = execute(&follower.proxy, &planned.plan_digest) => executed,
        _ = interrupts.recv() => return give_up(ui, &follower.proxy).await,
    };
    if let Err(error) = executed {
        withdraw(&follower.proxy).await;
        return Err(error);
    }
    if run.no_wait {
        return leave(ui, &planned);
    }
    to_end(ui, follower, interrupts).await
}

/// Follows a transaction that was authorised; the first Ctrl-C asks to cancel it, the second leaves it.
pub(crate) async fn to_end(ui: &Ui, mut follower: Follower<'_>, mut interrupts: Signal) -> Result<u8, ClientError> {
    let mut progress = Progress::new(ui);
    let mut asked = false;
    let ended = loop {
        tokio::select! {
            sight = follower.next() => match sight? {
                Sight::Away => progress.say(ui, "The daemon is away; waiting for it to come back.")?,
                Sight::Seen(properties) => {
                    progress.update(ui, &properties)?;
                    if is_over(&properties) {
                        break properties;
                    }
                }
            },
            _ = interrupts.recv() => {
                if asked {
                    progress.clear();
                    ui.warn(&format!("Left; the transaction goes on. Follow it with 'backstep watch {}'.", follower_id(&follower)));
                    return Ok(EXIT_LEFT);
                }
                asked = true;
                let answer = cancelled(&follower.proxy).await;
                progress.say(ui, &answer)?;
            }
        }
    };
    progress.clear();
    finish(ui, &ended, &follower.proxy).await
}

/// Ctrl-C as a stream, so that none is lost between two waits.
pub(crate) fn interrupts() -> Result<Signal, ClientError> {
    signal(SignalKind::interrupt()).map_err(ClientError::Runtime)
}

fn follower_id(follower: &Follower<'_>) -> String {
    short(follower.id())
}

/// Waits for the plan. Another daemon than the one that was asked for it has forgotten that.
async fn planned(ui: &Ui, follower: &mut Follower<'_>) -> Result<TransactionProperties, ClientError> {
    let mut told = false;
    loop {
        let Sight::Seen(properties) = follower.next().await? else { continue };
        if properties.transaction_state() != Some(TransactionState::Created) {
            return Ok(*properties);
        }
        if follower.is_another_daemon() {
            ask_again(&follower.proxy).await?;
        }
        if !properties.waits_for.is_empty() && !std::mem::replace(&mut told, true) {
            ui.note(&format!("Waiting for {}.", escaped(&properties.waits_for)))?;
        }
    }
}

/// Asks for the plan again. It may have come meanwhile, or the daemon may have gone: the next sight tells.
async fn ask_again(proxy: &TransactionProxy<'static>) -> Result<(), ClientError> {
    match proxy.prepare().await.map_err(CallError::from) {
        Ok(()) | Err(CallError::Away(_)) => Ok(()),
        Err(CallError::Failure(failure)) if failure.code == ErrorCode::TransactionState => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// How such changes ended before; nothing where nobody is shown the plan.
async fn worth_telling(session: &Session, ui: &Ui, planned: &TransactionProperties, run: RunOptions) -> Vec<RiskRow> {
    let is_shown = run.dry_run || (!ui.json && if run.yes { !ui.quiet } else { ui.asks });
    if is_shown { risks(session, planned).await } else { Vec::new() }
}

/// Shows the plan with its risks and asks; `None` means go on, a code means that this was all.
async fn settle(
    ui: &Ui,
    (planned, risks): (&TransactionProperties, &[RiskRow]),
    proxy: &TransactionProxy<'static>,
    run: RunOptions,
    interrupts: &mut Signal,
) -> Result<Option<u8>, ClientError> {
    if plan::is_empty(planned) {
        withdraw(proxy).await;
        ui.line(&if ui.json { json::transaction(planned).to_string() } else { "Nothing to do.".to_owned() })?;
        return Ok(Some(0));
    }
    let shown = || plan::plan(ui, planned) + &risk::lines(ui, risks);
    if run.dry_run {
        withdraw(proxy).await;
        ui.write(&if ui.json { format!("{}\n", json::planned(planned, risks)) } else { shown() })?;
        return Ok(Some(0));
    }
    if run.yes {
        ui.note(shown().trim_end())?;
        return Ok(None);
    }
    if !ui.asks || ui.json {
        withdraw(proxy).await;
        return Err(ClientError::NoTerminal);
    }
    ui.write(&shown())?;
    let yes = tokio::select! {
        yes = confirmed(ui, planned) => yes?,
        _ = interrupts.recv() => false,
    };
    if yes { Ok(None) } else { give_up(ui, proxy).await.map(Some) }
}

/// Asks; the default is yes, but no where something cannot be brought back.
async fn confirmed(ui: &Ui, planned: &TransactionProperties) -> Result<bool, ClientError> {
    let grave = planned.irreversible || planned.plan.iter().any(|row| row.essential && matches!(row.action.as_str(), "remove" | "purge"));
    let question = if grave { "Continue? [y/N] " } else { "Continue? [Y/n] " };
    ui.write(question)?;
    // A thread of its own: reading a terminal cannot be interrupted, but Ctrl-C must be heard.
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map(|read| (read > 0).then_some(line))
    });
    let answer = answer.await.map_err(|e| ClientError::Input(io::Error::other(e)))?.map_err(ClientError::Input)?;
    Ok(answer.is_some_and(|line| affirms(&line, !grave)))
}

fn affirms(answer: &str, default: bool) -> bool {
    match answer.trim().to_ascii_lowercase().as_str() {
        "" => default,
        "y" | "yes" => true,
        _ => false,
    }
}

async fn execute(proxy: &TransactionProxy<'static>, digest: &str) -> Result<(), ClientError> {
    // The agent lives as long as the question may be asked.
    let _agent = Agent::start();
    match proxy.execute(digest).await.map_err(CallError::from) {
        // The daemon went away with the call: it may have taken it. The following tells.
        Err(CallError::Away(_)) if was_taken(proxy).await => Ok(()),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(()),
    }
}

async fn was_taken(proxy: &TransactionProxy<'static>) -> bool {
    let state = proxy.properties().await.ok().and_then(|properties| properties.transaction_state());
    state.is_some_and(|state| !matches!(state, TransactionState::Created | TransactionState::Prepared))
}

/// Ends a transaction that nobody wants any more. That it may have ended already is no error.
async fn withdraw(proxy: &TransactionProxy<'static>) {
    proxy.cancel().await.ok();
}

async fn give_up(ui: &Ui, proxy: &TransactionProxy<'static>) -> Result<u8, ClientError> {
    withdraw(proxy).await;
    ui.warn("Cancelled; nothing was changed.");
    Ok(EXIT_CANCELLED)
}

fn leave(ui: &Ui, planned: &TransactionProperties) -> Result<u8, ClientError> {
    if ui.json {
        ui.line(&serde_json::json!({ "id": planned.id, "state": TransactionState::Queued.as_str() }).to_string())?;
    } else if ui.quiet {
        ui.line(&escaped(&planned.id))?;
    } else {
        ui.line(&format!("Transaction {} is queued. Follow it with 'backstep watch {}'.", escaped(&planned.id), short(&planned.id)))?;
    }
    Ok(0)
}

/// Asks to cancel; answers what that means.
async fn cancelled(proxy: &TransactionProxy<'static>) -> String {
    match proxy.cancel().await.map_err(CallError::from) {
        Ok(outcome) => meaning(&outcome).to_owned(),
        Err(error) => format!("Cannot cancel: {error}. Press Ctrl-C again to leave."),
    }
}

/// What an answer to `Cancel` means.
pub(crate) fn meaning(outcome: &str) -> &'static str {
    match outcome {
        "cancelled" => "Cancelled; nothing was changed.",
        "will-roll-back" => "Stopping; what was changed is being undone. Press Ctrl-C again to leave it to the daemon.",
        "too-late" => "Too late to cancel: it will complete. Undo it afterwards with 'backstep rollback'.",
        _ => "The daemon took note.",
    }
}

/// Tells how it ended. Answers the exit code.
pub(crate) async fn finish(ui: &Ui, ended: &TransactionProperties, proxy: &TransactionProxy<'static>) -> Result<u8, ClientError> {
    let code = exit_code(ended);
    if ui.json {
        ui.line(&json::transaction(ended).to_string())?;
    }
    let undone = matches!(
        ended.transaction_state(),
        Some(TransactionState::RolledBack | TransactionState::PartiallyRolledBack | TransactionState::NeedsAttention)
    );
    let log = if undone && !ui.json { tail(proxy).await } else { Vec::new() };
    let text = result(ui, ended, &log);
    if code != 0 {
        write!(io::stderr().lock(), "{text}").map_err(ClientError::Output)?;
    } else if !ui.json {
        ui.write(&text)?;
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        for (answer, default, yes) in
            [("\n", true, true), ("\n", false, false), ("Y\n", false, true), ("no\n", true, false), ("x", true, false)]
        {
            assert_eq!(affirms(answer, default), yes, "{answer:?}");
        }
    }
}
