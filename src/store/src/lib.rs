//! The record: the truth about requests, plans, states, results and audit, in one SQLite file.
//!
//! Invariants, each kept by the schema's triggers as well as by this code: nothing is written unless a
//! generation is open; nothing is deleted, and what leaves for an archive is listed; only status and time columns change, along the pairs of the state
//! machine, and texts for people when one is taken out (`redact`); events are append-only, without gaps and
//! chained by hashes; a transaction's row, steps, items and attempts are projections of its events, written in
//! the same commit. One writer. This crate is the only user of rusqlite. Absent on purpose: the format of
//! requests and plans (bytes come in and go out), the clock (stamps come in), when to archive, and any in-memory
//! copy of the history.

// Tests set their scene with plain calls.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

mod adopt;
mod append;
mod archive;
mod backoffs;
mod backup;
mod batch;
mod chain;
mod columns;
mod configurations;
mod create;
pub mod due;
mod earlier;
mod error;
mod event_row;
mod export;
mod find;
mod freeze;
mod generation;
mod generations;
mod ignores;
mod list;
mod list_query;
mod measures;
mod migrate;
mod open;
mod package_statistics;
mod project_attempts;
mod project_items;
mod project_steps;
mod project_transaction;
mod read;
mod reader;
mod rebuild;
mod redact;
mod refuse;
mod risks;
mod schema_page;
mod statistics;
mod step_statistics;
mod summary_row;
mod verify;
mod why;
mod work;

#[cfg(test)]
mod tests;

pub use adopt::Adoption;
pub use append::Append;
pub use backup::adopt_copy;
pub use create::{Created, NewTransaction};
pub use earlier::Until;
pub use error::{ChainError, StoreError, VerifyError};
pub use export::ExportedEvent;
pub use list::OpenCounts;
pub use open::{Run, Store};
pub use reader::Reader;
pub use rebuild::{Cause, History, Rebuild, Retold};
pub use redact::{Document, SameButTexts};
pub use refuse::NewRefusal;
pub use schema_page::schema_page;
pub use verify::Verified;
