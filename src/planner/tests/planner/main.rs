//! The planner's program on tiny universes: hermetic, unprivileged, without a network.

mod against_apt_get;
mod plans;
mod support;
