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
mod checks;
pub mod child;
pub mod conflict;
pub mod contents;
pub mod context;
pub mod displace;
pub mod dpkg;
pub mod durability;
pub mod durable;
pub mod earlier;
pub mod facts;
pub mod files;
pub mod foreign;
pub mod guard;
pub mod hook;
pub mod hooks;
pub mod inventory;
pub mod journal;
mod left_out;
pub mod locks;
pub mod machine;
pub mod order;
mod owners;
pub mod preflight;
pub mod prepare;
mod programs;
pub mod release;
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

use backstep_core::{AttemptId, ErrorCode, Failure};

/// Carries out an attempt in this process: blocks signals, adopts orphans, sets the umask. Of a plain run of apt that
/// ended without saying so, there is only to say what became of it.
pub fn carry_out(attempt: AttemptId, state: &Path, root: &Path) -> Result<(), Failure> {
    let signals = signals::Noted::block()?;
    strays::adopt_orphans()?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let machine = machine::Machine::new(root, state);
    if let Some(run) = foreign::runs::of_attempt(&machine, attempt)? {
        return foreign::settle(&machine, &run);
    }
    let hook = own_path(std::env::current_exe())?;
    run::run(&machine, attempt, &signals, Some(hook)).map(drop)
}

/// What the hooks of a plain run of apt do: [`foreign::before`] and [`foreign::after`].
pub fn beside_apt<R>(work: impl FnOnce(&machine::Machine) -> R) -> Result<R, Failure> {
    let _signals = signals::Noted::block()?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    Ok(work(&machine::Machine::this()))
}

/// How apt calls this program back. Without it apt would go on unchecked, so nothing is begun.
fn own_path(found: std::io::Result<std::path::PathBuf>) -> Result<String, Failure> {
    let error = |text: String| Failure::new(ErrorCode::WorkerFailed, format!("cannot tell where this program is: {text}"));
    let path = found.map_err(|source| error(source.to_string()))?;
    path.into_os_string().into_string().map_err(|path| error(format!("{} is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_way_back_nothing_is_begun() {
        assert_eq!(own_path(Ok("/usr/libexec/x".into())), Ok("/usr/libexec/x".to_owned()));
        let missing = own_path(Err(std::io::ErrorKind::NotFound.into()));
        assert_eq!(missing.map_err(|failure| failure.code), Err(ErrorCode::WorkerFailed));
    }
}
