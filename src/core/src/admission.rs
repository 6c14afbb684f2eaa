//! Admission: how often one user may call, how many calls may be under way, and how fast one user may make the record
//! grow, from which nothing is ever deleted.
//!
//! root is always let in: a flood of others must not keep an administrator out. Time is any clock that never goes back.

use std::collections::BTreeMap;

use crate::limits::Limits;
use crate::{ErrorCode, Failure};

/// Calls that were saved up, at most, as a multiple of the calls of a second.
const BURST: i64 = 4;
/// One call, in parts of a call.
const CALL: i64 = 1_000_000;

/// An hour, in microseconds.
const HOUR_US: i128 = 3_600_000_000;

/// Who is in, and who called how often.
#[derive(Debug)]
pub struct Admission {
    limits: Limits,
    users: BTreeMap<u32, User>,
    under_way: u32,
    writers: BTreeMap<u32, Writer>,
}

/// What a user has put into the record lately.
#[derive(Debug, Clone, Copy)]
struct Writer {
    bytes: i64,
    counted_us: i64,
}

#[derive(Debug)]
struct User {
    /// Parts of calls that are left.
    left: i64,
    filled_us: i64,
    under_way: u32,
}

impl Admission {
    /// Nobody is in.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self { limits, users: BTreeMap::new(), under_way: 0, writers: BTreeMap::new() }
    }

    /// Lets a call in, or refuses it as `request.throttled`. Each call that was let in leaves once.
    pub fn enter(&mut self, uid: u32, now_us: i64) -> Result<(), Failure> {
        if uid == 0 {
            return Ok(());
        }
        let rate = i64::from(self.limits.calls_per_second);
        let full = rate * BURST * CALL;
        if !self.users.contains_key(&uid) {
            self.users.retain(|_, user| user.under_way > 0 || user.filled(rate, full, now_us) < full);
        }
        let user = self.users.entry(uid).or_insert(User { left: full, filled_us: now_us, under_way: 0 });
        user.left = user.filled(rate, full, now_us);
        user.filled_us = now_us;
        if user.left < CALL {
            return refused(format!("more than {rate} calls a second of this user"));
        }
        user.left -= CALL;
        if user.under_way >= self.limits.calls_at_once_per_user {
            return refused(format!("{} calls of this user are under way already", user.under_way));
        }
        if self.under_way >= self.limits.calls_at_once {
            return refused(format!("{} calls are under way already", self.under_way));
        }
        user.under_way += 1;
        self.under_way += 1;
        Ok(())
    }

    /// Whether a user may put one more request into the record; refused as `request.throttled`.
    pub fn may_write(&self, uid: u32, now_us: i64) -> Result<(), Failure> {
        let rate = self.hourly();
        let written = self.writers.get(&uid).map_or(0, |writer| writer.left(rate, now_us));
        if uid == 0 || written < rate {
            return Ok(());
        }
        refused(format!("this user's requests and their plans have put {written} bytes into the record; {rate} an hour at most"))
    }

    /// Counts what a user's request or its plan put there. A plan may go beyond the limit: it is known when it is made.
    pub fn wrote(&mut self, uid: u32, bytes: u64, now_us: i64) {
        let rate = self.hourly();
        self.writers.retain(|_, writer| writer.left(rate, now_us) > 0);
        let writer = self.writers.entry(uid).or_insert(Writer { bytes: 0, counted_us: now_us });
        let left = writer.left(rate, now_us);
        *writer = Writer { bytes: left.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX)), counted_us: now_us };
    }

    fn hourly(&self) -> i64 {
        i64::try_from(self.limits.record_bytes_per_hour).unwrap_or(i64::MAX)
    }

    /// A call that was let in has its answer.
    pub fn leave(&mut self, uid: u32) {
        if let Some(user) = self.users.get_mut(&uid).filter(|user| user.under_way > 0) {
            user.under_way -= 1;
            self.under_way -= 1;
        }
    }
}

impl User {
    /// With what came in since it was looked at last: one part a microsecond and call of a second.
    fn filled(&self, rate: i64, full: i64, now_us: i64) -> i64 {
        let waited = now_us.saturating_sub(self.filled_us).max(0);
        self.left.saturating_add(waited.saturating_mul(rate)).min(full)
    }
}

impl Writer {
    /// Bytes that still count: what was written is forgotten by so much an hour.
    fn left(&self, rate: i64, now_us: i64) -> i64 {
        let waited = i128::from(now_us.saturating_sub(self.counted_us).max(0));
        let forgotten = waited.saturating_mul(i128::from(rate)) / HOUR_US;
        i64::try_from(i128::from(self.bytes).saturating_sub(forgotten)).unwrap_or(0).max(0)
    }
}

fn refused(text: String) -> Result<(), Failure> {
    Err(Failure::new(ErrorCode::RequestThrottled, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Admission {
        Admission::new(Limits { calls_per_second: 10, calls_at_once_per_user: 3, calls_at_once: 5, ..Limits::default() })
    }

    /// Calls that are answered at once.
    fn calls(admission: &mut Admission, uid: u32, number: u32, now_us: i64) -> usize {
        (0..number).filter(|_| admission.enter(uid, now_us).map(|()| admission.leave(uid)).is_ok()).count()
    }

    #[test]
    fn a_user_has_a_rate_and_others_are_not_held_back_by_it() {
        let mut admission = admission();
        assert_eq!(calls(&mut admission, 1000, 5000, 0), 40);
        assert_eq!(calls(&mut admission, 1001, 5, 0), 5);
        assert_eq!(calls(&mut admission, 0, 5000, 0), 5000);
        assert_eq!(calls(&mut admission, 1000, 5000, 500_000), 5);
        assert_eq!(calls(&mut admission, 1000, 5000, 3_600_000_000), 40);
        // A clock that went back gives nothing.
        assert_eq!(calls(&mut admission, 1000, 5000, 0), 0);
    }

    #[test]
    fn calls_under_way_are_bounded_for_one_and_for_all() {
        let mut admission = admission();
        let entered = |admission: &mut Admission, uid| (0..9).filter(|_| admission.enter(uid, 0).is_ok()).count();
        assert_eq!([entered(&mut admission, 1), entered(&mut admission, 2), entered(&mut admission, 3)], [3, 2, 0]);
        admission.leave(1);
        assert_eq!(entered(&mut admission, 3), 1);
        // Who was not let in leaves nothing behind.
        admission.leave(9);
        assert_eq!(admission.under_way, 5);
        assert_eq!(admission.enter(1, 0).expect_err("full").code, ErrorCode::RequestThrottled);
    }

    #[test]
    fn the_record_grows_by_so_much_an_hour_and_user() {
        let mut admission = Admission::new(Limits { record_bytes_per_hour: 3_600, ..Limits::default() });
        let second = 1_000_000;
        let wrote = |admission: &mut Admission, uid, now| {
            (0..9).filter(|_| admission.may_write(uid, now).map(|()| admission.wrote(uid, 1_000, now)).is_ok()).count()
        };
        assert_eq!([wrote(&mut admission, 1000, 0), wrote(&mut admission, 1001, 0), wrote(&mut admission, 0, 0)], [4, 4, 9]);
        assert_eq!(admission.may_write(1000, 400 * second).expect_err("full").code, ErrorCode::RequestThrottled);
        assert_eq!([wrote(&mut admission, 1000, 401 * second), wrote(&mut admission, 1000, 1400 * second)], [1, 0]);
        // A plan is counted when it is there, however large it is.
        admission.wrote(1001, 1 << 40, 4_000 * second);
        assert!(admission.may_write(1001, 3_600 * 24 * second).is_err());
        // Who stays away is forgotten.
        admission.wrote(7, 1, 3_600 * 24 * second);
        assert_eq!(admission.writers.keys().collect::<Vec<_>>(), [&7, &1001]);
    }

    #[test]
    fn users_who_stay_away_are_forgotten() {
        let mut admission = admission();
        for uid in 1..5000 {
            calls(&mut admission, uid, 1, i64::from(uid) * 1_000_000);
        }
        assert!(admission.users.len() < 10, "{}", admission.users.len());
    }
}
