//! Follow: what the worker's journal says becomes the record.

use backstep_core::{AttemptId, Direction, ErrorCode, Event, Failure, StepKind, TransactionId, TransactionState};
use backstep_wire::journal::{Line, Record};

use super::Manager;
use crate::notice::Notice;
use crate::ports::Append;

impl Manager {
    /// Takes new lines of an attempt's journal, in order. Lines that are on record already are passed over, so
    /// reading the whole journal again after a restart is harmless. Answers whether the attempt has ended.
    pub fn follow(&mut self, attempt: AttemptId, lines: &[Line]) -> Result<bool, Failure> {
        if self.running() != Some(attempt) {
            return Ok(true);
        }
        let known = self.ledger.journal_position(attempt.transaction, attempt.number)?;
        let mut batch = Batch::default();
        for line in lines.iter().filter(|line| line.seq > known) {
            self.observe(attempt, &line.record);
            batch.take(line, self.status(attempt.transaction)?.undoing);
        }
        self.record_batch(attempt, &batch)?;
        if batch.ended {
            self.running = None;
        }
        Ok(batch.ended)
    }

    /// CRASH: the position in the journal is in the same commit as its lines' events: each counts once.
    fn record_batch(&mut self, attempt: AttemptId, batch: &Batch) -> Result<(), Failure> {
        if batch.events.is_empty() {
            return Ok(());
        }
        let at = self.now();
        self.record_all(Append {
            id: attempt.transaction,
            attempt: Some(attempt.number),
            events: batch.events.clone(),
            at,
            journal_seq: batch.last_seq,
            world_after: batch.world,
        })?;
        Ok(())
    }

    /// Keeps what is not worth recording: where the worker is and how far.
    pub(super) fn observe(&mut self, attempt: AttemptId, record: &Record) {
        let now = self.now().monotonic_us;
        let Some(running) = &mut self.running else { return };
        running.begun = true;
        match record {
            Record::StepStarted { step, direction, .. } => {
                running.step = Some(*step);
                running.direction = *direction;
                let report = backstep_core::progress::Report {
                    step: *step,
                    direction: *direction,
                    permille: if *direction == Direction::Undo && *step == StepKind::Fetch { 1000 } else { 0 },
                    package: String::new(),
                    what: phase(*step, *direction),
                };
                running.tracker.report(&report, now);
            }
            Record::Progress(report) => {
                let permille = running.tracker.report(report, now).permille;
                self.notices.push(Notice::Progress { id: attempt.transaction, permille });
            }
            Record::Captured { .. } => running.captured = true,
            Record::UndoStarted { .. } => running.direction = Direction::Undo,
            Record::Begin { .. }
            | Record::StepEnded { .. }
            | Record::ItemChanged { .. }
            | Record::Noted { .. }
            | Record::Committed { .. }
            | Record::Left { .. }
            | Record::Aborted { .. }
            | Record::Stuck { .. } => {}
        }
    }

    /// The worker and everything it started are gone, its order is revoked, and its journal has no last word.
    /// Records that, and decides what happens next.
    pub fn worker_gone(&mut self, attempt: AttemptId) -> Result<(), Failure> {
        let Some(running) = self.running.take_if(|running| running.attempt == attempt) else { return Ok(()) };
        let id = attempt.transaction;
        if !running.begun && !self.status(id)?.undoing {
            return self.never_begun(id);
        }
        self.record_all(Append {
            id,
            attempt: Some(attempt.number),
            events: vec![Event::Interrupted { text: "the worker ended without a result".to_owned() }],
            at: self.now(),
            journal_seq: None,
            world_after: None,
        })?;
        self.settle(attempt, running.captured)
    }

    /// A worker that wrote no line has changed nothing, and a revoked order will not be begun later.
    pub(super) fn never_begun(&mut self, id: TransactionId) -> Result<(), Failure> {
        let text = "the worker never began".to_owned();
        self.record(id, vec![Event::UndoStarted { code: ErrorCode::WorkerLost, text }, Event::UndoFinished { differences: 0 }])?;
        Ok(())
    }
}

fn phase(step: StepKind, direction: Direction) -> String {
    match direction {
        Direction::Forward => step.title().to_owned(),
        Direction::Undo => format!("Undo: {}", step.title().to_lowercase()),
    }
}

/// Events of a run of journal lines: one commit.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) events: Vec<Event>,
    pub(super) last_seq: Option<u64>,
    pub(super) world: Option<backstep_core::Digest>,
    ended: bool,
    turned: bool,
}

impl Batch {
    pub(super) fn take(&mut self, line: &Line, undoing: bool) {
        let events = self.events_of(&line.record, undoing);
        if !events.is_empty() {
            self.last_seq = Some(line.seq);
        }
        self.events.extend(events);
        self.ended |= line.record.is_last();
    }

    fn events_of(&mut self, record: &Record, undoing: bool) -> Vec<Event> {
        match record.clone() {
            Record::Begin { .. } | Record::Progress(_) => Vec::new(),
            Record::StepStarted { step, direction, .. } => vec![Event::StepStarted { step, direction }],
            Record::StepEnded { step, state, code, text } => vec![Event::StepEnded { step, state, code, text }],
            Record::ItemChanged { package, before, after } => vec![Event::ItemChanged { package, before, after }],
            Record::Noted { code, text } => vec![Event::Noted { code, text }],
            Record::Captured { paths, bytes } => {
                vec![Event::Noted { code: None, text: format!("undo material secured: {paths} paths, {bytes} bytes") }]
            }
            Record::UndoStarted { code, text } => self.turn(code, text, undoing),
            Record::Committed { world } => {
                self.world = Some(world);
                vec![Event::Completed]
            }
            Record::Left { world, code, text } => {
                self.world = Some(world);
                vec![Event::AttentionNeeded { code, text }, Event::Accepted]
            }
            Record::Aborted { differences } => self.aborted(&differences, undoing),
            Record::Stuck { code, text } => vec![Event::AttentionNeeded { code, text }],
        }
    }

    fn turn(&mut self, code: ErrorCode, text: String, undoing: bool) -> Vec<Event> {
        let turned = std::mem::replace(&mut self.turned, true);
        if undoing || turned { Vec::new() } else { vec![Event::UndoStarted { code, text }] }
    }

    fn aborted(&mut self, differences: &[String], undoing: bool) -> Vec<Event> {
        let mut events = self.turn(ErrorCode::Internal, "the worker undid without saying why".to_owned(), undoing);
        events.extend(differences.iter().map(|text| Event::Noted { code: Some(ErrorCode::UndoIncomplete), text: text.clone() }));
        events.push(Event::UndoFinished { differences: u32::try_from(differences.len()).unwrap_or(u32::MAX) });
        events
    }
}

/// The states in which a worker has the transaction.
pub(super) const fn has_worker(state: TransactionState) -> bool {
    matches!(state, TransactionState::Executing | TransactionState::Cancelling | TransactionState::RollingBack)
}
