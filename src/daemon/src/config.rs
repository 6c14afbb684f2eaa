//! The configuration: `/etc/backstep/backstep.toml` and the drop-ins beside it, later ones win by key.
//!
//! An unknown key or a wrong value is an error that names the file; nothing is guessed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use backstep_core::limits::Limits;
use backstep_core::retention::Wishes;
use backstep_core::sources::Sources;
use backstep_core::{Options, Retention, UnknownName};
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
    /// A file for metrics that no exporter would read.
    #[error("cannot use {}: textfile = {file:?} is no absolute path that ends in .prom", path.display())]
    MetricsFile {
        /// The file.
        path: PathBuf,
        /// What it names.
        file: PathBuf,
    },
    /// A value outside its list.
    #[error("cannot use {}: {source}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Why.
        source: UnknownName,
    },
    /// No limit of that name, or a number it cannot have.
    #[error("cannot use {}: no limit can be {key} = {number}", path.display())]
    Limit {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The number.
        number: u64,
    },
}

/// What the administrator chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What a request gets when it does not say otherwise.
    pub defaults: Options,
    /// Seconds without work after which the daemon ends.
    pub idle_exit_s: u64,
    /// How much undo material is kept.
    pub retention: Retention,
    /// Days after which a transaction leaves the record for an archive; 0 is never.
    pub archive_days: u32,
    /// What is said in the journal.
    pub thresholds: Thresholds,
    /// Where the record's numbers are written to; nowhere when absent.
    pub metrics_file: Option<PathBuf>,
    /// Where packages may come from.
    pub sources: Sources,
    /// Bounds on what callers may do.
    pub limits: Limits,
    /// What the files set, by key, as the record keeps it.
    pub set: BTreeMap<String, String>,
}

/// What is said in the journal when it takes longer, or gets larger; 0 stands for never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Of one question to the record.
    pub query_ms: u32,
    /// Of the record's file.
    pub record_mebibytes: u32,
    /// Of one worker's run.
    pub attempt_minutes: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { query_ms: 2_000, record_mebibytes: 4_096, attempt_minutes: 60 }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            defaults: Options::default(),
            idle_exit_s: 60,
            retention: Retention::default(),
            archive_days: 0,
            thresholds: Thresholds::default(),
            metrics_file: None,
            sources: Sources::default(),
            limits: Limits::default(),
            set: BTreeMap::new(),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct File {
    defaults: Defaults,
    daemon: Daemon,
    undo: Undo,
    record: Record,
    thresholds: Wanted,
    metrics: Metrics,
    sources: Repositories,
    limits: BTreeMap<String, u64>,
    apt: Apt,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Record {
    archive_days: Option<u32>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Wanted {
    query_milliseconds: Option<u32>,
    record_mebibytes: Option<u32>,
    attempt_minutes: Option<u32>,
}

impl Wanted {
    fn over(&self, other: Thresholds) -> Thresholds {
        Thresholds {
            query_ms: self.query_milliseconds.unwrap_or(other.query_ms),
            record_mebibytes: self.record_mebibytes.unwrap_or(other.record_mebibytes),
            attempt_minutes: self.attempt_minutes.unwrap_or(other.attempt_minutes),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Metrics {
    textfile: Option<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Repositories {
    known: Option<Vec<String>>,
    others: Option<String>,
}

impl Repositories {
    fn over(self, other: Sources) -> Result<Sources, UnknownName> {
        let known = self.known.map(|known| known.iter().map(|text| text.parse()).collect()).transpose()?;
        let others = self.others.map(|text| text.parse()).transpose()?;
        Ok(Sources { known: known.or(other.known), others: others.unwrap_or(other.others) })
    }
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

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
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

/// Puts one file's text over what is there. `path` is for messages.
pub fn apply(config: &mut Config, path: &Path, text: &str) -> Result<(), ConfigError> {
    let wrong = |e| ConfigError::Parse { path: path.to_owned(), source: Box::new(e) };
    let file: File = toml::from_str(text).map_err(wrong)?;
    let sections: BTreeMap<String, toml::Table> = toml::from_str(text).map_err(wrong)?;
    for (section, values) in sections {
        config.set.extend(values.into_iter().map(|(key, value)| (format!("{section}.{key}"), value.to_string())));
    }
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
        Some(other) => return Err(value(UnknownName { what: "choice", name: other.to_owned() })),
    }
    defaults.lock_timeout_s = file.defaults.lock_timeout.unwrap_or(defaults.lock_timeout_s);
    defaults.recommends = file.defaults.recommends.or(defaults.recommends);
    config.retention = Wishes::from(&file.undo).over(config.retention);
    config.archive_days = file.record.archive_days.unwrap_or(config.archive_days);
    config.thresholds = file.thresholds.over(config.thresholds);
    config.metrics_file = metrics_file(path, file.metrics.textfile)?.or(config.metrics_file.take());
    config.sources = file.sources.over(std::mem::take(&mut config.sources)).map_err(value)?;
    for (key, number) in file.limits {
        let wrong = || ConfigError::Limit { path: path.to_owned(), key: key.clone(), number };
        config.limits.set(&key, number).ok_or_else(wrong)?;
    }
    config.idle_exit_s = file.daemon.idle_exit.unwrap_or(config.idle_exit_s);
    Ok(())
}

/// Exporters look only at files with this ending, and the daemon has no folder of its own to begin from.
fn metrics_file(path: &Path, textfile: Option<PathBuf>) -> Result<Option<PathBuf>, ConfigError> {
    match textfile {
        Some(file) if file.is_absolute() && file.extension().is_some_and(|extension| extension == "prom") => Ok(Some(file)),
        Some(file) => Err(ConfigError::MetricsFile { path: path.to_owned(), file }),
        None => Ok(None),
    }
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
        std::fs::write(
            dir.path().join("backstep.toml.d/20.toml"),
            "[defaults]\nservices = \"off\"\n[undo]\nmebibytes = 3\n[record]\narchive-days = 730\n[thresholds]\nattempt-minutes = 9\n",
        )
        .expect("write");
        std::fs::write(dir.path().join("backstep.toml.d/10.toml"), "[daemon]\nidle-exit = 5\n[defaults]\nservices = \"undo\"\n")
            .expect("write");
        let config = load(&main).expect("load");
        assert_eq!(config.defaults.on_failure, OnFailure::Leave);
        assert_eq!(config.defaults.services, ServicePolicy::Off);
        assert_eq!((config.idle_exit_s, config.archive_days, config.thresholds.attempt_minutes), (5, 730, 9));
        assert_eq!(config.retention, Retention { bytes: 3 << 20, ..Retention::default() });
        let set: Vec<String> = config.set.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let expected = "daemon.idle-exit=5 defaults.on-failure=\"leave\" defaults.services=\"off\" record.archive-days=730 \
            thresholds.attempt-minutes=9 undo.mebibytes=3";
        assert_eq!(set.join(" "), expected, "what the record keeps of it");
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
        std::fs::write(&main, "[metrics]\ntextfile = \"/run/x/backstep.prom\"\n").expect("write");
        assert_eq!(load(&main).expect("load").metrics_file.as_deref(), Some(Path::new("/run/x/backstep.prom")));
        for bad in ["backstep.prom", "/run/backstep.txt"] {
            std::fs::write(&main, format!("[metrics]\ntextfile = \"{bad}\"\n")).expect("write");
            assert!(load(&main).expect_err("refused").to_string().contains(bad));
        }
    }

    #[test]
    fn sources_are_a_list_that_a_drop_in_replaces() {
        let mut config = Config::default();
        let path = Path::new("backstep.toml");
        apply(&mut config, path, "[sources]\nknown = [\"Debian/*\", \"Mine/prod\"]\n").expect("a list");
        apply(&mut config, path, "[sources]\nothers = \"refuse\"\n").expect("a choice");
        let known: Option<Vec<String>> = config.sources.known.as_ref().map(|known| known.iter().map(ToString::to_string).collect());
        assert_eq!((known.unwrap_or_default().join(" ").as_str(), config.sources.others.as_str()), ("Debian/* Mine/prod", "refuse"));
        apply(&mut config, path, "[sources]\nknown = []\n").expect("nothing at all");
        assert_eq!(config.sources.known, Some(Vec::new()));
        for bad in ["known = [\"*/stable\"]", "known = [\"\"]", "known = \"Debian/*\"", "others = \"ask\"", "unknown = \"warn\""] {
            let error = apply(&mut config, path, &format!("[sources]\n{bad}\n")).expect_err(bad).to_string();
            assert!(error.contains("backstep.toml"), "{error}");
        }
    }

    #[test]
    fn limits_are_numbers_that_let_somebody_in() {
        let dir = tempfile::tempdir().expect("tempdir");
        let main = dir.path().join("backstep.toml");
        std::fs::write(&main, "[limits]\nopen = 5\ncalls-per-second = 7\n").expect("write");
        let limits = load(&main).expect("load").limits;
        assert_eq!((limits.open, limits.calls_per_second, limits.objects), (5, 7, Limits::default().objects));
        for bad in ["open = 0", "calls = 5", "open = -1", "open = \"many\"", "archives = 65"] {
            std::fs::write(&main, format!("[limits]\n{bad}\n")).expect("write");
            assert!(load(&main).expect_err(bad).to_string().contains("backstep.toml"), "{bad}");
        }
    }
}
