//! Copies of the whole record, made while it is written.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::Backup;

use crate::error::StoreError;
use crate::open::{Run, Store, quick_check};
use crate::reader::Reader;

impl Reader {
    /// Makes a new file with everything that is committed now, checked and durable, readable by its owner only. The
    /// file must not be there.
    ///
    /// All pages are copied from one snapshot: a copy in steps would begin again with each write.
    pub fn back_up(&self, target: &Path) -> Result<(), StoreError> {
        let file_error = |source| StoreError::File { path: target.to_owned(), source };
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(target).map_err(file_error)?;
        let mut copy = Connection::open(target)?;
        Backup::new(&self.conn, &mut copy)?.run_to_completion(i32::MAX, Duration::ZERO, None)?;
        // One file, without a log beside it, until somebody opens it as a record.
        copy.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))?;
        quick_check(&copy)?;
        copy.close().map_err(|(_, error)| error)?;
        File::open(target).and_then(|file| file.sync_all()).map_err(file_error)
    }
}

/// Brings a copy of a record, of which there is nobody else, to this program's schema and checks it as a whole.
pub fn adopt_copy(path: &Path) -> Result<(), StoreError> {
    let store = Store::open(path, &Run::none())?;
    store.check()?;
    store.close()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use backstep_core::Kind;

    use crate::tests::{Fixture, id, run};
    use crate::{Reader, Store, StoreError};

    #[test]
    fn a_copy_is_a_record_of_that_moment() {
        let mut f = Fixture::new();
        f.completed(1, Kind::Install, None);
        let target = f.path.with_extension("copy");
        let reader = Reader::open(&f.path).expect("open");
        reader.back_up(&target).expect("back up");
        assert_eq!(std::fs::metadata(&target).expect("file").permissions().mode() & 0o777, 0o600);
        assert!(!target.with_extension("copy-wal").exists());
        f.completed(2, Kind::Install, None);
        assert!(matches!(reader.back_up(&target), Err(StoreError::File { .. })), "nothing is overwritten");
        let copy = Store::open(&target, &run(2)).expect("the copy is a record");
        assert!(copy.summary(id(1)).expect("read").is_some() && copy.summary(id(2)).expect("read").is_none());
        assert!(copy.verify_chain().expect("whole") > 0);
        // It can be gone on with.
        f.store = copy;
        f.completed(3, Kind::Install, None);
        assert_eq!(f.count("transactions"), 2);
    }
}
