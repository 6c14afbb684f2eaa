//! `backstep diff`: what a transaction did to configuration files, line by line.

use backstep_bus::{ContentsRow, TransactionProxy};
use serde_json::{Value, json};

use super::blame::resolved;
use crate::error::ClientError;
use crate::record_args::DiffArgs;
use crate::render::{diff, record_json};
use crate::session::Session;
use crate::ui::Ui;

/// Prints how configuration files differ.
pub(crate) async fn diff(session: &Session, ui: &Ui, args: &DiffArgs) -> Result<u8, ClientError> {
    let (id, proxy) = session.find(&args.id).await?;
    let path = args.path.as_deref().map(|path| resolved(path).to_string_lossy().into_owned()).unwrap_or_default();
    let rows = whole(&proxy, &path).await?;
    if ui.json {
        ui.line(&rows.iter().map(|row| document(ui, row)).collect::<Value>().to_string())?;
    } else if rows.is_empty() {
        ui.note("No configuration file is recorded that it left with another content.")?;
    } else {
        rows.iter().try_for_each(|row| ui.write(&diff::file(ui, &id.short(), row)))?;
    }
    Ok(0)
}

async fn whole(proxy: &TransactionProxy<'static>, path: &str) -> Result<Vec<ContentsRow>, ClientError> {
    let mut rows: Vec<ContentsRow> = Vec::new();
    loop {
        let after = rows.last().map(|row| row.path.clone()).unwrap_or_default();
        let (more, end) = proxy.read_contents(path, &after).await?;
        let empty = more.is_empty();
        rows.extend(more);
        if end || empty {
            return Ok(rows);
        }
    }
}

fn document(ui: &Ui, row: &ContentsRow) -> Value {
    let mut document = record_json::contents_row(row);
    if let Some(text) = diff::plain(ui, row) {
        document["diff"] = json!(text);
    }
    document
}
