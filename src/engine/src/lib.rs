//! The engine: the manager of transactions and the runner of steps, over ports.
//!
//! The manager lives in the daemon: it decides, records the intent, lets others act and records the outcome.
//! The runner lives in the worker: it does steps forward and undoes them in reverse. Both see the world through
//! traits only; neither opens a file, a socket or a database.

pub mod drift;
pub mod manager;
pub mod notice;
pub mod ports;
pub mod runner;

pub use manager::Manager;
pub use notice::Notice;
