//! Before dpkg runs: what apt announced is written down, and undo material is kept.
//!
//! Order: the document, the beginning, the capture, and last that dpkg begins. CRASH: whoever finds the attempt without its
//! last word reads from dpkg's database what became of it; without a mark of dpkg nothing did.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;
use std::{cell::RefCell, fs};

use backstep_apt::arguments::environment;
use backstep_apt::pre_install_pkgs::Change;
use backstep_capture::{CaptureDir, prune};
use backstep_core::count::counted;
use backstep_core::request::ConffilePolicy;
use backstep_core::{Direction, ErrorCode, Failure, Plan, Stamp, StepKind, StepState, TransactionId};
use backstep_engine::runner::Journal;
use backstep_wire::foreign::{Foreign, Process};
use backstep_wire::journal::Record;
use nix::time::{ClockId, clock_gettime};

use super::end::Left;
use super::policy::{self, OnFailure};
use super::{announced, end, process, runs};
use crate::child::{Children, Processes};
use crate::context::{Context, Shared};
use crate::facts::{self, Facts};
use crate::journal::{self, FileJournal};
use crate::machine::Machine;
use crate::run::{boot, private};
use crate::{archives, left_out, steps};

/// Where apt writes what dpkg says.
pub(super) const TERMINAL: &str = "var/log/apt/term.log";

/// What apt is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    GoOn,
    /// Stop before anything is changed.
    Refuse,
}

/// The hook before dpkg: takes apt's list from `input` and keeps undo material for it. What fails is said on standard
/// error and, where it can be, in the record; whether apt goes on then is the administrator's choice.
pub fn before(machine: &Machine, input: &mut dyn Read) -> Verdict {
    match kept(machine, input) {
        Ok(()) => Verdict::GoOn,
        Err((why, open)) => without(machine, &why, open),
    }
}

/// Why there is no undo material, and the attempt if one was begun.
type Trouble = (Failure, Option<Box<Open>>);

fn kept(machine: &Machine, input: &mut dyn Read) -> Result<(), Trouble> {
    let early = |failure| (failure, None);
    let mut bytes = Vec::new();
    let unread = |error| Failure::new(ErrorCode::PlanFailed, format!("cannot read what apt is about to do: {error}"));
    input.read_to_end(&mut bytes).map_err(unread).map_err(early)?;
    let announced = announced::read(&String::from_utf8_lossy(&bytes)).map_err(early)?;
    if announced.changes.is_empty() {
        return Ok(());
    }
    let nobody = || Failure::new(ErrorCode::Internal, "cannot tell which process is apt");
    let process: Process = process::apt().ok_or_else(nobody).map_err(early)?;
    if end::leftovers(machine, process, &announced.changes) == Left::ThisRun {
        return Ok(());
    }
    let (run, unkept) = describe(machine, process, &announced.changes, &announced.command).map_err(early)?;
    let mut open = Open::new(machine, run).map_err(early)?;
    match open.secure(machine, unkept) {
        Ok(()) => open.hand_over().map_err(early),
        Err(why) => Err((why, Some(Box::new(open)))),
    }
}

/// There is no undo material. The configuration is read only now, because only now it matters.
fn without(machine: &Machine, why: &Failure, open: Option<Box<Open>>) -> Verdict {
    let chosen = policy::read(machine).unwrap_or_else(|unreadable| {
        eprintln!("backstep: {unreadable}");
        OnFailure::GoOn
    });
    let told = match (chosen, open) {
        (_, None) => Ok(()),
        (OnFailure::GoOn, Some(mut open)) => open.hand_over(),
        (OnFailure::Refuse, Some(mut open)) => open.refuse(machine, why),
    };
    if let Err(failure) = told {
        eprintln!("backstep: {failure}");
    }
    match chosen {
        OnFailure::GoOn => {
            eprintln!("backstep: there is no undo material for this change: {why}");
            Verdict::GoOn
        }
        OnFailure::Refuse => {
            eprintln!("backstep: refused, because there would be no undo material: {why}");
            Verdict::Refuse
        }
    }
}

/// The run, and why an archive of it cannot be kept.
fn describe(machine: &Machine, process: Process, changes: &[Change], command: &str) -> Result<(Foreign, Option<Failure>), Failure> {
    let command = if command.is_empty() { process::command_line(process.pid) } else { command.to_owned() };
    machine.folders().iter().try_for_each(|folder| private(folder))?;
    let begun = now()?;
    let facts = facts::read(machine)?;
    let request = announced::request(changes, &command, process::described(&command));
    let (plan, unkept) = announced::plan(machine, new_id()?, &request, changes, &facts);
    let (words, actor) = (words(&plan, &facts), process::actor(process.pid));
    let terminal = fs::metadata(machine.at(TERMINAL)).map_or(0, |meta| meta.len());
    Ok((Foreign { request, actor, begun, process, words, mark: mark(machine)?, terminal, plan }, unkept))
}

fn words(plan: &Plan, facts: &Facts) -> std::collections::BTreeMap<String, String> {
    plan.items.iter().map(|item| (item.package.to_string(), facts.status.text(&item.package))).collect()
}

pub(crate) fn new_id() -> Result<TransactionId, Failure> {
    TransactionId::new(uuid::Uuid::now_v7()).map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))
}

pub(crate) fn now() -> Result<Stamp, Failure> {
    let error = |errno: nix::Error| Failure::new(ErrorCode::Internal, format!("cannot read the clock: {errno}"));
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).map_err(error)?;
    let monotonic_us = time.tv_sec() * 1_000_000 + time.tv_nsec() / 1000;
    Ok(Stamp { utc_us: journal::utc_us(), monotonic_us, boot: boot()? })
}

/// dpkg replaces its database with every write, and apt's marks change by content.
pub(super) fn mark(machine: &Machine) -> Result<String, Failure> {
    let path = machine.status();
    let error = |error| Failure::new(ErrorCode::WorkerFailed, format!("cannot examine {}: {error}", path.display()));
    let status = fs::metadata(&path).map_err(error)?;
    let marks = backstep_wire::digest(&facts::bytes(&machine.extended_states())?);
    Ok(format!("{} {}.{} {} {marks}", status.ino(), status.mtime(), status.mtime_nsec(), status.len()))
}

/// An attempt that is begun.
struct Open {
    run: Foreign,
    journal: FileJournal,
}

impl Open {
    fn new(machine: &Machine, run: Foreign) -> Result<Self, Failure> {
        let files = machine.attempt(run.attempt());
        private(files.folder())?;
        runs::write(machine, &run)?;
        let mut journal = FileJournal::open(&files)?;
        let plan = backstep_wire::digest(&backstep_wire::plan::to_bytes(&run.plan));
        journal.record(Record::Begin { plan, world: run.plan.world, boot: run.begun.boot, direction: Direction::Forward })?;
        Ok(Self { run, journal })
    }

    /// `unkept` is why an archive could not be kept: then what it brings is not known, and nothing is.
    fn secure(&mut self, machine: &Machine, unkept: Option<Failure>) -> Result<(), Failure> {
        self.start(StepKind::Secure)?;
        self.keep_old_versions(machine)?;
        let context = context(machine, &self.run);
        match unkept.map_or_else(|| steps::keep(&context, &mut |_, _| {}), Err) {
            Ok(secured) => {
                self.journal.record(Record::Captured { paths: secured.paths, bytes: secured.bytes_copied })?;
                if let Some(text) = left_out::of_capture(&secured.left_out) {
                    self.journal.record(Record::Noted { code: Some(ErrorCode::CaptureFailed), text })?;
                }
                self.end(StepState::Completed, None, format!("{} secured", counted(secured.paths, "path")))
            }
            Err(why) => self.give_up(&machine.capture(self.run.attempt()), &why).and(Err(why)),
        }
    }

    /// What was kept so far is of no use, and may be what takes the room.
    fn give_up(&mut self, capture: &Path, why: &Failure) -> Result<(), Failure> {
        let left = prune(&CaptureDir::at(capture)).err().map(|error| steps::capture_failure(&error).text);
        self.end(StepState::Failed, Some(why.code), why.text.clone())?;
        let text = "there is no undo material; this change can only be undone by packages".to_owned();
        self.journal.record(Record::Noted { code: Some(ErrorCode::CaptureFailed), text })?;
        left.map_or(Ok(()), |text| self.journal.record(Record::Noted { code: Some(ErrorCode::CaptureFailed), text }))
    }

    /// The archives of versions that go make a later undo by packages possible.
    fn keep_old_versions(&mut self, machine: &Machine) -> Result<(), Failure> {
        for item in &self.run.plan.items {
            let Some(version) = &item.from else { continue };
            if let Err(error) = archives::keep_old(machine, &archives::file_name(&item.package, version)) {
                let text = format!("an archive is not kept for a later undo: {error}");
                self.journal.record(Record::Noted { code: None, text })?;
            }
        }
        Ok(())
    }

    /// The last word before dpkg: from here on the change may have begun.
    fn hand_over(&mut self) -> Result<(), Failure> {
        self.start(StepKind::Apply)
    }

    fn refuse(&mut self, machine: &Machine, why: &Failure) -> Result<(), Failure> {
        self.journal.record(Record::UndoStarted { code: why.code, text: format!("apt was stopped: {}", why.text) })?;
        end::finish(machine, &self.run, &self.run.plan, &mut self.journal, Record::Aborted { differences: Vec::new() })
    }

    fn start(&mut self, step: StepKind) -> Result<(), Failure> {
        self.journal.record(Record::StepStarted { step, direction: Direction::Forward, log_offset: 0 })
    }

    fn end(&mut self, state: StepState, code: Option<ErrorCode>, text: String) -> Result<(), Failure> {
        self.journal.record(Record::StepEnded { step: StepKind::Secure, state, code, text })
    }
}

/// What other programs are called with beside a run.
pub(super) fn children(machine: &Machine, run: &Foreign) -> Box<dyn Children> {
    let environment = environment(ConffilePolicy::Keep).map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    Box::new(Processes::new(environment, run.id(), &machine.attempt(run.attempt()).output()))
}

fn context(machine: &Machine, run: &Foreign) -> Shared {
    Rc::new(Context {
        machine: machine.clone(),
        attempt: run.attempt(),
        undo_of: run.attempt(),
        restore: None,
        later: Vec::new(),
        rebooted: false,
        plan: run.plan.clone(),
        children: children(machine, run),
        // No child of ours inherits dpkg's lock: it is apt's.
        lock: -1,
        settled_units: RefCell::default(),
        aftermath: RefCell::default(),
        hook: None,
    })
}
