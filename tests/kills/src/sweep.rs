//! Kills at points that are chosen evenly over whole runs, and judges each.
//!
//! A run without a kill says which calls there are. Each point has a copy of the same root, in memory, so that it can be
//! had again by its scenario, role and number; the numbers vary by a few calls with how processes take turns.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use backstep_core::TransactionState;
use backstep_tests::command;
use backstep_torture::place::folder;
use backstep_torture::random::Random;

use crate::cell::{Cell, PROGRAM};
use crate::inside::STATE;
use crate::judge::{Both, judge, look, state};
use crate::root;
use crate::scene::{SCENARIOS, Scenario};
use crate::tracer::{Blow, Role, Strike};

/// Of how many kills one is of all processes.
const ALL_OF: usize = 4;
/// Runs beside each other for each processor: half of a run's time is waiting.
const LANES: usize = 2;
/// How much of a journal is told.
const MOST_LINES: usize = 14;

/// What was run.
#[derive(Debug, Default)]
pub struct Figures {
    /// Kills that met their call.
    pub kills: usize,
    /// Of them, changes that were completed all the same.
    pub completed: usize,
    /// Points that a run had not this time.
    pub missed: usize,
    /// What went wrong, with the way to see it again.
    pub failures: Vec<String>,
}

/// A folder in memory with the system that everything begins from.
pub struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    /// Makes it.
    pub fn new() -> Result<Self> {
        let bench = Self { folder: folder()? };
        fs::create_dir(bench.base())?;
        root::make(&bench.base())?;
        Ok(bench)
    }

    fn base(&self) -> PathBuf {
        self.folder.path().join("base")
    }

    /// Kills `wanted` times in all, evenly over the scenarios.
    pub fn sweep(&self, wanted: usize, seed: u64) -> Result<Figures> {
        let mut all = Figures::default();
        for (number, scenario) in SCENARIOS.iter().enumerate() {
            let share = wanted * (number + 1) / SCENARIOS.len() - wanted * number / SCENARIOS.len();
            let random = Random::new(seed.wrapping_mul(1000).wrapping_add(number as u64));
            let (begun, stage) = (Instant::now(), Stage::new(self.folder.path(), &self.base(), scenario)?);
            let found = stage.kill(&points(&stage.met, share, random));
            println!("{}", line(scenario, &stage.met, &found, begun.elapsed()));
            all.add(found);
        }
        Ok(all)
    }

    /// One point, as often as wanted.
    pub fn one(&self, scenario: &Scenario, strike: Strike, times: usize) -> Result<Figures> {
        Ok(Stage::new(self.folder.path(), &self.base(), scenario)?.kill(&vec![strike; times]))
    }
}

impl Figures {
    fn add(&mut self, other: Self) {
        self.kills += other.kills;
        self.completed += other.completed;
        self.missed += other.missed;
        self.failures.extend(other.failures);
    }
}

fn line(scenario: &Scenario, met: &BTreeMap<Role, u32>, found: &Figures, took: Duration) -> String {
    let Figures { kills, completed, missed, failures } = found;
    let calls = met.iter().map(|(role, calls)| format!("{role:?} {calls}")).collect::<Vec<_>>().join(", ");
    let each = took.as_secs_f64() / (*kills).max(1) as f64;
    format!(
        "{}: {kills} kills ({completed} completed), {missed} missed, {} failed, {each:.2} s each; calls: {calls}",
        scenario.name,
        failures.len()
    )
}

/// Points of all roles, each role's evenly over its calls.
fn points(met: &BTreeMap<Role, u32>, wanted: usize, mut random: Random) -> Vec<Strike> {
    let mut points = Vec::new();
    let mut share = 0;
    for (role, weight) in Role::ALL {
        let before = share * wanted / 100;
        share += weight;
        let (count, calls) = (share * wanted / 100 - before, met.get(&role).copied().unwrap_or(0) as usize);
        let first = random.below(1000);
        points.extend((0..count).filter(|_| calls > 0).map(|number| {
            let at = (number * 1000 + first) * calls / (count * 1000);
            let blow = if random.below(ALL_OF) == 0 { Blow::All } else { Blow::One };
            Strike { role, at: u32::try_from(at).unwrap_or(0) + 1, blow }
        }));
    }
    points
}

/// A scenario up to the moment before its worker starts.
struct Stage<'s> {
    scenario: &'s Scenario,
    template: PathBuf,
    folder: tempfile::TempDir,
    /// Known when two undisturbed runs were the same.
    both: Option<Both>,
    met: BTreeMap<Role, u32>,
}

impl<'s> Stage<'s> {
    fn new(place: &Path, base: &Path, scenario: &'s Scenario) -> Result<Self> {
        let folder = tempfile::tempdir_in(place)?;
        let [template, root, again] = ["template", "undisturbed", "again"].map(|name| folder.path().join(name));
        copy(base, &template)?;
        let mut stage = Self { scenario, template, folder, both: None, met: BTreeMap::new() };
        if stage.is_copied_ready() {
            ready(&stage.template, scenario)?;
        }
        stage.make(&root)?;
        let before = look(&root)?;
        stage.met = play(&root, scenario, None)?.1;
        let ended = state(&root, scenario)?;
        ensure!(ended == TransactionState::Completed, "{} without a kill is {ended}\n{}", scenario.name, told(&root));
        let both = Both { before, after: look(&root)? };
        stage.make(&again)?;
        play(&again, scenario, None)?;
        judge(&again, scenario, &both).with_context(|| format!("{} without a kill", scenario.name))?;
        stage.both = Some(both);
        [root, again].into_iter().try_for_each(fs::remove_dir_all)?;
        Ok(stage)
    }

    /// What was done before the last request can be copied with everything, unless an undo has to find the same inodes.
    fn is_copied_ready(&self) -> bool {
        self.scenario.wishes.len() == 1
    }

    /// Makes a lane: everything is as just before the worker's start.
    fn make(&self, root: &Path) -> Result<()> {
        copy(&self.template, root)?;
        if self.is_copied_ready() { Ok(()) } else { ready(root, self.scenario) }
    }

    /// Kills at all of them, on all processors.
    fn kill(&self, points: &[Strike]) -> Figures {
        let (left, figures) = (Mutex::new(points.iter()), Mutex::new(Figures::default()));
        let lanes = LANES * thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            for lane in 0..lanes {
                let (left, figures) = (&left, &figures);
                scope.spawn(move || {
                    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
                    while let Some(strike) = next() {
                        let root = self.folder.path().join(format!("lane-{lane}"));
                        let went = self.check(&root, *strike);
                        figures.lock().unwrap_or_else(PoisonError::into_inner).add(went);
                    }
                });
            }
        });
        figures.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, root: &Path, strike: Strike) -> Figures {
        let went = self.run(root, strike);
        let mut figures = Figures::default();
        match went {
            Ok((true, state)) => {
                figures.kills = 1;
                figures.completed = usize::from(state == TransactionState::Completed);
            }
            Ok((false, _)) => figures.missed = 1,
            Err(error) => {
                figures.kills = 1;
                let text = format!("{}: {error:#}\n  {}", self.words(strike), told(root));
                eprintln!("FAILED {text}");
                figures.failures.push(text);
            }
        }
        if let Err(error) = fs::remove_dir_all(root) {
            figures.failures.push(format!("cannot remove {}: {error}", root.display()));
        }
        figures
    }

    /// What repeats it.
    fn words(&self, Strike { role, at, blow }: Strike) -> String {
        format!("backstep-kills one {} {} {at} {}", self.scenario.name, format!("{role:?}").to_lowercase(), blow.name())
    }

    /// Whether it was struck, and how it ended.
    fn run(&self, root: &Path, strike: Strike) -> Result<(bool, TransactionState)> {
        self.make(root)?;
        let (struck, _) = play(root, self.scenario, Some(strike))?;
        let both = self.both.as_ref().context("nothing to compare with")?;
        let state = judge(root, self.scenario, both).with_context(|| format!("killed at {struck}"))?;
        Ok((struck != "nothing", state))
    }
}

fn ready(root: &Path, scenario: &Scenario) -> Result<()> {
    Cell::at(root).check([PROGRAM, "inside", "prepare", scenario.name]).context("cannot prepare").map(drop)
}

/// Runs the worker of a lane; answers the call at which was killed, and which calls there were.
fn play(root: &Path, scenario: &Scenario, strike: Option<Strike>) -> Result<(String, BTreeMap<Role, u32>)> {
    let mut words = vec![PROGRAM.to_owned(), "inside".to_owned(), "point".to_owned(), scenario.name.to_owned()];
    if let Some(Strike { role, at, blow }) = strike {
        words.extend([format!("{role:?}"), at.to_string(), blow.name().to_owned()]);
    }
    let said = Cell::at(root).check(words.iter().map(String::as_str))?;
    let struck = said.lines().find_map(|line| line.strip_prefix("struck ")).with_context(|| format!("it said {said:?}"))?;
    Ok((struck.to_owned(), met(&said)?))
}

fn met(said: &str) -> Result<BTreeMap<Role, u32>> {
    let lines = said.lines().filter_map(|line| line.strip_prefix("met ")?.split_once(' '));
    lines.map(|(role, calls)| Ok((Role::named(role)?, calls.parse()?))).collect()
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    command::run("cp", [Path::new("-a"), from, to]).map(drop)
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

/// Says what was run; an error when anything failed.
pub fn report(figures: &Figures, took: Duration) -> Result<()> {
    let Figures { kills, completed, missed, failures } = figures;
    let seconds = took.as_secs();
    println!("{kills} kills ({completed} completed, {missed} points missed), {} failed, {seconds} s", failures.len());
    if !failures.is_empty() {
        bail!("{} of {kills} kills failed:\n{}", failures.len(), failures.join("\n"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_spread_over_all_calls_of_each_role_and_vary_with_the_seed() {
        let met: BTreeMap<_, _> = Role::ALL.map(|(role, _)| (role, 500)).into();
        let chosen = points(&met, 100, Random::new(1));
        assert_eq!(chosen.len(), 100);
        for (role, weight) in Role::ALL {
            let mut at: Vec<u32> = chosen.iter().filter(|point| point.role == role).map(|point| point.at).collect();
            assert_eq!(at.len(), weight);
            at.dedup();
            assert_eq!(at.len(), weight, "one twice");
            assert!(at.first().is_some_and(|at| *at <= 500 / weight as u32 + 1) && at.last().is_some_and(|at| *at > 400 && *at <= 500));
        }
        assert_ne!(chosen, points(&met, 100, Random::new(2)));
        assert_eq!(chosen, points(&met, 100, Random::new(1)));
    }
}
