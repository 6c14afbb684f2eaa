//! What apt calls in dpkg's place: it becomes dpkg, after deciding whether this call's writes wait for the barrier.
//!
//! Invariants: dpkg's arguments are what apt gave, less our own option, with one more where writes are held back, and with
//! archives that are ready in the place of the same ones that are not; its descriptors and environment are apt's; a call that configures starts only after
//! everything unpacked before is durable; nothing that is not known to unpack or remove runs with its writes held back.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use backstep_core::{ErrorCode, Failure};

use crate::durability::{UNSYNCED, barrier};
use crate::machine::Machine;

/// The real one.
pub const DPKG: &str = "/usr/bin/dpkg";

/// What dpkg is told besides when its writes are held back: not to open each new file twice more, for syncs that do nothing
/// then. Each opening is announced to the guard.
const WITHOUT_SYNCS: &str = "--force-unsafe-io";

/// Separates our own option, which stands before dpkg's, from what dpkg gets.
pub fn split(arguments: impl Iterator<Item = OsString>) -> (Option<PathBuf>, Vec<OsString>) {
    let mut ours = None;
    let mut dpkgs = Vec::new();
    for argument in arguments {
        match argument.as_bytes().strip_prefix(UNSYNCED.as_bytes()).filter(|_| ours.is_none()) {
            Some(path) => ours = Some(PathBuf::from(OsString::from_vec(path.to_vec()))),
            None => dpkgs.push(argument),
        }
    }
    (ours, dpkgs)
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

/// What dpkg is told besides. `unsynced` as in [`prepare`].
#[must_use]
pub fn besides(phase: Phase, unsynced: Option<&Path>) -> Option<&'static str> {
    unsynced.filter(|_| phase == Phase::Files).map(|_| WITHOUT_SYNCS)
}

/// Prepares this process to become dpkg. `unsynced` marks writes that are not durable yet; absent, dpkg syncs itself.
pub fn prepare(phase: Phase, machine: &Machine, unsynced: Option<&Path>) -> Result<(), Failure> {
    let Some(mark) = unsynced else { return Ok(()) };
    let error = |error: io::Error| Failure::new(ErrorCode::StoreFailed, format!("cannot make what was unpacked durable: {error}"));
    match phase {
        Phase::Files => hold(mark),
        Phase::Configure if mark.exists() => {
            barrier(machine).map_err(error)?;
            fs::remove_file(mark).map_err(error)
        }
        Phase::Configure | Phase::Ask => Ok(()),
    }
}

fn hold(mark: &Path) -> Result<(), Failure> {
    let error = |error: String| Failure::new(ErrorCode::WorkerFailed, format!("cannot hold writes back: {error}"));
    File::create(mark).map_err(|source| error(source.to_string()))?;
    backstep_supervise::suppress_sync().map_err(|source| error(source.to_string()))
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
        assert_eq!(ours.as_deref(), Some(Path::new("/x/unsynced")));
        assert_eq!(dpkgs, ["--force-confold", "--unpack", "--", "a"]);
    }

    #[test]
    fn who_configures_passes_the_barrier_first() {
        let folder = tempfile::tempdir().expect("folder");
        let (machine, mark) = (Machine::new(folder.path(), folder.path()), folder.path().join("unsynced"));
        File::create(&mark).expect("mark");
        prepare(Phase::Ask, &machine, Some(&mark)).expect("a question");
        assert!(mark.exists(), "a question needs no barrier");
        prepare(Phase::Configure, &machine, None).expect("without a mark");
        assert!(mark.exists());
        prepare(Phase::Configure, &machine, Some(&mark)).expect("configure");
        assert!(!mark.exists());
    }

    #[test]
    fn only_who_unpacks_with_writes_held_back_leaves_syncs_of_files_out() {
        let mark = Some(Path::new("/x/unsynced"));
        assert_eq!(besides(Phase::Files, mark), Some("--force-unsafe-io"));
        for (phase, mark) in [(Phase::Files, None), (Phase::Configure, mark), (Phase::Ask, mark)] {
            assert_eq!(besides(phase, mark), None, "{phase:?} {mark:?}");
        }
    }
}
