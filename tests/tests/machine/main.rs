//! Tests in booted Debian machines; see [`backstep_tests::machine`]. They need root.
//!
//! Every module is one subject. A machine takes a few seconds, so a test may tell a longer story than a unit test.

// Tests set their scene with plain calls.
#![allow(clippy::disallowed_methods)]

mod archives;
mod asking;
mod attention;
mod authorisation;
mod away;
mod by_apt;
mod by_apt_guarded;
mod clients;
mod daemon;
mod failures;
mod files;
mod filesystems;
mod harness;
mod interruptions;
mod limits;
mod packaging;
mod plans;
mod random;
mod readme;
mod real;
mod scene;
mod sessions;
mod state;
mod strangers;
mod torn;
mod transactions;
mod undo;
mod upkeep;
mod zoo;
