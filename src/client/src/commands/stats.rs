//! `backstep stats`.

use serde_json::Value;

use crate::args::StatsArgs;
use crate::error::ClientError;
use crate::render::{json, show, time};
use crate::session::Session;
use crate::ui::Ui;

const DAY_US: i64 = 86_400_000_000;

/// Prints how each kind of transaction fared.
pub(crate) async fn stats(session: &Session, ui: &Ui, args: &StatsArgs) -> Result<u8, ClientError> {
    let since = args.days.map_or(0, |days| (time::now_us() - i64::from(days) * DAY_US).max(0));
    let rows = session.manager.get_statistics(since).await?;
    if ui.json {
        ui.line(&rows.iter().map(json::statistics_row).collect::<Value>().to_string())?;
    } else if rows.is_empty() {
        ui.note("No transactions.")?;
    } else {
        ui.write(&show::statistics(ui, &rows))?;
    }
    Ok(0)
}
