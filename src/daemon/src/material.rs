//! How much undo material is kept. Counts and sizes only: nothing here says whose.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use backstep_bus::UndoMaterial;
use backstep_capture::{CaptureDir, size};
use backstep_core::{ErrorCode, Failure, Retention};

use crate::attempts::Attempts;

/// What there is, beside what there may be. It looks at every kept file; not for the bus's threads.
pub fn count(attempts: &Attempts, archives: &Path, retention: &Retention) -> Result<UndoMaterial, Failure> {
    let (mut found, mut transactions, mut pinned) = (UndoMaterial::default(), BTreeSet::new(), BTreeSet::new());
    for attempt in attempts.captured()? {
        let dir = attempts.capture(attempt);
        let failed = |text: String| Failure::new(ErrorCode::StoreFailed, format!("cannot look at {}: {text}", dir.display()));
        let bytes = size(&CaptureDir::at(&dir)).map_err(|error| failed(error.to_string()))?;
        // One that was given up meanwhile is no trouble.
        let Ok(made) = fs::metadata(&dir) else { continue };
        found.bytes += bytes;
        transactions.insert(attempt.transaction);
        if attempts.is_pinned(attempt.transaction) {
            found.pinned_bytes += bytes;
            pinned.insert(attempt.transaction);
        }
        let at = made.mtime().saturating_mul(1_000_000);
        found.oldest = Some(found.oldest.map_or(at, |oldest| oldest.min(at)));
    }
    (found.archives, found.archive_bytes) = kept_archives(archives);
    let count = |set: &BTreeSet<_>| u32::try_from(set.len()).unwrap_or(u32::MAX);
    (found.transactions, found.pinned) = (count(&transactions), count(&pinned));
    let Retention { changes, days, bytes, archive_bytes } = *retention;
    (found.limit_transactions, found.limit_days, found.limit_bytes, found.limit_archive_bytes) = (changes, days, bytes, archive_bytes);
    Ok(found)
}

/// How many there are, and the bytes that only they take.
fn kept_archives(folder: &Path) -> (u32, u64) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let archives = entries.filter(|path| path.extension().is_some_and(|extension| extension == "deb"));
    let sizes = archives.filter_map(|path| fs::symlink_metadata(path).ok()).filter(fs::Metadata::is_file);
    sizes.fold((0, 0), |(count, bytes), meta| (count + 1, bytes + if meta.nlink() == 1 { meta.blocks() * 512 } else { 0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_counted_and_what_is_pinned_apart() {
        let dir = tempfile::tempdir().expect("tempdir");
        let attempts = Attempts::open(dir.path()).expect("open");
        let archives = dir.path().join("archives");
        assert_eq!(count(&attempts, &archives, &Retention { changes: 1, days: 2, bytes: 3, archive_bytes: 4 }).expect("none"), {
            let limits = UndoMaterial { limit_transactions: 1, limit_days: 2, ..UndoMaterial::default() };
            UndoMaterial { limit_bytes: 3, limit_archive_bytes: 4, ..limits }
        });
        let ids = ["01936b2e-7c1a-7d3e-9f10-0123456789ab-1", "01936b2e-7c1a-7d3e-9f10-0123456789ac-1"].map(|id| id.parse().expect("id"));
        for id in ids {
            fs::create_dir_all(attempts.capture(id).join("objects/0")).expect("mkdir");
            fs::write(attempts.capture(id).join("objects/0/1"), vec![1; 8 << 10]).expect("write");
            fs::create_dir_all(attempts.folder(id)).expect("mkdir");
        }
        fs::create_dir(&archives).expect("mkdir");
        fs::write(archives.join("a.deb"), vec![1; 8 << 10]).expect("write");
        attempts.pin(ids[0].transaction).expect("pin");
        let found = count(&attempts, &archives, &Retention::default()).expect("count");
        assert_eq!((found.transactions, found.pinned, found.archives), (2, 1, 1));
        assert_eq!((found.bytes, found.pinned_bytes, found.archive_bytes), (16 << 10, 8 << 10, 8 << 10));
        assert!(found.oldest.is_some_and(|at| at > 0));
    }
}
