//! What happens when undo material cannot be kept: the `[apt]` section of Backstep's configuration.
//!
//! Read only then. The daemon checks the files as a whole; here everything but the one key is passed over.

use std::fs;
use std::path::{Path, PathBuf};

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
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct Apt {
    on_failure: Option<OnFailure>,
}

/// The administrator's choice; without one apt goes on. Errors: a file that cannot be read or understood, in words.
pub(super) fn read(machine: &Machine) -> Result<OnFailure, String> {
    let mut chosen = OnFailure::GoOn;
    for path in files(&machine.at("etc/backstep/backstep.toml"))? {
        let error = |text: String| format!("cannot use {}: {text}", path.display());
        let text = fs::read_to_string(&path).map_err(|source| error(source.to_string()))?;
        let file: File = toml::from_str(&text).map_err(|source| error(source.message().to_owned()))?;
        chosen = file.apt.on_failure.unwrap_or(chosen);
    }
    Ok(chosen)
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
        fs::write(machine.at("etc/backstep/backstep.toml.d/20.toml"), "[apt]\non-failure = \"maybe\"\n").expect("write");
        assert!(read(&machine).expect_err("damaged").contains("20.toml"));
    }
}
