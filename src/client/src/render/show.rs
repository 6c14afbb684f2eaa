//! Lists of transactions, and one transaction in full.

use backstep_bus::{ListRow, TransactionProperties};
use backstep_core::TransactionState;

use crate::render::course::Course;
use crate::render::escape::escaped;
use crate::render::result::{self, short};
use crate::render::table::{Cell, Column, table};
use crate::render::{plan, time};
use crate::ui::{Ink, Ui};

/// The table of `history` and `list`.
pub(crate) fn list(ui: &Ui, rows: &[ListRow], now_us: i64) -> String {
    let columns = [
        Column::Left("Id"),
        Column::Left("When"),
        Column::Left("Kind"),
        Column::Left("State"),
        Column::Left("Who"),
        Column::Flexible("Summary"),
        Column::Right("Took"),
    ];
    let rows: Vec<Vec<Cell>> = rows.iter().map(|row| list_cells(row, now_us)).collect();
    table(ui, &columns, &rows)
}

fn list_cells(row: &ListRow, now_us: i64) -> Vec<Cell> {
    let uid = row.uid.map(|uid| uid.to_string());
    let text = [&row.description, &row.summary, &row.error_text].into_iter().flatten().find(|text| !text.is_empty());
    vec![
        short(&row.id).into(),
        time::when(row.created, now_us).into(),
        escaped(&row.kind).into(),
        state_cell(&row.state, row.reverted_by.is_some()),
        row.user.clone().or(uid).map(|user| escaped(&user)).unwrap_or_default().into(),
        text.map(|text| escaped(text)).unwrap_or_default().into(),
        time::duration(row.duration.unwrap_or(0)).into(),
    ]
}

/// A state in its colour, and whether it was undone.
pub(crate) fn state_cell(state: &str, undone: bool) -> Cell {
    let text = format!("{}{}", escaped(state), if undone { " (undone)" } else { "" });
    state_ink(state).map_or_else(|| Cell::from(text.clone()), |ink| Cell::inked(text.clone(), ink))
}

/// A state's colour.
fn state_ink(state: &str) -> Option<Ink> {
    match state.parse::<TransactionState>().ok()? {
        TransactionState::Completed => Some(Ink::Good),
        TransactionState::NeedsAttention | TransactionState::PartiallyRolledBack | TransactionState::Failed => Some(Ink::Bad),
        TransactionState::RolledBack | TransactionState::RollingBack | TransactionState::Cancelling | TransactionState::Interrupted => {
            Some(Ink::Caution)
        }
        TransactionState::Created
        | TransactionState::Prepared
        | TransactionState::Queued
        | TransactionState::Executing
        | TransactionState::Cancelled
        | TransactionState::Expired => None,
    }
}

/// Everything that the properties tell of one transaction.
pub(crate) fn full(ui: &Ui, properties: &TransactionProperties) -> String {
    whole(ui, properties, &Course::default(), &[])
}

/// Everything about one transaction: its properties, its course and the end of its log.
pub(crate) fn whole(ui: &Ui, properties: &TransactionProperties, course: &Course, log: &[u8]) -> String {
    let mut text = header(ui, properties);
    let digests = [("Behind it", course.behind()), ("Request", course.request_digest()), ("Plan", escaped(&properties.plan_digest))];
    text.push_str(&facts(ui, &digests));
    if !plan::is_empty(properties) {
        text.push_str(&format!("\n{}", plan::plan(ui, properties)));
    }
    let steps = if course.steps(ui).is_empty() { result::steps(ui, &properties.steps) } else { course.steps(ui) };
    let steps = if properties.steps.is_empty() { String::new() } else { steps };
    text.extend([course.items(ui), steps].iter().filter(|part| !part.is_empty()).map(|part| format!("\n{part}")));
    for note in course.notes() {
        text.push_str(&format!("Noted: {note}\n"));
    }
    let tail = result::log_tail(ui, log);
    if !tail.is_empty() {
        text.push_str(&format!("\nThe end of its log, the rest with 'backstep log {}':\n{}\n", short(&properties.id), tail.join("\n")));
    }
    if !properties.differences.is_empty() {
        text.push_str("\nDifferences left:\n");
        text.extend(properties.differences.iter().map(|difference| format!("  {}\n", escaped(difference))));
    }
    if properties.transaction_state() != Some(TransactionState::Completed) {
        let lines: Vec<String> = result::error(ui, properties).into_iter().chain(result::hint(ui, properties)).collect();
        if !lines.is_empty() {
            text.push_str(&format!("\n{}\n", lines.join("\n")));
        }
    }
    text
}

fn header(ui: &Ui, p: &TransactionProperties) -> String {
    let undo = if p.method.is_empty() { String::new() } else { escaped(&p.method) };
    let who = if p.user.is_empty() { String::new() } else { format!("{} (uid {})", escaped(&p.user), p.uid) };
    let queue = if p.queue_position > 0 { p.queue_position.to_string() } else { String::new() };
    let running = p.transaction_state().is_some_and(TransactionState::is_active);
    let facts = [
        ("Transaction", escaped(&p.id)),
        ("Kind", escaped(&p.kind)),
        ("State", state_ink(&p.state).map_or_else(|| escaped(&p.state), |ink| ui.paint(ink, &escaped(&p.state)))),
        ("Comment", escaped(&p.description)),
        ("Tags", escaped(&p.tags.join(" "))),
        ("User", who),
        ("Through", escaped(&[p.origin.as_str(), p.client.as_str()].join(" "))),
        ("Undoes", escaped(&p.reverts)),
        ("Undone by", escaped(&p.reverted_by)),
        ("Repeats", escaped(&p.retries)),
        ("Requested", time::full(p.created_at)),
        ("Authorised", time::full(p.queued_at)),
        ("Began", time::full(p.started_at)),
        ("Ended", time::full(p.finished_at)),
        ("Took", time::duration(p.duration)),
        ("Attempts", if p.attempts > 1 { p.attempts.to_string() } else { String::new() }),
        ("In the queue", queue),
        ("Waits for", escaped(&p.waits_for)),
        ("Progress", if running { format!("{}% {}", p.permille / 10, escaped(&p.phase)) } else { String::new() }),
        ("Method", undo),
        ("Pinned", (if p.pinned { "yes: its undo material is kept" } else { "" }).to_owned()),
        ("Allows", escaped(&p.actions.join(", "))),
    ];
    self::facts(ui, &facts)
}

/// Facts with their names, a line each; what is empty is left out. The values must be escaped.
pub(crate) fn facts(ui: &Ui, facts: &[(&str, String)]) -> String {
    let shown = facts.iter().filter(|(_, value)| !value.trim().is_empty());
    shown.map(|(name, value)| format!("{} {}\n", ui.paint(Ink::Strong, &format!("{name:>13}:")), value.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_shows_who_did_what_when() {
        let now = 1_700_000_000_000_000;
        let row = ListRow {
            id: "01936b2e-7c1a-7d3e-9f10-0123456789ab".into(),
            kind: "install".into(),
            state: "completed".into(),
            user: Some("alice".into()),
            summary: Some("1 to install (hello)".into()),
            created: now - 120_000_000,
            duration: Some(2_300_000),
            reverted_by: Some("x".into()),
            ..ListRow::default()
        };
        let hidden = ListRow { id: "x".into(), kind: "remove".into(), state: "queued".into(), created: now, ..ListRow::default() };
        let expected = "\
Id            When       Kind     State               Who    Summary                Took
0123456789ab  2 min ago  install  completed (undone)  alice  1 to install (hello)  2.3 s
x             0 s ago    remove   queued
";
        assert_eq!(list(&Ui::plain(), &[row, hidden], now), expected);
    }

    #[test]
    fn only_what_is_known_is_shown() {
        let properties = TransactionProperties { id: "x".into(), kind: "install".into(), state: "created".into(), ..Default::default() };
        assert_eq!(full(&Ui::plain(), &properties), "  Transaction: x\n         Kind: install\n        State: created\n");
        let tagged = TransactionProperties { tags: vec!["env=prod".into(), "ticket:4711".into()], ..properties };
        assert!(full(&Ui::plain(), &tagged).ends_with("State: created\n         Tags: env=prod ticket:4711\n"));
    }
}
