//! A capture read as the file system that it was taken of, as far as it holds it.
//!
//! Paths are absolute and as people write them: links on the way are followed as they were then.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

use crate::error::{Context, Result};
use crate::manifest::{How, Present};
use crate::node::Kind;
use crate::store::Contents;

/// How many links are followed on one way.
const MOST_LINKS: u32 = 40;
/// Where the first names of old paths lead on systems with a merged `/usr`.
const USR: &str = "usr";

/// What a path was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What it was.
    pub kind: Kind,
    /// The permission bits, set-id bits included.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Bytes of a file.
    pub size: u64,
    /// When it was written, in seconds.
    pub mtime: i64,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Where a symbolic link led.
    pub target: Vec<u8>,
    /// Of a file: names of one file have the same.
    pub family: Option<(u64, u64)>,
}

impl Contents {
    /// What a path was; none when it was not there or was not captured.
    #[must_use]
    pub fn look(&self, path: &Path) -> Option<Held> {
        let present = self.present(&self.place(path)?)?;
        let object = present.object;
        let kept = |how| match how {
            How::Linked => 0,
            How::Copied => 1,
        };
        let meta = &present.meta;
        Some(Held {
            kind: meta.kind,
            mode: meta.mode & 0o7777,
            uid: meta.uid,
            gid: meta.gid,
            size: meta.size,
            mtime: meta.mtime.0,
            device: meta.rdev,
            target: meta.target.clone(),
            // Stores are few: their number and the way to keep a file share one half.
            family: object.map(|object| (object.store as u64 * 2 + kept(object.how), object.number)),
        })
    }

    /// Opens the content that a file had.
    pub fn open_file(&self, path: &Path) -> Result<impl Read + use<>> {
        let place = self.place(path).unwrap_or_default();
        let object = self.present(&place).and_then(|present| present.object);
        let object = object.ok_or(Errno::NOENT).cannot("find the object of", path)?;
        self.vault.object(object, &place)?.read(&place)
    }

    /// The captured names in a folder that were there, in order.
    #[must_use]
    pub fn names(&self, folder: &Path) -> Vec<OsString> {
        let Some(folder) = self.place(&folder.join("x")).and_then(|inside| inside.parent().map(Path::to_path_buf)) else {
            return Vec::new();
        };
        let entries = &self.manifest.entries;
        let from = entries.partition_point(|entry| entry.path <= folder);
        let below = entries[from..].iter().take_while(|entry| entry.path.starts_with(&folder));
        let here = below.filter(|entry| entry.present.is_some() && entry.path.parent() == Some(&folder));
        here.filter_map(|entry| entry.path.file_name().map(OsStr::to_owned)).collect()
    }

    fn present(&self, place: &Path) -> Option<&Present> {
        self.manifest.find(place)?.present.as_ref()
    }

    /// The canonical path: what was captured by its canonical path only is found by the others, too.
    fn place(&self, path: &Path) -> Option<PathBuf> {
        let mut ahead: VecDeque<OsString> = parts(path).collect();
        let (mut at, mut links) = (PathBuf::new(), 0);
        while let Some(name) = ahead.pop_front() {
            if name == ".." {
                at.pop();
                continue;
            }
            let next = at.join(&name);
            let target = self.present(&next).filter(|present| present.meta.kind == Kind::Symlink && !ahead.is_empty());
            let Some(target) = target.map(|present| Path::new(OsStr::from_bytes(&present.meta.target))) else {
                at = next;
                continue;
            };
            links += 1;
            if links > MOST_LINKS {
                return None;
            }
            if target.is_absolute() {
                at.clear();
            }
            parts(target).collect::<Vec<_>>().into_iter().rev().for_each(|name| ahead.push_front(name));
        }
        let merged = Path::new(USR).join(&at);
        let is_merged = self.manifest.find(&at).is_none() && self.manifest.find(&merged).is_some();
        Some(if is_merged { merged } else { at })
    }
}

/// The names on the way, without the root and dots.
fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir)).map(|part| part.as_os_str().to_owned())
}
