//! `backstep report --html`.

use std::io;

use backstep_bus::{ListFilter, ListRow};
use serde_json::json;

use crate::error::ClientError;
use crate::inlet::Target;
use crate::record_args::ReportArgs;
use crate::render::report::{Facts, page};
use crate::render::time;
use crate::session::Session;
use crate::ui::Ui;

/// Transactions of one page of the daemon's, and of a report at most: more nobody looks at.
const PAGE: u32 = 500;
const MOST: usize = 5_000;

/// Writes what happened as one page of HTML, to a new file or to standard output.
pub(crate) async fn report(session: &Session, ui: &Ui, args: &ReportArgs) -> Result<u8, ClientError> {
    let now = time::now_us();
    let since = args.since.map_or(0, |moment| moment.at(now));
    let target = args.file.as_deref().map(Target::create).transpose()?;
    let record = session.record().await?;
    let facts = Facts {
        now,
        since,
        transactions: transactions(session, since).await?,
        kinds: session.manager.get_statistics(since).await?,
        steps: record.get_step_statistics(since).await?,
        packages: record.get_package_statistics(since).await?,
        most: MOST,
    };
    let html = page(&facts);
    let Some(mut target) = target else {
        ui.write(&html)?;
        return Ok(0);
    };
    let size = target.fill(io::Cursor::new(html))?;
    target.keep()?;
    let (file, count) = (args.file.as_deref().unwrap_or_else(|| std::path::Path::new("")), facts.transactions.len());
    if ui.json {
        ui.line(&json!({"file": file, "size": size, "transactions": count}).to_string())?;
    } else {
        ui.note(&format!("The report is in {}.", crate::render::escape::escaped(&file.display().to_string())))?;
    }
    Ok(0)
}

/// All that were requested since then, newest first, as far as a report goes.
async fn transactions(session: &Session, since: i64) -> Result<Vec<ListRow>, ClientError> {
    let mut found: Vec<ListRow> = Vec::new();
    loop {
        let before = found.last().map(|row| row.id.clone());
        let filter = ListFilter { limit: Some(PAGE), since: (since > 0).then_some(since), before, ..ListFilter::default() };
        let rows = session.manager.list_transactions(filter).await?;
        let last = rows.len() < PAGE as usize;
        found.extend(rows);
        if last || found.len() >= MOST {
            found.truncate(MOST);
            return Ok(found);
        }
    }
}
