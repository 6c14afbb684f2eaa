//! `backstep show`.

use crate::args::ShowArgs;
use crate::error::ClientError;
use crate::render::escape::escaped_json;
use crate::render::{json, show as render};
use crate::session::Session;
use crate::ui::Ui;

/// Prints one transaction.
pub(crate) async fn show(session: &Session, ui: &Ui, args: &ShowArgs) -> Result<u8, ClientError> {
    let (_, proxy) = session.find(&args.id).await?;
    if args.document {
        ui.line(&escaped_json(&proxy.get_document().await?))?;
        return Ok(0);
    }
    let properties = proxy.properties().await?;
    ui.write(&if ui.json { format!("{}\n", json::transaction(&properties)) } else { render::full(ui, &properties) })?;
    Ok(0)
}
