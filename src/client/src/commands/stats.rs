//! `backstep stats`.

use serde_json::{Value, json};

use crate::error::ClientError;
use crate::record_args::StatsArgs;
use crate::render::{json as shapes, record_json, statistics, time};
use crate::session::Session;
use crate::ui::Ui;

/// Prints how each kind of transaction fared, and which steps take long.
pub(crate) async fn stats(session: &Session, ui: &Ui, args: &StatsArgs) -> Result<u8, ClientError> {
    let since = args.since.map_or(0, |moment| moment.at(time::now_us()));
    let kinds = session.manager.get_statistics(since).await?;
    let steps = session.record().await?.get_step_statistics(since).await?;
    if ui.json {
        let kinds: Value = kinds.iter().map(shapes::statistics_row).collect();
        let steps: Value = steps.iter().map(record_json::step_statistics_row).collect();
        ui.line(&json!({"since": since, "kinds": kinds, "steps": steps}).to_string())?;
    } else if kinds.is_empty() {
        ui.note("No transactions.")?;
    } else {
        ui.write(&statistics::kinds(ui, &kinds))?;
        if !steps.is_empty() {
            ui.write(&format!("\n{}", statistics::steps(ui, &steps)))?;
        }
    }
    Ok(0)
}
