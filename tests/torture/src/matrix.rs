//! The matrix of kills: every point of every scenario, and kills of what recovers from them.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::daemon;
use crate::judge::judge;
use crate::place::{Place, folder};
use crate::random::Random;
use crate::scenario::{SCENARIOS, Scenario};
use crate::tracer::{Blow, CALLS, End, Role, Strike, Tracer};

/// Starts without a kill until everything has to be at rest.
const CLEAN_STARTS: u32 = 3;

/// Runs scenarios and judges them.
pub struct Matrix {
    _folder: tempfile::TempDir,
    place: Place,
    /// Backstep's state after a start without a transaction.
    begun: Vec<u8>,
    tracer: Tracer,
    program: PathBuf,
    /// Runs so far.
    pub runs: u64,
    /// What went wrong, with the way to see it again.
    pub failures: Vec<String>,
}

/// How a run went that was judged well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Went {
    /// How many of the strikes met their point.
    pub struck: usize,
    /// The points of the last disturbed start, by role, in the order of [`Role::ALL`].
    pub points: [u32; 3],
}

impl Matrix {
    /// A matrix in a folder of its own.
    pub fn new() -> Result<Self> {
        nix::sys::prctl::set_child_subreaper(true)?;
        let folder = folder()?;
        let place = Place::make(folder.path())?;
        daemon::with(place.dir(), async |_| Ok(()))?;
        let begun = place.take_state()?;
        Ok(Self { place, begun, _folder: folder, tracer: Tracer::new(), program: std::env::current_exe()?, runs: 0, failures: Vec::new() })
    }

    /// Plays a scenario, strikes each start of the daemon in turn, starts until all is at rest, and judges.
    pub fn run(&mut self, scenario: &Scenario, strikes: &[Strike]) -> Result<Went> {
        self.place.again()?;
        if !scenario.is_first {
            self.place.put_state(&self.begun)?;
        }
        self.runs += 1;
        let mut went = Went { struck: 0, points: [0; 3] };
        let mut rested = false;
        for strike in strikes {
            let end = self.start(scenario, Some(*strike))?;
            went.points = Role::ALL.map(|role| self.tracer.met.get(&role).copied().unwrap_or(0));
            went.struck += usize::from(self.tracer.struck.is_some());
            rested = end == End::Code(0);
            let may_end = matches!(strike.blow, Blow::Fail(_) | Blow::FailOn(_)) && self.tracer.struck.is_some();
            ensure!(rested || may_end || end == End::Killed, "the daemon ended with {end:?}");
            if rested {
                break;
            }
        }
        for _ in 0..CLEAN_STARTS {
            if rested {
                break;
            }
            let end = self.start(scenario, None)?;
            rested = end == End::Code(0);
            ensure!(rested, "a start without a kill ended with {end:?}");
        }
        ensure!(rested, "not at rest after {CLEAN_STARTS} starts");
        self.tracer.drain()?;
        // What the mirror missed is caught up with by the next start at the latest.
        if went.struck > 0 {
            ensure!(self.start(scenario, None)? == End::Code(0), "a start at rest failed");
            self.tracer.drain()?;
        }
        judge(&self.place, scenario, went.struck > 0)?;
        Ok(went)
    }

    fn start(&mut self, scenario: &Scenario, strike: Option<Strike>) -> Result<End> {
        let arguments = ["daemon".to_owned(), self.place.dir().display().to_string(), scenario.name.to_owned()];
        let end = self.tracer.run(&self.program, &arguments, (&self.place.told(), &self.place.log()), strike)?;
        if self.tracer.is_late() {
            bail!("it hung and was killed");
        }
        Ok(end)
    }

    /// As [`Matrix::run`]; a failure is kept, with what the daemon said.
    pub fn check(&mut self, scenario: &Scenario, strikes: &[Strike]) -> Option<Went> {
        match self.run(scenario, strikes) {
            Ok(went) => Some(went),
            Err(error) => {
                let log = Place::lines(&self.place.log()).unwrap_or_default().join("\n  ");
                let text = format!("{}: {}: {error:#}\n  {log}", scenario.name, describe(strikes));
                eprintln!("FAILED {text}");
                self.failures.push(text);
                // What may still run is ended, so that the next run begins alone.
                self.tracer = Tracer::new();
                None
            }
        }
    }

    /// Every point of a scenario's roles, one kill a run. Answers the points.
    pub fn every_point(&mut self, scenario: &Scenario, blow: Blow, mine: impl Fn(u32) -> bool) -> u32 {
        let mut points = 0;
        for role in Role::ALL {
            for at in 1.. {
                if !mine(at) {
                    continue;
                }
                let went = self.check(scenario, &[Strike { role, at, blow, calls: &CALLS }]);
                if went.is_some_and(|went| went.struck == 0) {
                    break;
                }
                points += 1;
            }
        }
        points
    }

    /// Kills at random points, `depth` starts in a row.
    pub fn random(&mut self, random: &mut Random, depth: usize) {
        let scenario = &SCENARIOS[random.below(SCENARIOS.len())];
        let strikes: Vec<Strike> = (0..depth).map(|level| strike(random, level)).collect();
        self.check(scenario, &strikes);
    }

    /// The sum, and an error when anything failed.
    pub fn end(&self) -> Result<()> {
        ensure!(self.failures.is_empty(), "{} of {} runs failed:\n{}", self.failures.len(), self.runs, self.failures.join("\n"));
        Ok(())
    }
}

/// A recovery has fewer points than a whole transaction.
fn strike(random: &mut Random, level: usize) -> Strike {
    let role = Role::ALL[[0, 0, 0, 1, 1, 2][random.below(6)]];
    let most = match (role, level) {
        (Role::Daemon, 0) => 160,
        (Role::Daemon, _) => 60,
        (Role::Worker, _) => 60,
        (Role::Dpkg, _) => 25,
    };
    let blow = if random.below(4) == 0 { Blow::KillAll } else { Blow::Kill };
    Strike { role, at: u32::try_from(random.below(most)).unwrap_or(0) + 1, blow, calls: &CALLS }
}

fn describe(strikes: &[Strike]) -> String {
    strikes.iter().map(|strike| format!("{:?} at {} of {:?}", strike.blow, strike.at, strike.role)).collect::<Vec<_>>().join(", then ")
}

/// A scenario by its name.
pub fn named(name: &str) -> Result<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name).with_context(|| format!("no scenario is called {name:?}"))
}
