//! `backstep-kills`: see the library.

use std::time::Instant;

use anyhow::{Result, bail};
use backstep_kills::inside;
use backstep_kills::scene::named;
use backstep_kills::stage::Ground;
use backstep_kills::sweep::{Bench, report};
use backstep_kills::tracer::{Blow, CAN_COUNT_CALLS, Kill, Role, Strike};

const USAGE: &str = "usage: backstep-kills sweep KILLS SEED | one SCENARIO ROLE AT one|all [then ROLE AT one|all] [TIMES] | \
    cuts ext4|xfs CUTS SEED | cut ext4|xfs SCENARIO ROLE AT power [then ROLE AT power] [TIMES]";

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["inside", "prepare", scenario] => inside::prepare(named(scenario)?),
        ["inside", "point", scenario] => inside::point(named(scenario)?, None),
        ["inside", "point", scenario, ref kill @ ..] => inside::point(named(scenario)?, Some(wanted(kill)?.0)),
        ["inside", "become", attempt] => inside::become_worker(attempt),
        ["inside", "settle"] => inside::settle(),
        ["inside", "cut", scenario, role, at, blow] => inside::cut(named(scenario)?, strike(role, at, blow)?),
        ["inside", "recover"] => inside::recover(None),
        ["inside", "recover", role, at, blow] => inside::recover(Some(strike(role, at, blow)?)),
        ["sweep", kills, seed] => sweep(Ground::Memory, kills.parse()?, seed.parse()?),
        ["cuts", kind, cuts, seed] => sweep(Ground::named(kind)?, cuts.parse()?, seed.parse()?),
        ["one", scenario, ref kill @ ..] => one(Ground::Memory, scenario, wanted(kill)?),
        ["cut", kind, scenario, ref kill @ ..] => one(Ground::named(kind)?, scenario, wanted(kill)?),
        _ => bail!(USAGE),
    }
}

/// A kill and how often it is wanted.
fn wanted(words: &[&str]) -> Result<(Kill, usize)> {
    let (kill, times) = match *words {
        [role, at, blow, "then", later, after, again, ref times @ ..] => {
            (Kill { first: strike(role, at, blow)?, recovery: Some(strike(later, after, again)?) }, times)
        }
        [role, at, blow, ref times @ ..] => (Kill { first: strike(role, at, blow)?, recovery: None }, times),
        _ => bail!(USAGE),
    };
    match times {
        [] => Ok((kill, 1)),
        [times] => Ok((kill, times.parse()?)),
        _ => bail!(USAGE),
    }
}

fn strike(role: &str, at: &str, blow: &str) -> Result<Strike> {
    Ok(Strike { role: Role::named(role)?, at: at.parse()?, blow: Blow::named(blow)? })
}

fn sweep(ground: Ground, kills: usize, seed: u64) -> Result<()> {
    if !nix::unistd::geteuid().is_root() || !CAN_COUNT_CALLS {
        println!("kills of real dpkg: not run, they need root and amd64");
        return Ok(());
    }
    let begun = Instant::now();
    report(&Bench::new()?.sweep(ground, kills, seed)?, begun.elapsed())
}

fn one(ground: Ground, scenario: &str, (kill, times): (Kill, usize)) -> Result<()> {
    let begun = Instant::now();
    report(&Bench::new()?.one(ground, named(scenario)?, kill, times)?, begun.elapsed())
}
