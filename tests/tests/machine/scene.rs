//! A machine with Backstep and a repository of our own, and the client as a person or a program uses it.
//!
//! Invariants: the machine knows no other repository, so that `upgrade` means ours. Absent on purpose: calls on the
//! bus.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use backstep_tests::backstep::{image, machine};
use backstep_tests::machine::{FileSystem, Machine, Storage};
use backstep_tests::package::Package;
use backstep_tests::repository::{Repository, Transport};
use serde_json::Value;

use crate::state::State;

/// A package with files and a configuration file that tell its version.
pub(crate) fn plain(name: &str, version: &str) -> Package {
    Package::new(name, version)
        .file(&format!("/usr/share/{name}/version"), version)
        .file(&format!("/usr/share/{name}/only-{version}"), "")
        .conffile(&format!("/etc/{name}.conf"), format!("of {name} {version}\n"))
}

/// How a client command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code.
    pub(crate) code: i32,
    /// What it printed with `--json`.
    pub(crate) json: Value,
    /// What it said besides.
    pub(crate) stderr: String,
}

impl Ended {
    /// A text of the transaction.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.json[key].as_str().unwrap_or_default()
    }

    /// The transaction's id.
    pub(crate) fn id(&self) -> &str {
        self.text("id")
    }

    /// The plan's rows as `action package to`, sorted.
    pub(crate) fn plan(&self) -> Vec<String> {
        let rows = self.json["plan"].as_array().map(Vec::as_slice).unwrap_or_default();
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let mut rows: Vec<_> =
            rows.iter().map(|row| ["action", "package", "to"].map(|key| text(row, key)).join(" ").trim().to_owned()).collect();
        rows.sort();
        rows
    }
}

/// See the module.
pub(crate) struct Scene {
    /// The machine.
    pub(crate) machine: Machine,
    repository: Repository,
    written: &'static [&'static str],
}

impl Scene {
    /// Boots a machine whose only repository has these packages.
    pub(crate) fn new(packages: &[Package]) -> Result<Self> {
        Self::with(machine()?, packages)
    }

    /// The same, its files in a file system of this type.
    pub(crate) fn on(file_system: FileSystem, packages: &[Package]) -> Result<Self> {
        Self::with(Machine::boot_on(&image()?, Storage::Made(file_system))?, packages)
    }

    fn with(machine: Machine, packages: &[Package]) -> Result<Self> {
        let scene = Self { machine, repository: Repository::new(packages)?, written: &[] };
        scene.machine.check(["rm", "-rf", "/etc/apt/sources.list", "/var/lib/apt/lists"])?;
        scene.refresh()?;
        Ok(scene)
    }

    /// Boots a machine with Debian's repositories.
    pub(crate) fn debian() -> Result<Self> {
        Ok(Self { machine: machine()?, repository: Repository::new(&[])?, written: &[] })
    }

    /// The same; trees that its services write while they run are not compared.
    pub(crate) fn but(self, written: &'static [&'static str]) -> Self {
        Self { written, ..self }
    }

    /// Adds packages to the repository.
    pub(crate) fn publish(&self, packages: &[Package]) -> Result<()> {
        self.repository.add(packages)?;
        self.refresh()
    }

    /// Takes a package from the repository.
    pub(crate) fn withdraw(&self, package: &Package) -> Result<()> {
        self.repository.remove(package)?;
        self.refresh()
    }

    fn refresh(&self) -> Result<()> {
        self.machine.add_repository("local", &self.repository, Transport::Copy)
    }

    /// Runs `backstep` with the words of `line` and `--json`.
    pub(crate) fn backstep(&self, line: &str) -> Result<Ended> {
        let output = self.machine.run(["backstep", "--json"].into_iter().chain(line.split_whitespace()))?;
        let json = if output.stdout.trim().is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&output.stdout).with_context(|| format!("{line}: no JSON: {}", output.stdout))?
        };
        let code = output.status.code().context("the client was killed")?;
        Ok(Ended { code, json, stderr: output.stderr })
    }

    /// Runs `backstep … -y`, which must complete.
    pub(crate) fn change(&self, line: &str) -> Result<Ended> {
        let ended = self.backstep(&format!("{line} -y"))?;
        if ended.code != 0 || ended.text("state") != "completed" {
            bail!("{line}: exit {}\n{:#}\n{}\n{}", ended.code, ended.json, ended.stderr, self.log(ended.id())?);
        }
        Ok(ended)
    }

    /// Runs `backstep … -y`, which must fail with this code and be undone.
    pub(crate) fn undone(&self, line: &str, exit: i32, error: &str) -> Result<Ended> {
        let ended = self.backstep(&format!("{line} -y"))?;
        if ended.code != exit || ended.text("state") != "rolled-back" || ended.text("error_code") != error {
            bail!("{line}: exit {} instead of {exit} {error}\n{:#}\n{}\n{}", ended.code, ended.json, ended.stderr, self.log(ended.id())?);
        }
        Ok(ended)
    }

    /// What apt, dpkg and the scripts of a transaction said.
    pub(crate) fn log(&self, id: &str) -> Result<String> {
        Ok(if id.is_empty() { String::new() } else { self.machine.run(["backstep", "log", id])?.stdout })
    }

    /// A transaction's whole record.
    pub(crate) fn document(&self, id: &str) -> Result<Value> {
        let text = self.machine.check(["backstep", "show", "--document", id])?;
        serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))
    }

    /// The steps that a transaction began in a direction, in the order of the record.
    pub(crate) fn steps(&self, id: &str, direction: &str) -> Result<Vec<String>> {
        let document = self.document(id)?;
        let events = document["events"].as_array().context("a record without events")?;
        let begun = events.iter().filter(|event| event["event"] == "step-started" && event["direction"] == direction);
        Ok(begun.map(|event| event["step"].as_str().unwrap_or_default().to_owned()).collect())
    }

    /// The state now.
    pub(crate) fn state(&self) -> Result<State> {
        State::of(&self.machine, self.written)
    }

    /// Checks dpkg's word for packages: `ii 1`, or empty for one that is not known.
    pub(crate) fn expect(&self, packages: &[(&str, &str)]) -> Result<()> {
        // dpkg also knows names that are only mentioned by others, as `un`.
        let known = |word: &String| word != "un";
        let now = |name: &str| Ok::<_, anyhow::Error>(self.machine.package(name)?.filter(known).unwrap_or_default());
        let now = packages.iter().map(|(name, _)| Ok((*name, now(name)?))).collect::<Result<BTreeMap<_, _>>>()?;
        let wanted: BTreeMap<_, _> = packages.iter().map(|(name, word)| (*name, (*word).to_owned())).collect();
        ensure!(now == wanted, "packages are {now:?}, not {wanted:?}");
        Ok(())
    }

    /// The packages with a mark: `showauto`, `showmanual` or `showhold`.
    pub(crate) fn marked(&self, question: &str) -> Result<Vec<String>> {
        let ours = |line: &&str| line.starts_with("bs-");
        Ok(self.machine.check(["apt-mark", question])?.lines().filter(ours).map(str::to_owned).collect())
    }

    /// Makes a change, judges it, rolls it back and rolls the rollback back; the change stays made.
    ///
    /// After each, the state must be that before, or that after the change.
    pub(crate) fn there_and_back(&self, line: &str, judge: impl Fn(&Self) -> Result<()>) -> Result<Ended> {
        let before = self.state()?;
        let ended = self.change(line)?;
        judge(self).with_context(|| line.to_owned())?;
        let after = self.state()?;
        ensure!(before != after, "{line} changed nothing");
        let rollback = self.change(&format!("rollback {}", ended.id()))?;
        before.expect_same(&self.state()?, &format!("rollback of {line}"))?;
        ensure!(rollback.text("reverts") == ended.id(), "the rollback does not name {line}: {:#}", rollback.json);
        ensure!(self.document(ended.id())?["reverted_by"] == rollback.id(), "{line} does not name its rollback");
        self.change("rollback --last")?;
        after.expect_same(&self.state()?, &format!("redo of {line}"))?;
        judge(self).with_context(|| format!("redo of {line}"))?;
        Ok(ended)
    }
}
