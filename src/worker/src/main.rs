//! `backstep-worker`: see the library.

use std::process::ExitCode;

use backstep_core::Failure;
use backstep_worker::args::{Verb, parse};
use backstep_worker::machine::{AttemptFiles, Machine};
use backstep_worker::{beside_apt, carry_out, foreign, guard, hook, hooks, inventory};

fn main() -> ExitCode {
    let done = match parse(std::env::args_os().skip(1)) {
        Ok(Verb::Run { attempt, state, root }) => carry_out(attempt, &state, &root),
        Ok(Verb::AptBefore) => return apt_before(),
        Ok(Verb::AptAfter) => beside_apt(foreign::after).and_then(|done| done),
        Ok(Verb::DpkgAfter) => beside_apt(inventory::after_dpkg).and_then(|done| done),
        Ok(Verb::Guard { folder, capture, guarded }) => guard::keep::guard(&AttemptFiles::in_folder(&folder), &capture, guarded),
        Ok(Verb::UnderGuard { folder, program, arguments }) => {
            Err(guard::enter::enter(&AttemptFiles::in_folder(&folder), &program, &arguments))
        }
        Ok(Verb::Hooks { transaction }) => hooks::run(&Machine::this(), transaction),
        Ok(Verb::CheckPlan { folder }) => hook::check_plan(&Machine::this(), &folder, &mut std::io::stdin().lock()),
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::from(2);
        }
    };
    report(done)
}

/// Ends with [`foreign::REFUSED`] when apt must not go on, and with success otherwise, whatever happened.
fn apt_before() -> ExitCode {
    match beside_apt(|machine| foreign::before(machine, &mut std::io::stdin().lock())) {
        Ok(foreign::Verdict::GoOn) => ExitCode::SUCCESS,
        Ok(foreign::Verdict::Refuse) => ExitCode::from(foreign::REFUSED),
        Err(failure) => {
            eprintln!("backstep: this change is not recorded: {failure}");
            ExitCode::SUCCESS
        }
    }
}

fn report(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("backstep-worker: {} ({})", failure.text, failure.code);
            ExitCode::FAILURE
        }
    }
}
