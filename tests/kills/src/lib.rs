//! Kills of real apt and dpkg: a small Debian system in memory ([`root`]), the worker's own programs, and SIGKILL for it, its
//! guard, apt, dpkg, or a child of dpkg just before a call that changes something ([`tracer`]). Then the engine recovers as
//! after a crash of the daemon ([`inside`]), and everything must be as before or as after the change ([`judge`]).
//!
//! A kill loses nothing that was written. So the same changes are made on file systems of their own, which are stopped at a
//! call as if the power went ([`disk`]): what was not made durable is gone, and the next boot recovers.
//!
//! Absent on purpose: the bus, systemd and units (the machine tests), and a disk that writes in an order of its own
//! (`tests/powercuts`).

// Tests set their scene with plain calls.
#![allow(clippy::disallowed_methods)]

pub mod cell;
pub mod disk;
pub mod inside;
pub mod judge;
pub mod root;
pub mod scene;
pub mod stage;
pub mod sweep;
pub mod tracer;
