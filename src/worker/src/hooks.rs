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
    if let Some(why) = hook.unfit() {
        return Some(why);
    }
    let [program, arguments @ ..] = hook.words();
    let ended = Command::new(program)
        .args(arguments)
        .env("BACKSTEP_TRANSACTION", transaction.to_string())
        .current_dir("/")
        .stdin(Stdio::null())
        .status();
    match ended {
        Ok(status) => hook.failure(ended_of(status)),
        Err(error) => Some(format!("cannot be run: {error}")),
    }
}

fn ended_of(status: ExitStatus) -> Ended {
    status.code().map_or_else(|| Ended::Signal(status.signal().unwrap_or_default()), Ended::Code)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::child::{Call, Children, Processes, Unwatched};
    use crate::testing::attempt;

    /// Another program makes the file, so that no child of another test has it open for writing when it is run.
    fn script(root: &Path, name: &str, mode: &str, text: &str) {
        let children = Processes::new(vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())], attempt(1).transaction, &root.join("log"));
        let (draft, at) = (root.join("draft"), root.join(FOLDER).join(name));
        fs::write(&draft, text).expect("draft");
        let arguments = ["-D".to_owned(), format!("--mode={mode}"), draft.display().to_string(), at.display().to_string()];
        assert!(children.run(Call::new("install", arguments), &mut Unwatched).expect("install").is_success());
    }

    #[test]
    fn each_is_told_which_transaction_and_one_that_fails_keeps_no_other_from_running() {
        let root = tempfile::tempdir().expect("root");
        let machine = Machine::new(root.path(), root.path());
        let id = attempt(1).transaction;
        run(&machine, id).expect("without a folder there are none");
        let told = root.path().join("told");
        let line = format!("echo \"$0 $BACKSTEP_TRANSACTION\" >>{}\n", told.display());
        script(root.path(), "10-fails", "755", &format!("#!/bin/sh\n{line}exit 3\n"));
        script(root.path(), "20-open", "777", &format!("#!/bin/sh\n{line}"));
        script(root.path(), "30-fine", "755", &format!("#!/bin/sh\n{line}"));
        script(root.path(), "40-left.dpkg-new", "755", &format!("#!/bin/sh\n{line}"));
        let folder = root.path().join(FOLDER);
        let failure = run(&machine, id).expect_err("two of them fail");
        let open = format!("hook 20-open was not run: others than root may change {}/20-open", folder.display());
        assert_eq!(failure.text, format!("hook 10-fails ended with code 3; {open}"));
        let expected = ["10-fails", "30-fine"].map(|name| format!("{}/{name} {id}\n", folder.display())).concat();
        assert_eq!(fs::read_to_string(told).expect("told"), expected);
    }
}
