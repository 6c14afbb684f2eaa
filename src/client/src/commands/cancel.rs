//! `backstep cancel`.

use backstep_bus::TransactionProperties;
use backstep_core::ErrorCode;

use crate::agent::Agent;
use crate::args::IdArgs;
use crate::commands::drive::meaning;
use crate::error::ClientError;
use crate::render::escape::escaped;
use crate::session::Session;
use crate::ui::Ui;

/// Asks to stop and says what that means; `too-late` is the exit code of `transaction.state`.
pub(crate) async fn cancel(session: &Session, ui: &Ui, args: &IdArgs) -> Result<u8, ClientError> {
    let (id, proxy) = session.find(&args.id).await?;
    let agent = Agent::start();
    let outcome = proxy.cancel().await?;
    drop(agent);
    if ui.json {
        ui.line(&serde_json::json!({ "id": id.to_string(), "outcome": outcome }).to_string())?;
    } else {
        ui.line(&format!("{} Transaction {}.", text(&outcome, &proxy.properties().await?), id.short()))?;
    }
    Ok(if outcome == "too-late" { ErrorCode::TransactionState.exit_code() } else { 0 })
}

fn text(outcome: &str, properties: &TransactionProperties) -> String {
    if outcome == "too-late" && properties.is_final() {
        return format!("Too late to cancel: it has ended as {}.", escaped(&properties.state));
    }
    meaning(outcome).replace(" Press Ctrl-C again to leave it to the daemon.", "")
}
