//! `backstep history --denied`: who was turned away.

use backstep_bus::RefusalRowFilter;
use serde_json::Value;

use crate::args::ListArgs;
use crate::commands::list::uid;
use crate::error::ClientError;
use crate::render::{denied, time};
use crate::session::Session;
use crate::ui::Ui;

/// Prints calls that were turned away, newest first.
pub(crate) async fn denied(session: &Session, ui: &Ui, args: &ListArgs) -> Result<u8, ClientError> {
    let uid = args.user.as_deref().map(uid).transpose()?;
    let rows = session.manager.list_refusals(RefusalRowFilter { limit: args.limit, uid, ..RefusalRowFilter::default() }).await?;
    if ui.json {
        ui.line(&rows.iter().map(denied::json).collect::<Value>().to_string())?;
    } else if rows.is_empty() {
        ui.note("Nobody was turned away.")?;
    } else {
        ui.write(&denied::table(ui, &rows, time::now_us()))?;
    }
    Ok(0)
}
