//! Where images and machines are on the host, and who may use them.
//!
//! Purpose: several test processes at once share the images and never each other's machines. Invariants: an image is
//! changed under its exclusive lock and copied under its shared lock; a machine's folder is locked for as long as its
//! process lives, so that a folder that can be locked was left behind and may be swept. Absent on purpose: booting.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getuid};

use super::cgroup;
use crate::command;
use crate::wait::wait_until;

/// The folder of all images and machines.
const STORE: &str = "/var/cache/backstep-test";
/// How long the processes of a killed machine may take to vanish.
const KILL_LIMIT: Duration = Duration::from_secs(20);
/// How large a machine in memory may become; it takes only what it uses, some 300 MiB at first.
const USUAL_MIB: u32 = 4096;
/// How large a file system in a file is, in bytes; the file takes only what is used.
const MADE_BYTES: u64 = 4 << 30;
/// How much memory must be free for machines to be in memory; several may run at once.
const PLENTY_MIB: u64 = 6144;

/// The folder of an image's files.
pub(super) fn image_root(name: &str) -> PathBuf {
    Path::new(STORE).join("images").join(name)
}

/// The file that says what an image was made from.
pub(super) fn image_key(name: &str) -> PathBuf {
    Path::new(STORE).join("images").join(format!("{name}.key"))
}

/// The folder in which fetched archives are kept for the next build of the base.
pub(super) fn archive_cache() -> PathBuf {
    Path::new(STORE).join("archives")
}

/// Makes the store and locks an image; waits for others. The lock ends with the value.
pub(super) fn lock_image(name: &str, mode: FlockArg) -> Result<Flock<File>> {
    make_store()?;
    let path = Path::new(STORE).join("images").join(format!("{name}.lock"));
    lock(&path, mode).with_context(|| format!("cannot lock {}", path.display()))
}

fn make_store() -> Result<()> {
    ensure!(getuid().is_root(), "machine tests need root");
    for folder in [Path::new(STORE).join("images"), Path::new(STORE).join("machines"), archive_cache()] {
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    Ok(())
}

fn lock(path: &Path, mode: FlockArg) -> Result<Flock<File>> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    Flock::lock(file, mode).map_err(|(_, error)| error.into())
}

fn root_in(folder: &Path) -> PathBuf {
    folder.join("root")
}

/// Where a machine's files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// On the host's disk: as slow and as durable as a real machine; for measurements.
    Disk,
    /// In memory, a file system of this many MiB at most: quick to copy and to forget, and small enough to fill.
    Memory(u32),
    /// In a file on the host's disk that holds a file system of this type.
    Made(FileSystem),
}

/// A type of file system that a machine can be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// Debian's usual one.
    Ext4,
    /// Does not order what it writes.
    Xfs,
    /// Copies by sharing.
    Btrfs,
}

impl FileSystem {
    /// Its name, as `mkfs` and `stat` have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Ext4, Self::Xfs, Self::Btrfs].into_iter().find(|kind| kind.name() == name)
    }

    /// Makes an empty one of this size in a new file.
    pub fn make(self, image: &Path, bytes: u64) -> Result<()> {
        OpenOptions::new().create_new(true).write(true).open(image)?.set_len(bytes)?;
        command::run(&format!("mkfs.{}", self.name()), [Path::new("-q"), image]).map(drop)
    }

    /// Mounts the one in a file, which may be a copy of another one: they have one number, which xfs would refuse.
    pub fn mount(self, image: &Path, folder: &Path) -> Result<()> {
        let options = if self == Self::Xfs { "loop,nouuid" } else { "loop" };
        command::run("mount", [Path::new("-o"), Path::new(options), image, folder]).map(drop)
    }
}

/// The file of a file system that was made for a machine.
fn made_in(folder: &Path) -> PathBuf {
    folder.with_extension("img")
}

impl Storage {
    /// In memory if the host has plenty of it, else on disk.
    pub(super) fn usual() -> Self {
        let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        if available_mib(&info) >= PLENTY_MIB { Self::Memory(USUAL_MIB) } else { Self::Disk }
    }

    fn prepare(self, folder: &Path) -> Result<()> {
        match self {
            Self::Disk => Ok(()),
            Self::Memory(size) => {
                let options = format!("mode=755,size={size}m,nr_inodes=0");
                let words = ["-t", "tmpfs", "-o", &options, "backstep-test"].map(PathBuf::from);
                command::run("mount", words.iter().map(PathBuf::as_path).chain([folder])).map(drop)
            }
            Self::Made(file_system) => {
                file_system.make(&made_in(folder), MADE_BYTES)?;
                file_system.mount(&made_in(folder), folder)?;
                // The root of a system on btrfs is a subvolume, as Debian's installer makes it.
                let make = |root: PathBuf| command::run("btrfs", ["subvolume".as_ref(), "create".as_ref(), root.as_os_str()]).map(drop);
                if file_system == FileSystem::Btrfs { make(root_in(folder)) } else { Ok(()) }
            }
        }
    }
}

/// The value of `MemAvailable` in the content of `/proc/meminfo`, in MiB; 0 when there is none.
fn available_mib(info: &str) -> u64 {
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// The folder of one machine; removed when the value goes.
#[derive(Debug)]
pub(super) struct MachineFolder {
    folder: PathBuf,
    name: String,
    _lock: Flock<File>,
}

impl MachineFolder {
    /// Makes an empty folder with a name of its own, after sweeping what dead processes left behind.
    pub(super) fn create(storage: Storage) -> Result<Self> {
        make_store()?;
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        // One process at a time makes or sweeps folders, so that nobody sweeps one that is being made.
        let _guard = lock(&Path::new(STORE).join("machines.lock"), FlockArg::LockExclusive)?;
        sweep()?;
        let name = format!("bt-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let folder = Path::new(STORE).join("machines").join(&name);
        let lock = lock(&folder.with_extension("lock"), FlockArg::LockExclusiveNonblock)?;
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let made = Self { folder, name, _lock: lock };
        storage.prepare(&made.folder)?;
        Ok(made)
    }

    /// Takes a file system that was made for the machine away and mounts what had reached its file by now.
    pub(super) fn mount_again(&self) -> Result<()> {
        let (file, copy) = (made_in(&self.folder), self.folder.with_extension("again"));
        ensure!(file.exists(), "only a machine on a file system of its own can lose what was not written");
        // Mount namespaces of other machines may hold it for as long as they run: the copy is another device.
        command::run("umount", [Path::new("--lazy"), &self.folder])?;
        command::run("cp", [Path::new("--sparse=always"), &file, &copy])?;
        fs::rename(&copy, &file)?;
        let kind = command::run("blkid", ["--output=value".as_ref(), "--match-tag=TYPE".as_ref(), file.as_os_str()])?.stdout;
        FileSystem::named(kind.trim()).with_context(|| format!("{kind:?} was not made here"))?.mount(&file, &self.folder)
    }

    /// The machine's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The machine's root directory.
    pub(super) fn root(&self) -> PathBuf {
        root_in(&self.folder)
    }

    /// The file that takes what the machine prints while it boots.
    pub(super) fn console_path(&self) -> PathBuf {
        self.folder.join("console")
    }

    /// What the machine has printed while it booted.
    pub(super) fn console(&self) -> String {
        fs::read(self.console_path()).map_or_else(|error| error.to_string(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Notes the process that runs the machine, for a sweep after this process has died.
    pub(super) fn note_process(&self, pid: Pid) -> Result<()> {
        fs::write(self.folder.join("pid"), pid.to_string()).context("cannot note the machine's process")
    }
}

impl Drop for MachineFolder {
    fn drop(&mut self) {
        if let Err(error) = remove_machine(&self.folder) {
            eprintln!("machine {}: {error:#}", self.name);
        }
    }
}

/// Removes the machines of processes that are gone.
fn sweep() -> Result<()> {
    for entry in fs::read_dir(Path::new(STORE).join("machines"))? {
        let lock_path = entry?.path();
        if lock_path.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        // A lock that is held means a living owner; one that vanished meanwhile was swept by another process.
        let Ok(_lock) = lock(&lock_path, FlockArg::LockExclusiveNonblock) else { continue };
        let folder = lock_path.with_extension("");
        kill_left_behind(&folder)?;
        remove_machine(&folder)?;
    }
    Ok(())
}

/// Ends the process that a dead test noted, if that process still runs this very machine.
fn kill_left_behind(folder: &Path) -> Result<()> {
    let Ok(noted) = fs::read_to_string(folder.join("pid")) else { return Ok(()) };
    let pid: i32 = noted.trim().parse().with_context(|| format!("{} is no process id", noted.trim()))?;
    let root = folder.join("root");
    if !words_of(Pid::from_raw(pid)).iter().any(|word| Path::new(word) == root) {
        return Ok(());
    }
    let mut processes = super::boot::children_of(Pid::from_raw(pid))?;
    processes.push(Pid::from_raw(pid));
    for process in &processes {
        ignore_gone(kill(*process, Signal::SIGKILL))?;
    }
    wait_until("a machine left behind has gone", KILL_LIMIT, || Ok(processes.iter().all(|process| has_ended(*process)).then_some(())))
}

/// The words of a process's command line; none when it has ended.
fn words_of(process: Pid) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).split_terminator('\0').map(str::to_owned).collect()
}

/// Whether a process is gone, or waits only for its parent to take notice.
fn has_ended(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

fn ignore_gone(result: nix::Result<()>) -> Result<()> {
    match result {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn remove_machine(folder: &Path) -> Result<()> {
    if let Some(name) = folder.file_name() {
        cgroup::remove(&name.to_string_lossy());
    }
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read the mounts")?;
    if mounts.lines().any(|line| line.split(' ').nth(1).is_some_and(|point| Path::new(point) == folder)) {
        command::run("umount", [Path::new("--lazy"), folder])?;
    }
    // rm and not the library: it copes with whatever a package under test has put there.
    command::run("rm", [Path::new("-rf"), Path::new("--one-file-system"), folder])?;
    remove_file(&made_in(folder))?;
    remove_file(&folder.with_extension("lock"))
}

/// Removes a file that may be gone.
fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).with_context(|| format!("cannot remove {}", path.display())),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read() {
        assert_eq!(available_mib("MemTotal: 9 kB\nMemAvailable:   2097152 kB\n"), 2048);
        assert_eq!(available_mib(""), 0);
    }
}
