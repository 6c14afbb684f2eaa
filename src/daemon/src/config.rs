//! The configuration: `/etc/backstep/backstep.toml` and the drop-ins beside it, later ones win by key.
//!
//! An unknown key or a wrong value is an error that names the file; nothing is guessed.

use std::path::{Path, PathBuf};

use backstep_core::Options;
use serde::Deserialize;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file has an unknown key or a wrong value.
    #[error("cannot use {}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<toml::de::Error>,
    },
    /// A value outside its list.
    #[error("cannot use {}: {source}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Why.
        source: backstep_core::UnknownName,
    },
}

/// What the administrator chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What a request gets when it does not say otherwise.
    pub defaults: Options,
    /// Seconds without work after which the daemon ends.
    pub idle_exit_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { defaults: Options::default(), idle_exit_s: 60 }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct File {
    defaults: Defaults,
    daemon: Daemon,
    apt: Apt,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Defaults {
    on_failure: Option<String>,
    services: Option<String>,
    conffiles: Option<String>,
    lock_timeout: Option<u32>,
    recommends: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Daemon {
    idle_exit: Option<u64>,
}

/// For the hooks of plain runs of apt, which read it themselves; checked here with everything else.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Apt {
    on_failure: Option<String>,
}

/// Reads the file, if there is one, and its drop-ins in the order of their names.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let mut config = Config::default();
    for file in files(path)? {
        let text = std::fs::read_to_string(&file).map_err(|source| ConfigError::Read { path: file.clone(), source })?;
        apply(&mut config, &file, &text)?;
    }
    Ok(config)
}

fn files(path: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let mut files: Vec<PathBuf> = if path.exists() { vec![path.to_owned()] } else { Vec::new() };
    let folder = path.with_extension("toml.d");
    if folder.is_dir() {
        let read = |source| ConfigError::Read { path: folder.clone(), source };
        let mut drop_ins = std::fs::read_dir(&folder)
            .map_err(read)?
            .map(|entry| entry.map(|entry| entry.path()).map_err(read))
            .collect::<Result<Vec<_>, _>>()?;
        drop_ins.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        drop_ins.sort();
        files.append(&mut drop_ins);
    }
    Ok(files)
}

fn apply(config: &mut Config, path: &Path, text: &str) -> Result<(), ConfigError> {
    let file: File = toml::from_str(text).map_err(|e| ConfigError::Parse { path: path.to_owned(), source: Box::new(e) })?;
    let value = |source| ConfigError::Value { path: path.to_owned(), source };
    let defaults = &mut config.defaults;
    if let Some(text) = file.defaults.on_failure {
        defaults.on_failure = text.parse().map_err(value)?;
    }
    if let Some(text) = file.defaults.services {
        defaults.services = text.parse().map_err(value)?;
    }
    if let Some(text) = file.defaults.conffiles {
        defaults.conffiles = text.parse().map_err(value)?;
    }
    match file.apt.on_failure.as_deref() {
        None | Some("go-on" | "refuse") => {}
        Some(other) => return Err(value(backstep_core::UnknownName { what: "choice", name: other.to_owned() })),
    }
    defaults.lock_timeout_s = file.defaults.lock_timeout.unwrap_or(defaults.lock_timeout_s);
    defaults.recommends = file.defaults.recommends.or(defaults.recommends);
    config.idle_exit_s = file.daemon.idle_exit.unwrap_or(config.idle_exit_s);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use backstep_core::request::{OnFailure, ServicePolicy};

    #[test]
    fn drop_ins_win_by_key_in_the_order_of_names() {
        let dir = tempfile::tempdir().expect("tempdir");
        let main = dir.path().join("backstep.toml");
        std::fs::write(&main, "[defaults]\non-failure = \"leave\"\nservices = \"warn\"\n").expect("write");
        std::fs::create_dir(dir.path().join("backstep.toml.d")).expect("mkdir");
        std::fs::write(dir.path().join("backstep.toml.d/20.toml"), "[defaults]\nservices = \"off\"\n").expect("write");
        std::fs::write(dir.path().join("backstep.toml.d/10.toml"), "[daemon]\nidle-exit = 5\n[defaults]\nservices = \"undo\"\n")
            .expect("write");
        let config = load(&main).expect("load");
        assert_eq!(config.defaults.on_failure, OnFailure::Leave);
        assert_eq!(config.defaults.services, ServicePolicy::Off);
        assert_eq!(config.idle_exit_s, 5);
    }

    #[test]
    fn no_file_is_the_default_and_an_unknown_key_names_the_file() {
        let dir = tempfile::tempdir().expect("tempdir");
        let main = dir.path().join("backstep.toml");
        assert_eq!(load(&main).expect("load"), Config::default());
        std::fs::write(&main, "[defaults]\nhook = \"/bin/sh\"\n").expect("write");
        let error = load(&main).expect_err("refused").to_string();
        assert!(error.contains("backstep.toml") && error.contains("hook"), "{error}");
        std::fs::write(&main, "[defaults]\nservices = \"maybe\"\n").expect("write");
        assert!(load(&main).expect_err("refused").to_string().contains("maybe"));
        for (choice, taken) in [("go-on", true), ("refuse", true), ("leave", false)] {
            std::fs::write(&main, format!("[apt]\non-failure = \"{choice}\"\n")).expect("write");
            assert_eq!(load(&main).is_ok(), taken, "{choice}");
        }
    }
}
