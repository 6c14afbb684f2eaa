//! What configuration files held before and after a transaction, piece by piece, as far as a caller may see it.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use backstep_bus::ContentsRow;
use backstep_core::{ErrorCode, Failure};
use backstep_wire::contents::{Content, ContentRow, from_line};

use crate::attempts::failure;

/// Bytes of text in one answer, about: what a message takes, with room.
const MAX_BYTES: usize = 1 << 20;

/// Who asks, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// root, who may read every file anyway.
    Root,
    /// Somebody who may see the transaction, and reads what everybody on the machine could read.
    Other,
}

/// The rows of a file about a path or what is below it (empty: about everything), after a path (empty: from the
/// first), and whether that is all.
pub fn read(file: &Path, wanted: &str, after: &str, reader: Reader) -> Result<(Vec<ContentsRow>, bool), Failure> {
    let lines = match File::open(file) {
        Ok(file) => BufReader::new(file).lines(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), true)),
        Err(error) => return Err(failure(file, &error)),
    };
    let (mut rows, mut bytes, mut is_after) = (Vec::new(), 0, after.is_empty());
    for line in lines {
        let bad = |error| Failure::new(ErrorCode::StoreFailed, format!("cannot read {}: {error}", file.display()));
        let row = from_line(line.map_err(|error| failure(file, &error))?.as_bytes()).map_err(bad)?;
        // By place, not by order: paths sort by their bytes, which may not be all here.
        if !is_after {
            is_after = row.path == after;
            continue;
        }
        if !is_below(&row.path, wanted) {
            continue;
        }
        if bytes >= MAX_BYTES {
            return Ok((rows, false));
        }
        bytes += row.bytes();
        rows.push(shown(row, reader));
    }
    Ok((rows, true))
}

fn is_below(path: &str, wanted: &str) -> bool {
    let wanted = wanted.trim_end_matches('/');
    path.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn shown(row: ContentRow, reader: Reader) -> ContentsRow {
    let withheld = row.private && reader == Reader::Other;
    let text = |content: &Option<Content>| match content {
        Some(Content::Text(text) | Content::Link(text)) if !withheld => Some(text.clone()),
        _ => None,
    };
    let (before_text, after_text) = (text(&row.before), text(&row.after));
    let withheld = withheld.then_some(true);
    ContentsRow {
        before: sort(&row.before).to_owned(),
        after: sort(&row.after).to_owned(),
        path: row.path,
        before_text,
        after_text,
        withheld,
    }
}

const fn sort(content: &Option<Content>) -> &'static str {
    match content {
        None => "absent",
        Some(Content::Text(_)) => "text",
        Some(Content::Binary) => "binary",
        Some(Content::Large) => "large",
        Some(Content::Link(_)) => "link",
        Some(Content::Other) => "other",
        Some(Content::Unknown) => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backstep_wire::contents::to_line;

    fn row(path: &str, private: bool, text: &str) -> ContentRow {
        ContentRow::new(Path::new(path), private, None, Some(Content::Text(text.into())))
    }

    fn paths(rows: &[ContentsRow]) -> Vec<&str> {
        rows.iter().map(|row| row.path.as_str()).collect()
    }

    #[test]
    fn what_not_everybody_could_read_is_for_root() {
        let dir = tempfile::tempdir().expect("tempdir");
        let file = dir.path().join("contents.jsonl");
        let rows = [row("/etc/passwd", false, "open"), row("/etc/shadow", true, "secret")];
        std::fs::write(&file, rows.iter().flat_map(to_line).collect::<Vec<u8>>()).expect("write");
        let texts = |reader| -> Vec<(Option<String>, Option<bool>)> {
            let (rows, end) = read(&file, "", "", reader).expect("read");
            assert!(end && rows.iter().all(|row| (row.before.as_str(), row.after.as_str()) == ("absent", "text")), "{rows:?}");
            rows.into_iter().map(|row| (row.after_text, row.withheld)).collect()
        };
        assert_eq!(texts(Reader::Root), [(Some("open".into()), None), (Some("secret".into()), None)]);
        assert_eq!(texts(Reader::Other), [(Some("open".into()), None), (None, Some(true))]);
    }

    #[test]
    fn a_path_stands_for_what_is_below_it_and_much_comes_in_pieces() {
        let dir = tempfile::tempdir().expect("tempdir");
        let file = dir.path().join("contents.jsonl");
        assert_eq!(read(&file, "", "", Reader::Root).expect("no file"), (Vec::new(), true));
        let long = "x".repeat(MAX_BYTES);
        let rows = [row("/etc/a/b", false, &long), row("/etc/a/c", false, ""), row("/etc/ab", false, "")];
        std::fs::write(&file, rows.iter().flat_map(to_line).collect::<Vec<u8>>()).expect("write");
        let all = |wanted| read(&file, wanted, "/etc/a/b", Reader::Root).expect("read").0;
        assert_eq!(paths(&all("/etc/a")), ["/etc/a/c"]);
        assert_eq!(paths(&all("/etc/ab")), ["/etc/ab"]);
        assert_eq!(paths(&all("")), ["/etc/a/c", "/etc/ab"]);
        let (first, end) = read(&file, "/etc/", "", Reader::Root).expect("read");
        assert_eq!((paths(&first), end), (vec!["/etc/a/b"], false));
    }
}
