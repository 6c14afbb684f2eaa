//! Giving up undo material that the administrator's limits have no room for, after an attempt is over.
//!
//! Invariants: what a worker may need is not given up while it lives: every worker holds the shared lock for its whole
//! life, and giving up needs it alone. The change is over by then, so nothing here fails it; what cannot be
//! removed is said and tried again after the next attempt.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use backstep_capture::{CaptureDir, prune, size};
use backstep_core::retention::{Fate, Material, given_up, too_many};
use backstep_core::{AttemptId, ErrorCode, Failure, Retention};
use backstep_wire::journal::{Line, Record};
use nix::fcntl::{Flock, FlockArg};

use crate::archives::file_name;
use crate::displace::DISPLACED;
use crate::journal;
use crate::machine::{AttemptFiles, Machine};

/// Archives younger than this may belong to a request that waits.
const YOUNG_S: i64 = 24 * 60 * 60;

/// The right to use undo material, until it is dropped.
#[must_use = "the material may go when this is dropped"]
pub struct Use(Flock<File>);

impl Use {
    /// Waits while another worker gives material up, which takes a moment.
    pub fn take(machine: &Machine) -> Result<Self, Failure> {
        let path = machine.material_lock();
        let failure = |error: io::Error| Failure::new(ErrorCode::WorkerFailed, format!("cannot lock {}: {error}", path.display()));
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failure)?;
        Flock::lock(file, FlockArg::LockShared).map(Self).map_err(|(_, errno)| failure(errno.into()))
    }
}

/// Gives up what goes beyond the limits; answers what could not be removed, in words. While another worker lives
/// nothing is given up.
pub fn release(machine: &Machine, mine: Use, retention: &Retention, now_us: i64) -> Vec<String> {
    if mine.0.relock(FlockArg::LockExclusiveNonblock).is_err() {
        return Vec::new();
    }
    let mut trouble = captures(machine, retention, now_us);
    let given_up = archives(&machine.archives(), &pinned_archives(machine), retention.archive_bytes, now_us / 1_000_000);
    trouble.extend(given_up.err().map(|error| error.to_string()));
    trouble
}

fn captures(machine: &Machine, retention: &Retention, now_us: i64) -> Vec<String> {
    let materials: Vec<Material> = attempts(&machine.captures()).into_iter().filter_map(|attempt| material(machine, attempt)).collect();
    let doomed = given_up(&materials, retention, now_us).into_iter();
    doomed.filter_map(|attempt| prune(&CaptureDir::at(&machine.capture(attempt))).err()).map(|error| error.to_string()).collect()
}

fn attempts(folder: &Path) -> Vec<AttemptId> {
    names(folder).iter().filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect()
}

fn names(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// What cannot be examined stays.
fn material(machine: &Machine, attempt: AttemptId) -> Option<Material> {
    let last = last_line(machine, attempt)?;
    let capture = machine.capture(attempt);
    let bytes = size(&CaptureDir::at(&capture)).ok()?;
    let fate = match last.record {
        // What an undo moved aside is somebody's, and nowhere else.
        _ if capture.join(DISPLACED).exists() => Fate::Open,
        // What a run of apt left half done can be undone like what it completed.
        Record::Committed { .. } | Record::Left { .. } => Fate::Committed,
        Record::Aborted { differences } if differences.is_empty() => Fate::Undone,
        _ => Fate::Open,
    };
    let pinned = first(machine, attempt).pinned().exists();
    Some(Material { attempt, at_us: last.utc_us, bytes, fate, pinned })
}

/// A transaction is pinned as a whole, at its first attempt.
fn first(machine: &Machine, attempt: AttemptId) -> AttemptFiles {
    machine.attempt(AttemptId { number: 1, ..attempt })
}

/// The last word on a change is its last attempt's: a later one undoes what an earlier one left.
fn last_line(machine: &Machine, attempt: AttemptId) -> Option<Line> {
    let of = |number| machine.attempt(AttemptId { number, ..attempt });
    let last = (attempt.number..).take_while(|number| of(*number).folder().exists()).last()?;
    journal::read(&of(last).journal()).ok()?.0.pop()
}

/// The archives that an undo by packages of what is pinned needs: those of the versions before.
fn pinned_archives(machine: &Machine) -> BTreeSet<PathBuf> {
    let folder = machine.archives().join("by-name");
    let pinned = attempts(&machine.attempts()).into_iter().map(|attempt| machine.attempt(attempt)).filter(|files| files.pinned().exists());
    let plans = pinned.filter_map(|files| backstep_wire::plan::from_bytes(&fs::read(files.plan()).ok()?).ok());
    let names = plans.flat_map(|plan| plan.items).filter_map(|item| Some(file_name(&item.package, item.from.as_ref()?)));
    names.filter_map(|name| fs::read_link(folder.join(name)).ok()?.file_name().map(|name| machine.archives().join(name))).collect()
}

/// Removes the oldest archives, but for some, and the names that lead nowhere then.
fn archives(folder: &Path, wanted: &BTreeSet<PathBuf>, limit: u64, now_s: i64) -> io::Result<()> {
    let is_old = |meta: &fs::Metadata| now_s.saturating_sub(meta.ctime()) > YOUNG_S;
    let is_archive = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "deb");
    let of = |path: PathBuf| fs::symlink_metadata(&path).ok().filter(|meta| meta.is_file() && is_old(meta)).map(|meta| (meta, path));
    let mut all: Vec<(fs::Metadata, PathBuf)> =
        names(folder).into_iter().filter(is_archive).filter(|path| !wanted.contains(path)).filter_map(of).collect();
    all.sort_by_key(|(meta, path)| (meta.ctime(), meta.ctime_nsec(), path.clone()));
    let sizes: Vec<u64> = all.iter().map(|(meta, _)| if meta.nlink() == 1 { meta.blocks() * 512 } else { 0 }).collect();
    all.iter().take(too_many(&sizes, limit)).try_for_each(|(_, path)| fs::remove_file(path))?;
    names(&folder.join("by-name")).iter().filter(|link| !link.exists()).try_for_each(fs::remove_file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::FileJournal;
    use crate::testing::attempt;
    use backstep_core::Digest;
    use backstep_engine::runner::Journal;

    struct Place {
        _folder: tempfile::TempDir,
        machine: Machine,
    }

    fn place() -> Place {
        let folder = tempfile::tempdir().expect("folder");
        let machine = Machine::new(&folder.path().join("root"), &folder.path().join("state"));
        machine.folders().iter().for_each(|folder| fs::create_dir_all(folder).expect("folder"));
        Place { _folder: folder, machine }
    }

    impl Place {
        /// A capture whose attempt ended so.
        fn capture(&self, of: AttemptId, end: Option<Record>) {
            CaptureDir::create(&self.machine.capture(of)).expect("capture");
            self.attempt(of, end);
        }

        fn attempt(&self, of: AttemptId, end: Option<Record>) {
            let files = self.machine.attempt(of);
            fs::create_dir_all(files.folder()).expect("folder");
            let mut journal = FileJournal::open(&files).expect("journal");
            journal.record(Record::Noted { code: None, text: "begun".into() }).expect("record");
            end.into_iter().for_each(|record| journal.record(record).expect("record"));
        }

        fn release(&self, retention: Retention) -> Vec<String> {
            release(&self.machine, Use::take(&self.machine).expect("use"), &retention, 0)
        }

        fn left(&self) -> Vec<AttemptId> {
            let mut left = attempts(&self.machine.captures());
            left.sort();
            left
        }
    }

    fn other(number: u32) -> AttemptId {
        AttemptId { transaction: "01936b2e-7c1a-7d3e-9f10-0123456789ac".parse().expect("id"), number }
    }

    const ONE: Retention = Retention { changes: 1, days: 0, bytes: 0, archive_bytes: 0 };

    #[test]
    fn the_oldest_change_goes_and_the_newest_stays() {
        let place = place();
        place.capture(attempt(1), Some(Record::Committed { world: Digest([1; 32]) }));
        place.capture(other(1), Some(Record::Committed { world: Digest([1; 32]) }));
        assert!(place.release(ONE).is_empty());
        assert_eq!(place.left(), [other(1)]);
    }

    #[test]
    fn what_was_undone_goes_and_what_is_open_stays() {
        let place = place();
        place.capture(attempt(1), None);
        place.capture(other(1), None);
        place.attempt(other(2), Some(Record::Aborted { differences: Vec::new() }));
        place.release(ONE);
        assert_eq!(place.left(), [attempt(1)]);
        place.attempt(attempt(2), Some(Record::Aborted { differences: vec!["/etc/x differs".into()] }));
        place.release(ONE);
        assert_eq!(place.left(), [attempt(1)], "what differs may still be wanted");
    }

    #[test]
    fn what_is_pinned_stays_with_the_archives_that_it_needs() {
        let place = place();
        for of in [attempt(1), other(1)] {
            place.capture(of, Some(Record::Committed { world: Digest([1; 32]) }));
        }
        let files = place.machine.attempt(attempt(1));
        let upgrade = crate::testing::item("aa:all", backstep_core::PlanAction::Upgrade, Some("1:1"), Some("2"));
        fs::write(files.plan(), backstep_wire::plan::to_bytes(&crate::testing::plan_of(vec![upgrade]))).expect("plan");
        let folder = place.machine.archives();
        for (digest, name) in [(1, "aa_1%3a1_all.deb"), (2, "bb_1_all.deb")] {
            fs::write(place.machine.kept_archive(Digest([digest; 32])), vec![1; 8 << 10]).expect("archive");
            crate::archives::name(&place.machine, name, Digest([digest; 32])).expect("name");
        }
        fs::write(files.pinned(), "").expect("pin");
        let late = i64::MAX / 2;
        let limits = Retention { archive_bytes: 1, ..ONE };
        assert!(release(&place.machine, Use::take(&place.machine).expect("use"), &limits, late).is_empty());
        assert_eq!(place.left(), [attempt(1), other(1)]);
        assert!(folder.join("by-name/aa_1%3a1_all.deb").exists() && !folder.join("by-name/bb_1_all.deb").exists());
        fs::remove_file(files.pinned()).expect("unpin");
        release(&place.machine, Use::take(&place.machine).expect("use"), &limits, late);
        assert_eq!(place.left(), [other(1)]);
        assert!(!folder.join("by-name/aa_1%3a1_all.deb").exists());
    }

    #[test]
    fn what_an_undo_moved_aside_is_never_given_up() {
        let place = place();
        place.capture(attempt(1), Some(Record::Aborted { differences: Vec::new() }));
        fs::create_dir(place.machine.capture(attempt(1)).join(DISPLACED)).expect("folder");
        place.release(ONE);
        assert_eq!(place.left(), [attempt(1)]);
    }

    #[test]
    fn while_another_worker_lives_nothing_goes() {
        let place = place();
        place.capture(attempt(1), Some(Record::Aborted { differences: Vec::new() }));
        let living = Use::take(&place.machine).expect("use");
        place.release(ONE);
        assert_eq!(place.left(), [attempt(1)]);
        drop(living);
        place.release(ONE);
        assert!(place.left().is_empty());
    }

    #[test]
    fn archives_go_oldest_first_with_their_names_and_young_ones_stay() {
        let place = place();
        let folder = place.machine.archives();
        fs::create_dir(folder.join("by-name")).expect("folder");
        for name in ["a", "b"] {
            fs::write(folder.join(format!("{name}.deb")), vec![1; 8 << 10]).expect("archive");
            std::os::unix::fs::symlink(format!("../{name}.deb"), folder.join("by-name").join(name)).expect("name");
        }
        let now = fs::metadata(folder.join("b.deb")).expect("metadata").ctime();
        archives(&folder, &BTreeSet::new(), 1, now).expect("young");
        assert!(folder.join("a.deb").exists());
        archives(&folder, &BTreeSet::new(), 8 << 10, now + 2 * YOUNG_S).expect("old");
        assert!(!folder.join("a.deb").exists() && folder.join("b.deb").exists());
        assert!(fs::symlink_metadata(folder.join("by-name/a")).is_err() && folder.join("by-name/b").exists());
    }
}
