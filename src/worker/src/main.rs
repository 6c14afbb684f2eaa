//! `backstep-worker`: see the library.

use std::process::ExitCode;

use backstep_core::Failure;
use backstep_worker::args::{Verb, parse};
use backstep_worker::machine::AttemptFiles;
use backstep_worker::{carry_out, guard, hook};

fn main() -> ExitCode {
    let done = match parse(std::env::args_os().skip(1)) {
        Ok(Verb::Run { attempt, state, root }) => carry_out(attempt, &state, &root).map(drop),
        Ok(Verb::Guard { folder, capture }) => guard::keep::guard(&AttemptFiles::in_folder(&folder), &capture),
        Ok(Verb::UnderGuard { folder, program, arguments }) => {
            Err(guard::enter::enter(&AttemptFiles::in_folder(&folder), &program, &arguments))
        }
        Ok(Verb::CheckPlan { folder }) => hook::check_plan(&folder, &mut std::io::stdin().lock()),
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::from(2);
        }
    };
    report(done)
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
