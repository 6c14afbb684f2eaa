//! The head: the newest event that was mirrored. A record without it is not the one that the spool was written from, or is
//! an older copy of it: that is seen at a start by one look, however long the history is.
//!
//! It may be behind the record (it is written last and not synced), never ahead.

use std::io;
use std::path::PathBuf;

use backstep_core::Digest;
use serde::{Deserialize, Serialize};

use crate::directories::{Place, Spool};
use crate::error::SpoolError;

/// An event's number in the record and the hash that stands for all up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its number.
    pub seq: i64,
    /// Its hash.
    pub hash: Digest,
}

#[derive(Serialize, Deserialize)]
struct HeadFile {
    seq: i64,
    hash: String,
}

impl Spool {
    /// The head; `None` when nothing was mirrored yet, or when it cannot be read after a power cut.
    pub fn head(&self) -> Result<Option<Head>, SpoolError> {
        let path = self.head_file();
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(SpoolError::new(&path, source)),
        };
        let file: Option<HeadFile> = serde_json::from_slice(&bytes).ok();
        Ok(file.and_then(|file| Some(Head { seq: file.seq, hash: file.hash.parse().ok()? })))
    }

    /// Whether there is a head, readable or not: then something was mirrored.
    #[must_use]
    pub fn has_head(&self) -> bool {
        self.head_file().exists()
    }

    /// Moves the head on; an older one is no news.
    pub(crate) fn advance_head(&self, head: Head) -> Result<(), SpoolError> {
        if self.head()?.is_some_and(|known| known.seq >= head.seq) {
            return Ok(());
        }
        self.set_head(head)
    }

    /// Says from which record the spool is written now.
    pub fn set_head(&self, head: Head) -> Result<(), SpoolError> {
        let (path, draft) = (self.head_file(), self.directory(Place::Tmp).join("head.json"));
        let text = format!("{}\n", serde_json::json!(HeadFile { seq: head.seq, hash: head.hash.to_string() }));
        crate::mirror::write_unsynced(&draft, text.as_bytes())?;
        std::fs::rename(&draft, &path).map_err(|source| SpoolError::new(&path, source))
    }

    fn head_file(&self) -> PathBuf {
        self.root().join("head.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_goes_forward_only_unless_it_is_set() {
        let folder = tempfile::tempdir().expect("folder");
        let spool = Spool::open(folder.path()).expect("open");
        assert!(spool.head().expect("none").is_none() && !spool.has_head());
        let head = |seq: i64| Head { seq, hash: Digest([7; 32]) };
        for (advance, expected) in [(5, 5), (3, 5), (9, 9)] {
            spool.advance_head(head(advance)).expect("advance");
            assert_eq!(spool.head().expect("head"), Some(head(expected)));
        }
        spool.set_head(head(2)).expect("set");
        assert_eq!(spool.head().expect("head"), Some(head(2)));
        std::fs::write(spool.head_file(), "").expect("torn");
        assert!(spool.head().expect("read").is_none() && spool.has_head());
    }
}
