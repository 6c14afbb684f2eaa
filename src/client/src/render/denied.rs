//! Calls that were turned away, as a table and for programs. The texts come from whoever called: all is escaped.

use backstep_bus::RefusalRow;
use serde_json::{Map, Value, json};

use crate::render::escape::escaped;
use crate::render::result::short;
use crate::render::table::{self, Cell, Column};
use crate::render::time;
use crate::ui::Ui;

/// The table of `history --denied`.
pub(crate) fn table(ui: &Ui, rows: &[RefusalRow], now_us: i64) -> String {
    let columns = [
        Column::Left("When"),
        Column::Right("Times"),
        Column::Left("Who"),
        Column::Left("Program"),
        Column::Left("Method"),
        Column::Left("Transaction"),
        Column::Left("Code"),
        Column::Flexible("Why"),
    ];
    let rows: Vec<Vec<Cell>> = rows.iter().map(|row| cells(row, now_us)).collect();
    table::table(ui, &columns, &rows)
}

fn cells(row: &RefusalRow, now_us: i64) -> Vec<Cell> {
    let who = if row.user.is_empty() { row.uid.to_string() } else { escaped(&row.user) };
    let pid = row.pid.map(|pid| format!(" ({pid})")).unwrap_or_default();
    vec![
        time::when(row.until, now_us).into(),
        (if row.count > 1 { row.count.to_string() } else { String::new() }).into(),
        who.into(),
        row.program.as_deref().map(|program| format!("{}{pid}", escaped(program))).unwrap_or_default().into(),
        escaped(&row.method).into(),
        row.id.as_deref().map(|id| escaped(&short(id))).unwrap_or_default().into(),
        escaped(&row.error_code).into(),
        escaped(&row.error_text).into(),
    ]
}

/// A row for programs; what is unknown is absent.
pub(crate) fn json(row: &RefusalRow) -> Value {
    let mut map = Map::new();
    let fields = [
        ("number", json!(row.number)),
        ("at", json!(row.at)),
        ("until", json!(row.until)),
        ("count", json!(row.count)),
        ("method", json!(row.method)),
        ("id", json!(row.id)),
        ("uid", json!(row.uid)),
        ("user", json!(row.user)),
        ("pid", json!(row.pid)),
        ("program", json!(row.program)),
        ("unit", json!(row.unit)),
        ("sender", json!(row.sender)),
        ("error_code", json!(row.error_code)),
        ("error_text", json!(row.error_text)),
    ];
    map.extend(fields.into_iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.to_owned(), value)));
    Value::Object(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_who_what_and_how_often_and_commands_nothing() {
        let row = RefusalRow {
            count: 490,
            method: "Submit".into(),
            user: "ana".into(),
            pid: Some(7),
            program: Some("evil\u{1b}[2J".into()),
            error_code: "auth.denied".into(),
            error_text: "no\u{9b}31m".into(),
            ..RefusalRow::default()
        };
        let text = table(&Ui::plain(), std::slice::from_ref(&row), 0);
        assert!(text.contains("490") && text.contains("evil\\x1b[2J (7)") && text.contains("no\\x9b31m"), "{text}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        assert!(json(&row).get("id").is_none());
    }
}
