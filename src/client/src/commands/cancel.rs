//! `backstep cancel`.

use crate::agent::Agent;
use crate::args::IdArgs;
use crate::commands::drive::meaning;
use crate::error::ClientError;
use crate::session::Session;
use crate::ui::Ui;

/// Asks to stop and says what that means; `too-late` is exit code 12.
pub(crate) async fn cancel(session: &Session, ui: &Ui, args: &IdArgs) -> Result<u8, ClientError> {
    let (id, proxy) = session.find(&args.id).await?;
    let agent = Agent::start();
    let outcome = proxy.cancel().await?;
    drop(agent);
    if ui.json {
        ui.line(&serde_json::json!({ "id": id.to_string(), "outcome": outcome }).to_string())?;
    } else {
        let text = meaning(&outcome).replace(" Press Ctrl-C again to leave it to the daemon.", "");
        ui.line(&format!("{text} Transaction {}.", id.short()))?;
    }
    Ok(if outcome == "too-late" { backstep_core::ErrorCode::TransactionState.exit_code() } else { 0 })
}
