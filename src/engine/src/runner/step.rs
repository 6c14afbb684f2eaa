//! What a step is, and how its parts say what happened.

use backstep_core::{Failure, StepKind};

use super::stage::Stage;

/// How a step's work went, when it went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It changed what it was to change.
    Applied,
    /// It found everything so already.
    AlreadyDone,
    /// It was not needed.
    Skipped,
}

/// A success with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a success says how: journal it or test it"]
pub struct Done {
    /// How.
    pub how: How,
    /// For people; may be empty.
    pub text: String,
}

impl Done {
    /// It changed what it was to change.
    pub fn applied(text: impl Into<String>) -> Self {
        Self { how: How::Applied, text: text.into() }
    }

    /// It found everything so already.
    pub fn already(text: impl Into<String>) -> Self {
        Self { how: How::AlreadyDone, text: text.into() }
    }

    /// It was not needed.
    pub fn skipped(text: impl Into<String>) -> Self {
        Self { how: How::Skipped, text: text.into() }
    }
}

/// Whether a step has anything to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// It has.
    Act,
    /// It has not, and why.
    Nothing(String),
}

/// What an earlier, interrupted attempt left of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// Effects that are to be undone.
    Effects,
    /// Nothing, and why we know.
    Nothing(String),
}

/// A step's undo, when it could be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use = "differences are to be reported"]
pub struct Undone {
    /// For people; may be empty.
    pub text: String,
    /// What is still not as before, in words; empty when all is.
    pub differences: Vec<String>,
}

impl Undone {
    /// Everything is as before.
    pub fn clean(text: impl Into<String>) -> Self {
        Self { text: text.into(), differences: Vec::new() }
    }
}

/// Why a step's undo could not be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UndoError {
    /// This step's effects stay, wholly or in part; earlier steps can still be undone.
    #[error("{0}")]
    Failed(Failure),
    /// Undoing anything more could do harm: stop here and let a person decide.
    #[error("{0}")]
    Blocked(Failure),
}

/// One unit of doing and undoing.
///
/// Duties: [`act`](Self::act) and [`undo`](Self::undo) may be called again after a success, a failure or a crash at
/// any point, and then end in the same state; `undo` accepts that there is nothing to undo; neither waits for a
/// person. Random and time-dependent choices are made while planning, never here.
pub trait Step {
    /// Which step; the order of kinds is the order of doing.
    fn kind(&self) -> StepKind;

    /// Whether the step is possible and needed. Changes nothing.
    fn check(&mut self, stage: &mut Stage<'_>) -> Result<Need, Failure>;

    /// Does it.
    fn act(&mut self, stage: &mut Stage<'_>) -> Result<Done, Failure>;

    /// Compares the result with what was wanted. Changes nothing.
    fn verify(&mut self, stage: &mut Stage<'_>) -> Result<(), Failure>;

    /// Undoes it and says what still differs.
    fn undo(&mut self, stage: &mut Stage<'_>) -> Result<Undone, UndoError>;

    /// Finds out what an earlier attempt left, before [`undo`](Self::undo) is called for it by another process.
    fn recover(&mut self, stage: &mut Stage<'_>) -> Result<Left, UndoError>;
}
