//! The runner over steps that write into a shared list.

use std::cell::RefCell;
use std::rc::Rc;

use backstep_core::request::OnFailure;
use backstep_core::{Direction, StepKind, StepState};

use super::kit::{self, MemoryJournal, NoCancel, Scenario, StillWorld};
use super::*;

/// What happened, in order, and which steps' effects are there.
#[derive(Debug, Default)]
struct Log {
    calls: Vec<String>,
    effects: Vec<StepKind>,
}

struct Fake {
    kind: StepKind,
    log: Rc<RefCell<Log>>,
    undo: Option<UndoError>,
    leaves: Vec<String>,
    fails: Option<Failure>,
}

impl Fake {
    fn call(&self, what: &str) {
        self.log.borrow_mut().calls.push(format!("{what} {}", self.kind));
    }
}

impl Step for Fake {
    fn kind(&self) -> StepKind {
        self.kind
    }
    fn check(&mut self, _: &mut Stage<'_>) -> Result<Need, Failure> {
        Ok(if self.kind == StepKind::Services { Need::Nothing("none".into()) } else { Need::Act })
    }
    fn act(&mut self, _: &mut Stage<'_>) -> Result<Done, Failure> {
        self.call("do");
        if !self.log.borrow().effects.contains(&self.kind) {
            self.log.borrow_mut().effects.push(self.kind);
        }
        self.fails.clone().map_or_else(|| Ok(Done::applied("")), Err)
    }
    fn verify(&mut self, _: &mut Stage<'_>) -> Result<(), Failure> {
        self.call("verify");
        Ok(())
    }
    fn undo(&mut self, stage: &mut Stage<'_>) -> Result<Undone, UndoError> {
        stage.progress(1, "", "undoing").map_err(UndoError::Blocked)?;
        stage.note(None, "undoing").map_err(UndoError::Failed)?;
        stage.item_changed("a:all".into(), "1".into(), "2".into()).map_err(UndoError::Failed)?;
        stage.tick().map_err(UndoError::Failed)?;
        self.call("undo");
        self.log.borrow_mut().effects.retain(|kind| *kind != self.kind);
        let undone = Undone { text: String::new(), differences: self.leaves.clone() };
        self.undo.clone().map_or(Ok(undone), Err)
    }
    fn recover(&mut self, _: &mut Stage<'_>) -> Result<Left, UndoError> {
        self.call("recover");
        Ok(if self.log.borrow().effects.contains(&self.kind) { Left::Effects } else { Left::Nothing("none".into()) })
    }
}

#[derive(Default)]
struct Fakes(Rc<RefCell<Log>>);

impl Fakes {
    fn fakes(&self) -> Vec<Fake> {
        let make = |kind: &StepKind| Fake { kind: *kind, log: Rc::clone(&self.0), undo: None, leaves: Vec::new(), fails: None };
        StepKind::ALL.iter().map(make).collect()
    }
    fn calls(&self) -> Vec<String> {
        self.0.borrow().calls.clone()
    }
}

impl Scenario for Fakes {
    type Seen = Vec<StepKind>;
    fn steps(&self) -> Vec<Box<dyn Step>> {
        boxed(self.fakes())
    }
    fn seen(&self) -> Vec<StepKind> {
        self.0.borrow().effects.clone()
    }
}

fn boxed(fakes: Vec<Fake>) -> Vec<Box<dyn Step>> {
    fakes.into_iter().map(|fake| Box::new(fake) as Box<dyn Step>).collect()
}

fn failure(text: &str) -> Failure {
    Failure::new(ErrorCode::ScriptFailed, text)
}

#[test]
fn every_promise_is_kept_by_plain_steps() {
    kit::every_promise_is_kept(Fakes::default);
}

#[test]
fn a_run_is_recorded_step_by_step_and_ends_with_the_world() {
    let fakes = Fakes::default();
    let (outcome, journal) = kit::run_plain(&mut fakes.steps());
    assert_eq!(outcome, Outcome::Committed);
    let mut expected = Vec::new();
    for kind in StepKind::ALL {
        expected.push(Record::StepStarted { step: *kind, direction: Direction::Forward, log_offset: 0 });
        let skipped = *kind == StepKind::Services;
        let (state, text) = if skipped { (StepState::Skipped, "none") } else { (StepState::Completed, "") };
        expected.push(Record::StepEnded { step: *kind, state, code: None, text: text.into() });
    }
    expected.push(Record::Committed { world: backstep_core::Digest([7; 32]) });
    assert_eq!(journal.records, expected);
}

#[test]
fn a_failure_is_undone_in_reverse_and_recorded_in_full_order() {
    let fakes = Fakes::default();
    let mut steps = fakes.fakes();
    steps[2].fails = Some(failure("postinst said no"));
    let (outcome, journal) = kit::run_plain(&mut boxed(steps));
    assert_eq!(outcome, Outcome::Aborted { differences: Vec::new() });
    assert_eq!(
        fakes.calls(),
        ["do fetch", "verify fetch", "do secure", "verify secure", "do apply", "undo apply", "undo secure", "undo fetch"]
    );
    assert_eq!(journal.cause(), Some(failure("postinst said no")));
    assert_eq!(journal.records.last(), Some(&Record::Aborted { differences: Vec::new() }));
}

#[test]
fn an_undo_that_fails_does_not_keep_earlier_steps_from_being_undone() {
    let fakes = Fakes::default();
    let mut steps = fakes.fakes();
    steps[2].undo = Some(UndoError::Failed(failure("no space")));
    steps[1].leaves = vec!["/etc/x".into()];
    steps[4].fails = Some(failure("check"));
    let (outcome, journal) = kit::run_plain(&mut boxed(steps));
    assert_eq!(outcome, Outcome::Aborted { differences: vec!["apply: no space".into(), "/etc/x".into()] });
    assert_eq!(journal.begun(Direction::Undo), [StepKind::Check, StepKind::Apply, StepKind::Secure, StepKind::Fetch]);
    let ended = Record::StepEnded {
        step: StepKind::Secure,
        state: StepState::UndoFailed,
        code: Some(ErrorCode::UndoIncomplete),
        text: "1 difference is left: /etc/x".into(),
    };
    assert!(journal.records.contains(&ended));
}

#[test]
fn an_undo_that_must_not_go_on_waits_for_a_person() {
    let fakes = Fakes::default();
    let mut steps = fakes.fakes();
    steps[2].undo = Some(UndoError::Blocked(failure("dpkg still runs")));
    steps[2].fails = Some(failure("killed"));
    let (outcome, journal) = kit::run_plain(&mut boxed(steps));
    assert_eq!(outcome, Outcome::Stuck(failure("dpkg still runs")));
    assert_eq!(journal.begun(Direction::Undo), [StepKind::Apply]);
}

/// A world that is another one as soon as packages were changed.
struct MovingWorld(Rc<RefCell<Log>>);

impl World for MovingWorld {
    fn digest(&self) -> Result<backstep_core::Digest, Failure> {
        Ok(backstep_core::Digest([u8::from(self.0.borrow().effects.contains(&StepKind::Apply)); 32]))
    }
}

fn left_after(position: usize, why: Failure, still: bool) -> Outcome {
    let fakes = Fakes::default();
    let mut steps = fakes.fakes();
    steps[position].fails = Some(why);
    let mut journal = MemoryJournal::default();
    let moving = MovingWorld(Rc::clone(&fakes.0));
    let world: &dyn World = if still { &StillWorld } else { &moving };
    let mut ports = Ports { journal: &mut journal, control: &NoCancel, world };
    run(&mut boxed(steps), OnFailure::Leave, &mut ports).expect("memory can be written")
}

#[test]
fn leaving_a_failure_is_for_changes_only() {
    let undone = Outcome::Aborted { differences: Vec::new() };
    assert_eq!(left_after(1, failure("x"), false), undone);
    assert_eq!(left_after(2, failure("x"), false), Outcome::Stuck(failure("x")));
    assert_eq!(left_after(2, failure("x"), true), undone, "the world is as before");
    assert_eq!(left_after(2, Failure::new(ErrorCode::PlanStale, "x"), false), undone, "apt was stopped before it began");
}

struct CancelOnce(Rc<RefCell<Log>>, &'static str);

impl Control for CancelOnce {
    fn cancel_asked(&self) -> bool {
        self.0.borrow().calls.iter().any(|call| call == self.1)
    }
}

#[test]
fn a_cancel_is_seen_between_steps_and_undone_whatever_the_policy() {
    let fakes = Fakes::default();
    let mut journal = MemoryJournal::default();
    let control = CancelOnce(Rc::clone(&fakes.0), "verify apply");
    let mut ports = Ports { journal: &mut journal, control: &control, world: &StillWorld };
    let outcome = run(&mut fakes.steps(), OnFailure::Leave, &mut ports);
    assert_eq!(outcome, Ok(Outcome::Aborted { differences: Vec::new() }));
    assert_eq!(journal.cause().map(|why| why.code), Some(ErrorCode::Cancelled));
    assert_eq!(journal.begun(Direction::Undo), [StepKind::Apply, StepKind::Secure, StepKind::Fetch]);
}

#[test]
fn a_cancel_after_the_commit_changes_nothing() {
    let fakes = Fakes::default();
    let mut journal = MemoryJournal::default();
    let control = CancelOnce(Rc::clone(&fakes.0), "verify commit");
    let mut ports = Ports { journal: &mut journal, control: &control, world: &StillWorld };
    assert_eq!(run(&mut fakes.steps(), OnFailure::Rollback, &mut ports), Ok(Outcome::Committed));
}

#[test]
fn a_journal_that_fails_leaves_the_world_as_before_but_a_doubtful_commit_to_recovery() {
    for fails_from in 0..=12 {
        let fakes = Fakes::default();
        let mut journal = MemoryJournal { fails_from: Some(fails_from), ..MemoryJournal::default() };
        let mut ports = Ports { journal: &mut journal, control: &NoCancel, world: &StillWorld };
        let outcome = run(&mut fakes.steps(), OnFailure::Rollback, &mut ports);
        assert_eq!(outcome.map_err(|failure| failure.code), Err(ErrorCode::StoreFailed), "{fails_from}");
        assert_eq!(fakes.seen().is_empty(), fails_from < 12, "{fails_from}");
    }
}

#[test]
fn many_differences_are_counted_not_listed() {
    let many = bounded((0..500).map(|n| n.to_string()).collect());
    assert_eq!(many.len(), MAX_DIFFERENCES);
    assert_eq!(many.last().map(String::as_str), Some("and 301 more"));
    assert_eq!(bounded(vec!["a".into()]), ["a"]);
}

#[test]
fn an_undo_that_was_interrupted_goes_on_with_what_is_left() {
    let fakes = Fakes::default();
    fakes.0.borrow_mut().effects = vec![StepKind::Secure];
    let states =
        vec![(StepKind::Fetch, StepState::Completed), (StepKind::Secure, StepState::Completed), (StepKind::Apply, StepState::Undone)];
    let earlier = Earlier { states, why: Failure::new(ErrorCode::WorkerLost, "gone") };
    let mut journal = MemoryJournal::default();
    let mut ports = Ports { journal: &mut journal, control: &NoCancel, world: &StillWorld };
    let outcome = resume_undo(&mut fakes.steps(), &earlier, &mut ports);
    assert_eq!(outcome, Ok(Outcome::Aborted { differences: Vec::new() }));
    assert_eq!(fakes.calls(), ["recover secure", "undo secure", "recover fetch"]);
}
