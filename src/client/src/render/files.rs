//! The files that a transaction changed, as a table. Paths are whoever's made the file: all is escaped.
//!
//! The rows are the worker's, which may be of another version: what is not there is left out.

use serde_json::Value;

use crate::render::escape::escaped;
use crate::render::size;
use crate::render::table::{self, Cell, Column};
use crate::ui::{Ink, Ui};

/// The table of `show --files`.
pub(crate) fn table(ui: &Ui, rows: &[Value]) -> String {
    let columns = [
        Column::Left("Change"),
        Column::Left("By"),
        Column::Left("Mode"),
        Column::Left("Owner"),
        Column::Left("Size"),
        // Whole even on a narrow terminal: half a path is of no use.
        Column::Left("Path"),
    ];
    table::table(ui, &columns, &rows.iter().map(cells).collect::<Vec<_>>())
}

fn cells(row: &Value) -> Vec<Cell> {
    let (before, after) = (&row["before"], &row["after"]);
    let (old, new) = (owner(before), owner(after));
    let others = row["by_others"].as_bool() == Some(true);
    vec![
        text(&row["change"]).into(),
        if others { Cell::inked("others", Ink::Caution) } else { "".into() },
        course(mode(before), mode(after)).into(),
        (if old.is_some() && new.is_some() && old != new { course(old, new) } else { String::new() }).into(),
        sizes(before, after).into(),
        path(row).into(),
    ]
}

fn text(value: &Value) -> String {
    value.as_str().map(escaped).unwrap_or_default()
}

fn mode(side: &Value) -> Option<String> {
    side["mode"].as_str().map(escaped)
}

fn owner(side: &Value) -> Option<String> {
    Some(format!("{}:{}", side["uid"].as_u64()?, side["gid"].as_u64()?))
}

/// The size of a file; that of anything else says nothing.
fn bytes(side: &Value) -> Option<String> {
    if side["kind"] == "file" { side["size"].as_u64().map(size::bytes) } else { None }
}

/// Also shown with one side only: what came has nothing before the arrow, what went nothing behind it.
fn sizes(before: &Value, after: &Value) -> String {
    match (bytes(before), bytes(after)) {
        (None, Some(new)) => format!("→ {new}"),
        (Some(old), None) => format!("{old} →"),
        (old, new) => course(old, new),
    }
}

fn course(before: Option<String>, after: Option<String>) -> String {
    match (before, after) {
        (Some(old), Some(new)) if old != new => format!("{old} → {new}"),
        (old, new) => new.or(old).unwrap_or_default(),
    }
}

fn path(row: &Value) -> String {
    let path = text(&row["path"]);
    row["from"].as_str().map_or_else(|| path.clone(), |from| format!("{path} (was {})", escaped(from)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn side(kind: &str, mode: &str, uid: u32, size: u64) -> Value {
        json!({"kind": kind, "mode": mode, "uid": uid, "gid": 0, "size": size})
    }

    #[test]
    fn a_row_says_what_was_and_what_is() {
        let rows = [
            json!({"path": "/etc/a", "change": "created", "after": side("file", "0644", 7, 12)}),
            json!({"path": "/etc/b", "change": "renamed", "from": "/etc/c", "before": side("file", "0644", 0, 5), "after": side("file", "0644", 0, 5)}),
            json!({"path": "/etc/d", "change": "written", "before": side("file", "0644", 0, 5), "after": side("file", "0600", 33, 1540), "by_others": true}),
            json!({"path": "/etc/e", "change": "removed", "before": side("directory", "0755", 0, 4096)}),
            json!({"path": "/etc/f", "change": "removed", "before": side("file", "0755", 0, 1)}),
        ];
        let expected = "\
Change   By      Mode         Owner       Size          Path
created          0644                     → 12 B        /etc/a
renamed          0644                     5 B           /etc/b (was /etc/c)
written  others  0644 → 0600  0:0 → 33:0  5 B → 1.5 kB  /etc/d
removed          0755                                   /etc/e
removed          0755                     1 B →         /etc/f
";
        assert_eq!(table(&Ui::plain(), &rows), expected);
        assert!(table(&Ui::narrow(40), &rows).contains("/etc/b (was /etc/c)"));
    }

    #[test]
    fn a_row_of_another_version_and_an_evil_one_command_nothing() {
        let evil = "x\u{1b}[2J\n\u{202e}";
        let row = json!({"path": evil, "from": evil, "change": evil, "before": {"kind": "file", "mode": evil, "size": "many"}, "after": 7});
        let text = table(&Ui::plain(), &[row, json!({}), json!("no object")]);
        assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
        assert_eq!(text.lines().count(), 4);
    }
}
