//! Putting the spool in order at a start, from the record's list of what has not ended.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::DirEntry;
use std::path::{Path, PathBuf};

use backstep_core::TransactionId;

use crate::directories::{Place, Spool};
use crate::error::SpoolError;

/// What was found. The caller mirrors `stale` and `missing` from the record, which has the truth.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use = "stale and missing documents have to be mirrored again"]
pub struct Reconciled {
    /// They have ended, or are unknown to the record, and their document in `inflight/` does not say so.
    pub stale: Vec<TransactionId>,
    /// They have not ended and have no document.
    pub missing: Vec<TransactionId>,
    /// Files in `inflight/` that are no documents; left alone.
    pub strangers: Vec<PathBuf>,
}

impl Spool {
    /// Empties `tmp/`, removes documents from `inflight/` that have their final copy in `done/` and says which
    /// others are to be written again. `unfinished` are all transactions that have not ended. Repeatable.
    pub fn reconcile(&self, unfinished: &[TransactionId]) -> Result<Reconciled, SpoolError> {
        self.empty_tmp()?;
        let mut missing: BTreeSet<TransactionId> = unfinished.iter().copied().collect();
        let mut found = Reconciled::default();
        for entry in entries(&self.directory(Place::Inflight))? {
            match identity(&entry.file_name()) {
                None => found.strangers.push(entry.path()),
                Some(id) if missing.remove(&id) => {}
                Some(id) if self.is_done(id) => self.remove(Place::Inflight, &entry.path())?,
                Some(id) => found.stale.push(id),
            }
        }
        found.missing.extend(missing);
        Ok(found)
    }

    /// Whether the final document of a transaction is there.
    #[must_use]
    pub fn is_done(&self, id: TransactionId) -> bool {
        self.file(Place::Done, id).is_file()
    }

    fn empty_tmp(&self) -> Result<(), SpoolError> {
        for entry in entries(&self.directory(Place::Tmp))? {
            self.remove(Place::Tmp, &entry.path())?;
        }
        Ok(())
    }
}

pub(crate) fn entries(directory: &Path) -> Result<Vec<DirEntry>, SpoolError> {
    let list = std::fs::read_dir(directory).and_then(Iterator::collect);
    list.map_err(|source| SpoolError::new(directory, source))
}

/// The transaction of `<uuid>.json`.
pub(crate) fn identity(name: &OsStr) -> Option<TransactionId> {
    name.to_str()?.strip_suffix(".json")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{in_state, sample};
    use backstep_core::TransactionState;

    fn numbered(n: u8) -> backstep_core::record::Record {
        let mut record = sample();
        record.summary.id = format!("01936b2e-7c1a-7d3e-9f10-0000000000{n:02x}").parse().expect("id");
        record
    }

    #[test]
    fn what_a_crash_leaves_is_found() {
        let folder = tempfile::tempdir().expect("folder");
        let spool = Spool::open(folder.path()).expect("open");
        let [fresh, stale, both, missing] = [1, 2, 3, 4].map(numbered);
        for record in [&fresh, &stale] {
            spool.mirror(record, "host").expect("mirror");
        }
        spool.mirror(&in_state(both.clone(), TransactionState::Completed), "host").expect("mirror");
        let id = both.summary.id;
        std::fs::copy(spool.file(Place::Done, id), spool.file(Place::Inflight, id)).expect("copy");
        std::fs::write(spool.file(Place::Tmp, id), "torn").expect("write");
        let stranger = spool.directory(Place::Inflight).join("notes.txt");
        std::fs::write(&stranger, "").expect("write");
        let found = spool.reconcile(&[fresh.summary.id, missing.summary.id]).expect("reconcile");
        let expected = Reconciled { stale: vec![stale.summary.id], missing: vec![missing.summary.id], strangers: vec![stranger.clone()] };
        assert_eq!(found, expected);
        assert!(!spool.file(Place::Inflight, id).exists() && spool.is_done(id) && stranger.exists());
        assert!(!spool.file(Place::Tmp, id).exists());
        assert_eq!(spool.reconcile(&[fresh.summary.id, missing.summary.id]).expect("again"), expected);
    }
}
