//! Generations as lines, and one of them in full.

use backstep_bus::record::{ChangeRow, GenerationRow};

use crate::render::escape::escaped;
use crate::render::result::short;
use crate::render::show::{facts, state_cell};
use crate::render::table::{Cell, Column, table};
use crate::render::time;
use crate::ui::Ui;

/// A line each, newest first.
pub(crate) fn list(ui: &Ui, rows: &[GenerationRow], now_us: i64) -> String {
    let columns = [
        Column::Right("Generation"),
        Column::Left("When"),
        Column::Left("Who"),
        Column::Left("Kind"),
        Column::Left("State"),
        Column::Flexible("Summary"),
        Column::Flexible("Comment"),
        Column::Left("Transaction"),
    ];
    let cells = |row: &GenerationRow| -> Vec<Cell> {
        vec![
            row.number.to_string().into(),
            time::when(row.opened, now_us).into(),
            who(row).into(),
            text(&row.kind).into(),
            state_cell(row.state.as_deref().unwrap_or_default(), row.reverted_by.is_some()),
            text(&row.summary).into(),
            text(&row.comment).into(),
            row.transaction.as_deref().map(short).unwrap_or_default().into(),
        ]
    };
    table(ui, &columns, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// A generation and what was written under it.
pub(crate) fn full(ui: &Ui, row: &GenerationRow, changes: &[ChangeRow]) -> String {
    let through = text(&row.origin);
    let mut out = facts(
        ui,
        &[
            ("Generation", row.number.to_string()),
            ("Opened", time::full(row.opened)),
            ("Comment", text(&row.comment)),
            ("User", who(row)),
            ("Through", through),
            ("Transaction", text(&row.transaction)),
            ("Kind", text(&row.kind)),
            ("State", text(&row.state)),
            ("Summary", text(&row.summary)),
            ("Ended", time::full(row.finished.unwrap_or(0))),
            ("Took", time::duration(row.duration.unwrap_or(0))),
            ("Undoes", text(&row.reverts)),
            ("Undone by", text(&row.reverted_by)),
            ("Daemon", escaped(&row.version)),
            ("Rows written", row.changes.to_string()),
        ],
    );
    if !changes.is_empty() {
        out.push_str(&format!("\n{}", table_of(ui, changes)));
    }
    out
}

fn table_of(ui: &Ui, changes: &[ChangeRow]) -> String {
    let columns = [
        Column::Right("Change"),
        Column::Left("When"),
        Column::Left("Action"),
        Column::Left("Table"),
        Column::Left("Row"),
        Column::Flexible("Values"),
    ];
    let cells = |change: &ChangeRow| -> Vec<Cell> {
        vec![
            change.number.to_string().into(),
            time::full(change.at).into(),
            escaped(&change.action).into(),
            escaped(&change.table).into(),
            escaped(&change.row).into(),
            escaped(&change.fields).into(),
        ]
    };
    table(ui, &columns, &changes.iter().map(cells).collect::<Vec<_>>())
}

fn who(row: &GenerationRow) -> String {
    row.user.clone().or(row.uid.map(|uid| uid.to_string())).map(|user| escaped(&user)).unwrap_or_default()
}

fn text(value: &Option<String>) -> String {
    value.as_deref().map(escaped).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> GenerationRow {
        GenerationRow {
            number: 7,
            opened: 1_700_000_000_000_000,
            comment: Some("why\u{1b}".into()),
            user: Some("ana".into()),
            uid: Some(1000),
            transaction: Some("01936b2e-7c1a-7d3e-9f10-0123456789ab".into()),
            kind: Some("install".into()),
            state: Some("completed".into()),
            summary: Some("1 to install (hello)".into()),
            reverted_by: Some("x".into()),
            changes: 3,
            version: "0.1.0".into(),
            ..GenerationRow::default()
        }
    }

    #[test]
    fn a_line_says_what_changed_and_by_whom() {
        let hidden =
            GenerationRow { number: 6, opened: 1_700_000_000_000_000, state: Some("completed".into()), ..GenerationRow::default() };
        let expected = "\
Generation  When     Who  Kind     State               Summary               Comment  Transaction
         7  9 s ago  ana  install  completed (undone)  1 to install (hello)  why\\x1b  0123456789ab
         6  9 s ago                completed
";
        assert_eq!(list(&Ui::plain(), &[row(), hidden], 1_700_000_009_000_000), expected);
    }

    #[test]
    fn a_generation_is_shown_with_its_rows() {
        let change = ChangeRow { number: 9, action: "insert".into(), table: "runs".into(), row: "1".into(), fields: "{}".into(), at: 0 };
        let shown = full(&Ui::plain(), &row(), &[change]);
        assert!(shown.contains("      User: ana\n") && shown.contains("Rows written: 3\n"), "{shown}");
        assert!(shown.ends_with("\nChange  Action  Table  Row  Values\n     9  insert  runs   1    {}\n"), "{shown}");
    }
}
