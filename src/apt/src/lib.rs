//! What apt and dpkg say, and how they are called. Pure: parsers take text or bytes, nothing is read or run.
//!
//! Absent on purpose: libapt (only the planner links it), files, processes, clocks.

pub mod arguments;
pub mod boot_critical;
pub mod container;
pub mod extended_states;
pub mod interrupted;
pub mod inventory;
pub mod lists;
pub mod pre_install_pkgs;
pub mod quality;
pub mod status;
pub mod status_fd;
pub mod world;

#[cfg(test)]
mod samples;

pub use world::world;
