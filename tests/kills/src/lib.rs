//! Kills of real apt and dpkg: a small Debian system in memory ([`root`]), the worker's own programs, and SIGKILL for it, its
//! guard, apt, dpkg, or a child of dpkg just before a call that changes something ([`tracer`]). Then the engine recovers as
//! after a crash of the daemon ([`inside`]), and everything must be as before or as after the change ([`judge`]).
//!
//! Absent on purpose: the bus, systemd and units (the machine tests), and the disk: a kill loses nothing that was
//! written, which a power cut may (`tests/powercuts`).

// Tests set their scene with plain calls.
#![allow(clippy::disallowed_methods)]

pub mod cell;
pub mod inside;
pub mod judge;
pub mod root;
pub mod scene;
pub mod sweep;
pub mod tracer;
