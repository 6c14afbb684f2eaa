//! Files that their owner has a lease on: whoever opens one waits until the owner lets go, or the kernel takes the lease away.
//!
//! An open that does not wait tells the owner too, so asking again and again is the same as waiting, and can be given up.
//! How long is waited is bounded for all files of a process together: an owner with a thousand of them costs no more.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustix::io::{Errno, Result};

/// What all waiting of this process shares. Who lets go at all does so in milliseconds; the kernel takes 45 seconds.
pub(crate) static PATIENCE: Patience = Patience::of(3000);

const PAUSE: u64 = 20;

/// How long may still be waited, in milliseconds.
pub(crate) struct Patience(AtomicU64);

impl Patience {
    const fn of(milliseconds: u64) -> Self {
        Self(AtomicU64::new(milliseconds))
    }

    /// Opens without waiting, again until it is possible or nothing is left to wait.
    pub(crate) fn open<T>(&self, open: impl Fn() -> Result<T>) -> Result<T> {
        loop {
            match open() {
                Err(Errno::AGAIN) if self.is_left() => thread::sleep(Duration::from_millis(PAUSE)),
                opened => return opened,
            }
        }
    }

    fn is_left(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(PAUSE)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn all_waiting_together_is_bounded() {
        let (patience, asked) = (Patience::of(3 * PAUSE), Cell::new(0));
        let refuse_but = |at: u32| {
            asked.set(asked.get() + 1);
            if asked.get() == at { Ok(at) } else { Err(Errno::AGAIN) }
        };
        assert_eq!(patience.open(|| refuse_but(3)), Ok(3), "let go meanwhile");
        assert_eq!(patience.open(|| refuse_but(0)), Err(Errno::AGAIN));
        assert_eq!(asked.get(), 5, "one wait was left");
        assert_eq!(patience.open(|| refuse_but(0)), Err(Errno::AGAIN));
        assert_eq!(asked.get(), 6, "none was left");
    }
}
