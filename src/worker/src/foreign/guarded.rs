//! The second and third net of a plain run of apt: where apt calls our program in dpkg's place (`Dir::Bin::dpkg`), each
//! call of dpkg goes under a guard, which adds to the capture that the hook before dpkg made.
//!
//! The run is found by the kernel's word alone: the one whose apt is above this process, by number and time of start. Each
//! call has a guard of its own, because a guard cannot take over what another one watched; the next call, or the hook after
//! dpkg, ends its watch. The first one takes the picture of the whole system.
//!
//! Invariants: apt gets its dpkg whatever happens here, unless the administrator wants it refused and nothing was changed
//! yet; nothing is filtered before its guard can work; without a capture there is no guard.
//!
//! Absent on purpose: waiting for dpkg. This process becomes dpkg, so that apt has the child that it wants.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use backstep_core::causes::said as words;
use backstep_core::{ErrorCode, Failure};
use backstep_supervise::{Scope, SuperviseError, enter_with, wait_prepared};
use backstep_wire::foreign::Foreign;
use backstep_wire::journal::Record;
use serde::{Deserialize, Serialize};

use super::begin::{Verdict, mark};
use super::policy::{self, OnFailure};
use super::{process, runs};
use crate::args::{APT_GOES_ON, APT_REFUSED};
use crate::durable::replace;
use crate::guard::{Report, end_orphan, make_watch_over};
use crate::journal;
use crate::machine::{AttemptFiles, Machine};
use crate::run::boot;

/// How long a guard may take until it can work, and the one before it until it has ended.
const PATIENCE: Duration = Duration::from_secs(30);

/// Puts this process, which has one thread and becomes dpkg next, under a guard, if it is below a run of apt that has undo
/// material. `worker` is the guard's program, `call` what dpkg is called for. What fails is said on standard error.
pub fn enter(machine: &Machine, worker: &Path, call: &str) -> Verdict {
    match open_run(machine) {
        Ok(None) => Verdict::GoOn,
        Ok(Some(run)) => under_guard(machine, &run, worker, call).unwrap_or_else(|failure| without(machine, &run, &failure)),
        Err(failure) => {
            eprintln!("backstep: what scripts change is not kept: {failure}");
            Verdict::GoOn
        }
    }
}

/// The run of the apt above us, if its undo material is complete and nobody has ended it.
fn open_run(machine: &Machine) -> Result<Option<Foreign>, Failure> {
    let (above, boot) = (process::ancestors(), boot()?);
    let newest = runs::all(machine)?.into_iter().rev().find(|run| run.begun.boot == boot && above.contains(&run.process));
    let Some(run) = newest else { return Ok(None) };
    let lines = journal::read(&machine.attempt(run.attempt()).journal())?.0;
    let captured = lines.iter().any(|line| matches!(line.record, Record::Captured { .. }));
    let ended = lines.last().is_some_and(|line| line.record.is_last());
    Ok((captured && !ended).then_some(run))
}

fn under_guard(machine: &Machine, run: &Foreign, worker: &Path, call: &str) -> Result<Verdict, Failure> {
    let files = machine.attempt(run.attempt());
    end_orphan(&files, PATIENCE, &mut || Ok(()))?;
    let error = |error: io::Error| Failure::new(ErrorCode::WorkerFailed, format!("cannot start a guard: {error}"));
    let socket = start(&files, &machine.capture(run.attempt()), worker, on_failure(machine), call).map_err(error)?;
    wait_prepared(&socket).map_err(|error| Failure::new(ErrorCode::WorkerFailed, format!("the guard is not ready: {}", words(&error))))?;
    match enter_with(socket, Scope::All) {
        Ok(()) => Ok(Verdict::GoOn),
        // The kernel has no guards for it: no fault of anybody's, and nothing to stop for.
        Err(error @ SuperviseError::Filter(_)) => {
            note(&files, &words(&error));
            Ok(Verdict::GoOn)
        }
        Err(error) => Err(Failure::new(ErrorCode::WorkerFailed, words(&error))),
    }
}

/// Starts a guard that shares nothing with apt: not its terminal, environment, folder or locks. It outlives this process,
/// which becomes dpkg and does not wait for it, and is init's child then.
#[expect(clippy::disallowed_methods, reason = "the one program that is started beside dpkg, with no environment at all")]
fn start(files: &AttemptFiles, capture: &Path, worker: &Path, on_failure: OnFailure, call: &str) -> io::Result<UnixStream> {
    make_watch_over(files)?;
    let mut log = append(&files.guard_log())?;
    log.write_all(&line(&Line::Call { call: call.to_owned() })?)?;
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_read_timeout(Some(PATIENCE))?;
    let whose = match on_failure {
        OnFailure::GoOn => APT_GOES_ON,
        OnFailure::Refuse => APT_REFUSED,
    };
    let mut command = Command::new(worker);
    command.arg("guard").arg(files.folder()).arg(capture).arg(whose).env_clear().current_dir("/");
    command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(log).stderr(append(&files.output())?);
    command.spawn()?;
    Ok(ours)
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn on_failure(machine: &Machine) -> OnFailure {
    policy::read(machine).unwrap_or_else(|unreadable| {
        eprintln!("backstep: {unreadable}");
        OnFailure::GoOn
    })
}

/// There is no guard. Once dpkg has changed something, stopping would leave more behind than going on.
fn without(machine: &Machine, run: &Foreign, why: &Failure) -> Verdict {
    note(&machine.attempt(run.attempt()), &why.text);
    let untouched = mark(machine).is_ok_and(|mark| mark == run.mark);
    if untouched && on_failure(machine) == OnFailure::Refuse {
        eprintln!("backstep: refused, because what scripts change would not be kept: {why}");
        return Verdict::Refuse;
    }
    eprintln!("backstep: what scripts change is not kept: {why}");
    Verdict::GoOn
}

fn note(files: &AttemptFiles, why: &str) {
    if let Err(error) = replace(&files.unguarded(), why.as_bytes(), 0o600) {
        eprintln!("backstep: cannot note that there is no guard: {error}");
    }
}

/// A line of the guards' log.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    /// dpkg was called, for this.
    Call { call: String },
    /// What the guard of the call before saw.
    Report(Report),
}

fn line(line: &Line) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Ends the watch of the last call's guard, which goes on while something that dpkg started lives.
pub(super) fn end_watch(files: &AttemptFiles) -> Result<(), Failure> {
    end_orphan(files, PATIENCE, &mut || Ok(()))
}

/// A remark for the record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// What kind of trouble it is, if it is one.
    pub(super) code: Option<ErrorCode>,
    /// In words.
    pub(super) text: String,
}

impl From<Failure> for Said {
    fn from(Failure { code, text }: Failure) -> Self {
        Self { code: Some(code), text }
    }
}

/// What the guards of a run saw and kept, and what was not captured.
pub(super) fn said(files: &AttemptFiles) -> Vec<Said> {
    let trouble = |text: String| Said { code: Some(ErrorCode::CaptureFailed), text };
    let mut said = match fs::read_to_string(files.guard_log()) {
        Ok(text) => seen(&text),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => vec![trouble(format!("cannot read what the guard saw: {error}"))],
    };
    if let Ok(why) = fs::read_to_string(files.unguarded()) {
        said.push(trouble(format!("not all of dpkg's calls had a guard; what scripts changed then was not captured: {why}")));
    } else if said.is_empty() {
        let text = "without a guard: what scripts changed beside the captured paths is neither kept nor listed, \
                    because apt's Dir::Bin::dpkg is not backstep-dpkg";
        said.push(Said { code: None, text: text.to_owned() });
    }
    said
}

/// The guards' log, as remarks.
fn seen(text: &str) -> Vec<Said> {
    let mut silent = None;
    let mut total = Report::default();
    let mut lost = Vec::new();
    for line in text.lines().map(serde_json::from_str::<Line>) {
        match line {
            Ok(Line::Call { call }) => lost.extend(silent.replace(call)),
            Ok(Line::Report(report)) => {
                silent = None;
                total = total.and(report);
            }
            Err(error) => lost.push(format!("({error})")),
        }
    }
    lost.extend(silent);
    let code = total.is_trouble().then_some(ErrorCode::CaptureFailed);
    let lost = lost.into_iter().map(|call| Said {
        code: Some(ErrorCode::CaptureFailed),
        text: format!("the guard of dpkg, {call}, did not say what it saw; what it kept is kept"),
    });
    [Said { code, text: total.to_string() }].into_iter().chain(lost).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_guards_of_all_calls_saw_is_one_remark() {
        let report = |told, unkept| Report { told, unkept, first_unkept: format!("of {told}"), ..Report::default() };
        let lines = [
            Line::Call { call: "unpacking".to_owned() },
            Line::Report(report(3, 0)),
            Line::Call { call: "configuring".to_owned() },
            Line::Report(report(4, 2)),
            Line::Report(report(5, 1)),
        ];
        let log: String = lines.iter().map(|one| String::from_utf8(line(one).expect("a line")).expect("text")).collect();
        let [all] = seen(&log).try_into().expect("one remark");
        assert_eq!(all.code, Some(ErrorCode::CaptureFailed));
        assert!(all.text.starts_with("guard: 12 changes seen") && all.text.ends_with("3 not kept, the first: of 4"), "{}", all.text);
    }

    #[test]
    fn a_guard_that_said_nothing_is_named() {
        let words: Vec<_> = seen("{\"call\":\"unpacking\"}\n{\"call\":\"configuring\"}\n{\"to").into_iter().map(|said| said.text).collect();
        assert!(words[1].contains("unpacking") && words[2].contains("EOF") && words[3].contains("configuring"), "{words:?}");
        assert_eq!(words.len(), 4);
    }
}
