//! `backstep repair`: what is half done, and a person's decision about it.
//!
//! Without a decision it only reads. It never runs dpkg: only a worker does.

use backstep_bus::{ListFilter, TransactionProxy};
use backstep_core::TransactionState;
use serde_json::Value;

use crate::agent::Agent;
use crate::args::{Decision, RepairArgs};
use crate::commands::watch::follow;
use crate::error::ClientError;
use crate::render::result::decisions;
use crate::render::{json, show};
use crate::session::Session;
use crate::ui::Ui;

const GUIDANCE: &str = "\
No transaction of Backstep waits for a decision.

If dpkg was interrupted by another program, see what is half done with 'dpkg --audit', and finish it with
'dpkg --configure -a' as root. Backstep takes new transactions as soon as dpkg is in order again.";

/// Shows what needs a decision, or takes one.
pub(crate) async fn repair(session: &mut Session, ui: &Ui, args: &RepairArgs) -> Result<u8, ClientError> {
    let Some(id) = &args.id else { return overview(session, ui).await };
    let (id, proxy) = session.find(id).await?;
    if decide(&proxy, &args.decision).await? {
        let code = follow(session, ui, id, proxy).await?;
        let (_, proxy) = session.find(&id.to_string()).await?;
        let ended = proxy.properties().await?.transaction_state();
        return Ok(if ended.is_some_and(|state| is_as_decided(&args.decision, state)) { 0 } else { code });
    }
    let properties = proxy.properties().await?;
    if ui.json {
        ui.line(&json::transaction(&properties).to_string())?;
    } else {
        ui.write(&show::full(ui, &properties))?;
        ui.line(&decisions(&id.short(), &properties.actions).join("\n"))?;
    }
    Ok(0)
}

/// Whether a transaction ended as a person decided: for the decision that is success, whatever made it necessary.
const fn is_as_decided(decision: &Decision, ended: TransactionState) -> bool {
    if decision.accept {
        matches!(ended, TransactionState::PartiallyRolledBack)
    } else {
        matches!(ended, TransactionState::RolledBack | TransactionState::Cancelled)
    }
}

/// Tells the daemon; answers whether there was a decision to tell.
async fn decide(proxy: &TransactionProxy<'static>, decision: &Decision) -> Result<bool, ClientError> {
    let _agent = if decision.resume || decision.undo || decision.accept { Agent::start() } else { None };
    if decision.resume {
        proxy.resume().await?;
    } else if decision.undo {
        proxy.undo().await?;
    } else if decision.accept {
        proxy.accept().await?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

async fn overview(session: &Session, ui: &Ui) -> Result<u8, ClientError> {
    let state = Some(TransactionState::NeedsAttention.to_string());
    let rows = session.manager.list_transactions(ListFilter { state, ..ListFilter::default() }).await?;
    let mut transactions = Vec::new();
    for row in &rows {
        transactions.push(session.find(&row.id).await?.1.properties().await?);
    }
    if ui.json {
        ui.line(&transactions.iter().map(json::transaction).collect::<Value>().to_string())?;
    } else if transactions.is_empty() {
        ui.line(GUIDANCE)?;
    }
    for properties in transactions.iter().filter(|_| !ui.json) {
        ui.write(&show::full(ui, properties))?;
        let id = crate::render::result::short(&properties.id);
        ui.line(&decisions(&id, &properties.actions).join("\n"))?;
    }
    Ok(0)
}
