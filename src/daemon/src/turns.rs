//! Turns at what is expensive and asked for by everybody: planning.
//!
//! Purpose: no user's questions make others wait: a user has two at a time, all users together four, and root four of
//! its own. Waiting is first come, first served. Absent on purpose: how many may wait, which admission bounds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use backstep_core::{ErrorCode, Failure};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::lock::lock;

/// At a time for all users, and again for root; the socket that starts planners takes both.
const TOGETHER: usize = 4;
/// At a time for one user.
const EACH: usize = 2;

/// See the module.
#[derive(Debug)]
pub struct Turns {
    users: Arc<Semaphore>,
    root: Arc<Semaphore>,
    each: Mutex<BTreeMap<u32, Weak<Semaphore>>>,
}

/// The right to have one question answered, until it goes.
#[derive(Debug)]
pub struct Turn {
    _together: OwnedSemaphorePermit,
    _own: Option<OwnedSemaphorePermit>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { users: Arc::new(Semaphore::new(TOGETHER)), root: Arc::new(Semaphore::new(TOGETHER)), each: Mutex::default() }
    }
}

impl Turns {
    /// Waits for a turn of this user's.
    pub async fn take(&self, uid: u32) -> Result<Turn, Failure> {
        if uid == 0 {
            return Ok(Turn { _together: permit(&self.root).await?, _own: None });
        }
        // The user's own first: who waits for it must not hold what others wait for.
        let own = permit(&self.of(uid)).await?;
        Ok(Turn { _together: permit(&self.users).await?, _own: Some(own) })
    }

    /// The user's own turns; forgotten when nobody uses or waits for one.
    fn of(&self, uid: u32) -> Arc<Semaphore> {
        let mut each = lock(&self.each);
        each.retain(|_, turns| turns.strong_count() > 0);
        if let Some(turns) = each.get(&uid).and_then(Weak::upgrade) {
            return turns;
        }
        let turns = Arc::new(Semaphore::new(EACH));
        each.insert(uid, Arc::downgrade(&turns));
        turns
    }
}

async fn permit(turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Failure> {
    Arc::clone(turns).acquire_owned().await.map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// A turn that is there at once.
    fn at_once(turns: &Turns, uid: u32) -> Option<Turn> {
        match pin!(turns.take(uid)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn.expect("turn")),
            Poll::Pending => None,
        }
    }

    #[test]
    fn who_asks_much_waits_for_oneself() {
        let turns = Turns::default();
        let first = at_once(&turns, 1000).expect("first");
        let _second = at_once(&turns, 1000).expect("second");
        assert!(at_once(&turns, 1000).is_none(), "a third of one user's");
        let _others: Vec<Turn> = [1001, 1002].map(|uid| at_once(&turns, uid).expect("another user's")).into();
        assert!(at_once(&turns, 1003).is_none(), "a fifth of all users'");
        let _root: Vec<Turn> = [0; 4].map(|uid| at_once(&turns, uid).expect("root's")).into();
        assert!(at_once(&turns, 0).is_none(), "a fifth of root's");
        drop(first);
        assert!(at_once(&turns, 1000).is_some(), "one has gone");
        assert!(at_once(&turns, 1003).is_some(), "that one, too");
    }

    #[test]
    fn users_who_have_nothing_are_forgotten() {
        let turns = Turns::default();
        drop(at_once(&turns, 1000));
        let _held = at_once(&turns, 1001);
        assert_eq!(lock(&turns.each).keys().copied().collect::<Vec<_>>(), [1001]);
    }
}
