//! A text taken out of the files of attempts that have ended: `*` over it, where it stands.
//!
//! Nothing moves, so that who reads a log goes on reading, and a process that a script left behind goes on writing at its
//! end. Of JSON only what is for people goes. Absent on purpose: kept files of the system, which are what they were.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use backstep_core::Failure;
use backstep_core::redaction::{Mode, Redaction};
use backstep_wire::attempt;
use serde_json::Value;

use crate::attempts::{Attempts, failure};
use crate::logs;

/// A document a line, and documents of one line.
const DOCUMENTS: [&str; 3] = [attempt::JOURNAL, attempt::PLAN, "foreign.json"];
/// Where documents have texts for people.
const TEXTS: [&str; 5] = ["text", "description", "warnings", "differences", "before"];
/// Read at a time.
const PIECE: usize = 1 << 20;

/// Takes the text out of every attempt that no worker has, or counts; answers in how many files of which name it stood.
pub fn forget(attempts: &Attempts, redaction: &Redaction) -> Result<Vec<(String, u64)>, Failure> {
    let mut found: Vec<(String, u64)> = Vec::new();
    for attempt in attempts.all()? {
        if attempts.is_locked(attempt)? {
            continue;
        }
        for name in [attempt::OUTPUT].into_iter().chain(DOCUMENTS) {
            let path = attempts.folder(attempt).join(name);
            let held = if name == attempt::OUTPUT { in_log(&path, redaction) } else { in_document(&path, redaction) };
            let held = match held {
                Err(error) if error.kind() == io::ErrorKind::NotFound => false,
                other => other.map_err(|error| failure(&path, &error))?,
            };
            match found.iter_mut().find(|(known, _)| known == name).filter(|_| held) {
                Some((_, count)) => *count += 1,
                None if held => found.push((name.to_owned(), 1)),
                None => {}
            }
        }
    }
    Ok(found)
}

/// Reads in pieces that overlap: a log may be larger than what anybody wants in memory.
fn in_log(path: &Path, redaction: &Redaction) -> io::Result<bool> {
    let text = redaction.text().as_bytes();
    let found = in_pieces(path, text)?;
    if found.is_empty() || redaction.mode == Mode::Try {
        return Ok(!found.is_empty());
    }
    // CRASH: from here to the end the log is as large as it was, and holds the text where it was not reached.
    let was_small = logs::expand(path)?;
    for place in found {
        write_over(path, redaction.mode, place, text.len())?;
    }
    if was_small {
        logs::compress(path)?;
    }
    Ok(true)
}

fn in_pieces(path: &Path, text: &[u8]) -> io::Result<Vec<u64>> {
    let (mut piece, mut at, mut found) = (Vec::new(), 0, Vec::new());
    loop {
        let more = logs::read(path, at + piece.len() as u64, PIECE as u64)?;
        let read = more.len();
        piece.extend(more);
        found.extend(places(&piece, text).into_iter().map(|place| at + place as u64));
        if read == 0 {
            // A text may have been found twice where pieces overlap.
            found.dedup();
            return Ok(found);
        }
        let kept = piece.len().min(text.len() - 1);
        at += (piece.len() - kept) as u64;
        piece.drain(..piece.len() - kept);
    }
}

fn in_document(path: &Path, redaction: &Redaction) -> io::Result<bool> {
    let quoted = Value::from(redaction.text()).to_string();
    let text = &quoted.as_bytes()[1..quoted.len() - 1];
    let (bytes, mut at, mut held) = (std::fs::read(path)?, 0, false);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let mut after = line.to_vec();
        let found = places(line, text);
        for place in &found {
            after[*place..place + text.len()].fill(b'*');
        }
        if !found.is_empty() && says_the_same(line, &after) {
            held = true;
            for place in found {
                write_over(path, redaction.mode, at + place as u64, text.len())?;
            }
        }
        at += line.len() as u64;
    }
    Ok(held)
}

fn places(bytes: &[u8], text: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(place) = bytes[from..].windows(text.len()).position(|part| part == text) {
        found.push(from + place);
        from += place + text.len();
    }
    found
}

fn write_over(path: &Path, mode: Mode, at: u64, length: usize) -> io::Result<()> {
    match mode {
        Mode::Try => Ok(()),
        Mode::Do => {
            let file = OpenOptions::new().write(true).open(path)?;
            file.write_all_at(&b"*".repeat(length), at)?;
            file.sync_data()
        }
    }
}

fn says_the_same(before: &[u8], after: &[u8]) -> bool {
    let read = |bytes| serde_json::from_slice::<Value>(bytes).ok().map(without_texts);
    read(before).is_some_and(|before| read(after) == Some(before))
}

fn without_texts(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members
                .into_iter()
                .map(|(key, value)| if TEXTS.contains(&key.as_str()) { (key, Value::Null) } else { (key, without_texts(value)) });
            Value::Object(kept.collect())
        }
        Value::Array(values) => values.into_iter().map(without_texts).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redaction(text: &str, mode: Mode) -> Redaction {
        Redaction::new(text.to_owned(), mode).expect("a text")
    }

    fn folder(attempts: &Attempts) -> std::path::PathBuf {
        let folder = attempts.folder("01936b2e-7c1a-7d3e-9f10-0123456789ab-1".parse().expect("id"));
        std::fs::create_dir(&folder).expect("folder");
        folder
    }

    #[test]
    fn a_text_is_written_over_where_it_stands() {
        let dir = tempfile::tempdir().expect("tempdir");
        let attempts = Attempts::open(dir.path()).expect("open");
        let folder = folder(&attempts);
        let log = [b"x".repeat(PIECE - 3).as_slice(), b"Ana Otto\nAna Otto\xff"].concat();
        std::fs::write(folder.join(attempt::OUTPUT), &log).expect("write");
        let counted = forget(&attempts, &redaction("Ana Otto", Mode::Try)).expect("try");
        assert_eq!(counted, [(attempt::OUTPUT.to_owned(), 1)]);
        assert_eq!(std::fs::read(folder.join(attempt::OUTPUT)).expect("read"), log);
        assert_eq!(forget(&attempts, &redaction("Ana Otto", Mode::Do)).expect("forget"), counted);
        let after = std::fs::read(folder.join(attempt::OUTPUT)).expect("read");
        assert!(after.len() == log.len() && after.ends_with(b"x********\n********\xff"));
        assert!(forget(&attempts, &redaction("Ana Otto", Mode::Do)).expect("again").is_empty());
    }

    #[test]
    fn a_text_goes_out_of_a_compressed_log() {
        let dir = tempfile::tempdir().expect("tempdir");
        let attempts = Attempts::open(dir.path()).expect("open");
        let folder = folder(&attempts);
        let log = [b"x".repeat(PIECE - 3).as_slice(), b"Ana Otto\n"].concat();
        std::fs::write(folder.join(attempt::OUTPUT), &log).expect("write");
        assert!(logs::compress(&folder.join(attempt::OUTPUT)).expect("compress"));
        assert_eq!(forget(&attempts, &redaction("Ana Otto", Mode::Try)).expect("try"), [(attempt::OUTPUT.to_owned(), 1)]);
        forget(&attempts, &redaction("Ana Otto", Mode::Do)).expect("forget");
        let after = logs::read(&folder.join(attempt::OUTPUT), 0, u64::from(u32::MAX)).expect("read");
        assert!(after.len() == log.len() && after.ends_with(b"x********\n"));
        assert!(folder.join("output.log.zst").exists());
        assert!(forget(&attempts, &redaction("Ana Otto", Mode::Do)).expect("again").is_empty());
    }

    #[test]
    fn a_document_says_the_same_without_a_text_for_people() {
        let dir = tempfile::tempdir().expect("tempdir");
        let attempts = Attempts::open(dir.path()).expect("open");
        let folder = folder(&attempts);
        let journal = "{\"seq\":1,\"step\":\"apply\",\"text\":\"apply \\\"it\\\"\"}\n{\"seq\":2,\"text\":\"apply\"}\nhalf a line: apply";
        std::fs::write(folder.join(attempt::JOURNAL), journal).expect("write");
        forget(&attempts, &redaction("apply", Mode::Do)).expect("forget");
        let after = std::fs::read_to_string(folder.join(attempt::JOURNAL)).expect("read");
        assert_eq!(after, journal.replace("\"text\":\"apply\"", "\"text\":\"*****\""), "the first line's step is no text");
        forget(&attempts, &redaction("apply \"it\"", Mode::Do)).expect("forget");
        let after = std::fs::read_to_string(folder.join(attempt::JOURNAL)).expect("read");
        assert!(after.starts_with("{\"seq\":1,\"step\":\"apply\",\"text\":\"************\"}\n"), "{after}");
    }
}
