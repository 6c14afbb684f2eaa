//! The D-Bus interface as code: names, rows, options, errors and proxies, shared by daemon, client and tests.
//!
//! The contract itself is the XML in `dbus/`; this crate is its Rust side. Invariants: a key of an option or
//! of a row is spelled here and nowhere else; every error that crosses the bus is a [`backstep_core::Failure`].
//! Absent on purpose: objects (the daemon has them), decisions, and anything that touches a system.

pub mod archiving;
pub mod backoffs;
pub mod claims;
pub mod errors;
pub mod files;
pub mod ignores;
pub mod names;
pub mod options;
pub mod properties;
pub mod proxies;
pub mod record;
pub mod redaction;
pub mod refusals;
pub mod rows;
pub mod values;

pub use archiving::{ArchiveAnswer, ArchiveOptions};
pub use backoffs::{BackoffFilter, BackoffRow};
pub use claims::Claims;
pub use errors::{BusError, CallError};
pub use files::{BlameRow, ContentsRow, UndoMaterial};
pub use ignores::{IgnoreFilter, IgnoreOptions, IgnoreRow};
pub use options::{Choices, OptionKey, OptionsBuilder, PackageArgument, ParsedOptions, RevertsTarget, request_from_options};
pub use properties::TransactionProperties;
pub use proxies::{ManagerProxy, TransactionProxy};
pub use record::RecordProxy;
pub use redaction::{RedactAnswer, RedactOptions};
pub use refusals::{RefusalRow, RefusalRowFilter};
pub use rows::{ListFilter, ListRow, PlanRow, StatisticsRow, StepRow};
pub use values::{Descriptors, OptionValue};
