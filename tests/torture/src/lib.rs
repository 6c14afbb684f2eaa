//! Crash tests of the engine: the real record, spool, journals, captures and worker over a small system, with kills and
//! failing calls at every place where something is written.
//!
//! Absent on purpose: the bus and polkit (`tests/`), real packages (the machine tests), and the disk: a kill loses
//! nothing that was written, which a power cut may.

pub mod daemon;
pub mod fake;
pub mod family;
pub mod hands;
pub mod judge;
pub mod matrix;
pub mod model;
pub mod place;
pub mod random;
pub mod scenario;
pub mod soak;
pub mod storage;
pub mod tracer;
pub mod universe;
