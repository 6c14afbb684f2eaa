//! Kills at points that are chosen evenly over whole runs, and judges each.
//!
//! A run without a kill says which calls there are. Each point has a copy of the same root, in memory, so that it can be
//! had again by its scenario, role and number; the numbers vary by a few calls with how processes take turns.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use backstep_core::TransactionState;
use backstep_torture::place::folder;
use backstep_torture::random::Random;

use crate::root;
use crate::scene::{SCENARIOS, Scenario};
use crate::stage::{Ground, Stage};
use crate::tracer::{Blow, Kill, Role, Strike};

/// Of how many kills one is of all processes.
const ALL_OF: usize = 4;
/// Of how many kills one is followed by another one while the recovery from it goes on.
const AGAIN_OF: usize = 2;
/// The latest call of a recovery that is killed at: 2 to the power of this.
const LATEST_AGAIN: usize = 7;

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

    /// Kills `wanted` times in all, evenly over the scenarios; on disks it cuts their power.
    pub fn sweep(&self, ground: Ground, wanted: usize, seed: u64) -> Result<Figures> {
        ground.enter()?;
        let mut all = Figures::default();
        for (number, scenario) in SCENARIOS.iter().enumerate() {
            let share = wanted * (number + 1) / SCENARIOS.len() - wanted * number / SCENARIOS.len();
            let random = Random::new(seed.wrapping_mul(1000).wrapping_add(number as u64));
            let (begun, stage) = (Instant::now(), Stage::new(self.folder.path(), &self.base(), scenario, ground)?);
            let found = stage.kill(&points(&stage.met, share, random, ground));
            println!("{} {}", ground.name(), line(scenario, &stage.met, &found, begun.elapsed()));
            all.add(found);
        }
        Ok(all)
    }

    /// One point, as often as wanted.
    pub fn one(&self, ground: Ground, scenario: &Scenario, kill: Kill, times: usize) -> Result<Figures> {
        ground.enter()?;
        Ok(Stage::new(self.folder.path(), &self.base(), scenario, ground)?.kill(&vec![kill; times]))
    }
}

impl Figures {
    /// Of one that went well.
    #[must_use]
    pub fn of(again: bool, state: TransactionState) -> Self {
        let completed = usize::from(state == TransactionState::Completed);
        Self { kills: 1, again: usize::from(again), completed, ..Self::default() }
    }

    /// Of one that did not.
    #[must_use]
    pub fn failed(text: String) -> Self {
        Self { kills: 1, failures: vec![text], ..Self::default() }
    }

    /// Both together.
    pub fn add(&mut self, other: Self) {
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
fn points(met: &BTreeMap<Role, u32>, wanted: usize, mut random: Random, ground: Ground) -> Vec<Kill> {
    let calls = |role: Role| met.get(&role).copied().unwrap_or(0) as usize;
    let roles: Vec<(Role, usize)> = ground.roles().iter().copied().filter(|(role, _)| calls(*role) > 0).collect();
    let whole: usize = roles.iter().map(|(_, weight)| weight).sum();
    let mut points = Vec::new();
    let mut share = 0;
    for (role, weight) in roles {
        let before = share * wanted / whole;
        share += weight;
        let (count, first) = (share * wanted / whole - before, random.below(1000));
        points.extend((0..count).map(|number| {
            let at = (number * 1000 + first) * calls(role) / (count * 1000);
            let first = Strike { role, at: u32::try_from(at).unwrap_or(0) + 1, blow: blow(&mut random, ground) };
            Kill { first, recovery: (random.below(AGAIN_OF) == 0).then(|| recovery(&mut random, ground)) }
        }));
    }
    if matches!(ground, Ground::Disk(_)) {
        // After the last line of the journal: the change is complete, and all of it has to be there.
        let at = calls(Role::Worker) - calls(Role::Worker) / 100;
        points.push(Kill { first: Strike { role: Role::Worker, at: u32::try_from(at).unwrap_or(0), blow: Blow::Power }, recovery: None });
    }
    points
}

fn blow(random: &mut Random, ground: Ground) -> Blow {
    match ground {
        Ground::Memory if random.below(ALL_OF) == 0 => Blow::All,
        Ground::Memory => Blow::One,
        Ground::Disk(_) => Blow::Power,
    }
}

/// Nobody knows how many calls a recovery will have: early ones are as likely as all later ones together.
fn recovery(random: &mut Random, ground: Ground) -> Strike {
    let latest = 1 << (1 + random.below(LATEST_AGAIN));
    let role = Role::RECOVERING[random.below(Role::RECOVERING.len())];
    Strike { role, at: u32::try_from(random.below(latest)).unwrap_or(0) + 1, blow: blow(random, ground) }
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
    use backstep_tests::machine::FileSystem;

    use super::*;

    #[test]
    fn points_are_spread_over_all_calls_of_each_role_and_vary_with_the_seed() {
        let met: BTreeMap<_, _> = Role::ALL.map(|(role, _)| (role, 500)).into();
        let chosen = points(&met, 100, Random::new(1), Ground::Memory);
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
        assert_ne!(chosen, points(&met, 100, Random::new(2), Ground::Memory));
        assert_eq!(chosen, points(&met, 100, Random::new(1), Ground::Memory));
        let journal = points(&[(Role::Journal, 40), (Role::Worker, 500)].into(), 50, Random::new(1), Ground::Disk(FileSystem::Ext4));
        let at = |role| journal.iter().map(|kill| kill.first).filter(move |strike| strike.role == role).map(|strike| strike.at);
        assert_eq!(at(Role::Journal).collect::<Vec<_>>(), (1..=40).collect::<Vec<_>>(), "each boundary of a step");
        assert!(journal.iter().all(|kill| kill.first.blow == Blow::Power && kill.recovery.is_none_or(|strike| strike.blow == Blow::Power)));
        let alone = BTreeMap::from([(Role::Worker, 500), (Role::Dpkg, 0)]);
        assert_eq!(points(&alone, 100, Random::new(1), Ground::Memory).len(), 100, "of one role when the others make no calls");
    }
}
