//! Our components behind the engine's ports.

mod clock;
mod host;
mod ledger;
mod mirror;

pub use clock::{NewIds, SystemClock};
pub use host::host_id;
pub use ledger::StoreLedger;
pub use mirror::SpoolMirror;
