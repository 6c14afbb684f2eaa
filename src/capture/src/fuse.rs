//! Stopping a restore at a chosen point, as a power cut would: what tests of repeatability need.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::error::{CaptureError, Result};

/// Burns down by one at every change; blows when it is used up. The usual one never does.
pub(crate) struct Fuse(Option<AtomicI64>);

impl Fuse {
    pub(crate) const fn endless() -> Self {
        Self(None)
    }

    #[cfg(test)]
    pub(crate) const fn of(steps: i64) -> Self {
        Self(Some(AtomicI64::new(steps)))
    }

    /// Called between any two changes.
    pub(crate) fn burn(&self) -> Result<()> {
        match &self.0 {
            Some(left) if left.fetch_sub(1, Ordering::Relaxed) <= 0 => Err(CaptureError::Interrupted),
            Some(_) | None => Ok(()),
        }
    }
}
