//! View: everything clients see of one transaction, from the record and from what runs now.

use backstep_core::event::Event;
use backstep_core::progress::Progress;
use backstep_core::record::Record;
use backstep_core::{ErrorCode, Failure, Plan, StepKind, TransactionId, TransactionState};

use super::{Manager, plan_of};

/// A transaction as clients see it.
#[derive(Debug, Clone)]
pub struct View {
    /// The record.
    pub record: Record,
    /// The frozen plan.
    pub plan: Option<Plan>,
    /// How far it is.
    pub progress: Progress,
    /// Whether a request to cancel would be taken.
    pub cancellable: bool,
    /// Whether it can no longer turn round by itself.
    pub point_of_no_return: bool,
    /// Its place in the queue, from 1; 0 when it does not wait there.
    pub queue_position: u32,
    /// For whom or what it waits; empty when it does not.
    pub waits_for: String,
    /// What still differs from before after an undo.
    pub differences: Vec<String>,
}

impl Manager {
    /// A transaction as clients see it now; `None` for an unknown id.
    pub fn view(&self, id: TransactionId) -> Result<Option<View>, Failure> {
        let Some(record) = self.ledger.record(id)? else { return Ok(None) };
        let state = record.summary.status.state;
        let plan = if record.plan_digest.is_some() { Some(plan_of(&*self.ledger, id)?.0) } else { None };
        let past = self.past_return(id);
        // Nobody plans while another transaction changes the system.
        let waits = state == TransactionState::Queued || (state == TransactionState::Created && self.running.is_some());
        let position = if state == TransactionState::Queued { self.queue()?.iter().position(|other| *other == id) } else { None };
        Ok(Some(View {
            progress: self.progress_of(id, &record),
            cancellable: state.actions().contains(&backstep_core::state::Action::Cancel) && !past,
            point_of_no_return: state == TransactionState::Completed || self.commits(id),
            queue_position: position.map_or(0, |position| u32::try_from(position + 1).unwrap_or(u32::MAX)),
            waits_for: if waits { self.waits_for(id)? } else { String::new() },
            differences: differences(&record),
            plan,
            record,
        }))
    }

    fn commits(&self, id: TransactionId) -> bool {
        let own = self.running.as_ref().filter(|running| running.attempt.transaction == id);
        own.is_some_and(|running| running.step == Some(StepKind::Commit) && running.direction == backstep_core::Direction::Forward)
    }

    fn progress_of(&self, id: TransactionId, record: &Record) -> Progress {
        match &self.running {
            Some(running) if running.attempt.transaction == id => running.tracker.current().clone(),
            _ if record.summary.status.state.is_final() => Progress { permille: 1000, remaining_s: Some(0), ..Progress::default() },
            _ => Progress::default(),
        }
    }

    /// Who is before it: the running transaction, else the one that a person has to decide for, else the one that
    /// goes next.
    fn waits_for(&self, id: TransactionId) -> Result<String, Failure> {
        let before = match (self.running(), self.undecided()?) {
            (Some(attempt), _) => Some(attempt.transaction),
            (None, Some(summary)) => Some(summary.id),
            (None, None) => self.queue()?.into_iter().find(|other| *other != id),
        };
        let Some(summary) = before.map(|before| self.ledger.summary(before)).transpose()?.flatten() else { return Ok(String::new()) };
        let person = if summary.status.state == TransactionState::NeedsAttention { ", which needs a decision" } else { "" };
        Ok(format!("transaction {} ({}) of {}{person}", summary.id, summary.kind, summary.actor.user))
    }
}

fn differences(record: &Record) -> Vec<String> {
    let text = |event: &Event| match event {
        Event::Noted { code: Some(ErrorCode::UndoIncomplete), text } => Some(text.clone()),
        _ => None,
    };
    record.events.iter().filter_map(|row| text(&row.event)).collect()
}
