//! The folder of one run: a small system, Backstep's state, and what the run says of itself.
//!
//! Absent on purpose: the machine's own files. Everything lies in memory where there is a place for it: what is tested
//! is the order of effects, and a kill loses nothing that was written.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use backstep_worker::machine::Machine;

use crate::universe;

/// One run's folder.
#[derive(Debug, Clone)]
pub struct Place {
    dir: PathBuf,
    state: PathBuf,
}

impl Place {
    /// The run in a folder that is there.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        Self::with_state(dir, &dir.join("state"))
    }

    /// A system whose state is elsewhere than usual.
    #[must_use]
    pub fn with_state(dir: &Path, state: &Path) -> Self {
        Self { dir: dir.to_owned(), state: state.to_owned() }
    }

    /// The place that a state directory belongs to.
    #[must_use]
    pub fn of_state(state: &Path) -> Self {
        Self::at(state.parent().unwrap_or(state))
    }

    /// Makes the system and an empty state in an empty folder.
    pub fn make(dir: &Path) -> Result<Self> {
        let place = Self::at(dir);
        universe::fill(&place.machine())?;
        Ok(place)
    }

    /// Makes the same again; what was there goes.
    pub fn again(&self) -> Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
        }
        universe::fill(&self.machine())
    }

    /// The state as it is now, to begin again from with [`Place::put_state`].
    pub fn take_state(&self) -> Result<Vec<u8>> {
        let mut all = tar::Builder::new(Vec::new());
        all.append_dir_all(".", &self.state).context("cannot copy the state")?;
        Ok(all.into_inner()?)
    }

    /// Puts a state that was taken in the place of none.
    pub fn put_state(&self, taken: &[u8]) -> Result<()> {
        tar::Archive::new(taken).unpack(&self.state).context("cannot put the state back")
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Backstep's state.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.state.clone()
    }

    /// The small system and the state.
    #[must_use]
    pub fn machine(&self) -> Machine {
        Machine::new(&self.dir.join("root"), &self.state())
    }

    /// What was told to clients, line by line. Written to by the daemon's standard output.
    #[must_use]
    pub fn told(&self) -> PathBuf {
        self.dir.join("told")
    }

    /// Every effect on packages, line by line: which attempt, and what it did.
    #[must_use]
    pub fn effects(&self) -> PathBuf {
        self.dir.join("effects")
    }

    /// The daemon's words on standard error.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// The lines of one of these files; none when it is not there.
    pub fn lines(path: &Path) -> Result<Vec<String>> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }
}

/// A folder for runs: in memory where there is one, else among the temporary files.
pub fn folder() -> Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.context("cannot make a folder for the runs")
}

/// Adds a line to a file in one write.
pub fn add_line(path: &Path, line: &str) -> io::Result<()> {
    fs::File::options().append(true).create(true).open(path)?.write_all(format!("{line}\n").as_bytes())
}

/// Puts a file in its place as dpkg does: beside, then by renaming.
pub fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut new = path.as_os_str().to_owned();
    new.push(if path.ends_with("var/lib/dpkg/status") { "-new" } else { ".dpkg-new" });
    let mut file = fs::File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(new, path)
}
