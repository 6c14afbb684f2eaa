//! Support for tests that cross components.
//!
//! Purpose: one place for what the tests share: [`machine`] boots a disposable Debian machine, [`backstep`] one
//! with our packages, [`package`] and
//! [`repository`] make tiny packages, [`web`] serves them slowly, [`private_bus`] runs the daemon on a bus of its own, [`programs`] finds our programs, [`large_record`] writes records for measurements, [`snapshot`] says what differs in a file tree, [`command`] is the
//! one way to run a child, [`wait`] the one way to wait,
//! [`stranger`] comes to a private bus as another user and [`authority`] answers there in polkit's place. Absent on purpose: product code.

// Tests set their scene with plain calls.
#![allow(clippy::disallowed_methods)]

pub mod authority;
pub mod backstep;
pub mod command;
pub mod large_record;
pub mod machine;
pub mod package;
pub mod private_bus;
pub mod programs;
pub mod repository;
pub mod security;
pub mod snapshot;
pub mod stranger;
pub mod torn;
pub mod wait;
pub mod web;
