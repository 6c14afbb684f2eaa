//! A machine that outlives its test's patience is killed.
//!
//! Purpose: whatever hangs in a machine ends with it, with the pipes that a test reads from, so the test fails and
//! says so. Invariants: only the container that was given is killed, and only while its owner holds it. Absent on
//! purpose: why it hung.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

/// The wait for the end of a machine; it is over when this value goes.
#[derive(Debug)]
pub(super) struct Lifetime(#[expect(dead_code, reason = "its end is what counts")] Sender<()>);

impl Lifetime {
    /// Calls `kill` unless the value goes within `limit`.
    pub(super) fn start(limit: Duration, kill: impl FnOnce() + Send + 'static) -> Self {
        let (held, gone) = mpsc::channel();
        thread::spawn(move || {
            if gone.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                kill();
            }
        });
        Self(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn only_what_stays_too_long_is_killed() {
        let (killed, told) = channel();
        let also_killed = killed.clone();
        let stays = Lifetime::start(Duration::from_millis(1), move || killed.send("stays").expect("told"));
        drop(Lifetime::start(Duration::from_secs(3600), move || also_killed.send("goes").expect("told")));
        assert_eq!(told.recv(), Ok("stays"));
        assert!(told.recv().is_err(), "both have ended, and one of them without a kill");
        drop(stays);
    }
}
