//! What is left alone for a while, as a table and for programs.

use backstep_bus::BackoffRow;
use serde_json::{Map, Value, json};

use crate::render::escape::escaped;
use crate::render::json::object;
use crate::render::result::short;
use crate::render::table::{self, Cell, Column};
use crate::render::time;
use crate::ui::Ui;

/// The table of `backoff list` and `status`.
pub(crate) fn table(ui: &Ui, rows: &[BackoffRow]) -> String {
    let columns = [
        Column::Right("Back-off"),
        Column::Left("Subject"),
        Column::Left("Kind"),
        Column::Left("Until"),
        Column::Left("Left"),
        Column::Right("Failures"),
        Column::Left("Transaction"),
        Column::Left("Who"),
        Column::Flexible("Why"),
    ];
    table::table(ui, &columns, &rows.iter().map(cells).collect::<Vec<_>>())
}

fn cells(row: &BackoffRow) -> Vec<Cell> {
    let text = |value: &Option<String>| value.as_deref().map(escaped).unwrap_or_default();
    let why = match (&row.error_code, &row.error_text) {
        (Some(code), Some(text)) => format!("{}: {}", escaped(code), escaped(text)),
        _ => text(&row.comment),
    };
    vec![
        row.number.to_string().into(),
        text(&row.subject).into(),
        escaped(&row.process).into(),
        time::full(row.until).into(),
        (if row.remaining > 0 { time::duration(row.remaining) } else { "over".to_owned() }).into(),
        row.failures.map(|failures| failures.to_string()).unwrap_or_default().into(),
        row.transaction.as_deref().map(short).unwrap_or_default().into(),
        row.user.as_deref().map(escaped).or(row.uid.map(|uid| uid.to_string())).unwrap_or_default().into(),
        why.into(),
    ]
}

/// What is said after one was set.
pub(crate) fn added(number: u64, subject: &str, process: &str, until: i64) -> String {
    let work = if process == "*" { String::new() } else { format!(" of kind {process}") };
    let what = if subject == "*" { "everything".to_owned() } else { escaped(subject) };
    format!("Back-off {number}: unattended work{work} leaves {what} alone until {}.\n", time::full(until))
}

/// A row for programs; what is unknown is absent.
pub(crate) fn json(row: &BackoffRow) -> Value {
    let mut map: Map<String, Value> = object!(
        row,
        number,
        subject,
        process,
        since,
        until,
        remaining,
        ended,
        failures,
        error_code,
        error_text,
        transaction,
        comment,
        uid,
        user
    );
    map.retain(|_, value| !value.is_null());
    Value::Object(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_why_and_how_long() {
        let row = BackoffRow {
            number: 3,
            subject: Some("jq".into()),
            process: "upgrade".into(),
            remaining: 3_600_000_000,
            failures: Some(2),
            error_code: Some("script.failed".into()),
            error_text: Some("evil\u{1b}".into()),
            ..BackoffRow::default()
        };
        let text = table(&Ui::plain(), std::slice::from_ref(&row));
        assert!(text.contains("3  jq") && text.contains("1 h") && text.contains("script.failed: evil\\x1b"), "{text}");
        assert!(table(&Ui::plain(), &[BackoffRow { remaining: 0, ..row.clone() }]).contains("over"));
        assert_eq!((&json(&row)["failures"], json(&row).get("user")), (&Value::from(2), None));
        assert!(added(1, "*", "*", 0).starts_with("Back-off 1: unattended work leaves everything alone"));
    }
}
