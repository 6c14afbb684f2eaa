//! The guard's own program: keeps what is about to be changed.

use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use backstep_capture::{CaptureDir, CaptureError, Late, Walk, is_left_alone};
use backstep_core::causes::said;
use backstep_core::{ErrorCode, Failure};
use backstep_supervise::{Change, Errno, Rules, Seen, Sink, Verdict, prepare, protect_from_oom};

use super::{Report, open_watch_over};
use crate::durable::replace;
use crate::machine::AttemptFiles;
use crate::steps::capture_failure;

/// Never told: not files that could be put back, and busy.
const NEVER: [&str; 4] = ["/proc", "/sys", "/dev", "/run"];

/// Guards what the other end of standard input hands over, keeping files in the capture. To be called first of all.
pub fn guard(files: &AttemptFiles, capture: &Path) -> Result<(), Failure> {
    let failure = |text: String| Failure::new(ErrorCode::WorkerFailed, text);
    let socket = prepare().map_err(|error| failure(said(&error)))?;
    // Who waits for the processes of a dead worker's session does not wait for its guard.
    if let Err(errno) = nix::unistd::setsid() {
        eprintln!("backstep-worker: the guard has no session of its own: {errno}");
    }
    if let Err(error) = protect_from_oom() {
        eprintln!("backstep-worker: the guard is not protected when memory runs out: {error}");
    }
    let over = open_watch_over(files).map_err(|error| failure(format!("cannot open {}: {error}", files.watch_over().display())))?;
    let dir = CaptureDir::open(capture).map_err(|error| capture_failure(&error))?;
    let late = Late::open(Path::new("/"), &dir).map_err(|error| capture_failure(&error))?;
    let mut keeper = Keeper {
        late: Some(late),
        walk: Some(std::thread::spawn(move || picture(Path::new("/"), &dir))),
        refused: files.refused(),
        over: files.watch_over(),
    };
    let rules = Rules { exclude: NEVER.map(PathBuf::from).to_vec(), done: Some(over.as_fd()) };
    backstep_supervise::guard(socket, &rules, &mut keeper).map(drop).map_err(|error| failure(said(&error)))
}

/// Takes the picture of the whole system, beside apt's start. The first guard's stands: a second one, of dpkg's purge,
/// comes when the change has begun.
fn picture(root: &Path, dir: &CaptureDir) -> Result<(), CaptureError> {
    if Walk::load(dir)?.is_some() { Ok(()) } else { Walk::take(root, dir)?.save(dir) }
}

struct Keeper {
    late: Option<Late>,
    /// The picture that is being taken: no change of what it shows is let through before it is there.
    walk: Option<JoinHandle<Result<(), CaptureError>>>,
    /// Where the reason of a refusal is left for the worker.
    refused: PathBuf,
    /// The named pipe whose name goes with the watch: who waits for its end sees that nothing is kept any more.
    over: PathBuf,
}

impl Keeper {
    /// Without the picture it is not told what others changed meanwhile; nothing else is missing.
    fn finish_walk(&mut self) {
        match self.walk.take().map(JoinHandle::join) {
            None | Some(Ok(Ok(()))) => {}
            Some(Ok(Err(error))) => eprintln!("backstep-worker: no picture of the whole system: {}", said(&error)),
            Some(Err(_)) => eprintln!("backstep-worker: no picture of the whole system: its thread panicked"),
        }
    }

    fn keep(late: &mut Late, change: &Change) -> Result<(), CaptureError> {
        match change {
            Change::Write(path) => late.before_write(path),
            Change::Create(path) => late.before_create(path),
            Change::Remove(path) => late.before_remove(path),
            Change::Rename { from, to } => late.before_rename(from, to),
            Change::Exchange { one, other } => late.before_exchange(one, other),
            Change::Meta(path) => late.before_meta(path),
        }
    }

    fn refuse(&self, change: &Change, error: &CaptureError) -> Verdict {
        let failure = capture_failure(error);
        let path = change.paths().next().unwrap_or(Path::new("?"));
        let text = format!("{}\ncannot keep {} as it is: {}", failure.code, path.display(), failure.text);
        if let Err(error) = replace(&self.refused, text.as_bytes(), 0o600) {
            eprintln!("backstep-worker: {text}; cannot leave a note of it: {error}");
        }
        Verdict::Refuse(if failure.code == ErrorCode::DiskFull { Errno::NOSPC } else { Errno::IO })
    }

    fn report(&mut self, seen: &Seen) -> Result<Report, CaptureError> {
        let kept = self.late.take().map(Late::finish).transpose()?.unwrap_or_default();
        Ok(Report {
            told: seen.told,
            refused: seen.refused,
            unseen: seen.unseen,
            links: kept.links,
            copies: kept.copies,
            bytes_copied: kept.bytes_copied,
            created: kept.created,
        })
    }
}

impl Sink for Keeper {
    fn before(&mut self, change: &Change) -> Verdict {
        if self.walk.is_some() && !change.paths().all(is_left_alone) {
            self.finish_walk();
        }
        let Some(late) = &mut self.late else { return Verdict::Continue };
        match Self::keep(late, change) {
            Ok(()) => Verdict::Continue,
            Err(error) => self.refuse(change, &error),
        }
    }

    fn watch_over(&mut self, seen: &Seen) {
        self.finish_walk();
        let report = self.report(seen);
        if let Err(error) = std::fs::remove_file(&self.over) {
            eprintln!("backstep-worker: cannot remove {}: {error}", self.over.display());
        }
        let word = report.map_err(|error| said(&error)).and_then(|report| {
            let line = serde_json::to_string(&report).map_err(|error| said(&error))?;
            writeln!(std::io::stdout(), "{line}").map_err(|error| said(&error))
        });
        if let Err(text) = word {
            eprintln!("backstep-worker: the guard cannot report: {text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backstep_capture::{Selection, secure};

    #[test]
    fn the_picture_of_the_first_guard_stands() {
        let folder = tempfile::tempdir().expect("folder");
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("opt")).expect("folder");
        let dir = CaptureDir::create(&folder.path().join("capture")).expect("capture");
        secure(&root, &dir, &Selection::default(), &mut |_, _| {}).expect("secure");
        picture(&root, &dir).expect("first");
        std::fs::write(root.join("opt/made"), "meanwhile").expect("write");
        picture(&root, &dir).expect("second");
        let first = Walk::load(&dir).expect("load").expect("picture");
        let now = Walk::take(&root, &dir).expect("take");
        assert!(first.differences(&now).iter().any(|one| one.path.ends_with("opt/made")), "it was made after the first");
    }
}
