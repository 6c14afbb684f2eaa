//! Writing a transaction's document.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use backstep_core::record::Record;
use nix::fcntl::OFlag;

use crate::directories::{Place, Spool, sync_directory};
use crate::document::Document;
use crate::error::SpoolError;
use crate::head::Head;

impl Spool {
    /// Writes the document: into `inflight/`, or into `done/` when the transaction has ended, and takes the
    /// other copy away. When it returns, the document is durable. Repeatable.
    pub fn mirror(&self, record: &Record, host_id: &str) -> Result<(), SpoolError> {
        let id = record.summary.id;
        let (place, other) = match record.summary.status.state.is_final() {
            true => (Place::Done, Place::Inflight),
            false => (Place::Inflight, Place::Done),
        };
        let (draft, target) = (self.file(Place::Tmp, id), self.file(place, id));
        write(&draft, &Document::new(record, host_id))?;
        // CRASH: before the rename a draft is left in tmp/, which the next start empties.
        std::fs::rename(&draft, &target).map_err(|source| SpoolError::new(&target, source))?;
        sync_directory(&self.directory(place))?;
        // CRASH: here both copies are left; the next start removes the one in inflight/.
        self.remove(other, &self.file(other, id))?;
        // CRASH: the head may be behind; it is never ahead of the record.
        record.events.last().map_or(Ok(()), |last| self.advance_head(Head { seq: last.seq, hash: last.hash }))
    }

    /// Removes a document that may be gone already.
    pub(crate) fn remove(&self, place: Place, path: &Path) -> Result<(), SpoolError> {
        match std::fs::remove_file(path) {
            Ok(()) => sync_directory(&self.directory(place)),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(SpoolError::new(path, source)),
        }
    }
}

/// Writes a small file of its own; what it says may be lost in a power cut.
pub(crate) fn write_unsynced(path: &Path, bytes: &[u8]) -> Result<(), SpoolError> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path);
    file.and_then(|mut file| file.write_all(bytes)).map_err(|source| SpoolError::new(path, source))
}

/// Writes a file of its own and syncs it.
fn write(path: &Path, document: &Document<'_>) -> Result<(), SpoolError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)
        .and_then(|file| fill(&file, document))
        .map_err(|source| SpoolError::new(path, source))
}

/// Piece by piece: a document of a large transaction is never in memory as a whole.
fn fill(file: &File, document: &Document<'_>) -> io::Result<()> {
    let mut writer = BufWriter::new(file);
    serde_json::to_writer_pretty(&mut writer, document)?;
    writer.write_all(b"\n")?;
    writer.flush()?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{in_state, sample};
    use backstep_core::{ErrorCode, TransactionState};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_document_moves_from_inflight_to_done() {
        let folder = tempfile::tempdir().expect("folder");
        let spool = Spool::open(folder.path()).expect("open");
        let running = in_state(sample(), TransactionState::Executing);
        let id = running.summary.id;
        spool.mirror(&running, "host").expect("mirror");
        spool.mirror(&running, "host").expect("again");
        assert_eq!(std::fs::read_to_string(spool.file(Place::Inflight, id)).expect("read"), crate::document(&running, "host"));
        assert!(!spool.file(Place::Done, id).exists());
        let ended = in_state(running, TransactionState::Completed);
        spool.mirror(&ended, "host").expect("mirror");
        assert_eq!(std::fs::read_to_string(spool.file(Place::Done, id)).expect("read"), crate::document(&ended, "host"));
        let mode = std::fs::metadata(spool.file(Place::Done, id)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for place in [Place::Inflight, Place::Tmp] {
            assert_eq!(std::fs::read_dir(spool.directory(place)).expect("read").count(), 0);
        }
    }

    #[test]
    fn no_link_in_tmp_is_followed() {
        let folder = tempfile::tempdir().expect("folder");
        let spool = Spool::open(folder.path()).expect("open");
        let victim = folder.path().join("victim");
        std::fs::write(&victim, "mine").expect("write");
        std::os::unix::fs::symlink(&victim, spool.file(Place::Tmp, sample().summary.id)).expect("link");
        assert!(matches!(spool.mirror(&sample(), "host"), Err(SpoolError::File { .. })));
        assert_eq!(std::fs::read_to_string(&victim).expect("read"), "mine");
    }

    #[test]
    fn a_full_disk_is_named_and_the_old_document_stays() {
        let record = sample();
        let full = OpenOptions::new().write(true).open("/dev/full").expect("open");
        let error = fill(&full, &Document::new(&record, "host")).expect_err("full");
        assert_eq!(SpoolError::new(Path::new("x"), error).code(), ErrorCode::DiskFull);
        let folder = tempfile::tempdir().expect("folder");
        let spool = Spool::open(folder.path()).expect("open");
        spool.mirror(&record, "host").expect("mirror");
        let before = std::fs::read(spool.file(Place::Inflight, record.summary.id)).expect("read");
        std::fs::remove_dir(spool.directory(Place::Tmp)).expect("remove");
        let changed = in_state(record.clone(), TransactionState::Completed);
        assert!(spool.mirror(&changed, "host").is_err());
        assert_eq!(std::fs::read(spool.file(Place::Inflight, record.summary.id)).expect("read"), before);
    }
}
