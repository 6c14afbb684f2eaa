//! Attempt folders: where the daemon tells a worker what to do and reads what it did.
//!
//! Invariants: the plan and the order are complete and durable before a worker starts; the journal is only
//! read here; nothing is ever deleted here.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use backstep_core::{AttemptId, ErrorCode, Failure, TransactionId, scrub};
use backstep_engine::manager::{Found, Launch};
use backstep_wire::{attempt, journal, order};
use nix::fcntl::{Flock, FlockArg};

use crate::logs;

/// Bytes of a log's line that are looked at together.
const LONGEST_LINE: u64 = 1 << 20;

/// A file that a worker leaves for people, read attempt after attempt as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptFile {
    /// The output of its children.
    Log,
    /// The record of files.
    Files,
}

/// What is to become of undo material.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It stays, whatever the limits say.
    Always,
    /// The limits decide.
    WithinLimits,
}

impl AttemptFile {
    /// Its name in an attempt's folder.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Log => attempt::OUTPUT,
            Self::Files => attempt::FILES,
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
            write_durably(&folder, attempt::PLAN, &launch.plan_bytes)?;
            write_durably(&folder, attempt::ORDER, &order::to_bytes(&launch.order))?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(|error: io::Error| failure(&folder, &error))
    }

    /// Asks the worker to stop at its next safe point.
    pub fn request_cancel(&self, attempt: AttemptId) -> Result<(), Failure> {
        let folder = self.folder(attempt);
        write_durably(&folder, attempt::CANCEL, b"").map_err(|error| failure(&folder, &error))
    }

    /// Takes an order back: a worker that has not begun it never will. Without a folder there is no order.
    pub fn revoke(&self, attempt: AttemptId) -> Result<(), Failure> {
        let folder = self.folder(attempt);
        if !folder.exists() {
            return Ok(());
        }
        write_durably(&folder, attempt::REVOKED, b"").map_err(|error| failure(&folder, &error))
    }

    /// What is left of an attempt. Of one that is not alive it is all there will be: its lock is looked at before its journal, or
    /// a worker that ended in between would pass for one that ended without a result.
    pub fn find(&self, attempt: AttemptId) -> Result<Found, Failure> {
        let alive = self.is_locked(attempt)?;
        let (lines, _) = self.read_journal(attempt, 0)?;
        let prepared = self.folder(attempt).join(attempt::ORDER).exists();
        Ok(Found { alive, prepared, lines })
    }

    /// The whole journal lines from a byte offset on, and the offset after them.
    pub fn read_journal(&self, attempt: AttemptId, from: u64) -> Result<(Vec<journal::Line>, u64), Failure> {
        let path = self.folder(attempt).join(attempt::JOURNAL);
        let bytes = match read_from(&path, from, u64::MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), from)),
            Err(error) => return Err(failure(&path, &error)),
        };
        let (lines, taken) =
            journal::whole_lines(&bytes).map_err(|error| Failure::new(ErrorCode::Internal, format!("{}: {error}", path.display())))?;
        Ok((lines, from + taken as u64))
    }

    /// Writes `*` over the secrets in what an attempt's children wrote. Nothing moves: who reads the log goes on reading, and a
    /// process that a script left behind goes on writing at its end.
    pub fn mask_log(&self, attempt: AttemptId) -> Result<(), Failure> {
        let path = self.folder(attempt).join(AttemptFile::Log.name());
        match mask(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|error| failure(&path, &error)),
        }
    }

    /// Compresses what an attempt's children wrote, when that is worth it. It is read as before.
    pub fn compress_log(&self, attempt: AttemptId) -> Result<(), Failure> {
        let path = self.folder(attempt).join(AttemptFile::Log.name());
        match logs::compress(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map(drop).map_err(|error| failure(&path, &error)),
        }
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
                bytes.extend(logs::read(&path, position - before, room).map_err(|error| failure(&path, &error))?);
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

    /// Where the undo material of an attempt is.
    #[must_use]
    pub fn capture(&self, attempt: AttemptId) -> PathBuf {
        self.captures.join(attempt.to_string())
    }

    /// The attempts there are, in no order.
    pub fn all(&self) -> Result<Vec<AttemptId>, Failure> {
        named(&self.dir)
    }

    /// The attempts whose undo material is there, in no order.
    pub fn captured(&self) -> Result<Vec<AttemptId>, Failure> {
        named(&self.captures)
    }

    /// Keeps the undo material of a transaction, durably, whatever the limits say. Only where there is some.
    pub fn pin(&self, transaction: TransactionId) -> Result<(), Failure> {
        if !self.has_capture(transaction) {
            return Err(Failure::new(ErrorCode::UndoMaterial, "there is no undo material of it to keep"));
        }
        let folder = self.pin_folder(transaction);
        write_durably(&folder, attempt::PINNED, b"").map_err(|error| failure(&folder, &error))
    }

    /// Leaves it to the limits again.
    pub fn unpin(&self, transaction: TransactionId) -> Result<(), Failure> {
        let folder = self.pin_folder(transaction);
        match fs::remove_file(folder.join(attempt::PINNED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failure(&folder, &error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Whether it is kept whatever the limits say.
    #[must_use]
    pub fn is_pinned(&self, transaction: TransactionId) -> bool {
        self.pin_folder(transaction).join(attempt::PINNED).exists()
    }

    /// A transaction is pinned as a whole, at its first attempt.
    fn pin_folder(&self, transaction: TransactionId) -> PathBuf {
        self.folder(AttemptId { transaction, number: 1 })
    }

    /// Whether a worker holds the attempt's lock: it does for its whole life.
    pub fn is_locked(&self, attempt: AttemptId) -> Result<bool, Failure> {
        let path = self.folder(attempt).join(attempt::LOCK);
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

fn named(folder: &Path) -> Result<Vec<AttemptId>, Failure> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>().map_err(|error| failure(folder, &error))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failure(folder, &error)),
    };
    Ok(entries.iter().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// A failure to use a file of ours, with the code that its cause has.
pub(crate) fn failure(path: &Path, error: &io::Error) -> Failure {
    let code = match error.raw_os_error() {
        Some(nix::libc::ENOSPC | nix::libc::EDQUOT) => ErrorCode::DiskFull,
        Some(nix::libc::EROFS) => ErrorCode::DiskReadOnly,
        _ => ErrorCode::StoreFailed,
    };
    Failure::new(code, format!("cannot use {}: {error}", path.display()))
}

fn mask(path: &Path) -> io::Result<()> {
    use std::io::BufRead;
    use std::os::unix::fs::FileExt;
    let out = OpenOptions::new().write(true).open(path)?;
    let mut reader = io::BufReader::new(File::open(path)?);
    let (mut seeker, mut line, mut at) = (scrub::Seeker::default(), Vec::new(), 0);
    // A line without an end is cut where nobody needs more of it at once.
    while reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? > 0 {
        if scrub::mask(&mut seeker, &mut line) {
            out.write_all_at(&line, at)?;
        }
        at += line.len() as u64;
        line.clear();
    }
    out.sync_data()
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
    fn who_is_not_alive_has_written_all_its_lines() {
        let dir = tempfile::tempdir().expect("tempdir");
        let attempts = Attempts::open(dir.path()).expect("open");
        let folder = attempts.folder(attempt());
        make_dir(&folder).expect("mkdir");
        let line = |seq: u32| format!("{{\"seq\":{seq},\"utc_us\":1,\"record\":\"captured\",\"paths\":1,\"bytes\":1}}\n");
        for _ in 0..1000 {
            let lock = File::create(folder.join(attempt::LOCK)).expect("lock");
            let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno).expect("free");
            fs::write(folder.join(attempt::JOURNAL), line(1)).expect("write");
            let mut journal = File::options().append(true).open(folder.join(attempt::JOURNAL)).expect("journal");
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    journal.write_all(line(2).as_bytes()).expect("write");
                    drop(lock);
                });
                let found = attempts.find(attempt()).expect("find");
                assert!(found.alive || found.lines.len() == 2, "{} lines of a worker that has ended", found.lines.len());
            });
        }
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
    fn secrets_in_a_log_are_masked_where_they_stand() {
        let dir = tempfile::tempdir().expect("tempdir");
        let attempts = Attempts::open(dir.path()).expect("open");
        attempts.mask_log(attempt()).expect("there is no log");
        make_dir(&attempts.folder(attempt())).expect("mkdir");
        let path = attempts.folder(attempt()).join("output.log");
        let before = b"Setting up tool\nadmin password=Xq7 set \xff\nGet https://u:Xq7@host/x\nend".to_vec();
        fs::write(&path, &before).expect("write");
        attempts.mask_log(attempt()).expect("mask");
        let after = fs::read(&path).expect("read");
        assert_eq!(after, b"Setting up tool\nadmin password=*** set \xff\nGet https://*****@host/x\nend");
        assert_eq!(after.len(), before.len());
    }

    #[test]
    fn only_what_has_undo_material_is_pinned_and_it_stays_so() {
        let dir = tempfile::tempdir().expect("tempdir");
        let attempts = Attempts::open(dir.path()).expect("open");
        let id = attempt().transaction;
        assert_eq!(attempts.pin(id).expect_err("no material").code, ErrorCode::UndoMaterial);
        fs::create_dir_all(attempts.capture(attempt())).expect("mkdir");
        make_dir(&attempts.folder(attempt())).expect("mkdir");
        for _ in 0..2 {
            attempts.pin(id).expect("pin");
            assert!(Attempts::open(dir.path()).expect("open").is_pinned(id));
        }
        for _ in 0..2 {
            attempts.unpin(id).expect("unpin");
            assert!(!attempts.is_pinned(id));
        }
        assert_eq!((attempts.all().expect("all"), attempts.captured().expect("captured")), (vec![attempt()], vec![attempt()]));
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
        let file = File::create(attempts.folder(attempt()).join(attempt::LOCK)).expect("create");
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
        let path = attempts.folder(attempt()).join(attempt::JOURNAL);
        let line = journal::Line { seq: 1, utc_us: 0, record: journal::Record::Captured { paths: 1, bytes: 2 } };
        let bytes = journal::to_line(&line);
        fs::write(&path, &bytes[..bytes.len() - 3]).expect("write");
        assert_eq!(attempts.read_journal(attempt(), 0).expect("read"), (Vec::new(), 0));
        fs::write(&path, &bytes).expect("write");
        assert_eq!(attempts.read_journal(attempt(), 0).expect("read"), (vec![line], bytes.len() as u64));
        assert_eq!(attempts.read_journal(attempt(), bytes.len() as u64).expect("read").0, Vec::new());
    }
}
