//! The spool: transactions as versioned JSON documents in directories, for people and programs that read files.
//!
//! Invariants: a document is whole or absent (written beside, synced, renamed, directory synced); a transaction
//! that has not ended has its document in `inflight/`, one that has in `done/`; the spool may lag the record,
//! never leads it and never decides what runs. This crate is the only place that knows the documents' format.
//! Documents are read back for one purpose: to write a record again that was lost.
//! Absent on purpose: taking in requests (`new/`, `invalid/`), and any cache.

// Tests set their scene with plain calls.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

mod directories;
mod document;
mod error;
mod head;
mod held;
mod mirror;
mod reconcile;
#[cfg(test)]
mod testing;

pub use directories::Spool;
pub use document::{FORMAT, VERSION, document};
pub use error::SpoolError;
pub use head::Head;
pub use held::{Held, Unreadable};
pub use reconcile::Reconciled;
