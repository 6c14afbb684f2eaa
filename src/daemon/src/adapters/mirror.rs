//! The spool as the engine's mirror.

use std::path::Path;

use anyhow::Context;
use backstep_core::record::Record;
use backstep_core::{Failure, TransactionId};
use backstep_engine::ports::Mirror;
use backstep_spool::Spool;

/// The spool, and whose host it is.
pub struct SpoolMirror {
    spool: Spool,
    host_id: String,
}

impl SpoolMirror {
    /// The spool in a folder, which is made when it is not there.
    pub fn open(dir: &Path, host_id: &str) -> anyhow::Result<Self> {
        let spool = Spool::open(dir).with_context(|| format!("cannot open {}", dir.display()))?;
        Ok(Self { spool, host_id: host_id.to_owned() })
    }
}

impl Mirror for SpoolMirror {
    fn mirror(&mut self, record: &Record) -> Result<(), Failure> {
        self.spool.mirror(record, &self.host_id).map_err(|error| Failure::from(&error))
    }

    fn reconcile(&mut self, unfinished: &[TransactionId], ended: &[TransactionId]) -> Result<Vec<TransactionId>, Failure> {
        let found = self.spool.reconcile(unfinished).map_err(|error| Failure::from(&error))?;
        for stranger in &found.strangers {
            tracing::warn!("{} is no document of a transaction and is left alone", stranger.display());
        }
        let unmirrored = ended.iter().copied().filter(|id| !self.spool.is_done(*id));
        Ok(found.stale.into_iter().chain(found.missing).chain(unmirrored).collect())
    }
}
