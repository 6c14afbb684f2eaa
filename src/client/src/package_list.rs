//! Packages from a file or from standard input: what other programs find out and hand over, in one transaction.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::error::ClientError;

/// More than the daemon takes of a request by far, and little to read.
const MOST: u64 = 1024 * 1024;

/// Why a list names no packages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PackageListError {
    /// Bytes that are no text.
    #[error("it is no UTF-8 text")]
    NoText,
    /// Something in brackets that is no array of strings.
    #[error("it is no JSON array of strings: {0}")]
    NoArray(String),
    /// Far more than a transaction takes.
    #[error("it has more than {MOST} bytes")]
    Huge,
    /// Nothing at all.
    #[error("it names no package")]
    Empty,
}

/// Reads the list of this file; of standard input for `-`.
pub(crate) fn read(path: &Path) -> Result<Vec<String>, ClientError> {
    if path == Path::new("-") { read_from(io::stdin().lock(), Path::new("standard input")) } else { read_file(path) }
}

fn read_file(path: &Path) -> Result<Vec<String>, ClientError> {
    read_from(File::open(path).map_err(|source| ClientError::Archive { path: path.to_owned(), source })?, path)
}

fn read_from(from: impl Read, path: &Path) -> Result<Vec<String>, ClientError> {
    let mut bytes = Vec::new();
    from.take(MOST + 1).read_to_end(&mut bytes).map_err(|source| ClientError::Archive { path: path.to_owned(), source })?;
    let list = if bytes.len() as u64 > MOST { Err(PackageListError::Huge) } else { parse(&bytes) };
    list.map_err(|source| ClientError::List { path: path.to_owned(), source })
}

/// A JSON array of strings when it begins with a bracket; packages ended by NUL when there is one; else a package a line,
/// with empty lines and those that begin with `#` left out. Each is written as on the command line.
fn parse(bytes: &[u8]) -> Result<Vec<String>, PackageListError> {
    let text = std::str::from_utf8(bytes).map_err(|_| PackageListError::NoText)?;
    let list: Vec<String> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text).map_err(|error| PackageListError::NoArray(error.to_string()))?
    } else if text.contains('\0') {
        text.split('\0').filter(|package| !package.is_empty()).map(str::to_owned).collect()
    } else {
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
    };
    if list.is_empty() { Err(PackageListError::Empty) } else { Ok(list) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_ways_of_writing_say_the_same() {
        for bytes in [&b"# wanted\nnano\n\n  hello=1-2 \r\n"[..], b"nano\0hello=1-2\0", b"nano\0hello=1-2", b" [\"nano\", \"hello=1-2\"]\n"]
        {
            assert_eq!(parse(bytes).expect("list"), ["nano", "hello=1-2"], "{}", String::from_utf8_lossy(bytes));
        }
        // What stands between NULs is taken as it is: a name with a line end is refused as a name, not taken for two.
        assert_eq!(parse(b"nano\nhello\0").expect("list"), ["nano\nhello"]);
    }

    #[test]
    fn what_names_no_packages_says_why() {
        assert_eq!(parse(b""), Err(PackageListError::Empty));
        assert_eq!(parse(b"# nothing\n"), Err(PackageListError::Empty));
        assert_eq!(parse(b"[]"), Err(PackageListError::Empty));
        assert_eq!(parse(b"na\xffno"), Err(PackageListError::NoText));
        for array in [&b"[\"nano\""[..], b"[1]", b"[{\"package\": \"nano\"}]"] {
            assert!(matches!(parse(array), Err(PackageListError::NoArray(_))));
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test sets its scene with plain calls")]
    fn files_are_read_up_to_a_limit() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("packages");
        assert!(matches!(read(&path), Err(ClientError::Archive { .. })));
        std::fs::write(&path, "nano\n").expect("write");
        assert_eq!(read(&path).expect("list"), ["nano"]);
        std::fs::write(&path, vec![b'a'; usize::try_from(MOST).expect("size") + 1]).expect("write");
        let error = read(&path).expect_err("too long");
        assert!(matches!(error, ClientError::List { source: PackageListError::Huge, .. }), "{error}");
    }
}
