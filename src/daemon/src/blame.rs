//! Which transactions changed a path: a search through the attempts' records of files. It reads much; not for the
//! bus's threads.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use backstep_bus::BlameRow;
use backstep_core::record::{ItemRecord, Summary};
use backstep_core::{AttemptId, ErrorCode, Failure};
use backstep_store::Reader;
use backstep_wire::files::{FileRow, from_line};

use crate::attempts::{AttemptFile, Attempts, failure};

/// The changes of a path, also as what it was renamed from, newest first; at most so many, and none by users of whom
/// `visible` says no: even their number would tell of a file in a folder that the caller may not search.
pub fn blame(
    attempts: &Attempts,
    reader: &Reader,
    (path, limit): (&str, usize),
    visible: impl Fn(u32) -> bool,
) -> Result<Vec<BlameRow>, Failure> {
    let mut found = Vec::new();
    for (attempt, row) in search(attempts, path)? {
        // What was never recorded as a transaction, or not yet, is nobody's.
        let Some(summary) = reader.summary(attempt.transaction).map_err(|error| Failure::from(&error))? else { continue };
        if !visible(summary.actor.uid) {
            continue;
        }
        let items = reader.items(attempt.transaction).map_err(|error| Failure::from(&error))?;
        found.push((summary.finished.map(|stamp| stamp.utc_us), told(&summary, &items, row)));
    }
    found.sort_by_key(|(at, _)| std::cmp::Reverse(at.unwrap_or(i64::MAX)));
    Ok(found.into_iter().map(|(_, row)| row).take(limit).collect())
}

fn told(summary: &Summary, items: &[ItemRecord], row: FileRow) -> BlameRow {
    let item = items.iter().find(|item| Some(&item.package) == row.package.as_ref());
    BlameRow {
        path: Some(row.path),
        change: Some(row.change),
        moved_from: row.from,
        by_others: row.by_others.then_some(true),
        action: item.map(|item| item.action.to_string()),
        from: item.and_then(|item| item.from.clone()),
        to: item.and_then(|item| item.to.clone()),
        package: row.package,
        ..BlameRow::from(summary)
    }
}

fn search(attempts: &Attempts, path: &str) -> Result<Vec<(AttemptId, FileRow)>, Failure> {
    let mut found = Vec::new();
    for attempt in attempts.all()? {
        let file = attempts.folder(attempt).join(AttemptFile::Files.name());
        found.extend(rows_about(path, &file)?.into_iter().map(|row| (attempt, row)));
    }
    Ok(found)
}

fn rows_about(path: &str, file: &Path) -> Result<Vec<FileRow>, Failure> {
    let lines = match File::open(file) {
        Ok(file) => BufReader::new(file).lines(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failure(file, &error)),
    };
    // The path as it stands in a line: most lines are told apart by it, without being read as JSON.
    let written = serde_json::Value::from(path).to_string();
    let mut rows = Vec::new();
    for line in lines {
        let line = line.map_err(|error| failure(file, &error))?;
        if line.contains(&written) {
            let bad = |error| Failure::new(ErrorCode::StoreFailed, format!("cannot read {}: {error}", file.display()));
            let row = from_line(line.as_bytes()).map_err(bad)?;
            rows.extend((row.path == path || row.from.as_deref() == Some(path)).then_some(row));
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use backstep_wire::files::{FileSide, to_line};
    use std::fs;

    const OLD: &str = "01936b2e-7c1a-7d3e-9f10-0123456789ab-1";
    const NEW: &str = "01936b2e-7c1b-7d3e-9f10-000000000000-2";

    fn attempts(dir: &Path, id: &str, rows: &[FileRow]) -> Attempts {
        let attempts = Attempts::open(dir).expect("open");
        let folder = attempts.folder(id.parse().expect("id"));
        fs::create_dir_all(&folder).expect("mkdir");
        fs::write(folder.join("files.jsonl"), rows.iter().flat_map(to_line).collect::<Vec<u8>>()).expect("write");
        attempts
    }

    fn row(path: &str, change: &str) -> FileRow {
        FileRow::new(Path::new(path), change)
    }

    #[test]
    fn what_is_about_the_path_is_found_and_nothing_else() {
        let dir = tempfile::tempdir().expect("tempdir");
        let (sha256, target) = (None, Some("/etc/\"a".into()));
        let link = FileSide { kind: "symlink".into(), mode: "0777".into(), uid: 0, gid: 0, size: 1, sha256, target };
        attempts(dir.path(), OLD, &[row("/etc/\"a", "created"), row("/etc/\"a.d", "created")]);
        let moved = FileRow { from: Some("/etc/\"a".into()), ..row("/etc/b", "renamed") };
        let pointing = FileRow { after: Some(link), ..row("/etc/c", "created") };
        let attempts = attempts(dir.path(), NEW, &[moved, pointing]);
        fs::create_dir(dir.path().join("attempts/no-attempt")).expect("mkdir");
        fs::create_dir(attempts.folder("01936b2e-7c1c-7d3e-9f10-000000000000-1".parse().expect("id"))).expect("mkdir");
        let told = |path| -> Vec<(String, String)> {
            let mut rows: Vec<_> =
                search(&attempts, path).expect("search").into_iter().map(|(id, row)| (id.to_string(), row.change)).collect();
            rows.sort();
            rows
        };
        assert_eq!(told("/etc/\"a"), [(OLD.to_owned(), "created".to_owned()), (NEW.to_owned(), "renamed".to_owned())]);
        assert_eq!(told("/etc"), []);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_an_error() {
        let dir = tempfile::tempdir().expect("tempdir");
        let attempts = attempts(dir.path(), OLD, &[]);
        fs::write(attempts.folder(OLD.parse().expect("id")).join("files.jsonl"), "{\"path\":\"/x\",\n").expect("write");
        assert_eq!(search(&attempts, "/x").expect_err("no JSON").code, ErrorCode::StoreFailed);
    }
}
