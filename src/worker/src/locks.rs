//! The two locks of a worker: its attempt's, which says that it lives, and dpkg's frontend lock.
//!
//! Invariants: the attempt's lock is inherited by nobody, so it ends with the worker. The frontend lock belongs to
//! an open file description that apt-get, dpkg and its scripts inherit: when the worker is killed it stays taken
//! until the last of them has ended. A worker that ends in peace gives it back explicitly, so that a daemon started
//! by a script, which has inherited it too, keeps nobody waiting.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use backstep_core::{ErrorCode, Failure};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, Flock, FlockArg, fcntl};
use nix::libc;

const BETWEEN_TRIES: Duration = Duration::from_millis(250);
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);
/// How long somebody who only looks may take.
const LONGEST_LOOK: Duration = Duration::from_secs(10);

/// Why a lock cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The lock file cannot be used.
    #[error("cannot lock {path}: {source}")]
    Io {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Another worker lives for this attempt.
    #[error("another worker has this attempt")]
    OtherWorker,
    /// Another program kept the lock for too long.
    #[error("dpkg's lock is held by {holder}, waited {waited_s} s")]
    Busy {
        /// Its name and process id.
        holder: String,
        /// How long we waited, in seconds.
        waited_s: u64,
    },
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Self {
        let code = match &error {
            LockError::Io { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => ErrorCode::DiskReadOnly,
            LockError::Io { .. } | LockError::OtherWorker => ErrorCode::WorkerFailed,
            LockError::Busy { .. } => ErrorCode::LockBusy,
        };
        Self::new(code, error.to_string())
    }
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> LockError + '_ {
    |source| LockError::Io { path: path.display().to_string(), source }
}

/// The lock of an attempt, held until it is dropped.
#[derive(Debug)]
#[must_use = "the lock is given back when this is dropped"]
pub struct AttemptLock(#[allow(dead_code, reason = "held, never read")] Flock<File>);

impl AttemptLock {
    /// Takes it, or says that another worker has it. Does not wait for a worker; who only looks shares the lock for a
    /// moment, and that is no worker.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map_err(io_error(path))?;
        let begun = Instant::now();
        loop {
            file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Self(lock)),
                Err((file, Errno::EWOULDBLOCK)) if begun.elapsed() < LONGEST_LOOK => only_looked_at(file, path)?,
                Err((_, Errno::EWOULDBLOCK)) => return Err(LockError::OtherWorker),
                Err((_, errno)) => return Err(io_error(path)(errno.into())),
            };
            std::thread::sleep(BETWEEN_LOOKS);
        }
    }
}

/// A lock that can be shared is not a worker's: `backstepd` looks whether there is one.
fn only_looked_at(file: File, path: &Path) -> Result<File, LockError> {
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(shared) => shared.unlock().map_err(|(_, errno)| io_error(path)(errno.into())),
        Err((_, Errno::EWOULDBLOCK)) => Err(LockError::OtherWorker),
        Err((_, errno)) => Err(io_error(path)(errno.into())),
    }
}

/// dpkg's frontend lock, held until it is dropped.
#[derive(Debug)]
#[must_use = "the lock is given back when this is dropped"]
pub struct FrontendLock {
    file: File,
    /// Whether it stays with those who inherited it.
    left: AtomicBool,
}

impl FrontendLock {
    /// Takes the lock in an admin folder, waiting `patience` for another program to give it back; `waiting` is
    /// called about four times a second with the holder's name, and may end the waiting by an error.
    pub fn take(admin: &Path, patience: Duration, waiting: &mut dyn FnMut(&str) -> Result<(), Failure>) -> Result<Self, Failure> {
        let path = admin.join("lock-frontend");
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o640).open(&path).map_err(io_error(&path))?;
        let begun = Instant::now();
        loop {
            match set(&file, libc::F_WRLCK) {
                Ok(()) => return Ok(Self { file, left: AtomicBool::new(false) }),
                Err(Errno::EAGAIN | Errno::EACCES) => {}
                Err(errno) => return Err(io_error(&path)(errno.into()).into()),
            }
            let holder = holder(&file, &path);
            if begun.elapsed() >= patience {
                return Err(LockError::Busy { holder, waited_s: patience.as_secs() }.into());
            }
            waiting(&holder)?;
            std::thread::sleep(BETWEEN_TRIES.min(patience));
        }
    }

    /// Leaves it to the heirs: it stays taken until the last of them has ended.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    /// The number under which children inherit it.
    #[must_use]
    pub fn number(&self) -> i32 {
        self.file.as_raw_fd()
    }
}

impl AsFd for FrontendLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for FrontendLock {
    fn drop(&mut self) {
        // Closing leaves it taken while an heir lives. A failure leaves exactly that, which is safe.
        if self.left.load(Ordering::Relaxed) {
            return;
        }
        set(&self.file, libc::F_UNLCK).unwrap_or_default();
    }
}

/// Waits until no dpkg works on an admin folder, at most `patience`. dpkg holds its own lock also when the apt that
/// started it is gone.
pub fn wait_for_dpkg(admin: &Path, patience: Duration) -> Result<(), Failure> {
    let path = admin.join("lock");
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o640).open(&path).map_err(io_error(&path))?;
    let begun = Instant::now();
    loop {
        match set(&file, libc::F_WRLCK) {
            Ok(()) => return set(&file, libc::F_UNLCK).map_err(|errno| io_error(&path)(errno.into()).into()),
            Err(Errno::EAGAIN | Errno::EACCES) if begun.elapsed() < patience => std::thread::sleep(BETWEEN_TRIES),
            Err(Errno::EAGAIN | Errno::EACCES) => {
                return Err(LockError::Busy { holder: holder(&file, &path), waited_s: patience.as_secs() }.into());
            }
            Err(errno) => return Err(io_error(&path)(errno.into()).into()),
        }
    }
}

fn whole_file(kind: i32) -> libc::flock {
    // The constants are small; the field is narrower than the constant's type.
    libc::flock { l_type: kind as libc::c_short, l_whence: libc::SEEK_SET as libc::c_short, l_start: 0, l_len: 0, l_pid: 0 }
}

fn set(file: &File, kind: i32) -> Result<(), Errno> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(kind))).map(drop)
}

/// Who holds it, for people: the kernel's word for classic locks, else whoever has the file open.
fn holder(file: &File, path: &Path) -> String {
    let mut asked = whole_file(libc::F_WRLCK);
    let known = fcntl(file, FcntlArg::F_OFD_GETLK(&mut asked)).is_ok() && asked.l_pid > 0;
    let pids = if known { vec![asked.l_pid.cast_unsigned()] } else { users_of(path) };
    match pids.first() {
        Some(pid) => format!("{} (pid {pid})", name_of(*pid)),
        None => "a process that cannot be seen".to_owned(),
    }
}

fn name_of(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).map_or_else(|_| "a process".to_owned(), |name| name.trim().to_owned())
}

fn users_of(path: &Path) -> Vec<u32> {
    let own = std::process::id();
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != own && has_open(*pid, path)).collect()
}

fn has_open(pid: u32, path: &Path) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    open.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|target: PathBuf| target == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_PATIENCE: Duration = Duration::ZERO;

    #[test]
    fn an_attempt_has_one_worker() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("lock");
        let first = AttemptLock::take(&path).expect("free");
        assert!(matches!(AttemptLock::take(&path), Err(LockError::OtherWorker)));
        drop(first);
        assert!(AttemptLock::take(&path).is_ok());
    }

    #[test]
    fn one_who_looks_whether_there_is_a_worker_is_not_taken_for_one() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("lock");
        drop(AttemptLock::take(&path).expect("free"));
        let looks = Flock::lock(File::open(&path).expect("open"), FlockArg::LockSharedNonblock).expect("free");
        std::thread::scope(|scope| {
            let (sender, receiver) = std::sync::mpsc::channel();
            let path = &path;
            scope.spawn(move || sender.send(AttemptLock::take(path)));
            // Whoever takes the look for a worker answers at once.
            assert!(receiver.recv_timeout(Duration::from_millis(300)).is_err(), "it was taken, or given up");
            drop(looks);
            assert!(receiver.recv().expect("an answer").is_ok());
        });
    }

    #[test]
    fn a_busy_frontend_lock_names_its_holder_and_is_free_after_it() {
        let folder = tempfile::tempdir().expect("folder");
        let first = FrontendLock::take(folder.path(), NO_PATIENCE, &mut |_| Ok(())).expect("free");
        let busy = FrontendLock::take(folder.path(), NO_PATIENCE, &mut |_| Ok(())).expect_err("held");
        assert_eq!(busy.code, ErrorCode::LockBusy);
        assert!(busy.text.starts_with("dpkg's lock is held by "), "{}", busy.text);
        drop(first);
        assert!(FrontendLock::take(folder.path(), NO_PATIENCE, &mut |_| Ok(())).is_ok());
    }

    #[test]
    fn giving_back_frees_the_lock_although_an_heir_lives() {
        let folder = tempfile::tempdir().expect("folder");
        let lock = FrontendLock::take(folder.path(), NO_PATIENCE, &mut |_| Ok(())).expect("free");
        let heir = lock.file.try_clone().expect("heir");
        drop(lock);
        assert!(FrontendLock::take(folder.path(), NO_PATIENCE, &mut |_| Ok(())).is_ok());
        drop(heir);
    }

    #[test]
    fn a_lock_that_is_left_stays_taken_until_the_last_heir_is_gone() {
        let folder = tempfile::tempdir().expect("folder");
        let lock = FrontendLock::take(folder.path(), NO_PATIENCE, &mut |_| Ok(())).expect("free");
        let heir = lock.file.try_clone().expect("heir");
        lock.leave();
        drop(lock);
        assert!(FrontendLock::take(folder.path(), NO_PATIENCE, &mut |_| Ok(())).is_err());
        drop(heir);
        assert!(FrontendLock::take(folder.path(), NO_PATIENCE, &mut |_| Ok(())).is_ok());
    }

    #[test]
    fn a_working_dpkg_is_waited_for() {
        let folder = tempfile::tempdir().expect("folder");
        assert_eq!(wait_for_dpkg(folder.path(), NO_PATIENCE), Ok(()));
        let dpkg = File::create(folder.path().join("lock")).expect("lock");
        set(&dpkg, libc::F_WRLCK).expect("free");
        assert_eq!(wait_for_dpkg(folder.path(), NO_PATIENCE).map_err(|failure| failure.code), Err(ErrorCode::LockBusy));
        drop(dpkg);
        assert_eq!(wait_for_dpkg(folder.path(), NO_PATIENCE), Ok(()));
    }

    #[test]
    fn waiting_goes_on_until_the_holder_gives_back() {
        let folder = tempfile::tempdir().expect("folder");
        let mut first = Some(FrontendLock::take(folder.path(), NO_PATIENCE, &mut |_| Ok(())).expect("free"));
        let mut asked = 0;
        let second = FrontendLock::take(folder.path(), Duration::from_secs(60), &mut |_| {
            asked += 1;
            drop(first.take());
            Ok(())
        });
        assert!(second.is_ok());
        assert_eq!(asked, 1);
    }
}
