//! Attempt folders: where the daemon tells a worker what to do and reads what it did.
//!
//! Invariants: the plan and the order are complete and durable before a worker starts; the journal is only
//! read here; nothing is ever deleted here.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use backstep_core::{AttemptId, ErrorCode, Failure, TransactionId};
use backstep_engine::manager::{Found, Launch};
use backstep_wire::{journal, order};
use nix::fcntl::{Flock, FlockArg};

/// A file that a worker leaves for people, read attempt after attempt as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptFile {
    /// The output of its children.
    Log,
    /// The record of files.
    Files,
}

impl AttemptFile {
    /// Its name in an attempt's folder.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Log => "output.log",
            Self::Files => "files.jsonl",
        }
    }
}

/// The folder of all attempts.
#[derive(Debug, Clone)]
pub struct Attempts {
    dir: PathBuf,
    captures: PathBuf,
}

impl Attempts {
    /// The attempts below a state directory; makes the folder.
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        let dir = state_dir.join("attempts");
        make_dir(&dir)?;
        Ok(Self { dir, captures: state_dir.join("capture") })
    }

    /// One attempt's folder.
    #[must_use]
    pub fn folder(&self, attempt: AttemptId) -> PathBuf {
        self.dir.join(attempt.to_string())
    }

    /// CRASH: without `order.json`, which comes last, there is no order, and no worker begins.
    /// Writes what a worker needs, durably. Doing it again with the same launch is harmless.
    pub fn prepare(&self, launch: &Launch) -> Result<(), Failure> {
        let folder = self.folder(launch.order.attempt);
        let write = || {
            make_dir(&folder)?;
            write_durably(&folder, "plan.json", &launch.plan_bytes)?;
            write_durably(&folder, "order.json", &order::to_bytes(&launch.order))?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(|error: io::Error| failure(&folder, &error))
    }

    /// Asks the worker to stop at its next safe point.
    pub fn request_cancel(&self, attempt: AttemptId) -> Result<(), Failure> {
        let folder = self.folder(attempt);
        write_durably(&folder, "cancel", b"").map_err(|error| failure(&folder, &error))
    }

    /// Takes an order back: a worker that has not begun it never will. Without a folder there is no order.
    pub fn revoke(&self, attempt: AttemptId) -> Result<(), Failure> {
        let folder = self.folder(attempt);
        if !folder.exists() {
            return Ok(());
        }
        write_durably(&folder, "revoked", b"").map_err(|error| failure(&folder, &error))
    }

    /// What is left of an attempt.
    pub fn find(&self, attempt: AttemptId) -> Result<Found, Failure> {
        let (lines, _) = self.read_journal(attempt, 0)?;
        let prepared = self.folder(attempt).join("order.json").exists();
        Ok(Found { alive: self.is_locked(attempt)?, prepared, lines })
    }

    /// The whole journal lines from a byte offset on, and the offset after them.
    pub fn read_journal(&self, attempt: AttemptId, from: u64) -> Result<(Vec<journal::Line>, u64), Failure> {
        let path = self.folder(attempt).join("attempt.jsonl");
        let bytes = match read_from(&path, from, u64::MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), from)),
            Err(error) => return Err(failure(&path, &error)),
        };
        let (lines, taken) =
            journal::whole_lines(&bytes).map_err(|error| Failure::new(ErrorCode::Internal, format!("{}: {error}", path.display())))?;
        Ok((lines, from + taken as u64))
    }

    /// A piece of what a transaction's first `attempts` attempts left in such a file, one after the other: at most
    /// `limit` bytes, and the offset after it.
    pub fn read_piece(
        &self,
        file: AttemptFile,
        transaction: TransactionId,
        attempts: u32,
        (from, limit): (u64, u64),
    ) -> Result<(Vec<u8>, u64), Failure> {
        let (mut bytes, mut before) = (Vec::new(), 0);
        for number in 1..=attempts {
            let path = self.folder(AttemptId { transaction, number }).join(file.name());
            let length = match fs::metadata(&path) {
                Ok(meta) => meta.len(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                Err(error) => return Err(failure(&path, &error)),
            };
            let position = from + bytes.len() as u64;
            let room = limit - bytes.len() as u64;
            if room > 0 && (before..before + length).contains(&position) {
                bytes.extend(read_from(&path, position - before, room).map_err(|error| failure(&path, &error))?);
            }
            before += length;
        }
        let next = from + bytes.len() as u64;
        Ok((bytes, next))
    }

    /// Whether the undo material of a transaction's change is still there.
    #[must_use]
    pub fn has_capture(&self, transaction: TransactionId) -> bool {
        self.captures.join(AttemptId { transaction, number: 1 }.to_string()).is_dir()
    }

    /// Whether a worker holds the attempt's lock: it does for its whole life.
    pub fn is_locked(&self, attempt: AttemptId) -> Result<bool, Failure> {
        let path = self.folder(attempt).join("lock");
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failure(&path, &error)),
        };
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(_) => Ok(false),
            Err((_, nix::errno::Errno::EAGAIN)) => Ok(true),
            Err((_, errno)) => Err(failure(&path, &errno.into())),
        }
    }
}

/// Makes a folder that only root enters.
pub fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Writes a file so that after a crash it is there as a whole or not at all.
pub fn write_durably(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let tmp = dir.join(format!(".{name}.tmp"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&tmp)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&tmp, dir.join(name))?;
    File::open(dir)?.sync_all()
}

fn read_from(path: &Path, from: u64, limit: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn failure(path: &Path, error: &io::Error) -> Failure {
    let code = match error.raw_os_error() {
        Some(nix::libc::ENOSPC | nix::libc::EDQUOT) => ErrorCode::DiskFull,
        Some(nix::libc::EROFS) => ErrorCode::DiskReadOnly,
        _ => ErrorCode::StoreFailed,
    };
    Failure::new(code, format!("cannot use {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt() -> AttemptId {
        "01936b2e-7c1a-7d3e-9f10-0123456789ab-1".parse().expect("id")
    }

    #[test]
    fn an_attempt_that_never_was_is_empty_and_not_alive() {
        let dir = tempfile::tempdir().expect("tempdir");
        let attempts = Attempts::open(dir.path()).expect("open");
        let found = attempts.find(attempt()).expect("find");
        assert!(!found.alive && found.lines.is_empty());
        assert!(!found.prepared);
        assert_eq!(attempts.read_piece(AttemptFile::Log, attempt().transaction, 1, (0, 10)).expect("log"), (Vec::new(), 0));
        attempts.revoke(attempt()).expect("nothing to revoke");
    }

    #[test]
    fn undo_material_is_there_until_it_is_given_up() {
        let dir = tempfile::tempdir().expect("tempdir");
        let attempts = Attempts::open(dir.path()).expect("open");
        assert!(!attempts.has_capture(attempt().transaction));
        fs::create_dir_all(dir.path().join("capture").join(attempt().to_string())).expect("mkdir");
        assert!(attempts.has_capture(attempt().transaction));
    }

    #[test]
    fn what_a_transaction_left_is_what_all_its_attempts_left() {
        let dir = tempfile::tempdir().expect("tempdir");
        let attempts = Attempts::open(dir.path()).expect("open");
        let id = attempt().transaction;
        for (number, text) in [(1, "first"), (3, "third")] {
            let folder = attempts.folder(AttemptId { transaction: id, number });
            make_dir(&folder).expect("mkdir");
            fs::write(folder.join("output.log"), text).expect("write");
        }
        fs::write(attempts.folder(AttemptId { transaction: id, number: 3 }).join("files.jsonl"), "{}").expect("write");
        let piece =
            |file, range| attempts.read_piece(file, id, 3, range).map(|(bytes, next)| (String::from_utf8(bytes).expect("text"), next));
        assert_eq!(piece(AttemptFile::Files, (0, 100)).expect("files"), ("{}".to_owned(), 2));
        let read = |from, limit| piece(AttemptFile::Log, (from, limit));
        assert_eq!(read(0, 100).expect("log"), ("firstthird".to_owned(), 10));
        assert_eq!(read(3, 4).expect("log"), ("stth".to_owned(), 7));
        assert_eq!(read(10, 4).expect("log"), (String::new(), 10));
    }

    #[test]
    fn a_held_lock_is_a_living_worker() {
        let dir = tempfile::tempdir().expect("tempdir");
        let attempts = Attempts::open(dir.path()).expect("open");
        make_dir(&attempts.folder(attempt())).expect("mkdir");
        let file = File::create(attempts.folder(attempt()).join("lock")).expect("create");
        assert!(!attempts.is_locked(attempt()).expect("probe"));
        let held = Flock::lock(file, FlockArg::LockExclusiveNonblock).expect("lock");
        assert!(attempts.is_locked(attempt()).expect("probe"));
        drop(held);
        assert!(!attempts.is_locked(attempt()).expect("probe"));
    }

    #[test]
    fn a_torn_journal_line_is_read_when_it_is_whole() {
        let dir = tempfile::tempdir().expect("tempdir");
        let attempts = Attempts::open(dir.path()).expect("open");
        make_dir(&attempts.folder(attempt())).expect("mkdir");
        let path = attempts.folder(attempt()).join("attempt.jsonl");
        let line = journal::Line { seq: 1, utc_us: 0, record: journal::Record::Captured { paths: 1, bytes: 2 } };
        let bytes = journal::to_line(&line);
        fs::write(&path, &bytes[..bytes.len() - 3]).expect("write");
        assert_eq!(attempts.read_journal(attempt(), 0).expect("read"), (Vec::new(), 0));
        fs::write(&path, &bytes).expect("write");
        assert_eq!(attempts.read_journal(attempt(), 0).expect("read"), (vec![line], bytes.len() as u64));
        assert_eq!(attempts.read_journal(attempt(), bytes.len() as u64).expect("read").0, Vec::new());
    }
}
