//! The guard's own program: keeps what is about to be changed.
//!
//! Invariant: below a plain run of apt, nothing is filtered before the guard has everything that can fail behind it, and
//! what it missed once it leaves alone: what is there later is not what was there before.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use backstep_capture::{CaptureDir, CaptureError, Late, LeftOut, Walk, is_left_alone};
use backstep_core::causes::said;
use backstep_core::{ErrorCode, Failure};
use backstep_supervise::{Change, Errno, Rules, Seen, Sink, Verdict, prepare, protect_from_oom, say_prepared};

use super::{Report, open_watch_over};
use crate::durable::replace;
use crate::left_out;
use crate::machine::AttemptFiles;
use crate::steps::capture_failure;

/// Never told: not files that could be put back, and busy.
const NEVER: [&str; 4] = ["/proc", "/sys", "/dev", "/run"];

/// Whose change is guarded, and what becomes of a call when what it changes cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarded {
    /// A worker's: refused.
    Own,
    /// A plain run of apt's, whose administrator wants it refused.
    AptRefused,
    /// A plain run of apt's: it goes on, and the report says so.
    AptGoesOn,
}

/// Guards what the other end of standard input hands over, keeping files in the capture. To be called first of all.
pub fn guard(files: &AttemptFiles, capture: &Path, guarded: Guarded) -> Result<(), Failure> {
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
        unseen: String::new(),
        walk: Some(std::thread::spawn(move || picture(Path::new("/"), &dir))),
        guarded,
        missed: Missed::default(),
        refused: files.refused(),
        over: files.watch_over(),
    };
    if guarded != Guarded::Own {
        say_prepared(&socket).map_err(|error| failure(said(&error)))?;
    }
    let rules = Rules { exclude: NEVER.map(PathBuf::from).to_vec(), done: Some(over.as_fd()) };
    backstep_supervise::guard(socket, &rules, &mut keeper).map(drop).map_err(|error| failure(said(&error)))
}

/// Takes the picture of the whole system, beside apt's start. The first guard's stands: a second one, of dpkg's purge,
/// comes when the change has begun.
fn picture(root: &Path, dir: &CaptureDir) -> Result<Vec<LeftOut>, CaptureError> {
    if Walk::load(dir)?.is_some() {
        return Ok(Vec::new());
    }
    let walk = Walk::take(root, dir)?;
    walk.save(dir).map(|()| walk.left_out())
}

fn no_picture(why: &str) -> String {
    format!("no picture of the whole system, so it is not told what others changed meanwhile: {why}")
}

/// What was changed without being kept.
#[derive(Default)]
struct Missed {
    paths: BTreeSet<PathBuf>,
    calls: u64,
    first: String,
}

impl Missed {
    fn add(&mut self, change: &Change, why: &CaptureError) {
        self.calls += 1;
        if self.paths.is_empty() {
            let path = change.paths().next().unwrap_or(Path::new("?"));
            self.first = format!("cannot keep {} as it is: {}", path.display(), capture_failure(why).text);
        }
        self.paths.extend(change.paths().map(Path::to_owned));
    }

    /// Whether a change concerns what was missed, or something below it.
    fn concerns(&self, change: &Change) -> bool {
        !self.paths.is_empty() && change.paths().flat_map(Path::ancestors).any(|path| self.paths.contains(path))
    }
}

struct Keeper {
    late: Option<Late>,
    /// What is missing in the picture, in words.
    unseen: String,
    /// The picture that is being taken: no change of what it shows is let through before it is there.
    walk: Option<JoinHandle<Result<Vec<LeftOut>, CaptureError>>>,
    guarded: Guarded,
    missed: Missed,
    /// Where the reason of a refusal is left for the worker.
    refused: PathBuf,
    /// The named pipe whose name goes with the watch: who waits for its end sees that nothing is kept any more.
    over: PathBuf,
}

impl Keeper {
    /// Without the picture it is not told what others changed meanwhile; nothing else is missing.
    fn finish_walk(&mut self) {
        let Some(walk) = self.walk.take() else { return };
        self.unseen = match walk.join() {
            Ok(Ok(left_out)) => left_out::of_picture(&left_out).unwrap_or_default(),
            Ok(Err(error)) => no_picture(&said(&error)),
            Err(_) => no_picture("its thread panicked"),
        };
        if !self.unseen.is_empty() {
            eprintln!("backstep-worker: {}", self.unseen);
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

    fn unkept(&mut self, change: &Change, error: &CaptureError) -> Verdict {
        match self.guarded {
            Guarded::Own | Guarded::AptRefused => self.refuse(change, error),
            Guarded::AptGoesOn => {
                self.missed.add(change, error);
                Verdict::Continue
            }
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
            unkept: self.missed.calls,
            first_unkept: self.missed.first.clone(),
            left_out: left_out::of_capture(&kept.left_out).unwrap_or_default(),
            unseen_before: std::mem::take(&mut self.unseen),
        })
    }
}

impl Sink for Keeper {
    fn before(&mut self, change: &Change) -> Verdict {
        if self.walk.is_some() && !change.paths().all(is_left_alone) {
            self.finish_walk();
        }
        let Some(late) = self.late.as_mut().filter(|_| !self.missed.concerns(change)) else { return Verdict::Continue };
        match Self::keep(late, change) {
            Ok(()) => Verdict::Continue,
            Err(error) => self.unkept(change, &error),
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

    /// A guard whose picture came out so.
    fn report_of(picture: Result<Vec<LeftOut>, CaptureError>) -> Report {
        let Scene { folder: _folder, mut keeper } = scene(Guarded::Own);
        keeper.walk = Some(std::thread::spawn(|| picture));
        keeper.finish_walk();
        keeper.report(&Seen::default()).expect("report")
    }

    #[test]
    fn what_is_missing_in_the_picture_of_the_whole_system_is_on_record() {
        let report = report_of(Ok(vec![LeftOut { path: "/srv/theirs".into(), why: "no".to_owned() }]));
        assert!(report.is_trouble() && report.to_string().ends_with("cannot be looked at: /srv/theirs (no)"), "{report}");
        let report = report_of(Err(CaptureError::Incomplete { dir: "/x".into() }));
        assert!(report.is_trouble() && report.to_string().contains("; no picture of the whole system"), "{report}");
        assert!(!report_of(Ok(Vec::new())).is_trouble());
    }

    struct Scene {
        folder: tempfile::TempDir,
        keeper: Keeper,
    }

    /// A file, and a guard that has nowhere to keep it.
    fn scene(guarded: Guarded) -> Scene {
        let folder = tempfile::tempdir().expect("folder");
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("opt")).expect("folder");
        std::fs::write(root.join("opt/file"), "old").expect("write");
        let dir = CaptureDir::create(&folder.path().join("capture")).expect("capture");
        secure(&root, &dir, &Selection::default(), &mut |_, _| {}).expect("secure");
        let late = Some(Late::open(&root, &dir).expect("late"));
        std::fs::rename(dir.path().join("objects"), folder.path().join("away")).expect("rename");
        std::fs::write(dir.path().join("objects"), "in the way").expect("write");
        let (refused, over) = (folder.path().join("refused"), folder.path().join("over"));
        Scene { folder, keeper: Keeper { late, walk: None, unseen: String::new(), guarded, missed: Missed::default(), refused, over } }
    }

    fn removal() -> Change {
        Change::Remove("/opt/file".into())
    }

    #[test]
    fn what_cannot_be_kept_is_refused_to_our_own_and_where_the_administrator_wants_it() {
        for guarded in [Guarded::Own, Guarded::AptRefused] {
            let Scene { folder, mut keeper } = scene(guarded);
            assert!(matches!(keeper.before(&removal()), Verdict::Refuse(_)), "{guarded:?}");
            assert!(std::fs::read_to_string(folder.path().join("refused")).expect("why").contains("/opt/file"));
        }
    }

    #[test]
    fn what_a_plain_apt_changed_without_being_kept_is_told_and_not_kept_later() {
        let Scene { folder, mut keeper } = scene(Guarded::AptGoesOn);
        assert_eq!(keeper.before(&removal()), Verdict::Continue);
        let objects = folder.path().join("capture/objects");
        std::fs::remove_file(&objects).expect("remove");
        std::fs::rename(folder.path().join("away"), &objects).expect("rename");
        std::fs::write(folder.path().join("root/opt/file"), "new").expect("write");
        assert_eq!(keeper.before(&removal()), Verdict::Continue, "the new one is not what was there before");
        let report = keeper.report(&Seen::default()).expect("report");
        assert_eq!((report.unkept, report.links, report.copies), (1, 0, 0));
        assert!(report.first_unkept.starts_with("cannot keep /opt/file as it is: "), "{}", report.first_unkept);
    }
}
