//! Whole client commands beside `apt-get -y`, and plans beside `apt-get -s`.

use std::time::Instant;

use anyhow::Result;
use backstep_tests::command::run;
use backstep_tests::machine::Machine;
use backstep_tests::package::{Package, Script};
use backstep_tests::repository::{Repository, Transport};

use crate::report::{Pairs, Report};

const ROUNDS: usize = 7;
const PLANS: usize = 11;
const SET: &str = "nano tmux less htop tree jq rsync strace file bzip2";
pub(crate) const SECONDS: (f64, &str) = (1.0, "s");
/// Files and bytes of each of the ten packages that are upgraded.
const FILES: usize = 40;
const BYTES: usize = 24 << 10;

pub(crate) fn measure(machine: &Machine, report: &mut Report) -> Result<()> {
    no_hooks(machine)?;
    words(machine, &format!("apt-get -y -qq --download-only install {SET}"))?;
    let (mut installs, mut removals) = (Pairs::default(), Pairs::default());
    for round in 0..ROUNDS {
        for ours in order(round) {
            let program = if ours { "backstep" } else { "apt-get" };
            timed(machine, &mut installs, ours, &format!("{program} install -y {SET}"))?;
            timed(machine, &mut removals, ours, &format!("{program} remove -y {SET}"))?;
            words(machine, &format!("apt-get -y -qq purge --auto-remove {SET}"))?;
        }
    }
    report.pairs("install of ten packages with what they need", "apt-get -y", &installs, 1.15, SECONDS);
    report.pairs("remove of these ten", "apt-get -y", &removals, 1.15, SECONDS);
    upgrades(machine, report)?;
    small(machine, report)?;
    plans(machine, report)
}

/// The peer is apt-get alone, without our hooks.
pub(crate) fn no_hooks(machine: &Machine) -> Result<()> {
    words(machine, "rm -f /etc/apt/apt.conf.d/05backstep /etc/apt/apt.conf.d/95backstep")
}

fn upgrades(machine: &Machine, report: &mut Report) -> Result<()> {
    let of = |version: &'static str| (0..10).map(move |number| sized(number, version));
    let repository = Repository::new(&of("1").chain(of("2")).collect::<Vec<_>>())?;
    machine.add_repository("bench", &repository, Transport::Copy)?;
    let at = |version: &str| (0..10).map(|number| format!(" bs-up-{number}={version}")).collect::<String>();
    let back = format!("apt-get -y -qq --allow-downgrades install{}", at("1"));
    words(machine, &format!("apt-get -y -qq --download-only install{}", at("2")))?;
    words(machine, &back)?;
    let mut pairs = Pairs::default();
    for round in 0..ROUNDS {
        for ours in order(round) {
            let program = if ours { "backstep" } else { "apt-get" };
            timed(machine, &mut pairs, ours, &format!("{program} upgrade -y"))?;
            words(machine, &back)?;
        }
    }
    report.pairs("upgrade of ten packages", "apt-get -y", &pairs, 1.15, SECONDS);
    Ok(())
}

/// One small package: what does not grow with the plan shows most.
fn small(machine: &Machine, report: &mut Report) -> Result<()> {
    let (mut installs, mut removals) = (Pairs::default(), Pairs::default());
    for round in 0..ROUNDS {
        for ours in order(round) {
            let program = if ours { "backstep" } else { "apt-get" };
            timed(machine, &mut installs, ours, &format!("{program} install -y tree"))?;
            timed(machine, &mut removals, ours, &format!("{program} remove -y tree"))?;
        }
    }
    report.pairs("install of one small package", "apt-get -y", &installs, 1.15, SECONDS);
    report.pairs("remove of it", "apt-get -y", &removals, 1.15, SECONDS);
    Ok(())
}

fn plans(machine: &Machine, report: &mut Report) -> Result<()> {
    let mut pairs = Pairs::default();
    for round in 0..PLANS {
        for ours in order(round) {
            let line = if ours { format!("backstep plan install {SET}") } else { format!("apt-get -s install {SET}") };
            timed(machine, &mut pairs, ours, &line)?;
        }
    }
    report.pairs("plan of the install", "apt-get -s", &pairs, 1.1, SECONDS);
    Ok(())
}

/// Who is first: ours or the peer.
pub(crate) fn order(round: usize) -> [bool; 2] {
    if round.is_multiple_of(2) { [false, true] } else { [true, false] }
}

pub(crate) fn timed(machine: &Machine, pairs: &mut Pairs, ours: bool, line: &str) -> Result<()> {
    // What an earlier command left to be written is not this one's.
    run("sync", [""; 0])?;
    let begun = Instant::now();
    words(machine, line)?;
    let seconds = begun.elapsed().as_secs_f64();
    if ours {
        pairs.ours.push(seconds)
    } else {
        pairs.peers.push(seconds)
    }
    Ok(())
}

pub(crate) fn words(machine: &Machine, line: &str) -> Result<()> {
    machine.run(line.split_whitespace())?.success().map(drop)
}

/// A package as large as a usual one, with a configuration file and a script, its bytes not compressible.
fn sized(number: u64, version: &str) -> Package {
    let name = format!("bs-up-{number}");
    let seed = number + if version == "1" { 100 } else { 200 };
    let mut package = Package::new(&name, version).conffile(&format!("/etc/{name}.conf"), "x\n").script(Script::Postinst, "true");
    for file in 0..FILES {
        package = package.file(&format!("/usr/share/{name}/part-{file}"), noise(seed * 1000 + file as u64));
    }
    package
}

fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(BYTES).collect()
}
