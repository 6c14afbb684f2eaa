//! What apt calls in dpkg's place: it becomes dpkg, after marking that files are being changed and deciding whether this
//! call's writes wait for the barrier.
//!
//! Invariants: dpkg's arguments are what apt gave, less our own option, with one more where writes are held back, and with
//! archives that are ready in the place of the same ones that are not; its descriptors and environment are apt's; a call
//! that configures starts only after everything unpacked before is durable; nothing that is not known to unpack or remove
//! runs with its writes held back; the mark is there before any of its effects is.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use backstep_core::{ErrorCode, Failure};

use crate::durability::{SYNCED, UNSYNCED, barrier, is_on_one_device};
use crate::machine::Machine;

/// The real one.
pub const DPKG: &str = "/usr/bin/dpkg";

/// What dpkg is told besides when its writes are held back: not to open each new file twice more, for syncs that do nothing
/// then. Each opening is announced to the guard.
const WITHOUT_SYNCS: &str = "--force-unsafe-io";

/// What our own option says: where the mark is, and what becomes of dpkg's writes meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// They wait for the barrier.
    Unsynced(PathBuf),
    /// dpkg syncs each.
    Synced(PathBuf),
}

impl Mark {
    fn path(&self) -> &Path {
        match self {
            Self::Unsynced(path) | Self::Synced(path) => path,
        }
    }
}

/// Separates our own option, which stands before dpkg's, from what dpkg gets.
pub fn split(arguments: impl Iterator<Item = OsString>) -> (Option<Mark>, Vec<OsString>) {
    let mut ours = None;
    let mut dpkgs = Vec::new();
    for argument in arguments {
        match mark(&argument).filter(|_| ours.is_none()) {
            Some(mark) => ours = Some(mark),
            None => dpkgs.push(argument),
        }
    }
    (ours, dpkgs)
}

fn mark(argument: &OsStr) -> Option<Mark> {
    let behind = |option: &str| argument.as_bytes().strip_prefix(option.as_bytes()).map(|path| OsString::from_vec(path.to_vec()).into());
    behind(UNSYNCED).map(Mark::Unsynced).or_else(|| behind(SYNCED).map(Mark::Synced))
}

/// What a call of dpkg does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Unpacks or removes.
    Files,
    /// Configures or runs triggers.
    Configure,
    /// Answers a question.
    Ask,
}

impl Phase {
    /// What dpkg is called for, in a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Files => "unpacking or removing",
            Self::Configure => "configuring",
            Self::Ask => "answering",
        }
    }
}

/// Reads the phase off dpkg's arguments, its name left out. dpkg takes one action a call.
#[must_use]
pub fn phase(arguments: &[OsString]) -> Phase {
    let words = arguments.iter().map(OsString::as_os_str).take_while(|word| *word != "--");
    words.filter_map(action).next().unwrap_or(Phase::Ask)
}

fn action(word: &OsStr) -> Option<Phase> {
    match word.to_str()? {
        "--unpack" | "--remove" | "--purge" => Some(Phase::Files),
        // Installing configures too, so that its scripts sync for real.
        "--configure" | "--triggers-only" | "--install" | "-i" | "-r" | "-P" => Some(Phase::Configure),
        _ => None,
    }
}

/// What dpkg is told besides.
#[must_use]
pub fn besides(phase: Phase, mark: &Mark) -> Option<&'static str> {
    match mark {
        Mark::Unsynced(_) if phase == Phase::Files => Some(WITHOUT_SYNCS),
        Mark::Unsynced(_) | Mark::Synced(_) => None,
    }
}

/// Prepares this process to become dpkg.
pub fn prepare(phase: Phase, machine: &Machine, mark: &Mark) -> Result<(), Failure> {
    let error = |error: io::Error| Failure::new(ErrorCode::StoreFailed, format!("cannot make what was unpacked durable: {error}"));
    match phase {
        Phase::Files => begin(machine, mark),
        Phase::Configure if mark.path().exists() => {
            barrier(machine).map_err(error)?;
            fs::remove_file(mark.path()).map_err(error)
        }
        Phase::Configure | Phase::Ask => Ok(()),
    }
}

fn begin(machine: &Machine, mark: &Mark) -> Result<(), Failure> {
    let error = |what: &str, error: String| Failure::new(ErrorCode::WorkerFailed, format!("cannot {what}: {error}"));
    put(machine, mark.path()).map_err(|source| error("mark that files are being changed", source.to_string()))?;
    match mark {
        Mark::Unsynced(_) => backstep_supervise::suppress_sync().map_err(|source| error("hold writes back", source.to_string())),
        Mark::Synced(_) => Ok(()),
    }
}

/// On one file system names appear in their order: the mark, then what it is about. Elsewhere it must be durable first.
fn put(machine: &Machine, mark: &Path) -> io::Result<()> {
    let file = File::create(mark)?;
    if is_on_one_device(machine, Some(file.metadata()?.dev())) {
        return Ok(());
    }
    file.sync_all()?;
    mark.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Phase {
        phase(&line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_calls_of_apt_are_known_by_their_action() {
        assert_eq!(of("--force-confold --status-fd 9 --no-triggers --unpack --auto-deconfigure /x/a.deb"), Phase::Files);
        assert_eq!(of("--status-fd 9 --no-triggers --force-depends --remove aa:all"), Phase::Files);
        assert_eq!(of("--status-fd 9 --configure --pending"), Phase::Configure);
        assert_eq!(of("--print-foreign-architectures"), Phase::Ask);
        assert_eq!(of("--status-fd 9 --configure -- --unpack"), Phase::Configure);
        assert_eq!(of("-- --unpack"), Phase::Ask);
    }

    #[test]
    fn our_option_is_not_dpkgs() {
        let words = ["--force-confold", "--backstep-unsynced=/x/unsynced", "--unpack", "--", "a"].map(OsString::from);
        let (ours, dpkgs) = split(words.into_iter());
        assert_eq!(ours, Some(Mark::Unsynced("/x/unsynced".into())));
        assert_eq!(dpkgs, ["--force-confold", "--unpack", "--", "a"]);
        let (ours, dpkgs) = split(["--backstep-synced=/x/unsynced", "--unpack"].map(OsString::from).into_iter());
        assert_eq!((ours, dpkgs.len()), (Some(Mark::Synced("/x/unsynced".into())), 1));
    }

    #[test]
    fn only_who_unpacks_with_writes_held_back_leaves_syncs_of_files_out() {
        let (unsynced, synced) = (Mark::Unsynced("/x".into()), Mark::Synced("/x".into()));
        assert_eq!(besides(Phase::Files, &unsynced), Some("--force-unsafe-io"));
        for (phase, mark) in [(Phase::Files, &synced), (Phase::Configure, &unsynced), (Phase::Ask, &unsynced)] {
            assert_eq!(besides(phase, mark), None, "{phase:?} {mark:?}");
        }
    }

    #[test]
    fn who_configures_passes_the_barrier_first() {
        let folder = tempfile::tempdir().expect("folder");
        let (machine, path) = (Machine::new(folder.path(), folder.path()), folder.path().join("unsynced"));
        for mark in [Mark::Synced(path.clone()), Mark::Unsynced(path.clone())] {
            File::create(&path).expect("mark");
            prepare(Phase::Ask, &machine, &mark).expect("a question");
            assert!(path.exists(), "a question needs no barrier");
            prepare(Phase::Configure, &machine, &mark).expect("configure");
            assert!(!path.exists());
        }
    }

    #[test]
    fn who_changes_files_is_marked_also_when_dpkg_syncs() {
        let folder = tempfile::tempdir().expect("folder");
        let (machine, path) = (Machine::new(folder.path(), folder.path()), folder.path().join("unsynced"));
        prepare(Phase::Files, &machine, &Mark::Synced(path.clone())).expect("unpack");
        assert!(path.exists());
    }
}
