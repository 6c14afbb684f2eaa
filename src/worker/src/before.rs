//! What the capture of files cannot hold of the state before a change: units, and what belongs to whom.
//!
//! Written once into the capture's folder, before the capture is complete; read by whoever undoes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use backstep_core::{Digest, ErrorCode, Failure};
use serde::{Deserialize, Serialize};

use crate::units::{Change, Units, is_own};

const VERSION: u32 = 1;
const NAME: &str = "before.json";
const OTHERS: &str = "others.json";

/// The state before a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Before {
    version: u32,
    world: String,
    /// dpkg's word for every package of the plan.
    pub items: BTreeMap<String, String>,
    /// The loaded units.
    pub units: Units,
    /// The units whose files the plan's packages hold: what may be stopped by an undo.
    pub brought: BTreeSet<String>,
    /// The links of alternatives.
    pub alternatives: BTreeSet<String>,
    /// Kept beside it: known only when the change is done.
    #[serde(skip)]
    pub others: Others,
}

/// Units that a change dealt with although their files are not of its packages: a mail server's script stops the service
/// whose file another package holds. Putting the change back deals with them, too.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Others {
    /// Ran before the change and did not after it.
    pub stopped: BTreeSet<String>,
    /// Started by the change itself, not by a script: by the rollback of one that had stopped them.
    pub started: BTreeSet<String>,
}

impl Before {
    /// The state of a world.
    #[must_use]
    pub fn new(world: Digest, items: BTreeMap<String, String>, units: Units) -> Self {
        Self {
            version: VERSION,
            world: world.to_string(),
            items,
            units,
            brought: BTreeSet::new(),
            alternatives: BTreeSet::new(),
            others: Others::default(),
        }
    }

    /// Whether a world is the one before.
    #[must_use]
    pub fn is_world(&self, world: Digest) -> bool {
        self.world == world.to_string()
    }

    /// The packages of which dpkg does not say what it said before, in words.
    #[must_use]
    pub fn off(&self, words: &BTreeMap<String, String>) -> Vec<String> {
        let off = self.items.iter().filter(|(package, word)| words.get(*package) != Some(word));
        off.map(|(package, word)| format!("{package} is not {word}")).collect()
    }

    /// Whether putting the change back stops a unit that did not run before.
    #[must_use]
    pub fn may_stop(&self, unit: &str) -> bool {
        self.brings(unit) || self.others.started.contains(unit)
    }

    /// Whether putting the change back starts a unit that ran before.
    #[must_use]
    pub fn may_start(&self, unit: &str) -> bool {
        self.brings(unit) || self.others.stopped.contains(unit)
    }

    /// Whether a unit's file is of a package of the plan; instances follow their template.
    #[must_use]
    pub fn brings(&self, unit: &str) -> bool {
        let template = unit.split_once('@').and_then(|(name, rest)| Some(format!("{name}@.{}", rest.rsplit_once('.')?.1)));
        self.brought.contains(unit) || template.is_some_and(|template| self.brought.contains(&template))
    }
}

/// Writes it durably.
pub fn write(folder: &Path, before: &Before) -> Result<(), Failure> {
    let error = |error: std::io::Error| Failure::new(ErrorCode::CaptureFailed, format!("cannot write {NAME}: {error}"));
    let bytes = serde_json::to_vec(before).map_err(|source| error(source.into()))?;
    crate::durable::replace(&folder.join(NAME), &bytes, 0o600).map_err(error)
}

/// Reads it. Our own units are left out, whoever wrote them down.
pub fn read(folder: &Path) -> Result<Before, Failure> {
    let error = |text: String| Failure::new(ErrorCode::UndoMaterial, format!("cannot read {NAME}: {text}"));
    let bytes = fs::read(folder.join(NAME)).map_err(|source| error(source.to_string()))?;
    let mut before: Before = serde_json::from_slice(&bytes).map_err(|source| error(source.to_string()))?;
    before.units.retain(|name, _| !is_own(name));
    before.others = others(folder)?;
    if before.version == VERSION { Ok(before) } else { Err(error(format!("version {} is unknown", before.version))) }
}

/// Notes which units of others the change stopped.
pub fn note_stopped(folder: &Path, before: &Before, change: &Change) -> Result<(), Failure> {
    let stopped = change.stopped.iter().chain(&change.failed).filter(|unit| !before.brings(unit)).cloned();
    note_others(folder, |others| others.stopped.extend(stopped))
}

/// Adds to what is known of other units, durably.
pub fn note_others(folder: &Path, add: impl FnOnce(&mut Others)) -> Result<(), Failure> {
    let error = |error: std::io::Error| Failure::new(ErrorCode::CaptureFailed, format!("cannot write {OTHERS}: {error}"));
    let known = others(folder)?;
    let mut others = known.clone();
    add(&mut others);
    if others == known {
        return Ok(());
    }
    let bytes = serde_json::to_vec(&others).map_err(|source| error(source.into()))?;
    crate::durable::replace(&folder.join(OTHERS), &bytes, 0o600).map_err(error)
}

fn others(folder: &Path) -> Result<Others, Failure> {
    let error = |text: String| Failure::new(ErrorCode::UndoMaterial, format!("cannot read {OTHERS}: {text}"));
    match fs::read(folder.join(OTHERS)) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| error(source.to_string())),
        Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => Ok(Others::default()),
        Err(source) => Err(error(source.to_string())),
    }
}

/// The unit that a file brings, by its path.
#[must_use]
pub fn unit_of(path: &str) -> Option<String> {
    let (folder, name) = path.rsplit_once('/')?;
    let is_unit = ["service", "socket", "timer", "path", "mount"].iter().any(|kind| name.rsplit_once('.').is_some_and(|(_, k)| k == *kind));
    match folder.trim_start_matches('/') {
        "lib/systemd/system" | "usr/lib/systemd/system" | "etc/systemd/system" if is_unit => Some(name.to_owned()),
        "etc/init.d" => Some(format!("{name}.service")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().expect("folder");
        let mut before = Before::new(Digest([1; 32]), BTreeMap::from([("a:all".into(), "installed 1".into())]), Units::new());
        before.brought.insert("a.service".into());
        write(folder.path(), &before).expect("write");
        assert_eq!(read(folder.path()), Ok(before.clone()));
        assert!(before.is_world(Digest([1; 32])) && !before.is_world(Digest([2; 32])));
        assert!(before.off(&BTreeMap::from([("a:all".into(), "installed 1".into())])).is_empty());
        assert_eq!(before.off(&BTreeMap::from([("a:all".into(), "config-files 1".into())])), ["a:all is not installed 1"]);
    }

    #[test]
    fn units_of_others_are_known_when_the_change_dealt_with_them() {
        let folder = tempfile::tempdir().expect("folder");
        write(folder.path(), &Before::new(Digest([1; 32]), BTreeMap::new(), Units::new())).expect("write");
        assert!(!read(folder.path()).expect("read").may_start("a.service"));
        note_others(folder.path(), |others| others.stopped.extend(["a.service".to_owned()])).expect("note");
        note_others(folder.path(), |others| others.started.extend(["b.service".to_owned()])).expect("note");
        let before = read(folder.path()).expect("read");
        assert!(before.may_start("a.service") && !before.may_start("b.service"));
        assert!(before.may_stop("b.service") && !before.may_stop("a.service"));
    }

    #[test]
    fn our_own_units_are_not_brought_back_although_an_older_worker_wrote_them_down() {
        let folder = tempfile::tempdir().expect("folder");
        let units = ["backstep-worker@x-1.service", "ssh.service"].map(|name| (name.to_owned(), crate::units::Unit::default()));
        write(folder.path(), &Before::new(Digest([1; 32]), BTreeMap::new(), Units::from(units))).expect("write");
        let read = read(folder.path()).expect("read");
        assert_eq!(read.units.keys().collect::<Vec<_>>(), ["ssh.service"]);
    }

    #[test]
    fn units_belong_to_packages_by_their_files() {
        assert_eq!(unit_of("/lib/systemd/system/ssh.service").as_deref(), Some("ssh.service"));
        assert_eq!(unit_of("/etc/init.d/cron").as_deref(), Some("cron.service"));
        assert_eq!(unit_of("/usr/lib/systemd/user/x.service"), None);
        let mut before = Before::new(Digest([1; 32]), BTreeMap::new(), Units::new());
        before.brought.insert("getty@.service".into());
        assert!(before.brings("getty@tty1.service") && before.brings("getty@.service") && !before.brings("getty.service"));
    }
}
