//! What happens when undo material cannot be kept, and how much of it is: the sections `[apt]` and `[undo]` of Backstep's
//! configuration.
//!
//! The daemon checks the files as a whole; here everything else is passed over.

use std::fs;
use std::path::{Path, PathBuf};

use backstep_core::Retention;
use backstep_core::retention::Wishes;
use serde::Deserialize;

use crate::machine::Machine;

/// What apt does when nothing can be undone afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum OnFailure {
    /// It goes on, and the record says so.
    GoOn,
    /// It is stopped before it changes anything.
    Refuse,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct File {
    apt: Apt,
    undo: Undo,
}

/// The same section as the daemon's, which tells its own workers.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct Undo {
    changes: Option<u32>,
    days: Option<u32>,
    mebibytes: Option<u32>,
    archive_mebibytes: Option<u32>,
}

impl From<&Undo> for Wishes {
    fn from(undo: &Undo) -> Self {
        let Undo { changes, days, mebibytes, archive_mebibytes } = *undo;
        Self { changes, days, mebibytes, archive_mebibytes }
    }
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct Apt {
    on_failure: Option<OnFailure>,
}

/// The administrator's choice; without one apt goes on. Errors: a file that cannot be read or understood, in words.
pub(super) fn read(machine: &Machine) -> Result<OnFailure, String> {
    fold(machine, OnFailure::GoOn, |chosen, file| file.apt.on_failure.unwrap_or(chosen))
}

/// How much undo material is kept. Errors: as before.
pub(super) fn retention(machine: &Machine) -> Result<Retention, String> {
    fold(machine, Retention::default(), |chosen, file| Wishes::from(&file.undo).over(chosen))
}

fn fold<T>(machine: &Machine, first: T, next: impl Fn(T, &File) -> T) -> Result<T, String> {
    files(&machine.at("etc/backstep/backstep.toml"))?.iter().try_fold(first, |chosen, path| {
        let error = |text: String| format!("cannot use {}: {text}", path.display());
        let text = fs::read_to_string(path).map_err(|source| error(source.to_string()))?;
        let file: File = toml::from_str(&text).map_err(|source| error(source.message().to_owned()))?;
        Ok(next(chosen, &file))
    })
}

/// The file and its drop-ins, in the order in which the daemon reads them.
fn files(main: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files: Vec<PathBuf> = main.exists().then(|| main.to_owned()).into_iter().collect();
    let folder = main.with_extension("toml.d");
    let Ok(entries) = fs::read_dir(&folder) else { return Ok(files) };
    let entries = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut found = entries.collect::<Result<Vec<_>, _>>().map_err(|error| format!("cannot list {}: {error}", folder.display()))?;
    found.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    found.sort();
    files.append(&mut found);
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apt_goes_on_unless_the_last_file_says_otherwise() {
        let root = tempfile::tempdir().expect("folder");
        let machine = Machine::new(root.path(), root.path());
        assert_eq!(read(&machine), Ok(OnFailure::GoOn));
        fs::create_dir_all(machine.at("etc/backstep/backstep.toml.d")).expect("folder");
        fs::write(machine.at("etc/backstep/backstep.toml"), "[apt]\non-failure = \"refuse\"\n[daemon]\nidle-exit = 1\n").expect("write");
        assert_eq!(read(&machine), Ok(OnFailure::Refuse));
        fs::write(machine.at("etc/backstep/backstep.toml.d/10.toml"), "[apt]\non-failure = \"go-on\"\n").expect("write");
        assert_eq!(read(&machine), Ok(OnFailure::GoOn));
        assert_eq!(retention(&machine), Ok(Retention::default()));
        fs::write(machine.at("etc/backstep/backstep.toml.d/11.toml"), "[undo]\nchanges = 3\nmebibytes = 2\n").expect("write");
        assert_eq!(retention(&machine), Ok(Retention { changes: 3, bytes: 2 << 20, ..Retention::default() }));
        fs::write(machine.at("etc/backstep/backstep.toml.d/20.toml"), "[apt]\non-failure = \"maybe\"\n").expect("write");
        assert!(read(&machine).expect_err("damaged").contains("20.toml"));
    }
}
