//! Starting a worker: as its own systemd unit, or as a detached child where there is no systemd.

mod detached;
mod left;
mod systemd;

use std::path::PathBuf;

use backstep_core::{AttemptId, Failure, TransactionId};

use crate::attempts::Attempts;
use crate::simulate::Simulated;

/// Starts workers and says whether one lives.
#[derive(Debug)]
pub enum Launcher {
    /// `backstep-worker@<attempt>.service`.
    Systemd(systemd::Systemd),
    /// A child in a session of its own.
    Detached(detached::Detached),
    /// A pretence that writes journals and changes nothing.
    Simulated(Simulated),
}

impl Launcher {
    /// Units of the system's service manager, on its bus.
    #[must_use]
    pub fn systemd(connection: zbus::Connection) -> Self {
        Self::Systemd(systemd::Systemd::new(connection))
    }

    /// Children of this program.
    #[must_use]
    pub fn detached(worker: PathBuf, state_dir: PathBuf) -> Self {
        Self::Detached(detached::Detached::new(worker, state_dir))
    }

    /// Pretended workers.
    #[must_use]
    pub fn simulated(attempts: Attempts) -> Self {
        Self::Simulated(Simulated::new(attempts))
    }

    /// Starts the worker of an attempt whose folder is ready.
    pub async fn start(&self, attempt: AttemptId) -> Result<(), Failure> {
        match self {
            Self::Systemd(systemd) => systemd.start(attempt).await,
            Self::Detached(detached) => detached.start(attempt),
            Self::Simulated(simulated) => simulated.start(attempt),
        }
    }

    /// Has the administrator's hooks told of a transaction that has ended: in a unit of their own, as what they do may outlive the
    /// daemon. Where there is no systemd none are run.
    pub async fn tell_hooks(&self, transaction: TransactionId) -> Result<(), Failure> {
        match self {
            Self::Systemd(systemd) => systemd.tell_hooks(transaction).await,
            Self::Detached(_) | Self::Simulated(_) => Ok(()),
        }
    }

    /// Whether the unit or child of an attempt lives, or what it left in its control group still works on the change.
    pub async fn is_alive(&self, attempt: AttemptId) -> bool {
        match self {
            Self::Systemd(systemd) => systemd.is_alive(attempt).await,
            Self::Detached(detached) => detached.is_alive(attempt),
            Self::Simulated(simulated) => simulated.is_alive(attempt),
        }
    }
}
