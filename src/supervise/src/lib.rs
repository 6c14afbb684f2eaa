//! Watching and easing the system calls of a process tree.
//!
//! - [`suppress_sync`]: sync calls of the tree answer success without doing anything, for a phase that ends in one barrier.
//! - [`enter`] and [`guard`]: a process tree is put under a guard, a process of its own, which is told of every change to
//!   a file or name just before the kernel makes it, and which may refuse it.
//!
//! Knows system calls and processes. Packages, undo material and the journal are absent on purpose.
//!
//! # What the guard promises
//! - Nothing in the tree runs unguarded: [`enter`] returns when the guard is ready, and the filter is inherited for life.
//! - If the guard dies, announced calls fail with `ENOSYS`: better a failed transaction than an unseen change.
//! - `io_uring` and opening by handle are refused, because they would walk around it.
//! - It is for undo, not for security: a program that fights it can change a path after the guard has read it.
//!   Changes through descriptors that were open before, of metadata through descriptors, and by servers outside of the
//!   tree are not seen. What is not seen is found by comparing afterwards.
//! - The guard looks at files. A file system whose server (FUSE) runs in the guarded tree can wait for the guard while the guard
//!   waits for it: such servers belong outside of the tree.
//! - With libseccomp before 2.6, a signal with a handler interrupts a waiting call: it begins again and is announced again, or
//!   fails with `EINTR` where the program asked for that.
//! - A tree can have one guard: programs in it that guard others by the same means (containers with a notifying
//!   seccomp profile) are refused by the kernel.

mod arch;
mod caller;
mod calls;
mod change;
mod enter;
mod error;
mod filter;
mod guard;
mod handover;
mod interpret;
mod quiet;
mod resolve;
mod wake;

pub use change::{Change, Errno, Seen, Sink, Verdict};
pub use enter::{enter, enter_with, wait_prepared};
pub use error::SuperviseError;
pub use filter::Scope;
pub use guard::{Rules, guard, prepare, protect_from_oom, say_prepared};
pub use quiet::suppress_sync;
