//! Helpers: a root and a capture in a temporary directory, and a scan that knows nothing of the crate under test.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

pub struct Place {
    pub dir: tempfile::TempDir,
    /// No two at a time have the same: who prunes a capture looks for its stores on everything that is mounted.
    pub attempt: String,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        fs::create_dir(dir.path().join("state")).unwrap();
        static PLACES: AtomicU64 = AtomicU64::new(0);
        let (process, place) = (std::process::id(), PLACES.fetch_add(1, Ordering::Relaxed));
        let attempt = format!("{process:08x}-{place:04x}-7d3e-9f10-0123456789ab-1");
        Self { dir, attempt }
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub fn capture(&self) -> PathBuf {
        self.dir.path().join("state").join(&self.attempt)
    }

    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root().join(path)
    }

    pub fn dir(&self, path: impl AsRef<Path>) -> PathBuf {
        fs::create_dir_all(self.at(&path)).unwrap();
        self.at(path)
    }

    pub fn file(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub fn link(&self, path: impl AsRef<Path>, target: impl AsRef<Path>) {
        symlink(target, self.at(path)).unwrap();
    }

    /// As dpkg does it: a new inode renamed over the old name.
    pub fn replace(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.at(path);
        let new = path.with_file_name("x.dpkg-new");
        fs::write(&new, content).unwrap();
        fs::rename(new, path).unwrap();
    }

    pub fn scan(&self) -> BTreeMap<PathBuf, String> {
        scan(&self.root())
    }
}

/// Whether the test may do what only root may; says so when it may not.
pub fn is_root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("not root: {what} is not covered by this run");
    }
    root
}

pub fn paths(all: &[&str]) -> BTreeSet<PathBuf> {
    all.iter().map(PathBuf::from).collect()
}

/// The mode, but who is not root stays able to enter a directory.
pub fn passable(path: &Path, mode: u32) -> u32 {
    if path.is_dir() && !rustix::process::geteuid().is_root() { mode | 0o700 } else { mode }
}

pub fn chmod(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Everything below a directory: type, mode, owner, time, size, content, target, device, attributes, and which
/// other names the inode has. Undo directories do not count.
pub fn scan(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut families: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    walk(root, root, &mut found, &mut families);
    for names in families.values().filter(|names| names.len() > 1) {
        for name in names {
            found.get_mut(name).unwrap().push_str(&format!(" family {names:?}"));
        }
    }
    found
}

fn walk(root: &Path, dir: &Path, found: &mut BTreeMap<PathBuf, String>, families: &mut BTreeMap<u64, Vec<PathBuf>>) {
    let mut names: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|name| name.unwrap().path()).collect();
    names.sort();
    names.retain(|path| !path.ends_with(".backstep"));
    for path in names {
        let stat = fs::symlink_metadata(&path).unwrap();
        let kind = stat.file_type();
        let inside = path.strip_prefix(root).unwrap().to_path_buf();
        let what = if kind.is_dir() {
            "directory".to_owned()
        } else if kind.is_symlink() {
            format!("link to {:?}", fs::read_link(&path).unwrap())
        } else if kind.is_file() {
            families.entry(stat.ino()).or_default().push(inside.clone());
            format!("file {} {:x?}", stat.size(), content(&path))
        } else {
            format!("special fifo={} socket={} char={} device {}", kind.is_fifo(), kind.is_socket(), kind.is_char_device(), stat.rdev())
        };
        let line =
            format!("{:o} {}:{} {}.{} {what} {}", stat.mode(), stat.uid(), stat.gid(), stat.mtime(), stat.mtime_nsec(), xattrs(&path));
        found.insert(inside, line);
        if kind.is_dir() {
            walk(root, &path, found, families);
        }
    }
}

fn content(path: &Path) -> Vec<u8> {
    use std::io::Read;
    let mut bytes = Vec::new();
    File::open(path).unwrap().take(4096).read_to_end(&mut bytes).unwrap();
    bytes
}

fn xattrs(path: &Path) -> String {
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, names.as_mut_slice()).unwrap_or(0);
    let mut all = BTreeMap::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 4096];
        let length = rustix::fs::lgetxattr(path, name, value.as_mut_slice()).unwrap();
        all.insert(String::from_utf8_lossy(name).into_owned(), value[..length].to_vec());
    }
    format!("{all:x?}")
}

/// The differences between two scans, for a readable failure.
pub fn assert_same(before: &BTreeMap<PathBuf, String>, now: &BTreeMap<PathBuf, String>) {
    let mut all = String::new();
    for path in before.keys().chain(now.keys()).collect::<BTreeSet<_>>() {
        if before.get(path) != now.get(path) {
            all.push_str(&format!("{path:?}\n  before {:?}\n  now    {:?}\n", before.get(path), now.get(path)));
        }
    }
    assert!(all.is_empty(), "differs:\n{all}");
}
