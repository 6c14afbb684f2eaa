//! The administrator's hooks: programs that are told of a transaction that has ended.
//!
//! They lie in `/etc/backstep/hook.d` and run in the order of their names, each with the transaction's id. What they do or fail to do
//! changes nothing of the transaction; the journal has it.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use backstep_core::{ErrorCode, Failure, TransactionId};

use crate::child::Ended;
use crate::machine::Machine;
use crate::programs::{self, Program};

const FOLDER: &str = "etc/backstep/hook.d";

/// Runs all of them; fails when one did.
pub fn run(machine: &Machine, transaction: TransactionId) -> Result<(), Failure> {
    let folder = machine.at(FOLDER);
    let failed = |text| Failure::new(ErrorCode::WorkerFailed, text);
    let hooks = programs::find(&folder).map_err(|error| failed(format!("cannot list {}: {error}", folder.display())))?;
    let why = |hook: Program| Some(format!("hook {} {}", hook.name, carry_out(&hook, transaction)?));
    let trouble: Vec<String> = hooks.into_iter().filter_map(why).collect();
    if trouble.is_empty() { Ok(()) } else { Err(failed(trouble.join("; "))) }
}

/// Answers in words why it failed; nothing when it did not. What it writes goes where this program's goes.
#[allow(clippy::disallowed_methods)] // No change of packages hangs on it: no lock, no status pipe, no log of an attempt.
fn carry_out(hook: &Program, transaction: TransactionId) -> Option<String> {
    let failed = hook.run(|program, arguments| {
        let mut command = Command::new(program);
        command.args(arguments).env("BACKSTEP_TRANSACTION", transaction.to_string()).current_dir("/").stdin(Stdio::null());
        command.status().map(ended_of)
    });
    failed.unwrap_or_else(|error| Some(format!("cannot be run: {error}")))
}

fn ended_of(status: ExitStatus) -> Ended {
    status.code().map_or_else(|| Ended::Signal(status.signal().unwrap_or_default()), Ended::Code)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::{attempt, install};

    #[test]
    fn each_is_told_which_transaction_and_one_that_fails_keeps_no_other_from_running() {
        let root = tempfile::tempdir().expect("root");
        let machine = Machine::new(root.path(), root.path());
        let id = attempt(1).transaction;
        run(&machine, id).expect("without a folder there are none");
        let told = root.path().join("told");
        let line = format!("echo \"$0 $BACKSTEP_TRANSACTION\" >>{}\n", told.display());
        let script = |name: &str, mode: &str, text: &str| install(root.path(), &root.path().join(FOLDER).join(name), mode, text);
        script("10-fails", "755", &format!("#!/bin/sh\n{line}exit 3\n"));
        script("20-open", "777", &format!("#!/bin/sh\n{line}"));
        script("30-fine", "755", &format!("#!/bin/sh\n{line}"));
        script("40-left.dpkg-new", "755", &format!("#!/bin/sh\n{line}"));
        let folder = root.path().join(FOLDER);
        let failure = run(&machine, id).expect_err("two of them fail");
        let open = format!("hook 20-open was not run: others than root may change {}/20-open", folder.display());
        assert_eq!(failure.text, format!("hook 10-fails ended with code 3; {open}"));
        let expected = ["10-fails", "30-fine"].map(|name| format!("{}/{name} {id}\n", folder.display())).concat();
        assert_eq!(fs::read_to_string(told).expect("told"), expected);
    }
}
