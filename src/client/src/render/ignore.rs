//! What is ignored, as a table and for programs.

use backstep_bus::IgnoreRow;
use serde_json::{Map, Value, json};

use crate::render::escape::escaped;
use crate::render::json::object;
use crate::render::table::{self, Cell, Column};
use crate::render::time;
use crate::ui::Ui;

/// The table of `ignore list`.
pub(crate) fn table(ui: &Ui, rows: &[IgnoreRow], now_us: i64) -> String {
    let columns = [
        Column::Right("Ignore"),
        Column::Left("Pattern"),
        Column::Left("Only"),
        Column::Left("Since"),
        Column::Left("Until"),
        Column::Left("Who"),
        Column::Flexible("Why"),
    ];
    let cells = |row: &IgnoreRow| -> Vec<Cell> {
        vec![
            row.number.to_string().into(),
            escaped(&row.pattern).into(),
            only(row).into(),
            time::when(row.added, now_us).into(),
            end(row).into(),
            row.user.as_deref().map(escaped).or(row.uid.map(|uid| uid.to_string())).unwrap_or_default().into(),
            escaped(&row.comment).into(),
        ]
    };
    table::table(ui, &columns, &rows.iter().map(cells).collect::<Vec<_>>())
}

fn only(row: &IgnoreRow) -> String {
    match (&row.suite, &row.from) {
        (Some(suite), _) => format!("suite {}", escaped(suite)),
        (None, Some(from)) => format!("from {}", escaped(from)),
        (None, None) => String::new(),
    }
}

fn end(row: &IgnoreRow) -> String {
    match (row.removed, row.until) {
        (Some(removed), _) => format!("removed {}", time::full(removed)),
        (None, Some(until)) => time::full(until),
        (None, None) => "removed".to_owned(),
    }
}

/// What is said after one was added.
pub(crate) fn added(number: u64, pattern: &str, until: Option<i64>) -> String {
    let until = until.map(|until| format!(" until {}", time::full(until))).unwrap_or_default();
    format!("Ignore {number}: {} is offered to nobody{until}.\n", escaped(pattern))
}

/// A row for programs; what is unknown is absent.
pub(crate) fn json(row: &IgnoreRow) -> Value {
    let mut map: Map<String, Value> = object!(row, number, pattern, suite, from, comment, until, added, removed, uid, user);
    map.retain(|_, value| !value.is_null());
    Value::Object(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_until_when_and_why() {
        let row = IgnoreRow {
            number: 3,
            pattern: "linux-*".into(),
            suite: Some("sid".into()),
            comment: "evil\u{1b}".into(),
            ..IgnoreRow::default()
        };
        let over = IgnoreRow { removed: Some(0), user: Some("ana".into()), ..row.clone() };
        let text = table(&Ui::plain(), &[row.clone(), over], 0);
        assert!(text.contains("     3  linux-*  suite sid") && text.contains("evil\\x1b") && text.contains("ana"), "{text}");
        assert_eq!(json(&row)["pattern"], "linux-*");
        assert!(json(&row).get("until").is_none());
        assert_eq!(added(3, "jq", None), "Ignore 3: jq is offered to nobody.\n");
    }
}
