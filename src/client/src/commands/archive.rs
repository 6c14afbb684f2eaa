//! `backstep archive`.

use backstep_bus::ArchiveOptions;
use serde_json::json;

use crate::commands::ignore::claims;
use crate::error::ClientError;
use crate::record_args::ArchiveArgs;
use crate::render::time::now_us;
use crate::session::Session;
use crate::ui::Ui;

/// Moves old transactions to files beside the record.
pub(crate) async fn archive(session: &Session, ui: &Ui, args: &ArchiveArgs) -> Result<u8, ClientError> {
    let claims = claims();
    let options = ArchiveOptions { keep: Some(args.keep), client: claims.client, origin: claims.origin };
    let (transactions, events, files) = session.manager.archive(args.before.at(now_us()), &args.comment, options).await?;
    if ui.json {
        ui.line(&json!({ "transactions": transactions, "events": events, "files": files }).to_string())?;
        return Ok(0);
    }
    if files.is_empty() {
        ui.note("Nothing is old enough.")?;
        return Ok(0);
    }
    for file in &files {
        ui.line(file)?;
    }
    ui.note(&format!("{transactions} transactions with {events} events moved there; they are read as before."))?;
    Ok(0)
}
