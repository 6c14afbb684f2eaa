//! Copies of the record: one that the daemon keeps while it has nothing to do, and those from before a migration. A record
//! that is written again goes on from the newest one that is whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use backstep_store::{Reader, Run, Store};

use super::install::{beside, remove, sync_folder};

const COPY: &str = ".copy";
const BEFORE_MIGRATION: &str = ".schema-";
/// How old the copy may be.
const AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The copies there are, the newest first.
pub(super) fn all(store: &Path) -> io::Result<Vec<(SystemTime, PathBuf)>> {
    let name = store.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in fs::read_dir(store.parent().unwrap_or(Path::new(".")))? {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let kept = file == format!("{name}{COPY}") || file.starts_with(&format!("{name}{BEFORE_MIGRATION}")) && !file.ends_with(".part");
        if kept {
            found.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    found.sort();
    found.reverse();
    Ok(found)
}

/// Begins a draft from the newest copy that is whole, or from nothing. Answers the copy's name and when it was made.
pub(super) fn begin(store: &Path, draft: &Path, run: &Run) -> anyhow::Result<(Store, Option<(String, String)>)> {
    for (at, copy) in all(store)? {
        fs::copy(&copy, draft).with_context(|| format!("cannot copy {}", copy.display()))?;
        let opened = Store::open(draft, run).and_then(|opened| opened.check().map(|()| opened));
        match opened {
            Ok(opened) => {
                let name = copy.file_name().unwrap_or_default().to_string_lossy().into_owned();
                return Ok((opened, Some((name, said(at)))));
            }
            Err(error) => tracing::warn!("cannot go on from {}: {error}", copy.display()),
        }
        remove(draft)?;
    }
    let opened = Store::open(draft, run).with_context(|| format!("cannot make {}", draft.display()))?;
    Ok((opened, None))
}

fn said(at: SystemTime) -> String {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    super::said_time(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Makes the copy anew when it is a day old, the record has changed since, and there is space. Answers whether it did.
pub fn keep_copy(store: &Path) -> anyhow::Result<bool> {
    let copy = beside(store, COPY);
    let part = beside(&copy, ".part");
    let changed = [store.to_path_buf(), beside(store, "-wal")].iter().filter_map(|path| modified(path)).max();
    let fresh = |made: SystemTime| changed.is_none_or(|changed| changed <= made) || made.elapsed().is_ok_and(|age| age < AGE);
    if modified(&copy).is_some_and(fresh) || !has_space(store)? {
        return Ok(false);
    }
    // CRASH: a part is made again; the copy from before is whole until it is replaced by a whole one.
    remove(&part)?;
    Reader::open(store)?.back_up(&part)?;
    fs::rename(&part, &copy)?;
    sync_folder(store)?;
    Ok(true)
}

/// Takes the daemon's own copy away: it holds what was just taken out of the record. A new one is made when there is nothing
/// to do.
pub fn drop_copy(store: &Path) -> io::Result<()> {
    let copy = beside(store, COPY);
    remove(&copy)?;
    remove(&beside(&copy, ".part"))
}

fn modified(path: &Path) -> Option<SystemTime> {
    // An empty log is made by every open.
    fs::metadata(path).ok().filter(|file| file.len() > 0)?.modified().ok()
}

/// Four times its size has to be free, so that nothing is short of space by it.
fn has_space(store: &Path) -> anyhow::Result<bool> {
    let size = fs::metadata(store)?.len();
    let disk = nix::sys::statvfs::statvfs(store)?;
    Ok(disk.blocks_available() * disk.fragment_size() > size.saturating_mul(4))
}
