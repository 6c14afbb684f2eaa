//! The page about the schema: tables, columns, references and indexes as a new file has them, and what each is for.
//!
//! Everything but the words comes from the live schema. A table or a column without words, and words without a column, are
//! errors: the page's test fails until they are written.

mod words;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use rusqlite::Connection;

use crate::error::StoreError;
use crate::migrate::MIGRATIONS;
use words::TABLES;

/// The page, in Markdown with a diagram in Mermaid.
pub fn schema_page() -> Result<String, StoreError> {
    let conn = Connection::open_in_memory()?;
    for migration in MIGRATIONS {
        conn.execute_batch(migration.sql)?;
    }
    page(&conn)
}

fn page(conn: &Connection) -> Result<String, StoreError> {
    let tables = names(
        conn,
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'
        AND name NOT LIKE 'transactions~_text~_%' ESCAPE '~' ORDER BY rowid",
    )?;
    check(&tables)?;
    let mut out = String::from(
        "# The schema of the record\n\nWritten by `make docs` from the schema itself. The file is `/var/lib/backstep/store.db`, SQLite, for \
         root only. Every table is STRICT; triggers refuse what would rewrite history, see docs/invariants.md. Times are microseconds since \
         1970 in UTC (`*_us`); beside them stand the boot's monotonic clock (`*_monotonic_us`) and the boot (`*_boot`), so that \
         durations survive a clock that is set.\n\n",
    );
    writeln!(out, "The schema has the number {}.\n\n{}", MIGRATIONS.len(), diagram(conn, &tables)?).ok();
    for table in &tables {
        out.push_str(&described(conn, table)?);
    }
    Ok(out)
}

fn names(conn: &Connection, sql: &str) -> Result<Vec<String>, StoreError> {
    let mut statement = conn.prepare(sql)?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn check(tables: &[String]) -> Result<(), StoreError> {
    let live: BTreeSet<&str> = tables.iter().map(String::as_str).collect();
    let told: BTreeSet<&str> = TABLES.iter().map(|table| table.name).collect();
    match live.symmetric_difference(&told).next() {
        Some(name) => Err(StoreError::corrupt(format!("table {name} is in the schema or in its words, not in both"))),
        None => Ok(()),
    }
}

/// Boxes and lines: which table refers to which.
fn diagram(conn: &Connection, tables: &[String]) -> Result<String, StoreError> {
    let mut out = String::from("```mermaid\nerDiagram\n");
    for table in tables {
        let mut seen = BTreeSet::new();
        for reference in references(conn, table)? {
            if seen.insert((reference.from.clone(), reference.table.clone())) {
                writeln!(out, "    {} ||--o{{ {table} : {}", reference.table, reference.from).ok();
            }
        }
    }
    out.push_str("```\n");
    Ok(out)
}

struct Reference {
    from: String,
    table: String,
}

fn references(conn: &Connection, table: &str) -> Result<Vec<Reference>, StoreError> {
    let mut statement = conn.prepare("SELECT \"from\", \"table\" FROM pragma_foreign_key_list(?1) ORDER BY id DESC")?;
    let rows = statement.query_map([table], |row| Ok(Reference { from: row.get(0)?, table: row.get(1)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn described(conn: &Connection, table: &str) -> Result<String, StoreError> {
    let words = TABLES.iter().find(|known| known.name == table).map_or(&[][..], |known| known.columns);
    let about = TABLES.iter().find(|known| known.name == table).map_or("", |known| known.about);
    let references = references(conn, table)?;
    let mut out = format!("## {table}\n\n{about}\n\n| column | type | what |\n|---|---|---|\n");
    let mut told = BTreeSet::new();
    let mut statement = conn.prepare("SELECT name, type, \"notnull\", pk, hidden FROM pragma_table_xinfo(?1) ORDER BY cid")?;
    let mut rows = statement.query([table])?;
    while let Some(row) = rows.next()? {
        let (name, kind): (String, String) = (row.get(0)?, row.get(1)?);
        // What FTS5 adds to its own tables.
        if name == table || name == "rank" {
            continue;
        }
        let what = what(words, &name).ok_or_else(|| StoreError::corrupt(format!("column {table}.{name} has no words")))?;
        let reference = references.iter().find(|reference| reference.from == name).map(|found| format!(" → {}", found.table));
        let (not_null, key, hidden): (bool, i64, i64) = (row.get(2)?, row.get(3)?, row.get(4)?);
        let marks = [(key > 0, ", key"), (!not_null && key == 0 && hidden == 0, ", may be empty"), (hidden > 0, ", computed")];
        let marks: String = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
        writeln!(out, "| `{name}` | {}{marks} | {what}{} |", kind.to_lowercase(), reference.unwrap_or_default()).ok();
        told.insert(name);
    }
    if let Some((name, _)) = words.iter().find(|(name, _)| !told.contains(*name)) {
        return Err(StoreError::corrupt(format!("column {table}.{name} has words and is not there")));
    }
    out.push_str(&indexes(conn, table)?);
    Ok(out)
}

/// The clocks beside a time are told once for all, above.
fn what(words: &[(&'static str, &'static str)], name: &str) -> Option<&'static str> {
    let own = words.iter().find(|(known, _)| *known == name).map(|(_, what)| *what);
    let clock = if name.ends_with("_monotonic_us") { Some("the boot's monotonic clock then") } else { None };
    own.or(clock).or_else(|| name.ends_with("_boot").then_some("the boot"))
}

fn indexes(conn: &Connection, table: &str) -> Result<String, StoreError> {
    let mut statement = conn.prepare(
        "SELECT l.name, (SELECT group_concat(i.name, ', ') FROM pragma_index_info(l.name) i), l.\"unique\" FROM pragma_index_list(?1) l
         WHERE l.origin = 'c' ORDER BY l.name",
    )?;
    let rows = statement.query_map([table], |row| {
        let (name, columns, unique): (String, String, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(format!("- `{name}` on {columns}{}\n", if unique { ", unique" } else { "" }))
    })?;
    let lines: String = rows.collect::<Result<_, _>>()?;
    Ok(if lines.is_empty() { "\n".to_owned() } else { format!("\nIndexes:\n\n{lines}\n") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Connection {
        let conn = Connection::open_in_memory().expect("open");
        for migration in MIGRATIONS {
            conn.execute_batch(migration.sql).expect("migrate");
        }
        conn
    }

    #[test]
    fn every_table_and_column_is_on_the_page() {
        let page = schema_page().expect("a page");
        for line in [
            "## events",
            "| `hash` | blob |",
            "    generations ||--o{ transactions : generation",
            "- `items_by_name` on name, transaction_key",
        ] {
            assert!(page.contains(line), "{line}");
        }
    }

    #[test]
    fn what_has_no_words_fails() {
        let conn = live();
        conn.execute_batch("ALTER TABLE runs ADD COLUMN later TEXT").expect("alter");
        assert!(page(&conn).expect_err("a column").to_string().contains("runs.later has no words"));
        let conn = live();
        conn.execute_batch("CREATE TABLE later (x INTEGER) STRICT").expect("create");
        assert!(page(&conn).expect_err("a table").to_string().contains("table later"));
        let conn = live();
        conn.execute_batch("ALTER TABLE items RENAME COLUMN now TO afterwards").expect("rename");
        assert!(page(&conn).is_err());
    }
}
