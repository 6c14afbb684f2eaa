//! `backstep inventory`.

use backstep_bus::record::{InventoryFilter, InventoryRow};
use serde_json::Value;

use crate::error::ClientError;
use crate::record_args::InventoryArgs;
use crate::render::{inventory, record_json, time};
use crate::session::Session;
use crate::ui::Ui;

/// Packages of one answer.
const CHUNK: u32 = 500;

/// Prints installed packages that plain apt or dpkg changed last, or all of them.
pub(crate) async fn inventory(session: &Session, ui: &Ui, args: &InventoryArgs) -> Result<u8, ClientError> {
    let rows = rows(session, args.all).await?;
    if ui.json {
        ui.line(&rows.iter().map(record_json::inventory_row).collect::<Value>().to_string())?;
    } else if rows.is_empty() {
        ui.note(if args.all { "No packages." } else { "Every package is as its last transaction left it." })?;
    } else {
        ui.write(&inventory::table(ui, &rows, time::now_us()))?;
    }
    Ok(0)
}

async fn rows(session: &Session, all: bool) -> Result<Vec<InventoryRow>, ClientError> {
    let record = session.record().await?;
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let filter = InventoryFilter { all: all.then_some(true), after, limit: Some(CHUNK) };
        let (more, next) = record.list_inventory(filter).await?;
        rows.extend(more);
        if next.is_empty() {
            return Ok(rows);
        }
        after = Some(next);
    }
}
