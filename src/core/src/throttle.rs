//! How much of what somebody does too often is written down: the first few one by one, the rest as a number.
//!
//! Each user has a window of time. The first refusals of a window get a row each, those after them are counted and
//! get one row together when the window ends. Who goes on gets windows that are twice as long each time, so that a
//! flood of a day leaves a few hundred rows.

use std::collections::BTreeMap;

/// Refusals of one window that get a row of their own.
pub const ROWS: u32 = 10;
/// The first window, in microseconds.
pub const SHORTEST_US: i64 = 60 * 1_000_000;
/// The longest window, in microseconds.
pub const LONGEST_US: i64 = 60 * 60 * 1_000_000;
/// Users with a window at a time; those who come later share one.
const MAX_USERS: usize = 256;
/// The key of the shared window.
const EVERYBODY: u32 = u32::MAX;

/// What is held back of each user. `T` is what is known of one refusal.
#[derive(Debug)]
pub struct Throttle<T> {
    windows: BTreeMap<u32, Window<T>>,
}

#[derive(Debug)]
struct Window<T> {
    begun_us: i64,
    length_us: i64,
    written: u32,
    held: Option<Held<T>>,
    overflowed: bool,
}

/// What was counted and not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held<T> {
    /// The first of them.
    pub first: T,
    /// The last of them.
    pub last: T,
    /// How many.
    pub count: u64,
}

impl<T> Default for Throttle<T> {
    fn default() -> Self {
        Self { windows: BTreeMap::new() }
    }
}

impl<T: Clone> Throttle<T> {
    /// Takes one refusal of a user: answers it when it is to be written now, else keeps it. Take what is due first.
    pub fn offer(&mut self, uid: u32, now_us: i64, what: T) -> Option<T> {
        self.forget(now_us);
        let key = if self.windows.len() < MAX_USERS || self.windows.contains_key(&uid) { uid } else { EVERYBODY };
        let window = self.windows.entry(key).or_insert_with(|| Window::begin(now_us, SHORTEST_US));
        if window.has_ended(now_us) {
            let length = if window.overflowed { window.length_us.saturating_mul(2).min(LONGEST_US) } else { SHORTEST_US };
            *window = Window::begin(now_us, length);
        }
        window.take(what)
    }

    /// What was held back in windows that have ended; with `all` also in those that have not.
    pub fn due(&mut self, now_us: i64, all: bool) -> Vec<Held<T>> {
        let ended = self.windows.values_mut().filter(|window| all || window.has_ended(now_us));
        ended.filter_map(|window| window.held.take()).collect()
    }

    /// When the next window with something held back ends.
    #[must_use]
    pub fn next_due_us(&self) -> Option<i64> {
        self.windows.values().filter(|window| window.held.is_some()).map(Window::end_us).min()
    }

    /// A window is remembered for its length once more, so that who goes on is known.
    fn forget(&mut self, now_us: i64) {
        self.windows.retain(|_, window| window.held.is_some() || now_us < window.end_us().saturating_add(window.length_us));
    }
}

impl<T: Clone> Window<T> {
    const fn begin(now_us: i64, length_us: i64) -> Self {
        Self { begun_us: now_us, length_us, written: 0, held: None, overflowed: false }
    }

    const fn end_us(&self) -> i64 {
        self.begun_us.saturating_add(self.length_us)
    }

    const fn has_ended(&self, now_us: i64) -> bool {
        now_us >= self.end_us()
    }

    fn take(&mut self, what: T) -> Option<T> {
        if self.written < ROWS {
            self.written += 1;
            return Some(what);
        }
        self.overflowed = true;
        match &mut self.held {
            Some(held) => {
                held.last = what;
                held.count += 1;
            }
            None => self.held = Some(Held { first: what.clone(), last: what, count: 1 }),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_are_written_and_the_rest_counted() {
        let mut throttle = Throttle::default();
        let written = (0..1000).filter(|n| throttle.offer(7, *n, *n).is_some()).count();
        assert_eq!(written, 10);
        assert_eq!(throttle.next_due_us(), Some(SHORTEST_US));
        assert!(throttle.due(SHORTEST_US - 1, false).is_empty());
        assert_eq!(throttle.due(SHORTEST_US, false), [Held { first: 10, last: 999, count: 990 }]);
        assert_eq!(throttle.next_due_us(), None);
        // Another user has a window of their own.
        assert!(throttle.offer(8, 1000, 0).is_some());
    }

    #[test]
    fn a_flood_of_a_day_leaves_a_few_hundred_rows() {
        let mut throttle = Throttle::default();
        let (mut rows, mut counted) = (0, 0);
        for second in 0..86_400_i64 {
            for _ in 0..20 {
                let now = second * 1_000_000;
                for held in throttle.due(now, false) {
                    (rows, counted) = (rows + 1, counted + held.count);
                }
                if throttle.offer(7, now, ()).is_some() {
                    (rows, counted) = (rows + 1, counted + 1);
                }
            }
        }
        counted += throttle.due(0, true).iter().map(|held| held.count).sum::<u64>();
        assert!((100..400).contains(&rows), "{rows}");
        assert_eq!(counted, 86_400 * 20);
    }

    #[test]
    fn users_without_number_take_bounded_memory() {
        let mut throttle = Throttle::default();
        for uid in 0..100_000 {
            throttle.offer(uid, 1, uid);
        }
        assert!(throttle.windows.len() <= MAX_USERS + 1, "{}", throttle.windows.len());
        // Later they are forgotten.
        throttle.due(SHORTEST_US * 3, false);
        throttle.offer(1, SHORTEST_US * 3, 1);
        assert_eq!(throttle.windows.len(), 1);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(calls in prop::collection::vec((0_u32..4, 0_i64..40_000_000), 0..300)) {
            let mut throttle = Throttle::default();
            let (mut now, mut seen) = (0, 0);
            for (uid, pause) in &calls {
                now += pause;
                seen += throttle.due(now, false).iter().map(|held| held.count).sum::<u64>();
                seen += u64::from(throttle.offer(*uid, now, ()).is_some());
            }
            seen += throttle.due(now, true).iter().map(|held| held.count).sum::<u64>();
            prop_assert_eq!(seen, calls.len() as u64);
        }
    }
}
