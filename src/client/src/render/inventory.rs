//! Installed packages with who changed them last, as a table.

use backstep_bus::record::InventoryRow;

use crate::render::escape::escaped;
use crate::render::result::short;
use crate::render::table::{self, Cell, Column};
use crate::render::time;
use crate::ui::Ui;

/// A line a package, by name.
pub(crate) fn table(ui: &Ui, rows: &[InventoryRow], now_us: i64) -> String {
    let columns = [
        Column::Left("Package"),
        Column::Left("Version"),
        Column::Left("Before"),
        Column::Left("By"),
        Column::Left("When"),
        Column::Left("Who"),
        Column::Left("Transaction"),
        Column::Flexible("Why"),
    ];
    table::table(ui, &columns, &rows.iter().map(|row| cells(row, now_us)).collect::<Vec<_>>())
}

fn cells(row: &InventoryRow, now_us: i64) -> Vec<Cell> {
    let text = |value: &Option<String>| value.as_deref().map(escaped).unwrap_or_default();
    let state = if row.state == "installed" { String::new() } else { format!(" ({})", escaped(&row.state)) };
    let by = match (&row.by, row.hidden) {
        (_, Some(true)) => "another user's transaction".to_owned(),
        (by, _) => text(by),
    };
    vec![
        format!("{}:{}", escaped(&row.package), escaped(&row.arch)).into(),
        format!("{}{state}", escaped(&row.version)).into(),
        text(&row.from).into(),
        by.into(),
        time::when(row.at.unwrap_or(0), now_us).into(),
        row.user.as_deref().map(escaped).unwrap_or_default().into(),
        row.transaction.as_deref().map(short).unwrap_or_default().into(),
        text(&row.description).into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_by_what_and_who() {
        let row = InventoryRow {
            package: "jq".into(),
            arch: "amd64".into(),
            version: "2".into(),
            state: "half-configured".into(),
            by: Some("dpkg".into()),
            from: Some("1".into()),
            user: Some("ana".into()),
            description: Some("dpkg -i jq\u{1b}".into()),
            ..InventoryRow::default()
        };
        let text = table(&Ui::plain(), std::slice::from_ref(&row), 0);
        assert!(text.contains("jq:amd64  2 (half-configured)  1") && text.contains("dpkg -i jq\\x1b") && text.contains("ana"), "{text}");
        let hidden = InventoryRow { by: None, hidden: Some(true), ..row };
        assert!(table(&Ui::plain(), &[hidden], 0).contains("another user's transaction"));
    }
}
