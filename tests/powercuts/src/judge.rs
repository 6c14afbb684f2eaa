//! What a disk says when its machine is off: its files, and what the machine found before.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use backstep_tests::command;
use backstep_tests::snapshot::{Snapshot, VOLATILE};
use serde_json::Value;

use crate::scene::FOUND;

/// What every boot may write, beside what no state of a system is.
const BOOT: [&str; 4] = ["/lost+found", "/etc/machine-id", "/var/lib/dpkg/lock", "/var/lib/dpkg/lock-frontend"];

/// A disk that is mounted, as long as the value is there.
struct Mounted(PathBuf);

impl Mounted {
    /// Mounts it; the journal of its file system is replayed.
    fn new(disk: &Path) -> Result<Self> {
        let point = disk.with_extension("mounted");
        fs::create_dir_all(&point)?;
        command::run("mount", [Path::new("-o"), Path::new("loop"), disk, &point])?;
        Ok(Self(point))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let ended = command::run("umount", [&self.0]).and_then(|_| Ok(fs::remove_dir(&self.0)?));
        if let Err(error) = ended {
            eprintln!("{}: {error:#}", self.0.display());
        }
    }
}

/// The files of the system on a disk, which may need its journal replayed.
pub fn state(disk: &Path) -> Result<Snapshot> {
    let mounted = Mounted::new(disk)?;
    files(&mounted.0)
}

/// The files of the system below a folder.
pub fn files(root: &Path) -> Result<Snapshot> {
    Snapshot::take(root, &[&VOLATILE[..], &BOOT[..]].concat())
}

/// What the machine found, and its files, when it is off.
#[derive(Debug)]
pub struct Rest {
    /// The files.
    pub state: Snapshot,
    /// The record, newest first.
    pub history: Vec<Value>,
    /// What recovery before the start of the system left word of.
    pub early: Vec<String>,
}

fn words(attempts: &Path) -> Result<Vec<String>> {
    let folders = fs::read_dir(attempts)?.collect::<std::io::Result<Vec<_>>>()?;
    let words = folders.iter().map(|folder| folder.path().join("early")).filter(|word| word.exists());
    words.map(|word| fs::read_to_string(&word).with_context(|| format!("cannot read {}", word.display()))).collect()
}

/// Checks what must be so of every machine that was left alone long enough.
pub fn rest(disk: &Path, said: &str) -> Result<Rest> {
    ensure!(!said.contains("powercut: no rest"), "it did not come to rest:\n{said}");
    command::run("e2fsck", [Path::new("-f"), Path::new("-n"), disk]).context("the file system is damaged")?;
    let (found, history, early) = {
        let mounted = Mounted::new(disk)?;
        let found = mounted.0.join(FOUND);
        let read = |name: &str| fs::read_to_string(found.join(name)).with_context(|| format!("the machine did not look at {name}"));
        let history = serde_json::from_str(&read("history")?).with_context(|| read("history").unwrap_or_default())?;
        let ends = ["audit", "chain"].map(|name| Ok::<_, anyhow::Error>((name, read(name)?, read(&format!("{name}.code"))?)));
        (ends, history, words(&mounted.0.join("var/lib/backstep/attempts"))?)
    };
    for end in found {
        let (name, text, code) = end?;
        ensure!(code.trim() == "0" && (name != "audit" || text.is_empty()), "{name}: exit {code}{text}");
    }
    Ok(Rest { state: state(disk)?, history, early })
}
