//! `backstep-dpkg`: what apt calls in dpkg's place: while a transaction runs (`backstep_worker::dpkg`), and in plain runs of
//! apt where the administrator wants it (`backstep_worker::foreign::guarded`).

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use backstep_core::Failure;
use backstep_worker::dpkg::{DPKG, Mark, Phase, besides, phase, prepare, split};
use backstep_worker::foreign::{Verdict, guarded};
use backstep_worker::machine::Machine;
use backstep_worker::prepare::ready;

fn main() -> ExitCode {
    let (ours, dpkgs) = split(std::env::args_os().skip(1));
    let failure = match ours {
        Some(mark) => become_dpkg(&mark, dpkgs),
        None => become_plain_dpkg(dpkgs),
    };
    eprintln!("backstep-dpkg: {failure}");
    // dpkg's own code for a failure that is not about packages.
    ExitCode::from(2)
}

/// In a transaction. Answers only when it failed.
fn become_dpkg(mark: &Mark, arguments: Vec<OsString>) -> String {
    let machine = Machine::this();
    let phase = phase(&arguments);
    match prepare(phase, &machine, mark) {
        Ok(()) => match ready(&machine, arguments) {
            Ok(arguments) => execute(besides(phase, mark).map(OsString::from).into_iter().chain(arguments)),
            Err(error) => format!("cannot tell which archives are meant: {error}"),
        },
        Err(Failure { text, .. }) => text,
    }
}

/// Where no transaction runs. apt asks dpkg things also when it is not root; only what changes packages is guarded.
fn become_plain_dpkg(arguments: Vec<OsString>) -> String {
    let changes = phase(&arguments) != Phase::Ask && nix::unistd::geteuid().is_root();
    if changes && guarded::enter(&Machine::this(), &worker(), phase(&arguments).word()) == Verdict::Refuse {
        return "stopped before anything was changed".to_owned();
    }
    execute(arguments.into_iter())
}

/// The worker's program, beside this one.
fn worker() -> PathBuf {
    std::env::current_exe().unwrap_or_default().with_file_name("backstep-worker")
}

#[expect(clippy::disallowed_methods, reason = "it becomes the program that apt wanted, with what apt gave it")]
fn execute(arguments: impl Iterator<Item = OsString>) -> String {
    format!("cannot run {DPKG}: {}", Command::new(DPKG).args(arguments).exec())
}
