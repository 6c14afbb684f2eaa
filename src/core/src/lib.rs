//! The pure heart of Backstep: types, rules and decisions.
//!
//! Purpose: everything that can be decided without touching the world is decided here, so that it can be
//! tested without one. Absent on purpose: I/O, async, serialisation, clocks and randomness. Nothing in this
//! crate imports another crate of the workspace.

#[macro_use]
mod closed_enum;

pub mod access;
pub mod actor;
pub mod admission;
pub mod backoff;
pub mod causes;
pub mod count;
pub mod doors;
pub mod drift;
pub mod error_code;
pub mod event;
pub mod history;
#[cfg(any(test, feature = "hostile"))]
pub mod hostile;
pub mod id;
pub mod ignore;
pub mod inflow;
pub mod limits;
pub mod measures;
pub mod package;
pub mod plan;
#[cfg(any(test, feature = "hostile"))]
pub mod planted;
pub mod progress;
pub mod queue;
pub mod record;
pub mod record_archive;
pub mod recovery;
pub mod redaction;
pub mod refusal;
pub mod replay;
pub mod request;
pub mod retention;
pub mod risk;
pub mod scrub;
pub mod settings;
pub mod sources;
pub mod state;
pub mod step;
pub mod tag;
pub mod throttle;
pub mod undo;

pub use closed_enum::UnknownName;
pub use error_code::{ErrorCode, Failure, Severity};
pub use event::{Event, EventFields};
pub use id::{AttemptId, BootId, Digest, Stamp, TransactionId};
pub use package::{Architecture, PackageId, PackageName, Version};
pub use plan::{Archive, ArchiveSource, Method, Plan, PlanAction, PlanItem, Reason, UndoQuality};
pub use request::{ItemAction, Kind, LocalArchive, Options, Request, RequestItem, Scope};
pub use retention::Retention;
pub use state::{Status, TransactionState};
pub use step::{Direction, StepKind, StepState};
pub use tag::{Tag, Tags};
