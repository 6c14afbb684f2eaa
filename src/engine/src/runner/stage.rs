//! What a step sees of its runner: a place to report to, and whether someone asked to stop.

use backstep_core::progress::Report;
use backstep_core::{Digest, Direction, ErrorCode, Failure, StepKind};
use backstep_wire::journal::Record;

/// Where records go.
pub trait Journal {
    /// Appends a record. A durable one ([`Record::is_durable`]) is on disk when this returns; one that is not kept
    /// ([`Record::is_kept`]) may be dropped.
    ///
    /// Errors: the record is not durable, and no later one will be.
    fn record(&mut self, record: Record) -> Result<(), Failure>;

    /// Writes what was held back and is due; called often while a step waits for something.
    fn tick(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// Where the attempt's output log ends now, in bytes.
    fn log_offset(&self) -> u64;
}

/// What others ask of the runner.
pub trait Control {
    /// Whether someone asked to stop. Stays true once it was.
    fn cancel_asked(&self) -> bool;
}

/// The state of the system as one number.
pub trait World {
    /// Digest of dpkg's status file and apt's marks now.
    fn digest(&self) -> Result<Digest, Failure>;
}

/// The runner's surroundings.
pub struct Ports<'a> {
    /// Where records go.
    pub journal: &'a mut dyn Journal,
    /// What others ask.
    pub control: &'a dyn Control,
    /// The system as one number.
    pub world: &'a dyn World,
}

impl Ports<'_> {
    pub(super) fn stage(&mut self, step: StepKind, direction: Direction) -> Stage<'_> {
        Stage { journal: &mut *self.journal, control: self.control, step, direction, permille: 0 }
    }
}

/// One step's view while it is done or undone.
pub struct Stage<'a> {
    journal: &'a mut dyn Journal,
    control: &'a dyn Control,
    step: StepKind,
    direction: Direction,
    permille: u16,
}

impl Stage<'_> {
    /// Whether someone asked to stop; always false while undoing, which is never stopped.
    #[must_use]
    pub fn cancel_asked(&self) -> bool {
        self.direction == Direction::Forward && self.control.cancel_asked()
    }

    /// An error when someone asked to stop: for places where a step can stop.
    pub fn stop_if_asked(&self) -> Result<(), Failure> {
        if self.cancel_asked() { Err(Failure::new(ErrorCode::Cancelled, "stopped on request")) } else { Ok(()) }
    }

    /// Says how far the step is (0 to 1000); a value lower than an earlier one is raised to it.
    pub fn progress(&mut self, permille: u16, package: &str, what: &str) -> Result<(), Failure> {
        self.permille = self.permille.max(permille.min(1000));
        self.journal.record(Record::Progress(Report {
            step: self.step,
            direction: self.direction,
            permille: self.permille,
            package: package.to_owned(),
            what: what.to_owned(),
        }))
    }

    /// Lets held-back progress out; to be called often while a step waits for something.
    pub fn tick(&mut self) -> Result<(), Failure> {
        self.journal.tick()
    }

    /// Records something worth keeping.
    pub fn note(&mut self, code: Option<ErrorCode>, text: impl Into<String>) -> Result<(), Failure> {
        self.journal.record(Record::Noted { code, text: text.into() })
    }

    /// Records that a package's state changed.
    pub fn item_changed(&mut self, package: String, before: String, after: String) -> Result<(), Failure> {
        self.journal.record(Record::ItemChanged { package, before, after })
    }

    /// Records that undo material is complete and durable.
    pub fn captured(&mut self, paths: u64, bytes: u64) -> Result<(), Failure> {
        self.journal.record(Record::Captured { paths, bytes })
    }
}
