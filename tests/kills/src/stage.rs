//! A scenario's change, ready to begin as often as wanted, and what happens in one run of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, ensure};
use backstep_core::TransactionState;
use backstep_tests::command;
use backstep_tests::machine::FileSystem;

use crate::cell::{Cell, PROGRAM};
use crate::disk::{Disk, own_mounts};
use crate::inside::{NOTHING, STATE};
use crate::judge::{Both, judge, look, state};
use crate::scene::Scenario;
use crate::sweep::Figures;
use crate::tracer::{Kill, Role, Strike};

/// Runs beside each other for each processor: half of a run's time is waiting.
const LANES: usize = 2;
/// How much of a journal is told.
const MOST_LINES: usize = 14;

/// What a system lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// A folder in memory: processes are killed, and what they wrote stays.
    Memory,
    /// A file system of its own: the power is cut, and what was not made durable is gone.
    Disk(FileSystem),
}

impl Ground {
    /// By its name.
    pub fn named(name: &str) -> Result<Self> {
        let kind = FileSystem::named(name).filter(|kind| *kind != FileSystem::Btrfs);
        kind.map(Self::Disk).with_context(|| format!("power is cut on ext4 and on xfs, not on {name:?}"))
    }

    /// Whose calls are struck at, and how many of a hundred strikes each gets.
    #[must_use]
    pub const fn roles(self) -> &'static [(Role, usize)] {
        match self {
            Self::Memory => &Role::ALL,
            Self::Disk(_) => &Role::CUT,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk(kind) => kind.name(),
        }
    }

    /// Prepares this thread for what is done on it.
    pub fn enter(self) -> Result<()> {
        match self {
            Self::Memory => Ok(()),
            Self::Disk(_) => own_mounts(),
        }
    }
}

/// A scenario up to the moment before its worker starts.
pub struct Stage<'s> {
    scenario: &'s Scenario,
    ground: Ground,
    /// A root folder, or the image of a disk.
    template: PathBuf,
    folder: tempfile::TempDir,
    /// Known when two undisturbed runs were the same.
    both: Option<Both>,
    /// The calls of an undisturbed run, by role.
    pub met: BTreeMap<Role, u32>,
}

/// A root that one run has to itself.
struct Lane {
    root: PathBuf,
    disk: Option<Disk>,
}

impl<'s> Stage<'s> {
    /// Makes it below `place` from the system in `base`, and runs it twice without a strike.
    pub fn new(place: &Path, base: &Path, scenario: &'s Scenario, ground: Ground) -> Result<Self> {
        let folder = tempfile::tempdir_in(place)?;
        let mut stage = Self { scenario, ground, template: folder.path().join("template"), folder, both: None, met: BTreeMap::new() };
        stage.make_template(base)?;
        let lane = stage.lane("undisturbed")?;
        let before = look(&lane.root)?;
        stage.met = play(&lane.root, scenario, None)?.met;
        let ended = state(&lane.root, scenario)?;
        ensure!(ended == TransactionState::Completed, "{} without a kill is {ended}\n{}", scenario.name, told(&lane.root));
        let both = Both { before, after: look(&lane.root)? };
        lane.end()?;
        let lane = stage.lane("again")?;
        play(&lane.root, scenario, None)?;
        judge(&lane.root, scenario, &both).with_context(|| format!("{} without a kill", scenario.name))?;
        lane.end()?;
        stage.both = Some(both);
        Ok(stage)
    }

    fn make_template(&mut self, base: &Path) -> Result<()> {
        let root = self.template.clone();
        let disk = match self.ground {
            Ground::Memory => None,
            Ground::Disk(kind) => Some(Disk::make(kind, &root.with_extension("img"), &root)?),
        };
        copy(base, &root)?;
        if self.is_copied_ready() {
            ready(&root, self.scenario)?;
        }
        if let Some(disk) = disk {
            self.template = disk.end()?;
        }
        Ok(())
    }

    /// What was done before the last request can be copied with everything, unless an undo has to find the same inodes, which
    /// only a copy of the whole disk has.
    fn is_copied_ready(&self) -> bool {
        self.ground != Ground::Memory || self.scenario.wishes.len() == 1
    }

    /// Makes a lane: everything is as just before the worker's start.
    fn lane(&self, name: &str) -> Result<Lane> {
        let root = self.folder.path().join(name);
        let disk = match self.ground {
            Ground::Memory => {
                copy(&self.template, &root)?;
                None
            }
            Ground::Disk(kind) => Some(Disk::copy(kind, &self.template, &root.with_extension("0.img"), &root)?),
        };
        if !self.is_copied_ready() {
            ready(&root, self.scenario)?;
        }
        Ok(Lane { root, disk })
    }

    /// Kills at all of them, on all processors.
    #[must_use]
    pub fn kill(&self, points: &[Kill]) -> Figures {
        let (left, figures) = (Mutex::new(points.iter()), Mutex::new(Figures::default()));
        let lanes = LANES * thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            for lane in 0..lanes {
                let (left, figures) = (&left, &figures);
                scope.spawn(move || {
                    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let add = |went| figures.lock().unwrap_or_else(PoisonError::into_inner).add(went);
                    if let Err(error) = self.ground.enter() {
                        return add(Figures::failed(format!("{error:#}")));
                    }
                    while let Some(kill) = next() {
                        add(self.check(&format!("lane-{lane}"), *kill));
                    }
                });
            }
        });
        figures.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, name: &str, kill: Kill) -> Figures {
        let mut lane = match self.lane(name) {
            Ok(lane) => lane,
            Err(error) => return Figures::failed(format!("{}: {error:#}", self.words(kill))),
        };
        let went = match self.ground {
            Ground::Memory => self.run(&lane, kill),
            Ground::Disk(_) => self.cut(&mut lane, kill),
        };
        let mut figures = match went {
            Ok((Struck { first: true, again }, state)) => Figures::of(again, state),
            Ok(_) => Figures { missed: 1, ..Figures::default() },
            Err(error) => Figures::failed(format!("{}: {error:#}\n  {}", self.words(kill), told(&lane.root))),
        };
        figures.failures.iter().for_each(|text| eprintln!("FAILED {text}"));
        if let Err(error) = lane.end() {
            figures.failures.push(format!("{}: {error:#}", self.words(kill)));
        }
        figures
    }

    /// What repeats it.
    fn words(&self, kill: Kill) -> String {
        let verb = match self.ground {
            Ground::Memory => "one",
            Ground::Disk(_) => &format!("cut {}", self.ground.name()),
        };
        format!("backstep-kills {verb} {} {}", self.scenario.name, words(kill).join(" "))
    }

    /// What was struck, and how it ended.
    fn run(&self, lane: &Lane, kill: Kill) -> Result<(Struck, TransactionState)> {
        let Played { struck, recovery, .. } = play(&lane.root, self.scenario, Some(kill))?;
        let state = self.judge(lane).with_context(|| format!("killed at {struck}, in recovery at {recovery}"))?;
        Ok((Struck { first: struck != NOTHING, again: recovery != NOTHING }, state))
    }

    /// The power goes at the first strike, and once more at the second; each time the system comes back from what its disk has.
    fn cut(&self, lane: &mut Lane, Kill { first, recovery }: Kill) -> Result<(Struck, TransactionState)> {
        let start = |boot: u32, verb: &[&str], strike: Option<Strike>| {
            let strike = strike.map(strike_words);
            let all: Vec<&str> =
                [PROGRAM, "inside"].into_iter().chain(verb.iter().copied()).chain(strike.iter().flatten().map(String::as_str)).collect();
            word(&Cell::at(&lane.root).in_boot(boot).check(all)?, "struck")
        };
        let struck = start(1, &["cut", self.scenario.name], Some(first))?;
        if struck == NOTHING {
            return Ok((Struck { first: false, again: false }, TransactionState::Completed));
        }
        lane.disk = come_back(lane.disk.take(), &lane.root.with_extension("1.img"))?;
        let again = start(2, &["recover"], recovery).with_context(|| format!("cut at {struck}"))?;
        if again != NOTHING {
            lane.disk = come_back(lane.disk.take(), &lane.root.with_extension("2.img"))?;
            start(3, &["recover"], None).with_context(|| format!("cut at {struck}, and in recovery at {again}"))?;
        }
        let state = self.judge(lane).with_context(|| format!("cut at {struck}, in recovery at {again}"))?;
        Ok((Struck { first: true, again: again != NOTHING }, state))
    }

    fn judge(&self, lane: &Lane) -> Result<TransactionState> {
        judge(&lane.root, self.scenario, self.both.as_ref().context("nothing to compare with")?)
    }
}

impl Lane {
    fn end(self) -> Result<()> {
        match self.disk {
            Some(disk) => disk.end_clean(),
            None => fs::remove_dir_all(&self.root).with_context(|| format!("cannot remove {}", self.root.display())),
        }
    }
}

fn come_back(disk: Option<Disk>, image: &Path) -> Result<Option<Disk>> {
    disk.context("there is no disk")?.come_back(image).map(Some)
}

/// Which strikes met their call.
#[derive(Debug, Clone, Copy)]
struct Struck {
    first: bool,
    again: bool,
}

/// What a run said.
struct Played {
    struck: String,
    recovery: String,
    met: BTreeMap<Role, u32>,
}

/// A kill as the command line has it.
fn words(Kill { first, recovery }: Kill) -> Vec<String> {
    let mut words = strike_words(first).to_vec();
    if let Some(recovery) = recovery {
        words.push("then".to_owned());
        words.extend(strike_words(recovery));
    }
    words
}

fn strike_words(Strike { role, at, blow }: Strike) -> [String; 3] {
    [format!("{role:?}").to_lowercase(), at.to_string(), blow.name().to_owned()]
}

fn ready(root: &Path, scenario: &Scenario) -> Result<()> {
    Cell::at(root).check([PROGRAM, "inside", "prepare", scenario.name]).context("cannot prepare").map(drop)
}

/// Runs the worker of a lane, and its recovery.
fn play(root: &Path, scenario: &Scenario, kill: Option<Kill>) -> Result<Played> {
    let mut all = [PROGRAM, "inside", "point", scenario.name].map(str::to_owned).to_vec();
    all.extend(kill.map(words).unwrap_or_default());
    let said = Cell::at(root).check(all.iter().map(String::as_str))?;
    Ok(Played { struck: word(&said, "struck")?, recovery: word(&said, "recovery")?, met: met(&said)? })
}

fn word(said: &str, key: &str) -> Result<String> {
    let found = said.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    found.map(str::to_owned).with_context(|| format!("it said {said:?}"))
}

fn met(said: &str) -> Result<BTreeMap<Role, u32>> {
    let lines = said.lines().filter_map(|line| line.strip_prefix("met ")?.split_once(' '));
    lines.map(|(role, calls)| Ok((Role::named(role)?, calls.parse()?))).collect()
}

/// All that is in a folder, into one that may be there.
fn copy(from: &Path, to: &Path) -> Result<()> {
    command::run("cp", [Path::new("-aT"), from, to]).map(drop)
}

/// The last lines of what the attempts wrote, for people.
fn told(root: &Path) -> String {
    let attempts = root.join(STATE).join("attempts");
    let mut folders: Vec<PathBuf> = fs::read_dir(attempts).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    folders.sort();
    let mut lines = Vec::new();
    for file in folders.iter().flat_map(|folder| ["attempt.jsonl", "output.log"].map(|name| folder.join(name))) {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let last = text.lines().rev().take(MOST_LINES).collect::<Vec<_>>();
        lines.push(file.strip_prefix(root).unwrap_or(&file).display().to_string());
        lines.extend(last.into_iter().rev().map(|line| format!("  {line}")));
    }
    lines.join("\n  ")
}
