//! `backstep-torture`: crash tests by hand, and the programs that they kill.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use backstep_torture::matrix::{Matrix, named};
use backstep_torture::random::Random;
use backstep_torture::scenario::SCENARIOS;
use backstep_torture::tracer::{Blow, CALLS, Role, Strike};
use backstep_torture::{daemon, fake, hands, soak, storage, tracer};

const USAGE: &str = "usage: backstep-torture points PART PARTS STRIDE | random SEED RUNS SECONDS | storage PART PARTS STRIDE | disks | soak SEED SECONDS | one SCENARIO [all-]ROLE AT [[all-]ROLE AT ...] | fail SCENARIO ROLE WAY FROM TO";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(70)
        }
    }
}

fn run(arguments: &[String]) -> Result<u8> {
    let [verb, rest @ ..] = arguments else { bail!(USAGE) };
    match (verb.as_str(), rest) {
        ("daemon", [dir, scenario]) => daemon::play(Path::new(dir), scenario)?,
        ("run", [attempt, flag, state]) if flag == "--state-dir" => hands::work(attempt.parse()?, Path::new(state))?,
        ("traced", [program, rest @ ..]) => tracer::enter(program, rest)?,
        (program @ ("apt-get" | "dpkg" | "dpkg-deb"), rest) => return fake::run(program, rest),
        ("points", [part, parts, stride]) => points(part.parse()?, parts.parse()?, stride.parse()?)?,
        ("random", [seed, runs, seconds]) => random(seed.parse()?, runs.parse()?, seconds.parse()?)?,
        ("storage", [part, parts, stride]) => storage_fails(part.parse()?, parts.parse()?, stride.parse()?)?,
        ("disks", []) => println!("{:?} disks, of them too small", storage::small_disks()?),
        ("soak", [seed, seconds]) => soak::soak(seed.parse()?, Duration::from_secs(seconds.parse()?))?,
        ("one", [scenario, strikes @ ..]) => one(scenario, strikes)?,
        ("fail", [scenario, role, way, from, to]) => fail(scenario, role, way, from.parse()?..=to.parse()?)?,
        _ => bail!(USAGE),
    }
    Ok(0)
}

/// Every point of this part of all scenarios, or each `stride`-th.
fn points(part: u32, parts: u32, stride: u32) -> Result<()> {
    let (mut matrix, mut points, begun) = (Matrix::new()?, 0, Instant::now());
    for scenario in SCENARIOS {
        if part == 0 {
            matrix.check(scenario, &[]);
        }
        let found = matrix.every_point(scenario, Blow::Kill, |at| at % parts == part && (at / parts).is_multiple_of(stride));
        println!("{}: {found} points", scenario.name);
        points += found;
    }
    println!("{points} points, {} runs, {} failed, {} s", matrix.runs, matrix.failures.len(), begun.elapsed().as_secs());
    matrix.end()
}

/// Kills in one to three starts in a row, at random points.
fn random(seed: u64, runs: u64, seconds: u64) -> Result<()> {
    let (mut matrix, mut random, begun) = (Matrix::new()?, Random::new(seed), Instant::now());
    while matrix.runs < runs && begun.elapsed() < Duration::from_secs(seconds) {
        let depth = 1 + random.below(3);
        matrix.random(&mut random, depth);
    }
    println!("seed {seed}: {} runs, {} failed, {} s", matrix.runs, matrix.failures.len(), begun.elapsed().as_secs());
    matrix.end()
}

fn storage_fails(part: u32, parts: u32, stride: u32) -> Result<()> {
    let (mut matrix, begun) = (Matrix::new()?, Instant::now());
    let failed = storage::sweep(&mut matrix, |at| at % parts == part && (at / parts).is_multiple_of(stride))?;
    println!("{failed} failing calls, {} runs, {} failed, {} s", matrix.runs, matrix.failures.len(), begun.elapsed().as_secs());
    matrix.end()
}

fn role(name: &str) -> Result<Role> {
    Role::ALL.into_iter().find(|role| format!("{role:?}").eq_ignore_ascii_case(name)).context(USAGE)
}

/// These calls of a role fail in one way, one a run.
fn fail(scenario: &str, of: &str, way: &str, at: std::ops::RangeInclusive<u32>) -> Result<()> {
    let (_, calls, blow) = storage::WAYS.into_iter().find(|(name, ..)| *name == way).context(USAGE)?;
    let (mut matrix, role) = (Matrix::new()?, role(of)?);
    for at in at {
        println!("{at}: {:?}", matrix.check(named(scenario)?, &[Strike { role, at, blow, calls }]));
    }
    matrix.end()
}

fn one(scenario: &str, strikes: &[String]) -> Result<()> {
    let strike = |pair: &[String]| -> Result<Strike> {
        let alone = pair[0].strip_prefix("all-");
        let (name, blow) = alone.map_or((pair[0].as_str(), Blow::Kill), |name| (name, Blow::KillAll));
        Ok(Strike { role: role(name)?, at: pair.get(1).context(USAGE)?.parse()?, blow, calls: &CALLS })
    };
    let strikes = strikes.chunks(2).map(strike).collect::<Result<Vec<_>>>()?;
    let mut matrix = Matrix::new()?;
    println!("{:?}", matrix.check(named(scenario)?, &strikes));
    matrix.end()
}
