//! Which transactions changed a file, as a table. Paths and texts are whoever's: all is escaped.

use backstep_bus::BlameRow;

use crate::render::escape::escaped;
use crate::render::result::short;
use crate::render::table::{self, Cell, Column};
use crate::render::time;
use crate::ui::{Ink, Ui};

/// The table of `blame`, the last change first.
pub(crate) fn table(ui: &Ui, rows: &[BlameRow], now_us: i64) -> String {
    let columns = [
        Column::Left("Id"),
        Column::Left("When"),
        Column::Left("Kind"),
        Column::Left("Who"),
        Column::Left("Change"),
        Column::Left("Package"),
        Column::Flexible("Comment"),
    ];
    table::table(ui, &columns, &rows.iter().map(|row| cells(row, now_us)).collect::<Vec<_>>())
}

fn cells(row: &BlameRow, now_us: i64) -> Vec<Cell> {
    let uid = row.uid.map(|uid| uid.to_string());
    let undone = if row.reverted_by.is_some() { " (undone)" } else { "" };
    vec![
        row.transaction.as_deref().map(short).unwrap_or_default().into(),
        row.at.map(|at| time::when(at, now_us)).unwrap_or_default().into(),
        format!("{}{undone}", text(&row.kind)).into(),
        row.user.clone().or(uid).map(|user| escaped(&user)).unwrap_or_default().into(),
        change(row),
        package(row).into(),
        text(&row.description).into(),
    ]
}

fn text(value: &Option<String>) -> String {
    value.as_deref().map(escaped).unwrap_or_default()
}

fn change(row: &BlameRow) -> Cell {
    let from = row.moved_from.as_deref().map(|from| format!(" from {} to {}", escaped(from), text(&row.path))).unwrap_or_default();
    let change = format!("{}{from}", text(&row.change));
    if row.by_others == Some(true) { Cell::inked(format!("{change} by others meanwhile"), Ink::Caution) } else { change.into() }
}

fn package(row: &BlameRow) -> String {
    let versions = match (&row.from, &row.to) {
        (Some(from), Some(to)) if from != to => format!(" {} → {}", escaped(from), escaped(to)),
        (_, Some(version)) | (Some(version), None) => format!(" {}", escaped(version)),
        (None, None) => String::new(),
    };
    row.package.as_deref().map_or_else(|| "none's".to_owned(), |package| format!("{}{versions}", escaped(package)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_who_changed_it_and_with_which_package() {
        let row = |change: &str| BlameRow { change: Some(change.into()), kind: Some("upgrade".into()), ..BlameRow::default() };
        let some = |text: &str| Some(text.to_owned());
        let id = "01936b2e-7c1a-7d3e-9f10-0123456789ab";
        let rows = [
            BlameRow {
                transaction: some(id),
                package: some("a:all"),
                from: some("1"),
                to: some("2"),
                user: some("ana"),
                ..row("replaced")
            },
            BlameRow { uid: Some(7), by_others: Some(true), reverted_by: some(id), ..row("written") },
            BlameRow { moved_from: some("/a\u{1b}"), path: some("/b"), description: some("why"), ..row("renamed") },
        ];
        let expected = "\
Id Kind Who Change Package Comment
0123456789ab upgrade ana replaced a:all 1 → 2
upgrade (undone) 7 written by others meanwhile none's
upgrade renamed from /a\\x1b to /b none's why
";
        let squeezed = |text: &str| text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>();
        assert_eq!(squeezed(&table(&Ui::plain(), &rows, 0)), expected.lines().collect::<Vec<_>>());
    }
}
