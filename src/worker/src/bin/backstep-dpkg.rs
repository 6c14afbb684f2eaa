//! `backstep-dpkg`: what apt calls in dpkg's place while a transaction runs. See `backstep_worker::dpkg`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use backstep_core::Failure;
use backstep_worker::dpkg::{DPKG, Mark, besides, phase, prepare, split};
use backstep_worker::machine::Machine;
use backstep_worker::prepare::ready;

fn main() -> ExitCode {
    let (ours, dpkgs) = split(std::env::args_os().skip(1));
    let failure = become_dpkg(ours.as_ref(), dpkgs);
    eprintln!("backstep-dpkg: {failure}");
    // dpkg's own code for a failure that is not about packages.
    ExitCode::from(2)
}

/// Answers only when it failed.
fn become_dpkg(mark: Option<&Mark>, arguments: Vec<OsString>) -> String {
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

#[expect(clippy::disallowed_methods, reason = "it becomes the program that apt wanted, with what apt gave it")]
fn execute(arguments: impl Iterator<Item = OsString>) -> String {
    format!("cannot run {DPKG}: {}", Command::new(DPKG).args(arguments).exec())
}
