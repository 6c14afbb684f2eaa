//! A test kit that every set of steps gets for free.
//!
//! A [`Scenario`] makes fresh steps over a fresh world and shows that world. The functions run them with one fault
//! at a time and panic when a promise is broken: what failed is undone in reverse, the world is as before, the
//! injected fault (and no other) was the cause, and doing or undoing twice is the same as once.

use backstep_core::request::OnFailure;
use backstep_core::{Digest, Direction, ErrorCode, Failure, StepKind, StepState};
use backstep_wire::journal::Record;

use super::{Control, Done, Earlier, Journal, Left, Need, Outcome, Ports, Stage, Step, UndoError, Undone, World, resume_undo, run};

/// The text of every injected fault.
pub const INJECTED: &str = "a fault injected by the test kit";

/// Fresh steps over a fresh world.
pub trait Scenario {
    /// What can be seen of the world.
    type Seen: PartialEq + std::fmt::Debug;

    /// The steps, over this scenario's world; may be called several times.
    fn steps(&self) -> Vec<Box<dyn Step>>;

    /// The world now.
    fn seen(&self) -> Self::Seen;
}

/// A journal in memory.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    /// What was recorded.
    pub records: Vec<Record>,
    /// From which record on (counted from 0, progress left out) recording fails.
    pub fails_from: Option<usize>,
    /// Whether progress and ticks fail with the records, as they do on a full disk.
    pub fails_wholly: bool,
}

impl Journal for MemoryJournal {
    fn record(&mut self, record: Record) -> Result<(), Failure> {
        if record.is_kept() || self.fails_wholly {
            self.working()?;
        }
        self.records.push(record);
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Failure> {
        if self.fails_wholly { self.working() } else { Ok(()) }
    }

    fn log_offset(&self) -> u64 {
        0
    }
}

impl MemoryJournal {
    fn working(&self) -> Result<(), Failure> {
        let failed = self.fails_from.is_some_and(|from| self.kept().count() >= from);
        if failed { Err(Failure::new(ErrorCode::StoreFailed, INJECTED)) } else { Ok(()) }
    }

    /// The records but progress.
    pub fn kept(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| record.is_kept())
    }

    /// Which steps were begun in a direction, in order.
    #[must_use]
    pub fn begun(&self, wanted: Direction) -> Vec<StepKind> {
        let begun = |record: &Record| match record {
            Record::StepStarted { step, direction, .. } if *direction == wanted => Some(*step),
            _ => None,
        };
        self.records.iter().filter_map(begun).collect()
    }

    /// Why the run turned round.
    #[must_use]
    pub fn cause(&self) -> Option<Failure> {
        self.records.iter().find_map(|record| match record {
            Record::UndoStarted { code, text } => Some(Failure::new(*code, text.clone())),
            _ => None,
        })
    }
}

/// Nobody asks to stop.
pub struct NoCancel;

impl Control for NoCancel {
    fn cancel_asked(&self) -> bool {
        false
    }
}

/// A world that is always the same.
pub struct StillWorld;

impl World for StillWorld {
    fn digest(&self) -> Result<Digest, Failure> {
        Ok(Digest([7; 32]))
    }
}

/// Where a fault is injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The step's check fails.
    InCheck,
    /// The step fails before it does anything.
    BeforeAct,
    /// The step fails after it did everything.
    AfterAct,
    /// The step panics after it did everything.
    Panic,
    /// The step's verification fails.
    InVerify,
}

/// Every place.
pub const FAULTS: [Fault; 5] = [Fault::InCheck, Fault::BeforeAct, Fault::AfterAct, Fault::Panic, Fault::InVerify];

/// A step with faults and repetitions.
struct Bent {
    inner: Box<dyn Step>,
    fault: Option<Fault>,
    acts: usize,
    undos: usize,
}

impl Bent {
    fn fault(&self, here: Fault) -> Result<(), Failure> {
        if self.fault == Some(here) { Err(Failure::new(ErrorCode::Internal, INJECTED)) } else { Ok(()) }
    }
}

impl Step for Bent {
    fn kind(&self) -> StepKind {
        self.inner.kind()
    }
    fn check(&mut self, stage: &mut Stage<'_>) -> Result<Need, Failure> {
        self.fault(Fault::InCheck)?;
        // A check that finds nothing to do would hide the fault.
        self.inner.check(stage).map(|need| if self.fault.is_some() { Need::Act } else { need })
    }
    fn act(&mut self, stage: &mut Stage<'_>) -> Result<Done, Failure> {
        self.fault(Fault::BeforeAct)?;
        let mut done = self.inner.act(stage)?;
        for _ in 1..self.acts {
            done = self.inner.act(stage)?;
        }
        assert!(self.fault != Some(Fault::Panic), "{INJECTED}");
        self.fault(Fault::AfterAct)?;
        Ok(done)
    }
    fn verify(&mut self, stage: &mut Stage<'_>) -> Result<(), Failure> {
        self.fault(Fault::InVerify)?;
        self.inner.verify(stage)
    }
    fn undo(&mut self, stage: &mut Stage<'_>) -> Result<Undone, UndoError> {
        let mut undone = self.inner.undo(stage)?;
        for _ in 1..self.undos {
            undone = self.inner.undo(stage)?;
        }
        Ok(undone)
    }
    fn recover(&mut self, stage: &mut Stage<'_>) -> Result<Left, UndoError> {
        self.inner.recover(stage)
    }
}

fn bent(scenario: &impl Scenario, faulty: Option<(StepKind, Fault)>, acts: usize, undos: usize) -> Vec<Box<dyn Step>> {
    let bend = |inner: Box<dyn Step>| -> Box<dyn Step> {
        let fault = faulty.and_then(|(kind, fault)| (kind == inner.kind()).then_some(fault));
        Box::new(Bent { inner, fault, acts, undos })
    };
    scenario.steps().into_iter().map(bend).collect()
}

/// Runs steps over a journal in memory.
///
/// # Panics
/// When the journal, which is in memory, cannot be written.
pub fn run_plain(steps: &mut [Box<dyn Step>]) -> (Outcome, MemoryJournal) {
    let mut journal = MemoryJournal::default();
    let mut ports = Ports { journal: &mut journal, control: &NoCancel, world: &StillWorld };
    let outcome = run(steps, OnFailure::Rollback, &mut ports).expect("memory can be written");
    (outcome, journal)
}

/// Fails every step at every place; everything must be as before, for the injected reason, undone in reverse.
///
/// # Panics
/// When it is not so.
pub fn every_failure_is_undone<S: Scenario>(fresh: impl Fn() -> S) {
    for kind in kinds(&fresh()) {
        for fault in FAULTS {
            let scenario = fresh();
            let before = scenario.seen();
            let (outcome, journal) = run_plain(&mut bent(&scenario, Some((kind, fault)), 1, 1));
            assert_eq!(outcome, Outcome::Aborted { differences: Vec::new() }, "{kind} {fault:?}: {:#?}", journal.records);
            assert!(journal.cause().is_some_and(|why| why.text.contains(INJECTED)), "{kind} {fault:?}: {:?}", journal.cause());
            let reversed: Vec<StepKind> = needing_undo(&journal).into_iter().rev().collect();
            assert_eq!(journal.begun(Direction::Undo), reversed, "{kind} {fault:?}");
            assert_eq!(scenario.seen(), before, "{kind} {fault:?}");
        }
    }
}

/// Begins everything, loses the process, and undoes it in another: everything must be as before.
///
/// # Panics
/// When it is not so.
pub fn every_interruption_is_undone<S: Scenario>(fresh: impl Fn() -> S) {
    for kind in kinds(&fresh()) {
        let scenario = fresh();
        let before = scenario.seen();
        let mut states = interrupted_in(&scenario, kind);
        if let Some(last) = states.last_mut() {
            last.1 = StepState::Unknown;
        }
        let earlier = Earlier { states, why: Failure::new(ErrorCode::WorkerLost, INJECTED) };
        let mut journal = MemoryJournal::default();
        let mut ports = Ports { journal: &mut journal, control: &NoCancel, world: &StillWorld };
        let outcome = resume_undo(&mut scenario.steps(), &earlier, &mut ports).expect("memory can be written");
        assert_eq!(outcome, Outcome::Aborted { differences: Vec::new() }, "{kind}: {:#?}", journal.records);
        assert_eq!(scenario.seen(), before, "{kind}");
    }
}

fn interrupted_in(scenario: &impl Scenario, last: StepKind) -> Vec<(StepKind, StepState)> {
    let mut journal = MemoryJournal::default();
    let mut ports = Ports { journal: &mut journal, control: &NoCancel, world: &StillWorld };
    let mut states = Vec::new();
    for mut step in scenario.steps() {
        let kind = step.kind();
        let mut stage = ports.stage(kind, Direction::Forward);
        let need = step.check(&mut stage).expect("a check without a fault");
        if need == Need::Act {
            let _how = step.act(&mut stage).expect("a step without a fault");
        }
        states.push((kind, if need == Need::Act { StepState::Completed } else { StepState::Skipped }));
        if kind == last {
            break;
        }
    }
    states
}

/// Does every step twice; the world must be as after once.
///
/// # Panics
/// When it is not so.
pub fn every_act_may_be_repeated<S: Scenario>(fresh: impl Fn() -> S) {
    let (once, twice) = (fresh(), fresh());
    assert_eq!(run_plain(&mut bent(&once, None, 1, 1)).0, Outcome::Committed);
    assert_eq!(run_plain(&mut bent(&twice, None, 2, 1)).0, Outcome::Committed);
    assert_eq!(once.seen(), twice.seen());
}

/// Fails every step and undoes every step twice; everything must be as before.
///
/// # Panics
/// When it is not so.
pub fn every_undo_may_be_repeated<S: Scenario>(fresh: impl Fn() -> S) {
    for kind in kinds(&fresh()) {
        let scenario = fresh();
        let before = scenario.seen();
        let (outcome, _) = run_plain(&mut bent(&scenario, Some((kind, Fault::AfterAct)), 1, 2));
        assert_eq!(outcome, Outcome::Aborted { differences: Vec::new() }, "{kind}");
        assert_eq!(scenario.seen(), before, "{kind}");
    }
}

/// Fails every step and, from the turn on, the journal wholly: everything must be undone all the same, and only the
/// last record is missing.
///
/// # Panics
/// When it is not so.
pub fn every_undo_outlives_its_journal<S: Scenario>(fresh: impl Fn() -> S) {
    for kind in kinds(&fresh()) {
        let (_, whole) = run_plain(&mut bent(&fresh(), Some((kind, Fault::AfterAct)), 1, 1));
        let turn = whole.kept().position(|record| matches!(record, Record::UndoStarted { .. }));
        let scenario = fresh();
        let before = scenario.seen();
        let mut journal = MemoryJournal { fails_from: turn, fails_wholly: true, ..MemoryJournal::default() };
        let mut ports = Ports { journal: &mut journal, control: &NoCancel, world: &StillWorld };
        let outcome = run(&mut bent(&scenario, Some((kind, Fault::AfterAct)), 1, 1), OnFailure::Rollback, &mut ports);
        assert_eq!(outcome.map_err(|failure| failure.code), Err(ErrorCode::StoreFailed), "{kind}");
        assert_eq!(scenario.seen(), before, "{kind}");
    }
}

/// All of the above.
///
/// # Panics
/// When a promise is broken.
pub fn every_promise_is_kept<S: Scenario>(fresh: impl Fn() -> S) {
    every_failure_is_undone(&fresh);
    every_interruption_is_undone(&fresh);
    every_act_may_be_repeated(&fresh);
    every_undo_may_be_repeated(&fresh);
    every_undo_outlives_its_journal(&fresh);
}

fn kinds(scenario: &impl Scenario) -> Vec<StepKind> {
    scenario.steps().iter().map(|step| step.kind()).collect()
}

fn needing_undo(journal: &MemoryJournal) -> Vec<StepKind> {
    let skipped = |kind: &StepKind| {
        journal.records.iter().any(|r| matches!(r, Record::StepEnded { step, state: StepState::Skipped, .. } if step == kind))
    };
    journal.begun(Direction::Forward).into_iter().filter(|kind| !skipped(kind)).collect()
}
