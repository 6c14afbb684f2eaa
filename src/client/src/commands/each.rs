//! One transaction for each package: each is a failure domain of its own, and what fails leaves the others.

use std::future::ready;

use backstep_bus::{OptionsBuilder, TransactionProperties};
use backstep_core::{Kind, TransactionState};
use tokio::signal::unix::Signal;

use crate::args::{ChangeOptions, Global};
use crate::commands::change::{create, items};
use crate::commands::drive::{drive, interrupts};
use crate::error::{ClientError, EXIT_CANCELLED, EXIT_LEFT};
use crate::render::escape::escaped;
use crate::render::result::short;
use crate::render::table::{Cell, Column, table};
use crate::session::Session;
use crate::ui::{Ink, Ui};

const COLUMNS: &[Column] =
    &[Column::Flexible("Package"), Column::Left("Outcome"), Column::Left("Exit"), Column::Left("Transaction"), Column::Sentence("Why")];

/// What became of one package.
struct Outcome {
    package: String,
    code: u8,
    ended: Option<TransactionProperties>,
    error: String,
}

/// Makes and leads a transaction for each of these arguments, in their order. Answers the exit code of the first that did
/// not succeed. What nobody can answer, and Ctrl-C, end it before the rest has begun.
pub(crate) async fn each(global: &Global, ui: &Ui, kind: Kind, arguments: &[String], options: &ChangeOptions) -> Result<u8, ClientError> {
    let asked = arguments.iter().map(|argument| items(kind, std::slice::from_ref(argument))).collect::<Result<Vec<_>, _>>()?;
    let mut session = Session::connect(global).await?;
    let mut interrupts = interrupts()?;
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (package, builder) in arguments.iter().zip(asked) {
        if has_come(&mut interrupts).await || outcomes.last().is_some_and(|last| matches!(last.code, EXIT_CANCELLED | EXIT_LEFT)) {
            break;
        }
        ui.note(&ui.paint(Ink::Strong, &escaped(package)))?;
        outcomes.push(one(&mut session, ui, kind, package, options, builder).await?);
    }
    let rest = &arguments[outcomes.len()..];
    if !ui.json {
        ui.write(&format!("\n{}", told(ui, &outcomes, rest)))?;
    }
    let failed = outcomes.iter().map(|outcome| outcome.code).find(|code| *code != 0);
    Ok(failed.unwrap_or(if rest.is_empty() { 0 } else { EXIT_CANCELLED }))
}

async fn one(
    session: &mut Session,
    ui: &Ui,
    kind: Kind,
    package: &str,
    options: &ChangeOptions,
    builder: OptionsBuilder,
) -> Result<Outcome, ClientError> {
    let mut outcome = Outcome { package: package.to_owned(), code: 0, ended: None, error: String::new() };
    let led = match create(session, kind, options, builder).await {
        Ok(path) => {
            let led = drive(session, ui, &path, options.run).await;
            outcome.ended = session.at(&path).await?.1.properties().await.ok();
            led
        }
        Err(error) => Err(error),
    };
    match led {
        Ok(code) => outcome.code = code,
        Err(error) if error.concerns_one() => (outcome.code, outcome.error) = (error.report(ui), error.to_string()),
        Err(error) => return Err(error),
    }
    Ok(outcome)
}

/// Whether Ctrl-C came between two transactions.
async fn has_come(interrupts: &mut Signal) -> bool {
    tokio::select! {
        biased;
        _ = interrupts.recv() => true,
        () = ready(()) => false,
    }
}

fn told(ui: &Ui, outcomes: &[Outcome], rest: &[String]) -> String {
    let begun = outcomes.iter().map(|outcome| {
        let (state, id, why) = match &outcome.ended {
            Some(ended) => (word(outcome.code, ended), short(&ended.id), ended.error_text.as_str()),
            None if outcome.error.is_empty() => ("unknown".to_owned(), String::new(), ""),
            None => ("refused".to_owned(), String::new(), ""),
        };
        let ink = if outcome.code == 0 { Ink::Good } else { Ink::Bad };
        let why = if why.is_empty() { &outcome.error } else { why };
        vec![escaped(&outcome.package).into(), Cell::inked(state, ink), outcome.code.to_string().into(), id.into(), escaped(why).into()]
    });
    let never = rest.iter().map(|package| {
        vec![escaped(package).into(), Cell::inked("not begun", Ink::Dim), String::new().into(), String::new().into(), String::new().into()]
    });
    table(ui, COLUMNS, &begun.chain(never).collect::<Vec<_>>())
}

/// A plan that was only shown, or had nothing to do, is withdrawn: that is no cancellation to people.
fn word(code: u8, ended: &TransactionProperties) -> String {
    match ended.transaction_state() {
        Some(TransactionState::Cancelled) if code == 0 => "nothing done".to_owned(),
        Some(state) => state.to_string(),
        None => escaped(&ended.state),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(package: &str, code: u8, state: &str, message: &str) -> Outcome {
        let id = "01936b2e-7c1a-7d3e-9f10-0123456789ab".to_owned();
        let ended = TransactionProperties { id, state: state.into(), error_text: message.into(), ..TransactionProperties::default() };
        Outcome { package: package.into(), code, ended: Some(ended), error: String::new() }
    }

    #[test]
    fn each_package_has_its_outcome() {
        let outcomes = [
            outcome("nano", 0, "completed", ""),
            outcome("bad", 9, "rolled-back", "postinst of bad failed"),
            outcome("vim", 0, "cancelled", ""),
        ];
        let expected = "\
Package  Outcome       Exit  Transaction   Why
nano     completed     0     0123456789ab
bad      rolled-back   9     0123456789ab  postinst of bad failed
vim      nothing done  0     0123456789ab
less     not begun
";
        assert_eq!(told(&Ui::plain(), &outcomes, &["less".to_owned()]), expected);
    }
}
