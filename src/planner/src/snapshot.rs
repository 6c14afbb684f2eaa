//! The system's own facts, read once: dpkg's database, apt's marks, their digest.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use backstep_apt::interrupted::interrupted;
use backstep_apt::status::Status;
use backstep_core::{Architecture, Digest, ErrorCode, Failure};

use crate::Outcome;
use crate::configuration::Configuration;

/// What stood in the files when the question was read.
pub(crate) struct Snapshot {
    /// The digest the plan carries.
    pub(crate) world: Digest,
    /// dpkg's database.
    pub(crate) status: Status,
    /// The native architecture.
    pub(crate) native: Architecture,
    updates: Vec<String>,
    identities: [Option<Identity>; 2],
}

type Identity = (u64, u64, u64, i64, i64);

impl Snapshot {
    /// Reads the files. Without marks the list is empty; without a status file there is nothing to plan for.
    pub(crate) fn read(configuration: &Configuration) -> Outcome<Self> {
        let (status_path, marks_path) = (configuration.status(), configuration.extended_states());
        let identities = [identity(&status_path), identity(&marks_path)];
        let status = fs::read(&status_path).map_err(|e| unreadable(&status_path, &e))?;
        let marks = read_or_empty(&marks_path)?;
        Ok(Self {
            world: backstep_apt::world(&status, &marks),
            status: Status::parse(&status).map_err(|e| Failure::new(ErrorCode::PlanFailed, e.to_string()))?,
            native: configuration.native().ok_or_else(|| Failure::new(ErrorCode::PlanFailed, "cannot tell the system's architecture"))?,
            updates: updates(&configuration.admin().join("updates"))?,
            identities,
        })
    }

    /// Refuses to plan on top of an interrupted dpkg.
    pub(crate) fn check_interrupted(&self) -> Outcome<()> {
        match interrupted(&self.status, self.updates.iter().map(String::as_str)) {
            Some(found) => Err(Failure::new(ErrorCode::DpkgInterrupted, found.text())),
            None => Ok(()),
        }
    }

    /// Refuses a plan whose digest and whose facts may be of two different worlds.
    pub(crate) fn check_unchanged(&self, configuration: &Configuration) -> Outcome<()> {
        let now = [identity(&configuration.status()), identity(&configuration.extended_states())];
        if now == self.identities {
            Ok(())
        } else {
            Err(Failure::new(ErrorCode::PlanStale, "the package database changed while the plan was made"))
        }
    }
}

fn identity(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().map(|m| (m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec()))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(ErrorCode::PlanFailed, format!("cannot read {}: {error}", path.display()))
}

fn read_or_empty(path: &Path) -> Outcome<Vec<u8>> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn updates(path: &Path) -> Outcome<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(path, &error)),
    };
    entries.map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()).map_err(|e| unreadable(path, &e))).collect()
}
