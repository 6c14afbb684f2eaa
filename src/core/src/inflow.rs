//! Inflow: how many messages of one sender, and of one user, are taken off the bus at all.
//!
//! [`crate::admission`] bounds the calls that are served. This bounds what lies in memory before anybody knows who called, and
//! what a flood costs, whatever it calls. So it knows no methods, and it is some times as wide. root is always let in, once
//! it is known to be root. Time is any clock that never goes back.

use std::collections::{BTreeMap, HashMap};

use crate::limits::Limits;
use crate::{ErrorCode, Failure};

/// Calls of a sender that are let in before it is known whose they are.
const OF_STRANGER: u32 = 32;
/// The same of short calls, so that no long ones keep others' short ones out.
const SHORT_OF_STRANGERS: usize = 2 << 20;
/// Bytes of a header at most.
const HEADER: usize = 16 << 10;
/// Bytes of a call that nobody minds until the next one.
const SHORT: usize = 1024;
/// Senders remembered at a time.
const REMEMBERED: usize = 4096;
/// Messages of a second, as a multiple of the calls that a user may have served: properties are read by messages, too.
const MESSAGES: i64 = 4;
/// Seconds of messages that are saved up. Of bytes it is one: what lies in memory is what they are for.
const BURST: i64 = 4;
/// A microsecond's share of one.
const ONE: i64 = 1_000_000;

/// Who sent how much lately.
#[derive(Debug)]
pub struct Inflow {
    messages: i64,
    bytes: i64,
    senders: HashMap<String, Sender>,
    users: BTreeMap<u32, User>,
    /// Of strangers, at most.
    strangers: [usize; 2],
    /// Of strangers, in memory.
    waiting: [usize; 2],
}

#[derive(Debug, Clone, Copy)]
enum Sender {
    /// Bytes of its short calls, and of its long ones.
    Stranger {
        calls: u32,
        bytes: [usize; 2],
    },
    Known(u32),
}

#[derive(Debug)]
struct User {
    messages: i64,
    bytes: i64,
    filled_us: i64,
}

/// What is to be done when a message is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Nothing.
    Open,
    /// Somebody has to ask whose it is, and say so by [`Inflow::learn`]: its call was not one for which that is asked anyway.
    Ask,
}

impl Inflow {
    /// Nobody has sent anything.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let messages = i64::from(limits.calls_per_second).saturating_mul(MESSAGES);
        // One request of the longest sort: each user's in a second, and all strangers' together.
        let longest = (limits.request_bytes as usize).saturating_add(HEADER);
        let bytes = i64::try_from(longest).unwrap_or(i64::MAX);
        Self { messages, bytes, senders: HashMap::new(), users: BTreeMap::new(), strangers: [SHORT_OF_STRANGERS, longest], waiting: [0; 2] }
    }

    /// Lets a message in, or refuses it as `request.throttled`.
    pub fn enter(&mut self, sender: &str, bytes: usize, now_us: i64) -> Result<Entry, Failure> {
        match self.senders.get(sender).copied() {
            Some(Sender::Known(0)) => Ok(Entry::Open),
            Some(Sender::Known(uid)) => self.enter_known(uid, bytes, now_us).map(|()| Entry::Open),
            Some(Sender::Stranger { calls, bytes: before }) => self.enter_unknown(sender, (calls, before), bytes),
            None => {
                self.make_room();
                self.enter_unknown(sender, (0, [0; 2]), bytes)
            }
        }
    }

    /// Says whose a sender is. What it has sent is served or refused from now on, and waits no more.
    pub fn learn(&mut self, sender: &str, uid: u32) {
        if !self.senders.contains_key(sender) {
            self.make_room();
        }
        if let Some(Sender::Stranger { bytes, .. }) = self.senders.insert(sender.to_owned(), Sender::Known(uid)) {
            self.done(bytes);
        }
    }

    /// Forgets a sender of whom nobody can say whose it is.
    pub fn forget(&mut self, sender: &str) {
        if let Some(Sender::Stranger { bytes, .. }) = self.senders.remove(sender) {
            self.done(bytes);
        }
    }

    /// Whether it is known whose a sender is.
    #[must_use]
    pub fn knows(&self, sender: &str) -> bool {
        matches!(self.senders.get(sender), Some(Sender::Known(_)))
    }

    fn done(&mut self, bytes: [usize; 2]) {
        self.waiting = [0, 1].map(|sort| self.waiting[sort].saturating_sub(bytes[sort]));
    }

    fn enter_unknown(&mut self, sender: &str, (calls, mut before): (u32, [usize; 2]), bytes: usize) -> Result<Entry, Failure> {
        if calls >= OF_STRANGER {
            return refused(format!("{calls} calls before it was known whose they are"));
        }
        let sort = usize::from(bytes > SHORT);
        if self.waiting[sort].saturating_add(bytes) > self.strangers[sort] {
            return refused("too much is sent by callers of whom it is not known who they are; try again".to_owned());
        }
        self.waiting[sort] += bytes;
        before[sort] += bytes;
        self.senders.insert(sender.to_owned(), Sender::Stranger { calls: calls + 1, bytes: before });
        Ok(if calls == 1 || bytes > SHORT { Entry::Ask } else { Entry::Open })
    }

    fn enter_known(&mut self, uid: u32, bytes: usize, now_us: i64) -> Result<(), Failure> {
        let (messages, of_bytes) = (self.messages, self.bytes);
        if !self.users.contains_key(&uid) {
            self.users.retain(|_, user| !user.is_full(messages, of_bytes, now_us));
        }
        let user = self.users.entry(uid).or_insert_with(|| User::full(messages, of_bytes, now_us));
        user.fill(messages, of_bytes, now_us);
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX).saturating_mul(ONE);
        if user.messages < ONE {
            return refused(format!("more than {messages} messages a second of this user"));
        }
        if user.bytes < bytes {
            return refused(format!("more than {of_bytes} bytes a second of this user"));
        }
        user.messages -= ONE;
        user.bytes -= bytes;
        Ok(())
    }

    /// Senders come and go, and nobody says when: what is known of them is asked again.
    fn make_room(&mut self) {
        if self.senders.len() >= REMEMBERED {
            self.senders.clear();
            self.waiting = [0; 2];
        }
    }
}

impl User {
    const fn full(messages: i64, bytes: i64, now_us: i64) -> Self {
        Self { messages: messages.saturating_mul(BURST * ONE), bytes: bytes.saturating_mul(ONE), filled_us: now_us }
    }

    fn fill(&mut self, messages: i64, bytes: i64, now_us: i64) {
        let waited = now_us.saturating_sub(self.filled_us).max(0);
        let filled = |left: i64, rate: i64, most: i64| left.saturating_add(waited.saturating_mul(rate)).min(rate.saturating_mul(most));
        self.messages = filled(self.messages, messages, BURST * ONE);
        self.bytes = filled(self.bytes, bytes, ONE);
        self.filled_us = now_us;
    }

    fn is_full(&mut self, messages: i64, bytes: i64, now_us: i64) -> bool {
        self.fill(messages, bytes, now_us);
        self.messages >= messages.saturating_mul(BURST * ONE) && self.bytes >= bytes.saturating_mul(ONE)
    }
}

fn refused<T>(text: String) -> Result<T, Failure> {
    Err(Failure::new(ErrorCode::RequestThrottled, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inflow() -> Inflow {
        Inflow::new(&Limits { calls_per_second: 10, request_bytes: 1000, ..Limits::default() })
    }

    fn let_in(inflow: &mut Inflow, sender: &str, number: usize, bytes: usize, now_us: i64) -> usize {
        (0..number).filter(|_| inflow.enter(sender, bytes, now_us).is_ok()).count()
    }

    #[test]
    fn a_stranger_has_a_few_calls_and_strangers_a_few_bytes() {
        let mut inflow = inflow();
        assert_eq!([1, 2, 3].map(|_| inflow.enter(":1.1", 10, 0)), [Ok(Entry::Open), Ok(Entry::Ask), Ok(Entry::Open)]);
        assert_eq!(let_in(&mut inflow, ":1.1", 100, 10, 0), 29);
        assert_eq!(inflow.enter(":1.2", 2000, 0), Ok(Entry::Ask));
        assert_eq!(let_in(&mut inflow, ":1.2", 100, 2000, 0), 7);
        assert_eq!(let_in(&mut inflow, ":1.3", 100, 2000, 0), 0);
        assert_eq!(let_in(&mut inflow, ":1.3", 100, 100, 0), 32);
        // Who is known makes room for others.
        inflow.learn(":1.2", 7);
        assert_eq!(let_in(&mut inflow, ":1.4", 100, 2000, 0), 8);
        inflow.forget(":1.4");
        assert_eq!(let_in(&mut inflow, ":1.5", 100, 2000, 0), 8);
    }

    #[test]
    fn a_user_has_a_rate_over_all_connections_and_root_has_none() {
        let mut inflow = inflow();
        for (sender, uid) in [(":1.1", 7), (":1.2", 7), (":1.3", 8), (":1.4", 0)] {
            inflow.learn(sender, uid);
            assert!(inflow.knows(sender));
        }
        assert_eq!(let_in(&mut inflow, ":1.1", 1000, 1, 0), 160);
        assert_eq!(let_in(&mut inflow, ":1.2", 1000, 1, 0), 0);
        assert_eq!(let_in(&mut inflow, ":1.3", 1000, 1, 0), 160);
        assert_eq!(let_in(&mut inflow, ":1.4", 1000, 1 << 20, 0), 1000);
        assert_eq!(let_in(&mut inflow, ":1.2", 1000, 1, 500_000), 20);
    }

    #[test]
    fn a_user_has_a_rate_of_bytes() {
        let mut inflow = inflow();
        inflow.learn(":1.1", 7);
        assert_eq!(let_in(&mut inflow, ":1.1", 1, 1000 + HEADER, 0), 1, "one of the longest sort");
        assert_eq!(let_in(&mut inflow, ":1.1", 100, 10, 0), 0);
        assert_eq!(let_in(&mut inflow, ":1.1", 100, 8000, 1_000_000), 2);
        assert_eq!(let_in(&mut inflow, ":1.1", 100, 8000, 9_000_000), 2, "no more is saved up");
    }

    #[test]
    fn what_is_remembered_has_an_end() {
        let mut inflow = inflow();
        for number in 0..3 * REMEMBERED {
            drop(inflow.enter(&format!(":1.{number}"), 5000, 0));
        }
        assert!(inflow.senders.len() <= REMEMBERED && inflow.waiting[1] <= 1000 + HEADER);
    }
}
