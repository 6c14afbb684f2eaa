//! Adopt: a plain run of apt becomes a transaction of the record once it has ended.
//!
//! Invariants: nothing is executed and nobody is asked; what is recorded is what the hooks wrote down, through the same
//! state machine as everything else; a run counts once, by its id, however often it is found. Absent on purpose: runs
//! that go on. They hold dpkg's lock, which is all that others need to know.

use backstep_core::{ErrorCode, Event, Failure, Plan, Stamp, StepKind, StepState, TransactionId, TransactionState};
use backstep_wire::foreign::Foreign;
use backstep_wire::journal::{Line, Record};

use super::follow::Batch;
use super::{Manager, recover};
use crate::notice::Notice;
use crate::ports::{Adoption, Entered, NewTransaction};

/// What stands in the place of a granted permission: root ran apt, and nobody was asked.
const BY_APT: &str = "apt";

/// What became of a run of apt that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopted {
    /// It is on record now.
    New,
    /// It was already.
    Known,
    /// Its journal has no last word yet.
    NotEnded,
}

impl Manager {
    /// Takes a run of apt into the record: what the hook wrote before dpkg ran, the plan as it was carried out, and the
    /// attempt's journal.
    pub fn adopt(&mut self, run: &Foreign, plan_bytes: Vec<u8>, lines: &[Line]) -> Result<Adopted, Failure> {
        let Some(last) = lines.last().filter(|line| line.record.is_last()) else { return Ok(Adopted::NotEnded) };
        let plan = backstep_wire::plan::from_bytes(&plan_bytes).map_err(|error| corrupt(run.id(), &error.to_string()))?;
        let mut history = History::of(run, lines);
        if matches!(last.record, Record::Aborted { .. }) {
            history.nothing_happened(lines, last);
        } else {
            history.happened(lines);
        }
        let adoption = adoption(run, plan, plan_bytes, history, last.seq);
        match self.ledger.adopt(&adoption)? {
            Entered::AlreadyThere => Ok(Adopted::Known),
            Entered::New => self.tell_adopted(run.id()).map(|()| Adopted::New),
        }
    }

    fn tell_adopted(&mut self, id: TransactionId) -> Result<(), Failure> {
        let summary = self.ledger.summary(id)?.ok_or_else(|| super::unknown(id))?;
        let (state, code) = (summary.status.state, summary.error.map(|error| error.code));
        self.notices.push(Notice::Added(id));
        self.notices.push(Notice::State { id, state: TransactionState::Created });
        self.notices.push(Notice::State { id, state });
        self.notices.push(Notice::Finished { id, state, code });
        self.mirror_now(id);
        Ok(())
    }
}

fn corrupt(id: TransactionId, why: &str) -> Failure {
    Failure::new(ErrorCode::StoreFailed, format!("cannot take in the run of apt {id}: {why}"))
}

fn adoption(run: &Foreign, plan: Plan, plan_bytes: Vec<u8>, history: History, journal_seq: u64) -> Adoption {
    let request_bytes = backstep_wire::request::to_bytes(&run.request);
    let new = NewTransaction {
        id: run.id(),
        kind: run.request.kind,
        request_digest: backstep_wire::digest(&request_bytes),
        request_bytes,
        description: run.request.description.clone(),
        tags: run.request.tags.clone(),
        actor: run.actor.clone(),
        at: run.begun,
        priority: run.request.options.priority,
        reverts: None,
        scope: None,
        retries: None,
    };
    let plan_digest = backstep_wire::digest(&plan_bytes);
    Adoption { new, plan, plan_bytes, plan_digest, events: history.events, journal_seq, world_after: history.world }
}

/// The events of a run, with the times at which its hooks wrote them down.
struct History {
    begun: Stamp,
    same_boot: bool,
    events: Vec<(Event, Stamp)>,
    world: Option<backstep_core::Digest>,
}

impl History {
    fn of(run: &Foreign, lines: &[Line]) -> Self {
        let begun = run.begun;
        let same_boot = lines.iter().all(|line| line.utc_us >= begun.utc_us);
        let queued = Event::Queued { action: BY_APT.to_owned() };
        Self { begun, same_boot, events: vec![(queued, begun)], world: None }
    }

    /// The journal has the real-time clock only. A line that is earlier than the beginning was written under another
    /// clock, and counts as written at the beginning.
    fn at(&self, line: &Line) -> Stamp {
        let since = if self.same_boot { line.utc_us - self.begun.utc_us } else { 0 };
        Stamp { utc_us: self.begun.utc_us + since, monotonic_us: self.begun.monotonic_us + since, boot: self.begun.boot }
    }

    /// apt ended before it began to change anything, by itself or because the hook stopped it.
    fn nothing_happened(&mut self, lines: &[Line], last: &Line) {
        let stopped = lines.iter().find_map(|line| match &line.record {
            Record::UndoStarted { code, text } => Some((*code, text.clone())),
            Record::Begin { .. }
            | Record::StepStarted { .. }
            | Record::Progress(_)
            | Record::StepEnded { .. }
            | Record::ItemChanged { .. }
            | Record::Noted { .. }
            | Record::Captured { .. }
            | Record::Committed { .. }
            | Record::Left { .. }
            | Record::Aborted { .. }
            | Record::Stuck { .. } => None,
        });
        let (code, text) = stopped.unwrap_or_else(|| (ErrorCode::Cancelled, "apt ended before it changed anything".to_owned()));
        self.events.push((Event::Failed { code, text }, self.at(last)));
    }

    /// Without undo material, or without knowing how the change left it, the world is not kept: files cannot be put back,
    /// so an undo goes by packages.
    fn happened(&mut self, lines: &[Line]) {
        self.events.push((Event::Started { attempt: 1 }, self.begun));
        let mut batch = Batch::default();
        for line in lines {
            batch.take(line, false);
            let at = self.at(line);
            self.events.extend(std::mem::take(&mut batch.events).into_iter().map(|event| (event, at)));
        }
        self.world = batch.world.filter(|_| recover::has_captured(lines) && is_committed(lines));
    }
}

fn is_committed(lines: &[Line]) -> bool {
    let committed = |record: &Record| matches!(record, Record::StepEnded { step: StepKind::Commit, state: StepState::Completed, .. });
    lines.iter().any(|line| committed(&line.record))
}
