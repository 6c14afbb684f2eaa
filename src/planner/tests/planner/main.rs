//! The planner's program on tiny universes: hermetic, unprivileged, without a network.

#![allow(clippy::disallowed_methods)] // a test sets its scene with plain calls

mod against_apt_get;
mod plans;
mod support;
