//! The worker: executes one frozen plan step by step, forward or backward.
//!
//! It is the only program that starts apt and dpkg. It is told what to do by two files, `order.json` and
//! `plan.json`, and tells what it did by a third, `attempt.jsonl`; it speaks to nobody else. It outlives the daemon,
//! stops for no signal, and ends when its journal has its last record.
//!
//! Absent on purpose: libapt, D-Bus, SQLite, decisions about what to run, and a shutdown inhibitor (the daemon
//! holds one while an attempt runs).

// Tests write small files into folders of their own; no crash can hurt them.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod alternatives;
pub mod archives;
pub mod args;
pub mod before;
pub mod child;
pub mod context;
pub mod durable;
pub mod earlier;
pub mod facts;
pub mod hook;
pub mod journal;
pub mod locks;
pub mod machine;
pub mod order;
pub mod preflight;
pub mod run;
pub mod selection;
pub mod settle;
pub mod signals;
pub mod simulation;
pub mod steps;
pub mod strays;
#[cfg(test)]
mod testing;
pub mod units;

use std::path::Path;

use backstep_core::{AttemptId, Failure};
use backstep_engine::runner::Outcome;

/// Carries out an attempt in this process: blocks signals, adopts orphans, sets the umask.
pub fn carry_out(attempt: AttemptId, state: &Path, root: &Path) -> Result<Outcome, Failure> {
    let signals = signals::Noted::block()?;
    strays::adopt_orphans()?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let hook = std::env::current_exe().ok().map(|path| path.display().to_string());
    run::run(&machine::Machine::new(root, state), attempt, &signals, hook)
}
