//! Power cuts: a virtual Debian machine whose disk loses what was not flushed.
//!
//! A machine with the packages of `make deb` is recorded once while it changes packages: qemu writes down each write and
//! each flush of its disk ([`log`]). A cut is a place in that record: what was flushed before it is on the disk, of the
//! writes since then some are, in parts ([`replay`]). The disk of each cut is booted; it must come to rest by itself and be
//! what it was before the change or after it ([`judge`]). A machine whose very C library was torn must, too ([`torn`]). Needs root, loop devices and qemu; no KVM.
//!
//! Absent on purpose: reordering across a flush, which a disk that keeps its word does not do, and product code.

// Tests set their scene with plain calls.
#![allow(clippy::disallowed_methods)]

pub mod image;
pub mod judge;
pub mod log;
pub mod replay;
pub mod scene;
pub mod sweep;
pub mod torn;
pub mod vm;
