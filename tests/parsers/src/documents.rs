//! The JSON between our processes.

use std::fmt::Debug;

use backstep_core::{PackageId, PackageName, Tag, TransactionId, Version};
use backstep_wire::{files, foreign, journal, order, plan, planner, request as wire_request};

/// What is read is what its own bytes say.
fn same<T: PartialEq + Debug, E>(bytes: &[u8], read: impl Fn(&[u8]) -> Result<T, E>, write: impl Fn(&T) -> Vec<u8>) {
    if let Ok(value) = read(bytes) {
        let again = write(&value);
        assert_eq!(read(&again).ok().as_ref(), Some(&value));
        assert_eq!(read(&again).ok().map(|value| write(&value)), Some(again), "a digest of equal documents is equal");
    }
}

/// A request as the record keeps it. Its name, version and architecture are parsed by the same code that a caller's words
/// over the bus meet.
pub(crate) fn request(bytes: &[u8]) {
    same(bytes, wire_request::from_bytes, wire_request::to_bytes);
    for word in crate::text(bytes).split(['\n', '\t', '"']) {
        words(word);
    }
}

/// What is taken is exactly what was said, and nothing that apt or dpkg would read as more than a name.
fn words(word: &str) {
    let plain =
        |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.~:".contains(c)) && !text.starts_with(['-', '+', '.', '~', ':']);
    if let Ok(name) = word.parse::<PackageName>() {
        assert!(name.as_str() == word && plain(word));
    }
    if let Ok(version) = word.parse::<Version>() {
        assert!(version.as_str() == word && plain(word) && !word.ends_with(['-', '+']));
    }
    if let Ok(id) = word.parse::<PackageId>() {
        assert!(id.to_string() == word && plain(word));
    }
    if let Ok(tag) = word.parse::<Tag>() {
        assert!(tag.as_str() == word && !word.starts_with('-') && !word.contains(char::is_whitespace));
    }
    if let Ok(id) = word.parse::<TransactionId>() {
        assert_eq!(id.to_string(), word);
    }
}

/// A plan, and what goes with it: an order, a question to the planner and its answer.
pub(crate) fn plan(bytes: &[u8]) {
    same(bytes, plan::from_bytes, plan::to_bytes);
    same(bytes, order::from_bytes, order::to_bytes);
    same(bytes, planner::question_from_bytes, planner::question_to_bytes);
    same(bytes, planner::answer_from_bytes, planner::answer_to_bytes);
}

/// A worker's journal, its record of files, and the document of a plain run of apt.
pub(crate) fn journal(bytes: &[u8]) {
    if let Ok((lines, taken)) = journal::whole_lines(bytes) {
        assert!(taken <= bytes.len() && bytes[taken..].iter().all(|byte| *byte != b'\n'));
        assert_eq!(lines.len(), bytes[..taken].iter().filter(|byte| **byte == b'\n').count());
    }
    same(bytes, journal::from_line, journal::to_line);
    same(bytes, files::from_line, files::to_line);
    if let Ok(row) = files::from_line(bytes) {
        drop(row.exact_path());
    }
    same(bytes, foreign::from_bytes, foreign::to_bytes);
}
