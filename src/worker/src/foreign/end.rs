//! After dpkg ran, or was cut off: what became of the change, by dpkg's word.
//!
//! Nothing is changed here: a run that failed stays as apt left it, and only a new transaction undoes it.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use backstep_apt::interrupted::interrupted;
use backstep_apt::pre_install_pkgs::Change;
use backstep_capture::{Aftermath, CaptureDir};
use backstep_core::count::counted;
use backstep_core::{Digest, Direction, ErrorCode, Failure, Plan, Retention, StepKind, StepState};
use backstep_engine::runner::{Journal, World};
use backstep_wire::foreign::{Foreign, Process};
use backstep_wire::journal::{Line, Record};
use backstep_wire::order::Order;

use super::begin::{TERMINAL, children, mark};
use super::{announced, guarded, policy, process, runs};
use crate::durability::barrier;
use crate::durable::replace;
use crate::facts::{self, Facts, MachineWorld};
use crate::files;
use crate::inventory;
use crate::journal::{self, FileJournal, utc_us};
use crate::locks::{AttemptLock, FrontendLock, LockError, wait_for_dpkg};
use crate::machine::{AttemptFiles, Machine};
use crate::release::{Use, release};
use crate::run::boot;
use crate::{before, steps, units};

/// How long what a killed apt left running is waited for.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Who says that a run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// apt, through its hook.
    Apt,
    /// Nobody: apt is gone.
    Nobody,
}

/// The hook after dpkg: ends the run that the apt above us began, if there is one.
pub fn after(machine: &Machine) -> Result<(), Failure> {
    let above = process::ancestors();
    let ours = runs::all(machine)?.into_iter().filter(|run| above.contains(&run.process));
    ours.map(|run| end(machine, &run, By::Apt)).fold(Ok(()), Result::and)
}

/// Ends a run that was cut off, once nothing of it works any more. Refused while its apt lives.
pub fn settle(machine: &Machine, run: &Foreign) -> Result<(), Failure> {
    if is_alive(run)? {
        return Err(Failure::new(ErrorCode::LockBusy, "apt still runs"));
    }
    let _lock = FrontendLock::take(&machine.admin(), PATIENCE, &mut |_| Ok(()))?;
    wait_for_dpkg(&machine.admin(), PATIENCE)?;
    end(machine, run, By::Nobody)
}

/// What there is of runs that are not on record when another begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing that goes on.
    Nothing,
    /// The very run that begins: programs that read apt's configuration twice have every hook twice.
    ThisRun,
}

/// Ends runs that were cut off, and one of the same process that it gave up before dpkg began; apt holds dpkg's lock
/// for us. What cannot be ended waits for the next time.
pub(super) fn leftovers(machine: &Machine, apt: Process, changes: &[Change]) -> Left {
    let look = || -> Result<Left, Failure> {
        let mut left = Left::Nothing;
        for run in runs::all(machine)? {
            match (run.process == apt && boot()? == run.begun.boot, is_alive(&run)?) {
                (true, _) if is_open(machine, &run)? && announced::is_of(&run.plan, changes) => left = Left::ThisRun,
                (true, _) => end(machine, &run, By::Apt)?,
                (false, true) => {}
                (false, false) => end(machine, &run, By::Nobody)?,
            }
        }
        Ok(left)
    };
    look().unwrap_or_else(|failure| {
        eprintln!("backstep: an earlier run of apt is not on record yet: {failure}");
        Left::Nothing
    })
}

/// Whether dpkg has not begun and nobody has ended it.
fn is_open(machine: &Machine, run: &Foreign) -> Result<bool, Failure> {
    let lines = journal::read(&machine.attempt(run.attempt()).journal())?.0;
    Ok(!lines.last().is_some_and(|line| line.record.is_last()) && mark(machine)? == run.mark)
}

fn is_alive(run: &Foreign) -> Result<bool, Failure> {
    Ok(boot()? == run.begun.boot && process::lives(run.process))
}

/// Writes a run's last word. One that has it already is only shown to the daemon again; one that somebody else is
/// ending is left to them.
fn end(machine: &Machine, run: &Foreign, by: By) -> Result<(), Failure> {
    let files = machine.attempt(run.attempt());
    let _alive = match AttemptLock::take(&files.lock()) {
        Err(LockError::OtherWorker) => return Ok(()),
        taken => taken?,
    };
    let lines = journal::read(&files.journal())?.0;
    if lines.last().is_some_and(|line| line.record.is_last()) {
        return runs::write(machine, run);
    }
    let watch = guarded::end_watch(&files);
    let mut journal = FileJournal::open(&files)?;
    if mark(machine)? == run.mark {
        return finish(machine, run, &run.plan, &mut journal, Record::Aborted { differences: Vec::new() });
    }
    if lines.iter().any(|line| matches!(line.record, Record::Captured { .. })) {
        let said = watch.map_or_else(|failure| vec![failure.into()], |()| guarded::said(&files));
        said.into_iter().try_for_each(|guarded::Said { code, text }| journal.record(Record::Noted { code, text }))?;
    }
    if let Err(error) = terminal(machine, run, &files) {
        journal.record(Record::Noted { code: None, text: format!("apt's log of its terminal is not kept: {error}") })?;
    }
    conclude(machine, run, by, &lines, &mut journal)
}

/// Copies what apt logged of dpkg and the scripts since the beginning.
fn terminal(machine: &Machine, run: &Foreign, files: &AttemptFiles) -> io::Result<()> {
    let mut log = match fs::File::open(machine.at(TERMINAL)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    // A log that is shorter than before is a new one.
    let from = if log.metadata()?.len() < run.terminal { 0 } else { run.terminal };
    log.seek(SeekFrom::Start(from))?;
    let mut output = OpenOptions::new().append(true).create(true).mode(0o600).open(files.output())?;
    io::copy(&mut log.take(MAX_TERMINAL), &mut output).map(drop)
}

/// More than this is not kept of a terminal, in bytes.
const MAX_TERMINAL: u64 = 16 << 20;

fn conclude(machine: &Machine, run: &Foreign, by: By, lines: &[Line], journal: &mut FileJournal) -> Result<(), Failure> {
    let (plan, trouble) = match facts::read(machine) {
        Ok(facts) => {
            let plan = announced::carried_out(&run.plan, &facts);
            changes(run, &facts, journal)?;
            let trouble = trouble(&plan, &facts);
            (plan, trouble)
        }
        // A torn database is dpkg's own to mend; what can be told is that it is torn.
        Err(unreadable) => (run.plan.clone(), Some(unreadable)),
    };
    let trouble = trouble.map(|why| if by == By::Nobody { Failure::new(why.code, format!("apt was cut off: {}", why.text)) } else { why });
    applied(&plan, trouble.as_ref(), journal)?;
    commit(machine, run, &plan, lines, journal)?;
    let world: Digest = MachineWorld(machine.clone()).digest()?;
    let last = match trouble {
        None => Record::Committed { world },
        Some(Failure { code, text }) => Record::Left { world, code, text },
    };
    finish(machine, run, &plan, journal, last)
}

fn changes(run: &Foreign, facts: &Facts, journal: &mut FileJournal) -> Result<(), Failure> {
    for item in &run.plan.items {
        let (package, after) = (item.package.to_string(), facts.status.text(&item.package));
        let before = run.words.get(&package).cloned().unwrap_or_default();
        if before != after {
            journal.record(Record::ItemChanged { package, before, after })?;
        }
    }
    Ok(())
}

/// What is not as apt announced; dpkg's own trouble with other packages counts too.
fn trouble(plan: &Plan, facts: &Facts) -> Option<Failure> {
    let mut off = facts.off_target(plan);
    off.extend(interrupted(&facts.status, [] as [&str; 0]).map(|half| half.text()));
    (!off.is_empty()).then(|| Failure::new(ErrorCode::DpkgFailed, off.join("; ")))
}

fn applied(plan: &Plan, trouble: Option<&Failure>, journal: &mut FileJournal) -> Result<(), Failure> {
    let (state, code, text) = match trouble {
        None => (StepState::Completed, None, format!("{} changed by apt", counted(plan.items.len(), "package"))),
        Some(why) => (StepState::Failed, Some(why.code), why.text.clone()),
    };
    journal.record(Record::StepEnded { step: StepKind::Apply, state, code, text })
}

/// Records how the change left every captured path, and makes it durable. Only with both can files be put back from
/// here: the daemon reads that off the step's end.
fn commit(machine: &Machine, run: &Foreign, plan: &Plan, lines: &[Line], journal: &mut FileJournal) -> Result<(), Failure> {
    journal.record(Record::StepStarted { step: StepKind::Commit, direction: Direction::Forward, log_offset: 0 })?;
    let captured = lines.iter().any(|line| matches!(line.record, Record::Captured { .. }));
    let kept = if captured { image(machine, run, plan, journal) } else { Ok(()) };
    let durable =
        |()| barrier(machine).map_err(|error| Failure::new(ErrorCode::StoreFailed, format!("cannot make the change durable: {error}")));
    let (state, code, text) = match kept.and_then(durable) {
        Ok(()) => (StepState::Completed, None, "durable".to_owned()),
        Err(why) => (StepState::Failed, Some(why.code), why.text),
    };
    journal.record(Record::StepEnded { step: StepKind::Commit, state, code, text })
}

/// The post-image, and the record of files. Nothing depends on that record, so its failure is told and no more.
fn image(machine: &Machine, run: &Foreign, plan: &Plan, journal: &mut FileJournal) -> Result<(), Failure> {
    let capture_failure = |error| steps::capture_failure(&error);
    let dir = CaptureDir::open(&machine.capture(run.attempt())).map_err(capture_failure)?;
    let aftermath = Aftermath::look(machine.root(), &dir).map_err(capture_failure)?;
    aftermath.save_image(&dir).map_err(capture_failure)?;
    if let Err(failure) = stopped(machine, run) {
        journal.record(Record::Noted { code: Some(failure.code), text: failure.text })?;
    }
    let recorded = files::record(machine, run.attempt(), plan, &dir, aftermath);
    let (code, text) = recorded.map_or_else(|failure| (Some(failure.code), failure.text), |summary| (None, summary));
    journal.record(Record::Noted { code, text })
}

/// Notes which services of other packages do not run any more.
fn stopped(machine: &Machine, run: &Foreign) -> Result<(), Failure> {
    let capture = machine.capture(run.attempt());
    let before = before::read(&capture)?;
    let now = units::read(machine, children(machine, run).as_ref())?;
    before::note_stopped(&capture, &before, &units::compare(&before.units, &now))
}

/// Writes the plan as it was carried out, then the last word, then shows it to the daemon.
pub(super) fn finish(machine: &Machine, run: &Foreign, plan: &Plan, journal: &mut FileJournal, last: Record) -> Result<(), Failure> {
    let files = machine.attempt(run.attempt());
    let error = |error| Failure::new(ErrorCode::StoreFailed, format!("cannot write into {}: {error}", files.folder().display()));
    let bytes = backstep_wire::plan::to_bytes(plan);
    // The record of the run does not wait for somebody to mend the configuration.
    let retention = policy::retention(machine).unwrap_or_else(|unreadable| {
        eprintln!("backstep: {unreadable}; undo material is kept within the built-in limits");
        Retention::default()
    });
    let (plan, direction) = (backstep_wire::digest(&bytes), Direction::Forward);
    let order = Order { attempt: run.attempt(), plan, direction, restore: None, later: Vec::new(), retention };
    replace(&files.plan(), &bytes, 0o600).map_err(error)?;
    replace(&files.order(), &backstep_wire::order::to_bytes(&order), 0o600).map_err(error)?;
    journal.record(last)?;
    runs::write(machine, run)?;
    if let Err(trouble) = inventory::account(machine) {
        eprintln!("backstep: cannot account for the change: {trouble}");
    }
    for trouble in release(machine, Use::take(machine)?, &retention, utc_us()) {
        eprintln!("backstep: cannot give up undo material: {trouble}");
    }
    Ok(())
}
