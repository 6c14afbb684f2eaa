//! What configuration files held before and after a change: one JSON object a line, sorted by path, kept with the undo
//! material and given up with it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::files::FileRow;
use crate::{WireError, json};

/// What a path held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Content {
    /// A file of UTF-8 without a NUL.
    Text(String),
    /// A file of something else.
    Binary,
    /// A file that is too large to be kept a second time.
    Large,
    /// A symbolic link, and where it points.
    Link(String),
    /// Something that holds no content: a directory, a socket.
    Other,
    /// A file whose content is not known any more, because others changed it.
    Unknown,
}

/// One configuration file that a change left with another content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContentRow {
    /// Which, absolute.
    pub path: String,
    /// Whether not everybody on the machine could read it, before or after.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// Before; none when it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Content>,
    /// After; none when it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Content>,
}

impl ContentRow {
    /// A row about a path, told like in the record of files.
    #[must_use]
    pub fn new(path: &Path, private: bool, before: Option<Content>, after: Option<Content>) -> Self {
        Self { path: FileRow::new(path, "").path, private, before, after }
    }

    /// Bytes of text in it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let of = |content: &Option<Content>| if let Some(Content::Text(text)) = content { text.len() } else { 0 };
        of(&self.before) + of(&self.after)
    }
}

/// One line, with its end.
#[must_use]
pub fn to_line(row: &ContentRow) -> Vec<u8> {
    let mut bytes = crate::bytes_of(row);
    bytes.push(b'\n');
    bytes
}

/// Reads a line back, with or without its end.
pub fn from_line(bytes: &[u8]) -> Result<ContentRow, WireError> {
    json("contents of configuration files", bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_content_comes_back_on_one_line() {
        let text = Content::Text("a\nb".into());
        for after in [None, Some(Content::Binary), Some(Content::Large), Some(Content::Link("x".into())), Some(Content::Other)] {
            let row = ContentRow::new(Path::new("/etc/x"), after.is_none(), Some(text.clone()), after);
            let line = to_line(&row);
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            assert_eq!((from_line(&line).expect("row"), row.bytes()), (row, 3));
        }
        assert!(from_line(b"{\"path\":\"/x\",\"who\":1}").is_err());
    }
}
