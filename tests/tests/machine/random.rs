//! Random changes, by us and by plain apt, and random rollbacks: a model says after each what dpkg knows and which files are there.
//!
//! `CHANGES='SEED COUNT'` in the environment makes other runs, and longer ones.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, ensure};
use backstep_core::hostile::Chance;
use backstep_tests::package::Package;

use crate::scene::{Ended, Scene, plain};
use crate::state::State;

/// The packages, and what each of them depends on.
const PACKAGES: [(&str, Option<&str>); 6] =
    [("bs-a", None), ("bs-b", Some("bs-a")), ("bs-c", Some("bs-b")), ("bs-d", None), ("bs-e", Some("bs-d")), ("bs-f", None)];
/// The versions that the archive has of each, the newest last.
const VERSIONS: [u8; 2] = [1, 2];
const SEED: u64 = 1;
const CHANGES: usize = 14;

/// What is there of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Nothing,
    /// Its configuration file, of this version.
    Configuration(u8),
    All(u8),
}

type Model = BTreeMap<&'static str, Kept>;

/// What is done.
#[derive(Debug, Clone)]
enum Change {
    Install(&'static str, u8),
    Update(&'static str),
    Remove(&'static str),
    Purge(&'static str),
    /// Undoes the newest change, whatever it was.
    Last,
    /// Undoes this change and all after it, by its place.
    To(usize),
    /// Undoes this change alone, by its place: as asked, or not at all.
    One(usize),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Install(package, version) => write!(f, "install {package}={version}"),
            Self::Update(package) => write!(f, "update {package}"),
            Self::Remove(package) => write!(f, "remove {package}"),
            Self::Purge(package) => write!(f, "purge {package}"),
            Self::Last => write!(f, "rollback --last"),
            Self::To(place) => write!(f, "rollback --to, the {place}th"),
            Self::One(place) => write!(f, "rollback of the {place}th"),
        }
    }
}

/// A change that was made: its id, and what was there before.
struct Made {
    id: String,
    before: Model,
    state: State,
}

fn newest(versions: [u8; 2]) -> u8 {
    versions[versions.len() - 1]
}

fn dependents(package: &str) -> impl Iterator<Item = &'static str> {
    PACKAGES.into_iter().filter(move |(_, needs)| *needs == Some(package)).map(|(name, _)| name)
}

fn is_here(model: &Model, package: &str) -> bool {
    matches!(model[package], Kept::All(_))
}

fn install(model: &mut Model, package: &'static str, version: u8) {
    let needs = PACKAGES.into_iter().find_map(|(name, needs)| if name == package { needs } else { None });
    if let Some(needs) = needs.filter(|needs| !is_here(model, needs)) {
        install(model, needs, newest(VERSIONS));
    }
    model.insert(package, Kept::All(version));
}

fn remove(model: &mut Model, package: &'static str) {
    for dependent in dependents(package) {
        remove(model, dependent);
    }
    if let Kept::All(version) = model[package] {
        model.insert(package, Kept::Configuration(version));
    }
}

/// A change that is possible now.
fn chosen(chance: &mut Chance, model: &Model, made: &[Made]) -> Change {
    loop {
        let package = chance.of(&PACKAGES).0;
        let needed = dependents(package).any(|dependent| is_here(model, dependent));
        match (chance.below(10), model[package]) {
            (0..=3, Kept::Nothing | Kept::Configuration(_)) => return Change::Install(package, *chance.of(&VERSIONS)),
            (0..=3, Kept::All(version)) if version < newest(VERSIONS) => return Change::Update(package),
            (4 | 5, Kept::All(_)) => return Change::Remove(package),
            (6, Kept::All(_) | Kept::Configuration(_)) if !needed => return Change::Purge(package),
            (7, _) if !made.is_empty() => return Change::Last,
            (8, _) if !made.is_empty() => return Change::To(made.len() - 1 - chance.below(made.len().min(4))),
            (9, _) if made.len() > 1 => return Change::One(made.len() - 2 - chance.below((made.len() - 1).min(4))),
            _ => {}
        }
    }
}

/// What is there after a change that does not look back.
fn changed(model: &Model, change: &Change) -> Model {
    let mut model = model.clone();
    match *change {
        Change::Install(package, version) => install(&mut model, package, version),
        Change::Update(package) => install(&mut model, package, newest(VERSIONS)),
        Change::Remove(package) => remove(&mut model, package),
        Change::Purge(package) => drop(model.insert(package, Kept::Nothing)),
        Change::Last | Change::To(_) | Change::One(_) => {}
    }
    model
}

/// The words of dpkg and the files of all packages are the model's.
fn expect(scene: &Scene, model: &Model) -> Result<()> {
    let words = model.iter().map(|(package, kept)| match kept {
        Kept::Nothing => (*package, String::new()),
        Kept::Configuration(version) => (*package, format!("rc {version}")),
        Kept::All(version) => (*package, format!("ii {version}")),
    });
    let words: Vec<(&str, String)> = words.collect();
    scene.expect(&words.iter().map(|(package, word)| (*package, word.as_str())).collect::<Vec<_>>())?;
    for (package, kept) in model {
        let read = |path: String| std::fs::read_to_string(scene.machine.path(&path)).ok();
        let shipped = if let Kept::All(version) = kept { Some(version.to_string()) } else { None };
        ensure!(read(format!("/usr/share/{package}/version")) == shipped, "the files of {package} are not those of {kept:?}");
        let configuration = match kept {
            Kept::Nothing => None,
            Kept::Configuration(version) | Kept::All(version) => Some(format!("of {package} {version}\n")),
        };
        ensure!(read(format!("/etc/{package}.conf")) == configuration, "the configuration of {package} is not that of {kept:?}");
    }
    Ok(())
}

/// One change; answers what is there now.
fn make(scene: &Scene, change: &Change, by_apt: bool, model: &Model, made: &[Made]) -> Result<Model> {
    let before = |place: usize| (made[place].before.clone(), &made[place].state);
    match change {
        Change::Last => {
            scene.change("rollback --last")?;
            let (model, state) = before(made.len() - 1);
            state.expect_same(&scene.state()?, "the state before the newest change")?;
            Ok(model)
        }
        Change::To(place) => {
            let (wanted, state) = before(*place);
            let ended = scene.backstep(&format!("rollback -y --to {}", made[*place].id))?;
            if wanted == *model && reason(&ended) == Some("undo.nothing") {
                return Ok(wanted);
            }
            ensure!(ended.code == 0, "exit {}: {:#}", ended.code, ended.json);
            state.expect_same(&scene.state()?, "the state before all of them")?;
            Ok(wanted)
        }
        Change::One(place) => one(scene, *place, model, made),
        Change::Install(..) | Change::Update(_) | Change::Remove(_) | Change::Purge(_) if by_apt => {
            let line = change.to_string().replace("update", "install");
            scene.machine.check(["apt-get", "-y", "-qq", "--allow-downgrades"].into_iter().chain(line.split(' ')))?;
            Ok(changed(model, change))
        }
        Change::Install(..) | Change::Update(_) | Change::Remove(_) | Change::Purge(_) => {
            scene.change(&change.to_string())?;
            Ok(changed(model, change))
        }
    }
}

/// Why it was refused: its plan, or the request.
fn reason(ended: &Ended) -> Option<&str> {
    [&ended.json["error_code"], &ended.json["error"]["code"]].into_iter().find_map(|code| code.as_str())
}

/// A change that others came after: its packages are as before it and no other is touched, or it is refused and nothing is.
fn one(scene: &Scene, place: usize, model: &Model, made: &[Made]) -> Result<Model> {
    let now = scene.state()?;
    let ended = scene.backstep(&format!("rollback -y {}", made[place].id))?;
    if ended.code != 0 {
        // Either its plan was refused, or the request was.
        let codes = [&ended.json["error_code"], &ended.json["error"]["code"]];
        let reason =
            codes.iter().find_map(|code| code.as_str()).with_context(|| format!("exit {}: no reason: {:#}", ended.code, ended.json))?;
        now.expect_same(&scene.state()?, &format!("what was refused as {reason}"))?;
        return Ok(model.clone());
    }
    let (before, after) = (&made[place].before, made.get(place + 1).map_or(model, |next| &next.before));
    let mut model = model.clone();
    model.extend(before.iter().filter(|(package, kept)| after[*package] != **kept));
    Ok(model)
}

fn newest_id(scene: &Scene) -> Result<String> {
    let history = scene.backstep("history")?.json;
    Ok(history[0]["id"].as_str().context("no transaction")?.to_owned())
}

#[test]
fn whatever_is_changed_and_undone_a_model_knows_what_is_there() -> Result<()> {
    let numbers = std::env::var("CHANGES").unwrap_or_default();
    let numbers: Vec<u64> = numbers.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let (seed, changes) = (numbers.first().copied().unwrap_or(SEED), numbers.get(1).map_or(Ok(CHANGES), |count| usize::try_from(*count))?);
    let of = |(name, needs): (&str, Option<&str>), version: u8| -> Package {
        let package = plain(name, &version.to_string());
        needs.map_or(package.clone(), |needs| package.depends(needs))
    };
    let packages: Vec<Package> = VERSIONS.iter().flat_map(|version| PACKAGES.map(|package| of(package, *version))).collect();
    let scene = Scene::new(&packages)?;
    let mut model: Model = PACKAGES.iter().map(|(name, _)| (*name, Kept::Nothing)).collect();
    let (mut chance, mut made, mut told) = (Chance::new(seed), Vec::<Made>::new(), Vec::new());
    for number in 0..changes {
        let (change, by_apt) = (chosen(&mut chance, &model, &made), chance.below(4) == 0);
        told.push(format!("{number}: {change}{}", if by_apt { " (plain apt, if it is no rollback)" } else { "" }));
        let happened = || format!("seed {seed}\n{}", told.join("\n"));
        let (before, state) = (model.clone(), scene.state()?);
        model = make(&scene, &change, by_apt, &model, &made).with_context(happened)?;
        expect(&scene, &model).with_context(happened)?;
        let id = newest_id(&scene)?;
        if made.last().is_none_or(|last| last.id != id) && state != scene.state()? {
            made.push(Made { id, before, state });
        }
    }
    println!("{}", told.join("\n"));
    Ok(())
}
