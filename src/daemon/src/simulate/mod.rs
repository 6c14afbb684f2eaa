//! `--simulate`: the real interface over a made-up machine, for developers of clients.
//!
//! Nothing is installed and nothing but the state directory is written. Every kind of outcome can be had by
//! naming the right package.

mod universe;
mod worker;

pub use universe::Universe;
pub use worker::Simulated;
