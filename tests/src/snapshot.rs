//! What a file tree looks like, to compare before and after.
//!
//! Purpose: the proof that an undo left nothing behind: type, mode, owner, link target or content hash, extended by
//! nothing that changes by itself. Invariants: paths are absolute within the tree and sorted. Absent on purpose:
//! modification times (a directory's changes when a file comes and goes) and inode numbers.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// What is not part of the system's state: kernel file systems, logs, caches, and Backstep's own record.
pub const VOLATILE: [&str; 13] = [
    "/dev",
    "/proc",
    "/run",
    "/sys",
    "/tmp",
    "/srv",
    "/var/tmp",
    "/var/log",
    "/var/cache",
    "/var/lib/apt/lists",
    "/var/lib/backstep",
    "/var/lib/systemd",
    "/etc/resolv.conf",
];

/// A file tree at one moment: a line for every path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<PathBuf, String>);

impl Snapshot {
    /// Looks at everything below `root` but the trees in `excluded`, which are absolute paths within `root`.
    pub fn take(root: &Path, excluded: &[&str]) -> Result<Self> {
        let mut snapshot = Self(BTreeMap::new());
        snapshot.visit(root, Path::new("/"), excluded)?;
        Ok(snapshot)
    }

    /// The differences as lines: `- path …` only here, `+ path …` only in `after`; empty when there are none.
    #[must_use]
    pub fn differences(&self, after: &Self) -> Vec<String> {
        let lines = |from: &Self, other: &Self, sign: char| -> Vec<_> {
            let changed = from.0.iter().filter(|(path, line)| other.0.get(*path) != Some(line));
            changed.map(|(path, line)| (path.clone(), format!("{sign} {} {line}", path.display()))).collect()
        };
        let mut all = lines(self, after, '-');
        all.extend(lines(after, self, '+'));
        all.sort_by(|one, two| one.0.cmp(&two.0));
        all.into_iter().map(|(_, line)| line).collect()
    }

    fn visit(&mut self, root: &Path, path: &Path, excluded: &[&str]) -> Result<()> {
        if excluded.iter().any(|tree| Path::new(tree) == path) {
            return Ok(());
        }
        let real = root.join(path.strip_prefix("/").context("a path is not absolute")?);
        let metadata = fs::symlink_metadata(&real).with_context(|| format!("cannot look at {}", real.display()))?;
        self.0.insert(path.to_owned(), describe(&real, &metadata)?);
        if !metadata.is_dir() {
            return Ok(());
        }
        for entry in fs::read_dir(&real)? {
            self.visit(root, &path.join(entry?.file_name()), excluded)?;
        }
        Ok(())
    }
}

fn describe(path: &Path, metadata: &fs::Metadata) -> Result<String> {
    let content = if metadata.is_symlink() {
        fs::read_link(path)?.to_string_lossy().into_owned()
    } else if metadata.is_file() {
        hash(path, metadata)?
    } else {
        String::new()
    };
    Ok(format!("{:o} {}:{} {content}", metadata.mode(), metadata.uid(), metadata.gid()))
}

/// Device, inode, and the time of the last change of anything about it.
type Version = (u64, u64, i64, i64);

/// Hashes of files that nobody has written since: every write sets that time, which nobody can set.
static KNOWN: LazyLock<Mutex<HashMap<Version, String>>> = LazyLock::new(Mutex::default);

/// Two writes within one tick of the kernel's clock would look like one: a younger file is read every time.
const SETTLED: Duration = Duration::from_secs(1);

fn hash(path: &Path, metadata: &fs::Metadata) -> Result<String> {
    let version = (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec());
    if let Some(known) = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(&version) {
        return Ok(known.clone());
    }
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let hash: String = Sha256::digest(&bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let changed = SystemTime::UNIX_EPOCH + Duration::new(metadata.ctime().try_into()?, metadata.ctime_nsec().try_into()?);
    if changed.elapsed().is_ok_and(|age| age > SETTLED) {
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(version, hash.clone());
    }
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_name_what_changed() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let write = |name: &str, content: &str| fs::write(folder.path().join(name), content);
        write("same", "1")?;
        write("changed", "1")?;
        write("gone", "1")?;
        fs::create_dir(folder.path().join("run"))?;
        let before = Snapshot::take(folder.path(), &["/run"])?;
        write("changed", "2")?;
        write("new", "1")?;
        write("run/volatile", "1")?;
        fs::remove_file(folder.path().join("gone"))?;
        let after = Snapshot::take(folder.path(), &["/run"])?;
        let names: Vec<_> = before.differences(&after).iter().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(names, ["- /changed", "+ /changed", "- /gone", "+ /new"]);
        assert!(before.differences(&before).is_empty());
        Ok(())
    }
}
