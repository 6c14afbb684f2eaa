//! `backstep timeline`, `backstep generation list` and `backstep generation show`.

use backstep_bus::RecordProxy;
use backstep_bus::record::{ChangeRow, GenerationListFilter};
use backstep_bus::{CallError, record::GenerationRow};
use backstep_core::ErrorCode;
use serde_json::{Value, json};

use crate::commands::list::page_size;
use crate::error::ClientError;
use crate::record_args::{GenerationArgs, GenerationVerb, GenerationsArgs};
use crate::render::{generation, record_json, time};
use crate::session::Session;
use crate::ui::Ui;

/// Rows a call asks for.
const CHUNK: u32 = 1_000;

/// Prints one line per generation that left the system changed, newest first.
pub(crate) async fn timeline(session: &Session, ui: &Ui, args: &GenerationsArgs) -> Result<u8, ClientError> {
    list(session, ui, args, Some(true)).await
}

/// Lists generations, or shows one.
pub(crate) async fn generation(session: &Session, ui: &Ui, verb: GenerationVerb) -> Result<u8, ClientError> {
    match verb {
        GenerationVerb::List(args) => list(session, ui, &args, None).await,
        GenerationVerb::Show(args) => show(session, ui, &args).await,
    }
}

async fn list(session: &Session, ui: &Ui, args: &GenerationsArgs, system: Option<bool>) -> Result<u8, ClientError> {
    let filter = GenerationListFilter { limit: args.limit, before: args.before, system };
    let rows = session.record().await?.list_generations(filter).await?;
    if ui.json {
        ui.line(&rows.iter().map(record_json::generation_row).collect::<Value>().to_string())?;
    } else if rows.is_empty() {
        ui.note("No generations.")?;
    } else {
        ui.write(&generation::list(ui, &rows, time::now_us()))?;
        if let Some(last) = rows.last().filter(|_| rows.len() >= page_size(args.limit)) {
            ui.note(&format!("Earlier ones: the same with --before {}", last.number))?;
        }
    }
    Ok(0)
}

async fn show(session: &Session, ui: &Ui, args: &GenerationArgs) -> Result<u8, ClientError> {
    let record = session.record().await?;
    let row = record.get_generation(args.number).await?;
    let changes = changes(&record, &row).await?;
    if ui.json {
        let mut value = record_json::generation_row(&row);
        value["rows"] = json!(changes.iter().map(record_json::change_row).collect::<Vec<_>>());
        ui.line(&value.to_string())?;
    } else {
        ui.write(&generation::full(ui, &row, &changes))?;
    }
    Ok(0)
}

/// Everything that was written under a generation; nothing for those who may not see it.
async fn changes(record: &RecordProxy<'static>, row: &GenerationRow) -> Result<Vec<ChangeRow>, ClientError> {
    let mut changes: Vec<ChangeRow> = Vec::new();
    loop {
        let after = changes.last().map_or(0, |change| change.number);
        let more = match record.list_changes(row.number, after, CHUNK).await.map_err(CallError::from) {
            Err(error) if error.code() == Some(ErrorCode::AuthDenied) => return Ok(Vec::new()),
            answer => answer?,
        };
        let full = more.len() >= usize::try_from(CHUNK).unwrap_or(usize::MAX);
        changes.extend(more);
        if !full {
            return Ok(changes);
        }
    }
}
