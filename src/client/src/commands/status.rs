//! `backstep status`.

use backstep_bus::{BackoffFilter, ListFilter, ListRow, UndoMaterial};
use backstep_core::TransactionState;
use serde_json::{Value, json};

use crate::error::ClientError;
use crate::render::escape::escaped;
use crate::render::{backoff, json as shapes, material, record_json, show, time};
use crate::session::Session;
use crate::ui::{Ink, Ui};

/// Prints the daemon's version, what runs, waits and needs a person, the last transaction, and what undo takes.
pub(crate) async fn status(session: &Session, ui: &Ui) -> Result<u8, ClientError> {
    let version = session.manager.version().await?;
    let unfinished = ListFilter { unfinished: Some(true), limit: Some(200), ..ListFilter::default() };
    let open = session.manager.list_transactions(unfinished).await?;
    let last = last_ended(session, &open).await?;
    let of = |wanted: fn(TransactionState) -> bool| -> Vec<ListRow> {
        open.iter().filter(|row| row.state.parse().is_ok_and(wanted)).cloned().collect()
    };
    let groups = [
        ("active", "Running", of(TransactionState::is_active)),
        ("queue", "Waiting", of(|state| state == TransactionState::Queued)),
        ("attention", "Needs a decision", of(|state| state == TransactionState::NeedsAttention)),
        ("last", "Last", last),
    ];
    let kept = session.record().await?.get_undo_material().await?;
    // A daemon from before it has none.
    let warnings = session.manager.warnings().await.unwrap_or_default();
    let backoffs = session.manager.list_backoffs(BackoffFilter::default()).await?;
    if ui.json {
        let mut document = document(&version, &groups, &kept);
        document["warnings"] = warnings.into();
        document["backoffs"] = backoffs.iter().map(backoff::json).collect();
        ui.line(&document.to_string())?;
    } else {
        let mut text = text(ui, &version, &groups, &kept);
        for warning in &warnings {
            text.push_str(&format!("\n{} {}\n", ui.paint(Ink::Bad, "Warning:"), escaped(warning)));
        }
        if !backoffs.is_empty() {
            text.push_str(&format!("\n{}\n{}", ui.paint(Ink::Strong, "Left alone for a while:"), backoff::table(ui, &backoffs)));
        }
        ui.write(&text)?;
    }
    Ok(0)
}

/// The newest that is not open: of so many, one is not.
async fn last_ended(session: &Session, open: &[ListRow]) -> Result<Vec<ListRow>, ClientError> {
    let limit = u32::try_from(open.len()).unwrap_or(u32::MAX).saturating_add(1);
    let newest = session.manager.list_transactions(ListFilter { limit: Some(limit), ..ListFilter::default() }).await?;
    Ok(first_besides(newest, open).into_iter().collect())
}

fn first_besides(rows: Vec<ListRow>, others: &[ListRow]) -> Option<ListRow> {
    rows.into_iter().find(|row| others.iter().all(|other| other.id != row.id))
}

type Group = (&'static str, &'static str, Vec<ListRow>);

fn document(version: &str, groups: &[Group], kept: &UndoMaterial) -> Value {
    let mut document = json!({ "version": version, "undo": record_json::undo_material(kept) });
    for (key, _, rows) in groups {
        document[*key] = rows.iter().map(shapes::list_row).collect();
    }
    document
}

fn text(ui: &Ui, version: &str, groups: &[Group], kept: &UndoMaterial) -> String {
    let mut text = format!("backstepd {} is ready.\n", escaped(version));
    for (_, title, rows) in groups.iter().filter(|(_, _, rows)| !rows.is_empty()) {
        text.push_str(&format!("\n{}\n{}", ui.paint(Ink::Strong, &format!("{title}:")), show::list(ui, rows, time::now_us())));
    }
    text.push_str(&format!("\n{}\n{}", ui.paint(Ink::Strong, "Undo material:"), material::material(ui, kept)));
    if groups.iter().any(|(key, _, rows)| *key == "attention" && !rows.is_empty()) {
        text.push_str("\nSee 'backstep repair' for how to decide.\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_is_not_the_one_that_runs() {
        let rows = ["c", "b", "a"].map(|id| ListRow { id: id.into(), ..ListRow::default() });
        let last = |open: &[ListRow]| first_besides(rows.to_vec(), open).map(|row| row.id);
        assert_eq!((last(&[]).as_deref(), last(&rows[..1]).as_deref(), last(&rows)), (Some("c"), Some("b"), None));
    }
}
