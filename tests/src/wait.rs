//! Waiting for something that another process does.
//!
//! Purpose: every wait has a deadline and says what it waited for. Absent on purpose: a sleep that hopes.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Asks `probe` until it answers `Some`, at most `limit` long; `what` is for the message when it never does.
///
/// An error of `probe` ends the waiting at once.
pub fn wait_until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe().with_context(|| format!("cannot wait until {what}"))? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("waited {limit:?} in vain until {what}");
        }
        thread::sleep(POLL);
    }
}
