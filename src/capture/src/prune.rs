//! Giving up a capture: all that it holds is removed, on every file system.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::dir::{CaptureDir, ELSEWHERE};
use crate::error::{Context, Result};
use crate::manifest::Picture;
use crate::mounts::mount_points;
use crate::store::OBJECTS;

/// Removes a capture, complete or not, or what an interrupted prune left of it; one that is gone is fine.
///
/// The manifest goes first, so that a half-removed capture never passes for a complete one.
pub fn prune(dir: &CaptureDir) -> Result<()> {
    gone(fs::remove_file(dir.path().join(Picture::Before.file_name()))).cannot("remove the manifest of", dir.path())?;
    for store in elsewhere(dir)? {
        gone(fs::remove_dir_all(&store)).cannot("remove", &store)?;
        remove_when_empty(store.parent().unwrap_or(&store))?;
    }
    gone(fs::remove_dir_all(dir.path())).cannot("remove", dir.path())
}

/// Bytes that only this capture takes: blocks of kept content that has no other name. A lower bound when several
/// captures hold the same dead file.
pub fn size(dir: &CaptureDir) -> Result<u64> {
    let mut sum = 0;
    for store in elsewhere(dir)?.iter().map(PathBuf::as_path).chain([dir.path()]) {
        for shard in list(&store.join(OBJECTS))? {
            sum += list(&shard)?.iter().map(|object| own_bytes(object)).sum::<Result<u64>>()?;
        }
    }
    // The descriptions, and what others put beside them.
    let files = list(dir.path())?.into_iter().filter(|path| !path.is_dir());
    Ok(sum + files.map(|file| own_bytes(&file)).sum::<Result<u64>>()?)
}

fn own_bytes(path: &Path) -> Result<u64> {
    let found = fs::symlink_metadata(path).cannot("examine", path)?;
    Ok(if found.nlink() == 1 { found.blocks() * 512 } else { 0 })
}

fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Ok(names) => names.map(|name| Ok(name.cannot("list", dir)?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).cannot("list", dir),
    }
}

/// The capture's undo directories on other file systems: found by name, because an interrupted capture has no
/// list of them.
fn elsewhere(dir: &CaptureDir) -> Result<Vec<PathBuf>> {
    let me = rustix::process::geteuid().as_raw();
    let ours = |path: &PathBuf| {
        let parent = path.parent().map(fs::symlink_metadata);
        parent.is_some_and(|found| found.is_ok_and(|found| found.is_dir() && found.uid() == me && found.mode() & 0o077 == 0))
    };
    let candidates = mount_points()?.into_values().map(|point| point.join(ELSEWHERE).join(dir.name()));
    let mut found: Vec<PathBuf> = candidates.filter(ours).filter(|path| path.join(OBJECTS).is_dir()).collect();
    found.sort();
    found.dedup();
    Ok(found)
}

fn remove_when_empty(dir: &Path) -> Result<()> {
    match fs::remove_dir(dir) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) => {
            Err(error).cannot("remove", dir)
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
