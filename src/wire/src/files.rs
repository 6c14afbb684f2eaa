//! The record of files that an attempt changed: one JSON object a line, sorted by path.
//!
//! A path that is not UTF-8 is told with replacement characters, and exactly by its bytes beside.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{WireError, json};

/// One file before or after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSide {
    /// `file`, `directory`, `symlink`, `fifo`, `socket`, `char-device` or `block-device`.
    pub kind: String,
    /// Permission bits, in octal.
    pub mode: String,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of a file's content, in hexadecimal; absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Where a symbolic link points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// One path that is not as before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRow {
    /// Which, absolute.
    pub path: String,
    /// Its bytes in hexadecimal, when it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// `created`, `renamed`, `replaced`, `written`, `removed` or `metadata`.
    pub change: String,
    /// With `renamed`: where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// How it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<FileSide>,
    /// How it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<FileSide>,
    /// Whether someone else changed it meanwhile: it will not be undone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_others: bool,
    /// The package of the change that owns it, `name:arch`; absent when none does, or more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
}

impl FileRow {
    /// A row of a path and a change; the rest is to be filled in.
    #[must_use]
    pub fn new(path: &Path, change: &str) -> Self {
        let path_hex = path.to_str().is_none().then(|| hex(path.as_os_str().as_bytes()));
        let path = path.to_string_lossy().into_owned();
        Self { path, path_hex, change: change.to_owned(), from: None, before: None, after: None, by_others: false, package: None }
    }

    /// The path, exactly.
    #[must_use]
    pub fn exact_path(&self) -> PathBuf {
        let bytes = self.path_hex.as_deref().and_then(unhex);
        bytes.map_or_else(|| PathBuf::from(&self.path), |bytes| PathBuf::from(OsStr::from_bytes(&bytes)))
    }
}

/// A row's bytes, newline included.
#[must_use]
pub fn to_line(row: &FileRow) -> Vec<u8> {
    let mut bytes = crate::bytes_of(row);
    bytes.push(b'\n');
    bytes
}

/// Reads one line, with or without its newline.
pub fn from_line(bytes: &[u8]) -> Result<FileRow, WireError> {
    json("record of files", bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    if text.len().is_multiple_of(2) { (0..text.len()).step_by(2).map(pair).collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_comes_back_exactly_and_on_one_line() {
        for bytes in [&b"/etc/x"[..], b"/a b\n\"c\"", b"/\xff\xfe/\xc3\xa4"] {
            let path = Path::new(OsStr::from_bytes(bytes));
            let line = to_line(&FileRow { by_others: true, ..FileRow::new(path, "written") });
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            let row = from_line(&line).expect("row");
            assert_eq!((row.exact_path(), row.by_others), (path.to_owned(), true));
        }
    }

    #[test]
    fn what_is_absent_takes_no_room_and_what_is_unknown_is_refused() {
        let line = to_line(&FileRow::new(Path::new("/x"), "created"));
        assert_eq!(line, b"{\"path\":\"/x\",\"change\":\"created\"}\n");
        assert!(from_line(b"{\"path\":\"/x\",\"change\":\"created\",\"who\":1}").is_err());
    }
}
