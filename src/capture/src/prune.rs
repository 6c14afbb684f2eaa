//! Giving up a capture: all that it holds is removed, on every file system.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::dir::{CaptureDir, ELSEWHERE};
use crate::error::{Context, Result};
use crate::manifest::Picture;
use crate::mounts::mount_points;
use crate::root::proc_path;
use crate::store::{OBJECTS, open_elsewhere, store_path};

/// Removes a capture, complete or not, or what an interrupted prune left of it; one that is gone is fine.
///
/// The manifest goes first, so that a half-removed capture never passes for a complete one.
pub fn prune(dir: &CaptureDir) -> Result<()> {
    gone(fs::remove_file(dir.path().join(Picture::Before.file_name()))).cannot("remove the manifest of", dir.path())?;
    for point in points(dir)? {
        remove_elsewhere(dir, &point)?;
    }
    gone(fs::remove_dir_all(dir.path())).cannot("remove", dir.path())
}

/// Bytes that only this capture takes: blocks of kept content that has no other name. A lower bound when several
/// captures hold the same dead file.
pub fn size(dir: &CaptureDir) -> Result<u64> {
    let mut sum = 0;
    let elsewhere: Vec<PathBuf> = points(dir)?.iter().map(|point| store_path(dir, point)).collect();
    for store in elsewhere.iter().map(PathBuf::as_path).chain([dir.path()]) {
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

/// The paths in a directory; none when it is not there.
pub(crate) fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Ok(names) => names.map(|name| Ok(name.cannot("list", dir)?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).cannot("list", dir),
    }
}

/// Through the folder that was looked at: its name may mean another one by now.
fn remove_elsewhere(dir: &CaptureDir, point: &Path) -> Result<()> {
    let (ours, _) = open_elsewhere(dir, point)?;
    let store = Path::new(&proc_path(&ours)).join(dir.name());
    gone(fs::remove_dir_all(&store)).cannot("remove", &store_path(dir, point))?;
    remove_when_empty(&point.join(ELSEWHERE))
}

/// The mount points of the file systems that the capture has a store on: found by name, because an interrupted capture has
/// no list of them.
fn points(dir: &CaptureDir) -> Result<Vec<PathBuf>> {
    let is_one = |point: &PathBuf| open_elsewhere(dir, point).is_ok() && store_path(dir, point).join(OBJECTS).is_dir();
    let mut found: Vec<PathBuf> = mount_points()?.into_values().filter(is_one).collect();
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
