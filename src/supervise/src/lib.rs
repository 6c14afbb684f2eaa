//! Watching and easing the system calls of a process tree.
//!
//! - [`suppress_sync`]: sync calls of the tree answer success without doing anything, for a phase that ends in one barrier.
//!
//! Knows system calls and processes. Packages, undo material and the journal are absent on purpose.

mod arch;
mod error;
mod quiet;

pub use error::SuperviseError;
pub use quiet::suppress_sync;
