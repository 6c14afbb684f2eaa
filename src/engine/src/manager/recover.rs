//! Recover: what an earlier run of the daemon left, before anyone is served.
//!
//! Recovery interrupted is recovery run again: each decision is one recorded event, made from what is found.

use std::collections::BTreeSet;

use backstep_core::count::counted;
use backstep_core::record::{Filter, Summary};
use backstep_core::recovery::{self, Decision, Remains};
use backstep_core::{AttemptId, Direction, ErrorCode, Event, Failure, TransactionId, TransactionState};
use backstep_wire::journal::{Line, Record};

use super::{Manager, follow, plan_of};

/// Transactions whose documents are looked for at a start.
const LOOKED_AT: u32 = 32;

/// What is found of an attempt on disk.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The worker, or something it started, lives.
    pub alive: bool,
    /// Its folder was made ready for a worker.
    pub prepared: bool,
    /// The whole lines of its journal.
    pub lines: Vec<Line>,
}

impl Manager {
    /// Settles every transaction that was being worked on. `find` looks at an attempt's remains.
    pub fn recover(&mut self, find: &mut dyn FnMut(AttemptId) -> Result<Found, Failure>) -> Result<(), Failure> {
        for summary in self.ledger.unfinished()? {
            if let Err(failure) = self.recover_one(&summary, find) {
                self.park(summary.id, failure)?;
            }
        }
        self.mend_backoffs()?;
        self.expire()?;
        Ok(())
    }

    /// Brings the mirror up to what a crash kept from it: a state is recorded first and mirrored then. The few that
    /// ended last are looked at, because a crash falls on the last of them; with a rollback what it undid is, too.
    pub fn mirror_again(&mut self) -> Result<(), Failure> {
        let ids = |summaries: Vec<Summary>| summaries.into_iter().map(|summary| summary.id).collect::<Vec<_>>();
        let unfinished = ids(self.ledger.unfinished()?);
        let newest = self.ledger.list(&Filter { limit: LOOKED_AT, ..Filter::default() })?;
        let ended: Vec<TransactionId> = newest.iter().filter(|summary| summary.status.state.is_final()).map(|summary| summary.id).collect();
        let mut again: BTreeSet<TransactionId> = self.mirror.reconcile(&unfinished, &ended)?.into_iter().collect();
        let completed = |summary: &&Summary| again.contains(&summary.id) && summary.status.state == TransactionState::Completed;
        let undone: Vec<TransactionId> = newest.iter().filter(completed).flat_map(|summary| self.undone_by(summary.id)).collect();
        again.extend(undone);
        again.into_iter().for_each(|id| self.mirror_now(id));
        Ok(())
    }

    fn recover_one(&mut self, summary: &Summary, find: &mut dyn FnMut(AttemptId) -> Result<Found, Failure>) -> Result<(), Failure> {
        let attempt = AttemptId { transaction: summary.id, number: summary.status.attempts };
        match summary.status.state {
            state if follow::has_worker(state) => self.reattach(attempt, summary, &find(attempt)?),
            TransactionState::Interrupted => self.settle(attempt, has_captured(&find(attempt)?.lines)),
            _ => Ok(()),
        }
    }

    /// What cannot be read cannot be decided: a person is asked, and everything else is served.
    fn park(&mut self, id: TransactionId, failure: Failure) -> Result<(), Failure> {
        self.running = self.running.take().filter(|running| running.attempt.transaction != id);
        let state = self.status(id)?.state;
        let found = Event::Interrupted { text: failure.text.clone() };
        let ask = Event::AttentionNeeded { code: failure.code, text: failure.text };
        let events = if state == TransactionState::Interrupted { vec![ask] } else { vec![found, ask] };
        self.record(id, events).map(drop)
    }

    fn reattach(&mut self, attempt: AttemptId, summary: &Summary, found: &Found) -> Result<(), Failure> {
        let (plan, _, _) = plan_of(&*self.ledger, attempt.transaction)?;
        let direction = if summary.status.undoing { Direction::Undo } else { Direction::Forward };
        if !found.prepared && direction == Direction::Undo {
            // Recorded and never launched: it is launched now, as the same attempt.
            self.resumed.insert(attempt.transaction, attempt.number);
            return Ok(());
        }
        self.attach(attempt, direction, &plan);
        if let Some(running) = &mut self.running {
            running.captured = has_captured(&found.lines);
        }
        self.catch_up(attempt, &found.lines)?;
        let ended = self.follow(attempt, &found.lines)?;
        if !ended && !found.alive {
            self.worker_gone(attempt)?;
        }
        Ok(())
    }

    /// What is on record of the attempt says where its worker is; nothing of it is recorded again.
    fn catch_up(&mut self, attempt: AttemptId, lines: &[Line]) -> Result<(), Failure> {
        let known = self.ledger.journal_position(attempt.transaction, attempt.number)?;
        for line in lines.iter().filter(|line| line.seq <= known) {
            self.observe(attempt, &line.record);
        }
        Ok(())
    }

    /// Decides what becomes of an interrupted transaction and records the decision with its reason.
    pub(super) fn settle(&mut self, attempt: AttemptId, captured: bool) -> Result<(), Failure> {
        let id = attempt.transaction;
        let status = self.status(id)?;
        let direction = if status.undoing { Direction::Undo } else { Direction::Forward };
        let remains = Remains { alive: false, captured, committed: false, direction, attempts: status.attempts };
        match recovery::decide(&remains) {
            Decision::Wait => {}
            Decision::Complete => {
                self.record(id, vec![Event::Completed])?;
            }
            Decision::Attention => {
                let text = format!("{} ended without a result", counted(status.attempts, "attempt"));
                self.record(id, vec![Event::AttentionNeeded { code: ErrorCode::WorkerLost, text }])?;
            }
            Decision::Resume(direction) => self.resume(attempt, direction, captured)?,
        }
        Ok(())
    }

    /// CRASH: after `interrupted` and before this one is recorded, the next start finds `interrupted` and decides again;
    /// after it, an attempt without an order, which is launched as it is.
    fn resume(&mut self, attempt: AttemptId, direction: Direction, captured: bool) -> Result<(), Failure> {
        let number = attempt.number + 1;
        let why = if captured {
            "the change was interrupted; the captured files are put back"
        } else {
            "interrupted before anything was changed"
        };
        let events = vec![Event::Resumed { attempt: number, direction, reason: why.to_owned() }];
        self.record(attempt.transaction, events)?;
        self.resumed.insert(attempt.transaction, number);
        Ok(())
    }
}

pub(super) fn has_captured(lines: &[Line]) -> bool {
    lines.iter().any(|line| matches!(line.record, Record::Captured { .. }))
}
