//! apt-get, dpkg and dpkg-deb over the small system, as programs of their own: started, traced and killed like the
//! real ones. They are told the root and the attempt's folder first, and carry out the plan that lies there.
//!
//! Invariant: every effect is written down before it begins, so that one that happens twice is seen.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use backstep_core::{Plan, PlanAction, PlanItem};
use backstep_worker::machine::{AttemptFiles, Machine};

use crate::place::{Place, add_line, put};
use crate::universe::{CONF, archive_bytes, data, list, list_text, stanza};

/// Runs one of them; answers its exit code.
pub fn run(program: &str, arguments: &[String]) -> Result<u8> {
    let [state, folder, rest @ ..] = arguments else { bail!("no state and no folder") };
    let fake = Fake::read(Path::new(state), Path::new(folder))?;
    let has = |wanted: &str| rest.iter().any(|argument| argument == wanted);
    match program {
        "apt-get" if has("-s") => fake.simulate().map(|()| 0),
        "apt-get" if has("--download-only") => fake.download().map(|()| 0),
        "apt-get" if has("install") => fake.change(),
        "dpkg" if has("--set-selections") => fake.select().map(|()| 0),
        "dpkg" => fake.purge().map(|()| 0),
        "dpkg-deb" => payload(rest.last().context("no archive")?).map(|()| 0),
        _ => bail!("cannot pretend to be {program} {rest:?}"),
    }
}

struct Fake {
    place: Place,
    machine: Machine,
    attempt: String,
    plan: Plan,
}

impl Fake {
    fn read(state: &Path, folder: &Path) -> Result<Self> {
        let place = Place::of_state(state);
        let plan = backstep_wire::plan::from_bytes(&fs::read(AttemptFiles::in_folder(folder).plan())?)?;
        let attempt = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { machine: place.machine(), place, attempt, plan })
    }

    fn effect(&self, what: &str) -> Result<()> {
        Ok(add_line(&self.place.effects(), &format!("{} {what}", self.attempt))?)
    }

    fn simulate(&self) -> Result<()> {
        for item in &self.plan.items {
            let name = &item.package.name;
            match (&item.from, &item.to) {
                (Some(from), Some(to)) => println!("Inst {name} [{from}] ({to} Torture:1/stable [all])"),
                (None, Some(to)) => println!("Inst {name} ({to} Torture:1/stable [all])"),
                (Some(from), None) => println!("Remv {name} [{from}]"),
                (None, None) => {}
            }
        }
        Ok(())
    }

    fn download(&self) -> Result<()> {
        for archive in self.plan.items.iter().filter_map(|item| item.archive.as_ref()) {
            let (name, rest) = archive.file_name.split_once('_').context("name")?;
            let version = if name == "torn" { "other" } else { rest.split('_').next().unwrap_or_default() };
            put(&self.machine.apt_archives().join(&archive.file_name), &archive_bytes(name, version))?;
        }
        Ok(())
    }

    fn change(&self) -> Result<u8> {
        let named = |name: &str| self.plan.items.iter().any(|item| item.package.name.as_str() == name);
        if named("silent") {
            return Ok(0);
        }
        self.effect("apply")?;
        let removed = |item: &&PlanItem| matches!(item.action, PlanAction::Remove | PlanAction::Purge);
        for item in self.plan.items.iter().filter(removed) {
            self.remove(item, self.plan.items.iter().all(|item| item.action == PlanAction::Purge))?;
        }
        for item in self.plan.items.iter().filter(|item| item.action.needs_archive()) {
            self.install(item)?;
        }
        Ok(if named("broken") { 100 } else { 0 })
    }

    fn install(&self, item: &PlanItem) -> Result<()> {
        let name = item.package.name.as_str();
        let version = item.to.as_ref().context("version")?.to_string();
        self.status(name, Some(("install reinstreq half-installed", &version)))?;
        put(&self.machine.at(&data(name)), &archive_bytes(name, &version))?;
        put(&self.machine.at(&list(name)), list_text(name).as_bytes())?;
        self.status(name, Some(("install ok half-configured", &version)))?;
        if name == "killed" {
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL)?;
        }
        add_line(&self.machine.at(CONF), &format!("{name} {version}"))?;
        match name {
            "broken" => Ok(()),
            _ => self.status(name, Some(("install ok installed", &version))),
        }
    }

    fn remove(&self, item: &PlanItem, purge: bool) -> Result<()> {
        let name = item.package.name.as_str();
        let version = item.from.as_ref().context("version")?.to_string();
        self.status(name, Some(("deinstall ok half-installed", &version)))?;
        fs::remove_file(self.machine.at(&data(name)))?;
        fs::remove_dir(self.machine.at(&format!("usr/share/{name}")))?;
        if purge {
            return self.forget(name);
        }
        self.status(name, Some(("deinstall ok config-files", &version)))
    }

    fn forget(&self, name: &str) -> Result<()> {
        fs::remove_file(self.machine.at(&list(name)))?;
        self.status(name, None)
    }

    fn purge(&self) -> Result<()> {
        self.effect("purge")?;
        self.plan.items.iter().filter(|item| item.action == PlanAction::Purge).try_for_each(|item| self.forget(item.package.name.as_str()))
    }

    fn select(&self) -> Result<()> {
        self.effect("select")?;
        for line in io::read_to_string(io::stdin())?.lines() {
            let (name, want) = line.split_once(' ').context("selection")?;
            let version = self.plan.items.iter().find(|item| item.package.name.as_str() == name).and_then(|item| item.from.clone());
            self.status(name, Some((&format!("{want} ok installed"), version.context("version")?.as_str())))?;
        }
        Ok(())
    }

    /// Replaces one package's stanza, or takes it away.
    fn status(&self, name: &str, to: Option<(&str, &str)>) -> Result<()> {
        let path = self.machine.status();
        let text = fs::read_to_string(&path)?;
        let first = format!("Package: {name}\n");
        let mut stanzas: Vec<String> = text.split_inclusive("\n\n").map(str::to_owned).collect();
        let place = stanzas.iter().position(|stanza| stanza.starts_with(&first));
        let new = to.map(|(status, version)| stanza(name, status, version));
        match (place, new) {
            (Some(place), Some(new)) => stanzas[place] = new,
            (Some(place), None) => drop(stanzas.remove(place)),
            (None, Some(new)) => stanzas.push(new),
            (None, None) => {}
        }
        put(&path, stanzas.concat().as_bytes()).context("status")
    }
}

/// The paths of an archive, as dpkg-deb gives them.
fn payload(path: &str) -> Result<()> {
    let text = fs::read_to_string(PathBuf::from(path))?;
    let name = text.split(' ').next().unwrap_or_default();
    let mut tar = tar::Builder::new(Vec::new());
    for path in
        ["./".to_owned(), "./usr/".to_owned(), "./usr/share/".to_owned(), format!("./usr/share/{name}/"), format!("./{}", data(name))]
    {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(if path.ends_with('/') { tar::EntryType::Directory } else { tar::EntryType::Regular });
        header.set_size(0);
        tar.append_data(&mut header, path, io::empty())?;
    }
    io::stdout().write_all(&tar.into_inner()?)?;
    Ok(())
}

/// Reads one byte: whoever waits so is let go by whoever writes it.
pub fn wait_for_go() -> Result<()> {
    let _stdin = io::stdin().as_fd();
    io::stdin().read_exact(&mut [0])?;
    Ok(())
}
