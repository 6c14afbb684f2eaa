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
use crate::inside::{NOTHING, STATE};
use crate::judge::{Both, judge, look, state};
use crate::root;
use crate::scene::{SCENARIOS, Scenario};
use crate::tracer::{Blow, Kill, Role, Strike};

/// Of how many kills one is of all processes.
const ALL_OF: usize = 4;
/// Of how many kills one is followed by another one while the recovery from it goes on.
const AGAIN_OF: usize = 2;
/// The latest call of a recovery that is killed at: 2 to the power of this.
const LATEST_AGAIN: usize = 7;
/// Runs beside each other for each processor: half of a run's time is waiting.
const LANES: usize = 2;
/// How much of a journal is told.
const MOST_LINES: usize = 14;

/// What was run.
#[derive(Debug, Default)]
pub struct Figures {
    /// Kills that met their call.
    pub kills: usize,
    /// Of them, those whose recovery was killed, too.
    pub again: usize,
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
    pub fn one(&self, scenario: &Scenario, kill: Kill, times: usize) -> Result<Figures> {
        Ok(Stage::new(self.folder.path(), &self.base(), scenario)?.kill(&vec![kill; times]))
    }
}

impl Figures {
    fn add(&mut self, other: Self) {
        self.kills += other.kills;
        self.again += other.again;
        self.completed += other.completed;
        self.missed += other.missed;
        self.failures.extend(other.failures);
    }
}

fn line(scenario: &Scenario, met: &BTreeMap<Role, u32>, found: &Figures, took: Duration) -> String {
    let Figures { kills, again, completed, missed, failures } = found;
    let calls = met.iter().map(|(role, calls)| format!("{role:?} {calls}")).collect::<Vec<_>>().join(", ");
    let each = took.as_secs_f64() / (*kills).max(1) as f64;
    format!(
        "{}: {kills} kills ({again} again in recovery, {completed} completed), {missed} missed, {} failed, {each:.2} s each; calls: {calls}",
        scenario.name,
        failures.len()
    )
}

/// Points of all roles that made calls, each role's evenly over its calls.
fn points(met: &BTreeMap<Role, u32>, wanted: usize, mut random: Random) -> Vec<Kill> {
    let calls = |role: Role| met.get(&role).copied().unwrap_or(0) as usize;
    let roles: Vec<(Role, usize)> = Role::ALL.into_iter().filter(|(role, _)| calls(*role) > 0).collect();
    let whole: usize = roles.iter().map(|(_, weight)| weight).sum();
    let mut points = Vec::new();
    let mut share = 0;
    for (role, weight) in roles {
        let before = share * wanted / whole;
        share += weight;
        let (count, first) = (share * wanted / whole - before, random.below(1000));
        points.extend((0..count).map(|number| {
            let at = (number * 1000 + first) * calls(role) / (count * 1000);
            let first = Strike { role, at: u32::try_from(at).unwrap_or(0) + 1, blow: blow(&mut random) };
            Kill { first, recovery: (random.below(AGAIN_OF) == 0).then(|| recovery(&mut random)) }
        }));
    }
    points
}

fn blow(random: &mut Random) -> Blow {
    if random.below(ALL_OF) == 0 { Blow::All } else { Blow::One }
}

/// Nobody knows how many calls a recovery will have: early ones are as likely as all later ones together.
fn recovery(random: &mut Random) -> Strike {
    let latest = 1 << (1 + random.below(LATEST_AGAIN));
    let role = Role::RECOVERING[random.below(Role::RECOVERING.len())];
    Strike { role, at: u32::try_from(random.below(latest)).unwrap_or(0) + 1, blow: blow(random) }
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
        stage.met = play(&root, scenario, None)?.met;
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
    fn kill(&self, points: &[Kill]) -> Figures {
        let (left, figures) = (Mutex::new(points.iter()), Mutex::new(Figures::default()));
        let lanes = LANES * thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            for lane in 0..lanes {
                let (left, figures) = (&left, &figures);
                scope.spawn(move || {
                    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
                    while let Some(kill) = next() {
                        let root = self.folder.path().join(format!("lane-{lane}"));
                        let went = self.check(&root, *kill);
                        figures.lock().unwrap_or_else(PoisonError::into_inner).add(went);
                    }
                });
            }
        });
        figures.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, root: &Path, kill: Kill) -> Figures {
        let went = self.run(root, kill);
        let mut figures = Figures::default();
        match went {
            Ok((Struck { first: true, again }, state)) => {
                figures.kills = 1;
                figures.again = usize::from(again);
                figures.completed = usize::from(state == TransactionState::Completed);
            }
            Ok(_) => figures.missed = 1,
            Err(error) => {
                figures.kills = 1;
                let text = format!("{}: {error:#}\n  {}", self.words(kill), told(root));
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
    fn words(&self, kill: Kill) -> String {
        format!("backstep-kills one {} {}", self.scenario.name, words(kill).join(" "))
    }

    /// What was struck, and how it ended.
    fn run(&self, root: &Path, kill: Kill) -> Result<(Struck, TransactionState)> {
        self.make(root)?;
        let played = play(root, self.scenario, Some(kill))?;
        let both = self.both.as_ref().context("nothing to compare with")?;
        let Played { struck, recovery, .. } = &played;
        let state = judge(root, self.scenario, both).with_context(|| format!("killed at {struck}, in recovery at {recovery}"))?;
        Ok((Struck { first: struck != NOTHING, again: recovery != NOTHING }, state))
    }
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
    let one = |Strike { role, at, blow }: Strike| [format!("{role:?}").to_lowercase(), at.to_string(), blow.name().to_owned()];
    let mut words = one(first).to_vec();
    if let Some(recovery) = recovery {
        words.push("then".to_owned());
        words.extend(one(recovery));
    }
    words
}

fn ready(root: &Path, scenario: &Scenario) -> Result<()> {
    Cell::at(root).check([PROGRAM, "inside", "prepare", scenario.name]).context("cannot prepare").map(drop)
}

/// Runs the worker of a lane, and its recovery.
fn play(root: &Path, scenario: &Scenario, kill: Option<Kill>) -> Result<Played> {
    let mut all = [PROGRAM, "inside", "point", scenario.name].map(str::to_owned).to_vec();
    all.extend(kill.map(words).unwrap_or_default());
    let said = Cell::at(root).check(all.iter().map(String::as_str))?;
    let word = |key: &str| {
        let found = said.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        found.map(str::to_owned).with_context(|| format!("it said {said:?}"))
    };
    Ok(Played { struck: word("struck")?, recovery: word("recovery")?, met: met(&said)? })
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
    let Figures { kills, again, completed, missed, failures } = figures;
    let seconds = took.as_secs();
    println!(
        "{kills} kills ({again} again in recovery, {completed} completed, {missed} points missed), {} failed, {seconds} s",
        failures.len()
    );
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
            let mut at: Vec<u32> = chosen.iter().filter(|kill| kill.first.role == role).map(|kill| kill.first.at).collect();
            assert_eq!(at.len(), weight);
            at.dedup();
            assert_eq!(at.len(), weight, "one twice");
            assert!(at.first().is_some_and(|at| *at <= 500 / weight as u32 + 1) && at.last().is_some_and(|at| *at > 400 && *at <= 500));
        }
        let again = chosen.iter().filter(|kill| kill.recovery.is_some()).count();
        assert!((35..65).contains(&again), "{again} of 100 recoveries are killed");
        assert_ne!(chosen, points(&met, 100, Random::new(2)));
        assert_eq!(chosen, points(&met, 100, Random::new(1)));
        let alone = BTreeMap::from([(Role::Worker, 500), (Role::Dpkg, 0)]);
        assert_eq!(points(&alone, 100, Random::new(1)).len(), 100, "of one role when the others make no calls");
    }
}
