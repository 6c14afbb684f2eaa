//! Failing storage: every write and every sync of some transactions fails, once or from then on; small disks.
//!
//! Pass: whatever fails, nothing is told that is not so, and with the next starts on a disk that works everything comes
//! to rest as the judge wants it. A failure that lasts is one of the whole machine: daemon, worker and dpkg have it.

use anyhow::{Context, Result, ensure};
use backstep_core::record::Record;
use backstep_core::{ErrorCode, Event, TransactionState};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::judge::{at_rest, judge, records};
use crate::matrix::{Matrix, named};
use crate::place::Place;
use crate::tracer::{Blow, End, Role, SYNCS, Strike, Tracer, WRITES};

/// The transactions whose storage fails.
pub const FAILING: [&str; 5] = ["install", "update two", "a script fails", "hold", "an update is undone"];

/// Calls that change names.
const NAMES: [&str; 10] = ["rename", "renameat", "renameat2", "link", "linkat", "symlink", "unlink", "unlinkat", "mkdir", "rmdir"];

/// A way to fail: its name, which calls, and how.
pub type Way = (&'static str, &'static [&'static str], Blow);

/// All ways.
pub const WAYS: [Way; 6] = [
    ("a write", &WRITES, Blow::Fail(Errno::EIO)),
    ("writes", &WRITES, Blow::FailOn(Errno::EIO)),
    ("space", &WRITES, Blow::FailOn(Errno::ENOSPC)),
    ("a sync", &SYNCS, Blow::Fail(Errno::EIO)),
    ("syncs", &SYNCS, Blow::FailOn(Errno::EIO)),
    ("names", &NAMES, Blow::FailOn(Errno::EROFS)),
];

/// Makes each `stride`-th write and sync of this part fail, in every way. Answers how many calls failed.
pub fn sweep(matrix: &mut Matrix, mine: impl Fn(u32) -> bool) -> Result<u32> {
    let mut failed = 0;
    for name in FAILING {
        let scenario = named(name)?;
        for (_, calls, blow) in WAYS {
            for role in [Role::Daemon, Role::Worker] {
                for at in (1..).filter(|at| mine(*at)) {
                    let went = matrix.check(scenario, &[Strike { role, at, blow, calls }]);
                    if went.is_some_and(|went| went.struck == 0) {
                        break;
                    }
                    failed += 1;
                }
            }
        }
    }
    Ok(failed)
}

/// A file system in memory with so many bytes and names, unmounted in the end.
struct Small {
    dir: tempfile::TempDir,
}

impl Small {
    fn new(limits: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        mount(Some("tmpfs"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some(limits)).context("cannot mount")?;
        Ok(Self { dir })
    }

    fn limit(&self, limits: &str, flags: MsFlags) -> Result<()> {
        mount(Some("tmpfs"), self.dir.path(), Some("tmpfs"), MsFlags::MS_REMOUNT | flags, Some(limits)).context("cannot mount again")
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        if let Err(errno) = umount2(self.dir.path(), MntFlags::MNT_DETACH) {
            eprintln!("cannot unmount {}: {errno}", self.dir.path().display());
        }
    }
}

const ROOM: &str = "size=64m,nr_inodes=10000";

/// One scenario on a disk that has only a little left, then on one with room. Answers whether it was done on the small one.
pub fn on_a_small_disk(name: &str, left: &str) -> Result<bool> {
    nix::sys::prctl::set_child_subreaper(true)?;
    let scenario = named(name)?;
    let small = Small::new(ROOM)?;
    let (place, words) = (Place::make(small.dir.path())?, tempfile::tempdir()?);
    // What the run says of itself lies on a disk that works.
    for file in [place.told(), place.log(), place.effects()] {
        std::os::unix::fs::symlink(words.path().join(file.file_name().context("name")?), file)?;
    }
    let mut tracer = Tracer::new();
    let mut start = || {
        let arguments = ["daemon".to_owned(), place.dir().display().to_string(), scenario.name.to_owned()];
        let end = tracer.run(&std::env::current_exe()?, &arguments, (&place.told(), &place.log()), None)?;
        tracer.drain()?;
        Ok::<End, anyhow::Error>(end)
    };
    small.limit(left, MsFlags::empty())?;
    let end = start()?;
    let as_wished = |line: &String| scenario.wishes.iter().any(|wish| line.ends_with(&format!(" {}", wish.ends.undisturbed())));
    let done = end == End::Code(0) && Place::lines(&place.told())?.last().is_some_and(as_wished);
    small.limit(ROOM, MsFlags::MS_RDONLY)?;
    ensure!(start()? != End::Code(0), "a daemon started on a read-only disk");
    small.limit(ROOM, MsFlags::empty())?;
    let mut rested = false;
    for _ in 0..3 {
        rested = start()? == End::Code(0);
    }
    ensure!(rested, "{name} with {left}: not at rest once there is space: {}", Place::lines(&place.log())?.join("\n"));
    let records = records(&place)?;
    // An undo that found no room says so, with every difference: that is true, and a person's matter.
    let honest = |record: &Record| record.summary.status.state == TransactionState::PartiallyRolledBack && has_differences(record);
    if !done && records.values().any(honest) {
        return at_rest(&place, &records).with_context(|| format!("{name} with {left}")).map(|()| done);
    }
    judge(&place, scenario, !done).with_context(|| format!("{name} with {left}"))?;
    Ok(done)
}

fn has_differences(record: &Record) -> bool {
    let difference = |event: &Event| matches!(event, Event::Noted { code: Some(ErrorCode::UndoIncomplete), .. });
    record.events.iter().any(|record| difference(&record.event))
}

/// Every scenario of [`FAILING`] on disks from too small for anything to large enough. Answers how many, and how many of
/// them were too small.
pub fn small_disks() -> Result<(u32, u32)> {
    let sizes = [100, 200, 400, 800, 1200, 1600, 2400, 4800, 8300, 8500, 8700, 9000, 9500, 10_000, 12_000];
    let names = [60, 70, 80, 90, 100, 120, 150, 200];
    let limits: Vec<String> = sizes
        .iter()
        .map(|kib| format!("size={kib}k,nr_inodes=10000"))
        .chain(names.iter().map(|names| format!("size=64m,nr_inodes={names}")))
        .collect();
    let (mut all, mut failed) = (0, 0);
    for name in FAILING {
        for left in &limits {
            all += 1;
            failed += u32::from(!on_a_small_disk(name, left)?);
        }
    }
    Ok((all, failed))
}
