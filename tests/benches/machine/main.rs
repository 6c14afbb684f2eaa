//! Measurements in a booted Debian machine, each beside its peer; the results go to `docs/benchmarks.md`.
//!
//! Invariants: what is compared runs in the same machine, one after the other, in an order that changes with every
//! round, and starts from the same state; a ratio is the median of the rounds' own ratios, so that a busy moment
//! of the host touches both. A target that is not met is written down, and fails nothing.

// A measurement sets its scene with plain calls.
#![allow(clippy::disallowed_methods)]

mod bus;
mod idle;
mod large;
mod packages;
mod peers;
mod plain;
mod record;
mod report;
mod torn;

use anyhow::Result;
use backstep_tests::backstep::image;
use backstep_tests::machine::{Machine, Storage};

use crate::report::Report;

/// Without a word on the command line everything is measured and written; with the names of parts (`plain`, `packages`,
/// `bus`, `large`, `idle`, `torn`, `peers`) only those, and the lines are only shown.
fn main() -> Result<()> {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |part: &str| chosen.is_empty() || chosen.iter().any(|word| word == part);
    let mut machine = Machine::boot_on(&image()?, Storage::Disk)?;
    machine.run_for_long();
    // The daemon is warm where it is not said to be cold, and ends only when it is told to.
    machine.write("/etc/backstep/backstep.toml.d/bench.toml", "[daemon]\nidle-exit = 86400\n", 0o644)?;
    let mut report = Report::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if wanted("plain") {
        plain::measure(&machine, &mut report)?;
    }
    if wanted("packages") {
        packages::measure(&machine, &mut report)?;
    }
    if wanted("large") {
        large::measure(&machine, &mut report)?;
    }
    if wanted("bus") {
        runtime.block_on(bus::measure(&machine, &mut report))?;
    }
    if wanted("idle") {
        idle(&machine, &runtime, &mut report)?;
    }
    if wanted("torn") {
        torn::measure(&mut report)?;
    }
    if wanted("peers") {
        peers::measure(&mut report)?;
    }
    if chosen.is_empty() { report.write() } else { Ok(()) }
}

fn idle(machine: &Machine, runtime: &tokio::runtime::Runtime, report: &mut Report) -> Result<()> {
    machine.check(["systemctl", "stop", "backstepd.service"])?;
    machine.check(["rm", "-rf", "/var/lib/backstep"])?;
    runtime.block_on(idle::measure(machine, "an empty record", report))?;
    record::fill(machine)?;
    runtime.block_on(idle::measure(machine, "10,000 transactions", report))
}
