//! Plain runs of apt: what the hooks in `apt.conf.d` keep and write down, so that they are transactions too.
//!
//! Before dpkg runs, [`before`] writes down what apt announced and keeps undo material; after it, [`after`] writes down
//! what dpkg's database says became of it. Both write an attempt's folder as a worker does, and a document in
//! `foreign/`, by which the daemon finds the attempt when it runs next. A run that was cut off is ended by [`settle`],
//! or by the next run's [`before`].
//!
//! Where apt's `Dir::Bin::dpkg` is our program, each call of dpkg goes under a guard in between ([`guarded`]).
//!
//! Invariants: dpkg's lock is apt's, here it is only taken when apt is gone; nothing here changes a package or undoes
//! one; whatever fails here does not fail apt, unless the administrator wants it so. Our own runs of apt-get never come
//! here: the hooks leave when `BACKSTEP_TRANSACTION` is set.

mod announced;
pub(crate) mod begin;
mod end;
pub mod guarded;
mod policy;
pub(crate) mod process;
pub mod runs;
#[cfg(test)]
mod tests;

pub use begin::{Verdict, before};
pub use end::{after, settle};

/// The exit code that stops apt. Any other lets it go on, so that a hook that is gone or broken stops nobody.
pub const REFUSED: u8 = 10;
