//! `backstep pin` and `backstep unpin`: how long undo material is kept.

use crate::agent::Agent;
use crate::args::IdArgs;
use crate::error::ClientError;
use crate::session::Session;
use crate::ui::Ui;

/// Keeps the undo material of a transaction.
pub(crate) async fn pin(session: &Session, ui: &Ui, args: &IdArgs) -> Result<u8, ClientError> {
    let (id, proxy) = session.find(&args.id).await?;
    let agent = Agent::start();
    proxy.pin().await?;
    drop(agent);
    tell(ui, &id.to_string(), true, &format!("The undo material of {} is kept, whatever the limits say.", id.short()))
}

/// Leaves it to the limits again.
pub(crate) async fn unpin(session: &Session, ui: &Ui, args: &IdArgs) -> Result<u8, ClientError> {
    let (id, proxy) = session.find(&args.id).await?;
    let agent = Agent::start();
    proxy.unpin().await?;
    drop(agent);
    tell(ui, &id.to_string(), false, &format!("The undo material of {} is kept as long as the limits allow.", id.short()))
}

fn tell(ui: &Ui, id: &str, pinned: bool, text: &str) -> Result<u8, ClientError> {
    if ui.json { ui.line(&serde_json::json!({ "id": id, "pinned": pinned }).to_string()) } else { ui.note(text) }?;
    Ok(0)
}
