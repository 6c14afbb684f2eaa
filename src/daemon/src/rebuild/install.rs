//! A record that was written again takes the old one's place.
//!
//! The draft is complete and durable before it gets the name that says so; then the old files go aside, the log first, so
//! that no log is ever beside a record that it does not belong to; then the draft gets the record's name.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use backstep_core::Stamp;
use backstep_store::due;

const COMPLETE: &str = "store.db.rebuilt-";
const ASIDE: &str = "store.db.damaged-";

/// A record that is being written again.
pub(super) struct Draft {
    /// Where.
    pub(super) path: PathBuf,
    utc_s: i64,
}

impl Draft {
    /// A new one; what is left of an interrupted one goes.
    pub(super) fn new(store: &Path, at: Stamp) -> io::Result<Self> {
        let path = beside(store, ".rebuilding");
        remove(&path)?;
        Ok(Self { path, utc_s: at.utc_us / 1_000_000 })
    }

    /// The name that the damaged file will have.
    pub(super) fn kept_name(&self) -> String {
        format!("{ASIDE}{}", self.utc_s)
    }

    /// Gives it the record's name.
    pub(super) fn install(self, store: &Path) -> io::Result<()> {
        File::open(&self.path)?.sync_all()?;
        fs::rename(&self.path, store.with_file_name(format!("{COMPLETE}{}", self.utc_s)))?;
        sync_folder(store)?;
        // CRASH: from here on the next start finishes it.
        finish(store)
    }
}

/// Removes a draft with everything beside it.
pub(super) fn remove(draft: &Path) -> io::Result<()> {
    for suffix in ["", "-wal", "-shm", ".check"] {
        match fs::remove_file(beside(draft, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Puts a complete draft in its place, when there is one.
pub(super) fn finish(store: &Path) -> io::Result<()> {
    let folder = store.parent().unwrap_or(Path::new("."));
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let Some(utc_s) = name.to_str().and_then(|name| name.strip_prefix(COMPLETE)) else { continue };
        let kept = store.with_file_name(format!("{ASIDE}{utc_s}"));
        for suffix in ["-wal", "-shm", ""] {
            set_aside(&beside(store, suffix), &beside(&kept, suffix))?;
        }
        sync_folder(store)?;
        fs::rename(folder.join(&name), store)?;
        due::done(store).map_err(io::Error::other)?;
        return sync_folder(store);
    }
    Ok(())
}

/// Nothing that was moved aside earlier is lost by it.
fn set_aside(from: &Path, to: &Path) -> io::Result<()> {
    if !from.exists() {
        return Ok(());
    }
    let mut free = to.to_path_buf();
    for number in 1.. {
        if !free.exists() {
            break;
        }
        free = beside(to, &format!(".{number}"));
    }
    fs::rename(from, free)
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

pub(super) fn sync_folder(store: &Path) -> io::Result<()> {
    File::open(store.parent().unwrap_or(Path::new(".")))?.sync_all()
}
