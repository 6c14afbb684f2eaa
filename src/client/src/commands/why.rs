//! `backstep why`.

use serde_json::Value;

use crate::error::ClientError;
use crate::record_args::WhyArgs;
use crate::render::{origin, record_json};
use crate::session::Session;
use crate::ui::Ui;

/// Prints where a package comes from.
pub(crate) async fn why(session: &Session, ui: &Ui, args: &WhyArgs) -> Result<u8, ClientError> {
    let rows = session.record().await?.explain_package(&args.package).await?;
    if ui.json {
        ui.line(&rows.iter().map(record_json::origin_row).collect::<Value>().to_string())?;
    } else {
        ui.write(&origin::origins(ui, &rows))?;
    }
    Ok(0)
}
