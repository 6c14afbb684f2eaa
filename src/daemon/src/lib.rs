//! The daemon: composition root, D-Bus objects, polkit, launcher.
//!
//! It records, authorises, queues, supervises and tells. Absent on purpose: it runs no apt, no dpkg and no
//! script, links no libapt, and opens no path that a caller named.

// Tests set their scene with plain calls.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod adapters;
pub mod archive;
pub mod archives;
pub mod asked;
pub mod attempts;
pub mod audit;
pub mod authority;
pub mod blame;
pub mod callers;
pub mod compose;
pub mod config;
pub mod contents;
pub mod door;
pub mod explain;
pub mod follow;
pub mod foreign;
pub mod forget;
pub mod idle;
pub mod inhibit;
pub mod inventory;
pub mod launcher;
mod lock;
pub mod log;
pub mod logs;
pub mod material;
pub mod metrics;
pub mod objects;
pub mod options;
pub mod outlet;
pub mod planner;
pub mod preferences;
pub mod reach;
pub mod rebuild;
pub mod rebuilt;
pub mod records;
pub mod recovery;
pub mod requests;
pub mod reserve;
pub mod restore;
pub mod service;
pub mod simulate;
pub mod socket;
pub mod status_file;
pub mod thresholds;
pub mod turns;
pub mod upkeep;
pub mod work;
