//! Back-off: work that failed is left alone for a while by those who come unasked, longer with every failure in a row.
//!
//! Purpose: what is backed off, for how long, and whom that holds back. Invariants: a subject and a process have one
//! back-off at a time; success ends those that failures set; a person's request is warned and never refused; time within
//! one boot is the monotonic clock's, so that a clock that is set neither ends a back-off early nor makes it longer.
//! Absent on purpose: the clock, and chance; jitter comes from the transaction's own random id.

use std::fmt;
use std::str::FromStr;

use crate::actor::Origin;
use crate::id::{Stamp, TransactionId};
use crate::package::PackageName;
use crate::request::Kind;
use crate::{ErrorCode, Failure};

const MINUTE_US: i64 = 60 * 1_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;
/// After the first failure.
const FIRST_US: i64 = HOUR_US;
/// After any number of them.
const LONGEST_US: i64 = 7 * 24 * HOUR_US;
/// The longest that a person may ask for.
pub const LONGEST_ASKED_US: i64 = 366 * 24 * HOUR_US;
/// Back-offs that may be active at a time, by hand.
pub const MAX_LIVE: usize = 1_000;

/// What is left alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// `*`: every package; the whole system.
    Everything,
    /// One package, whatever its architecture.
    Package(PackageName),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.pad("*"),
            Self::Package(name) => name.fmt(f),
        }
    }
}

impl FromStr for Subject {
    type Err = Failure;
    fn from_str(text: &str) -> Result<Self, Failure> {
        match text {
            "*" => Ok(Self::Everything),
            name => name.parse().map(Self::Package).map_err(|error| Failure::new(ErrorCode::RequestMalformed, format!("{error}"))),
        }
    }
}

/// What is not done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Process {
    /// `*`: anything.
    Any,
    /// Transactions of this kind.
    Of(Kind),
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.pad("*"),
            Self::Of(kind) => kind.fmt(f),
        }
    }
}

impl FromStr for Process {
    type Err = Failure;
    fn from_str(text: &str) -> Result<Self, Failure> {
        match text {
            "*" => Ok(Self::Any),
            kind => kind.parse().map(Self::Of).map_err(|error| Failure::new(ErrorCode::RequestMalformed, format!("{error}"))),
        }
    }
}

impl Process {
    /// Whether a transaction of this kind is such work. What brings packages to later versions is one sort of work,
    /// under whatever name.
    #[must_use]
    pub fn covers(self, kind: Kind) -> bool {
        let upgrades = |kind| matches!(kind, Kind::Update | Kind::Upgrade | Kind::FullUpgrade);
        match self {
            Self::Any => true,
            Self::Of(own) => own == kind || (upgrades(own) && upgrades(kind)),
        }
    }
}

/// A back-off of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    /// Its number, from 1.
    pub number: u64,
    /// What is left alone.
    pub subject: Subject,
    /// What is not done to it.
    pub process: Process,
    /// Failures in a row that led to it; 0 when a person set it.
    pub failures: u32,
    /// The last of them.
    pub cause: Option<Failure>,
    /// The transaction that failed.
    pub transaction: Option<TransactionId>,
    /// Why, in the words of the person who set it; empty when a failure did.
    pub comment: String,
    /// Who set it, or asked for what failed.
    pub uid: u32,
    /// Their name at that time.
    pub user: String,
    /// Since when.
    pub set: Stamp,
    /// Until when, microseconds since 1970 in UTC.
    pub until_us: i64,
    /// When it was ended before its time.
    pub ended: Option<Stamp>,
}

/// What a person has left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBackoff {
    /// What.
    pub subject: Subject,
    /// Which work.
    pub process: Process,
    /// Until when, microseconds since 1970 in UTC.
    pub until_us: i64,
}

impl Backoff {
    /// How long it still holds, microseconds; 0 when it does not. Within its boot by the monotonic clock; after another
    /// boot by the other, and never longer than it was set for.
    #[must_use]
    pub fn remaining_us(&self, now: Stamp) -> i64 {
        let whole = self.until_us - self.set.utc_us;
        let left = if now.boot == self.set.boot { whole - (now.monotonic_us - self.set.monotonic_us) } else { self.until_us - now.utc_us };
        if self.ended.is_some() { 0 } else { left.clamp(0, whole.max(0)) }
    }

    /// Whether the clock was set back over a boot, so that time cannot be counted from when it was set.
    #[must_use]
    pub fn is_from_the_future(&self, now: Stamp) -> bool {
        now.boot != self.set.boot && now.utc_us < self.set.utc_us
    }

    /// For people: what failed how often and how long that counts.
    #[must_use]
    pub fn told(&self, now: Stamp) -> String {
        let left = span(self.remaining_us(now));
        match &self.cause {
            Some(cause) if self.failures > 1 => {
                format!("{} failures in a row, the last with {}; for another {left}", self.failures, cause.code)
            }
            Some(cause) => format!("it failed with {}; for another {left}", cause.code),
            None => format!("{}; for another {left}", self.comment),
        }
    }
}

/// A length of time for people.
fn span(us: i64) -> String {
    match us {
        ..HOUR_US => format!("{} min", (us + MINUTE_US - 1) / MINUTE_US),
        HOUR_US..172_800_000_000 => format!("{} h", (us + HOUR_US - 1) / HOUR_US),
        _ => format!("{} days", us / (24 * HOUR_US)),
    }
}

/// Whether a transaction that ended with this says that its work is better left alone for a while. What people or the
/// machine stopped does not.
#[must_use]
pub const fn counts(code: ErrorCode) -> bool {
    !matches!(
        code,
        ErrorCode::Cancelled
            | ErrorCode::Expired
            | ErrorCode::PlanStale
            | ErrorCode::PlanMismatch
            | ErrorCode::LockBusy
            | ErrorCode::WorkerLost
            | ErrorCode::WorkerFailed
    )
}

/// How long work is left alone after so many failures in a row: an hour, doubled with each, a week at most. Twice that
/// when something had been changed and was undone. Up to a tenth more or less, by the transaction's own chance, so that
/// many machines that failed together do not come back together.
#[must_use]
pub fn delay_us(failures: u32, was_undone: bool, transaction: TransactionId) -> i64 {
    let doubled = failures.saturating_sub(1).saturating_add(u32::from(was_undone)).min(20);
    let plain = FIRST_US.saturating_mul(1 << doubled).min(LONGEST_US);
    let chance =
        transaction.to_string().bytes().rev().take(4).fold(0_i64, |sum, b| sum * 16 + i64::from(char::from(b).to_digit(16).unwrap_or(0)));
    plain + (plain / 10) * (chance % 201 - 100) / 100
}

/// What a failed transaction touched, and what is known of why it failed.
#[derive(Debug, Clone, Default)]
pub struct Failed<'a> {
    /// The names of its packages.
    pub items: Vec<&'a str>,
    /// Among them those that somebody asked for.
    pub requested: Vec<&'a str>,
    /// Packages that were left half done on the way.
    pub halves: Vec<&'a str>,
    /// The error's text.
    pub text: &'a str,
}

/// The packages to blame: those that were left half done, else those that the error names, else the only one, else those
/// that were asked for. Nobody's fault in particular is everything's: one subject `*`.
#[must_use]
pub fn culprits<'a>(failed: &Failed<'a>) -> Vec<&'a str> {
    let named = || failed.items.iter().copied().filter(|name| names(failed.text, name)).collect::<Vec<_>>();
    let only = || if failed.items.len() == 1 { failed.items.clone() } else { failed.requested.clone() };
    let found = [failed.halves.clone(), named(), only()].into_iter().find(|names| !names.is_empty());
    let mut found = found.unwrap_or_else(|| vec!["*"]);
    found.sort_unstable();
    found.dedup();
    found
}

/// Whether a text has a name as a whole word.
fn names(text: &str, name: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || "+-".contains(c));
        !before.ends_with(part) && ends(after)
    })
}

/// What back-offs mean for a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// Packages that a request for the whole system leaves out.
    pub leave_out: Vec<PackageName>,
    /// For the plan: what is left out, or what a person should know.
    pub warnings: Vec<String>,
}

/// What the active back-offs mean for a request of this kind that names these packages. A timer's is refused as
/// `backoff.active` when what it is for is backed off, and leaves packages out that it does not name; others are warned.
pub fn held(active: &[Backoff], (kind, origin): (Kind, Origin), named: &[PackageName], now: Stamp) -> Result<Held, Failure> {
    let mut held = Held::default();
    let covering = active.iter().filter(|backoff| backoff.remaining_us(now) > 0 && backoff.process.covers(kind));
    for backoff in covering {
        let told = backoff.told(now);
        let is_target = match &backoff.subject {
            Subject::Everything => true,
            Subject::Package(name) => named.contains(name),
        };
        match (&backoff.subject, origin == Origin::Timer) {
            (subject, true) if is_target => {
                let what = if *subject == Subject::Everything { format!("{kind} of the system") } else { format!("{kind} {subject}") };
                return Err(Failure::new(ErrorCode::BackoffActive, format!("{what} is backed off: {told}")));
            }
            (Subject::Package(name), true) => {
                held.leave_out.push(name.clone());
                held.warnings.push(format!("left out, because {name} is backed off: {told}"));
            }
            (subject, false) if is_target => held.warnings.push(format!("{subject} is backed off for what runs unattended: {told}")),
            (Subject::Everything | Subject::Package(_), _) => {}
        }
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BootId;

    fn stamp(us: i64, boot: u8) -> Stamp {
        Stamp { utc_us: 1_000_000_000 + us, monotonic_us: us, boot: BootId([boot; 16]) }
    }

    fn id(end: &str) -> TransactionId {
        format!("01936b2e-7c1a-7d3e-9f10-01234567{end}").parse().expect("id")
    }

    fn backoff(subject: &str, process: &str, us: i64) -> Backoff {
        Backoff {
            number: 1,
            subject: subject.parse().expect("subject"),
            process: process.parse().expect("process"),
            failures: 1,
            cause: Some(Failure::new(ErrorCode::ScriptFailed, "x")),
            transaction: None,
            comment: String::new(),
            uid: 0,
            user: String::new(),
            set: stamp(0, 1),
            until_us: stamp(us, 1).utc_us,
            ended: None,
        }
    }

    #[test]
    fn it_doubles_up_to_a_week_and_more_when_something_was_undone() {
        let hours = |failures, undone| delay_us(failures, undone, id("4600")) / HOUR_US;
        assert_eq!([1, 2, 3, 8, 9, 500].map(|n| hours(n, false)), [1, 2, 4, 128, 168, 168]);
        assert_eq!([1, 2, 9].map(|n| hours(n, true)), [2, 4, 168]);
    }

    #[test]
    fn jitter_is_a_tenth_at_most_and_differs() {
        let all: std::collections::BTreeSet<i64> = (0..500).map(|n| delay_us(3, false, id(&format!("{n:04x}")))).collect();
        let (low, high) = (all.first().expect("some"), all.last().expect("some"));
        assert!(all.len() > 100 && *low >= 4 * HOUR_US * 9 / 10 && *high <= 4 * HOUR_US * 11 / 10, "{low} {high}");
    }

    #[test]
    fn a_clock_that_is_set_neither_ends_nor_prolongs_it() {
        let one = backoff("jq", "*", HOUR_US);
        assert_eq!(one.remaining_us(stamp(HOUR_US - 1, 1)), 1);
        assert_eq!(one.remaining_us(stamp(HOUR_US, 1)), 0);
        let ahead = Stamp { utc_us: i64::MAX / 2, ..stamp(5, 1) };
        let back = Stamp { utc_us: 0, ..stamp(5, 1) };
        assert_eq!((one.remaining_us(ahead), one.remaining_us(back)), (HOUR_US - 5, HOUR_US - 5));
        let after_a_boot = Stamp { monotonic_us: 3, ..stamp(HOUR_US / 2, 2) };
        assert_eq!(one.remaining_us(after_a_boot), HOUR_US / 2);
        let back = Stamp { utc_us: 0, ..stamp(0, 2) };
        assert_eq!((one.remaining_us(back), one.is_from_the_future(back)), (HOUR_US, true));
        assert_eq!(Backoff { ended: Some(stamp(1, 1)), ..one }.remaining_us(stamp(2, 1)), 0);
    }

    #[test]
    fn the_half_done_are_to_blame_then_the_named_then_the_asked_for() {
        let all =
            Failed { items: vec!["a1", "lib", "lib-dev"], requested: vec!["a1"], halves: vec!["lib"], text: "script of lib-dev failed" };
        assert_eq!(culprits(&all), ["lib"]);
        let named = Failed { halves: Vec::new(), ..all.clone() };
        assert_eq!(culprits(&named), ["lib-dev"]);
        let asked = Failed { text: "no space", ..named.clone() };
        assert_eq!(culprits(&asked), ["a1"]);
        assert_eq!(culprits(&Failed { requested: Vec::new(), ..asked.clone() }), ["*"]);
        assert_eq!(culprits(&Failed { requested: Vec::new(), items: vec!["lib"], ..asked }), ["lib"]);
        assert!(names("lib: failed", "lib") && names("of lib.", "lib") && !names("glib failed", "lib") && !names("lib+ x", "lib"));
    }

    #[test]
    fn a_timer_is_held_back_and_a_person_is_warned() {
        let now = stamp(1, 1);
        let active = [backoff("jq", "upgrade", HOUR_US), backoff("nano", "install", HOUR_US), backoff("old", "*", 1)];
        let timer = held(&active, (Kind::FullUpgrade, Origin::Timer), &[], now).expect("left out");
        assert_eq!(timer.leave_out.iter().map(ToString::to_string).collect::<Vec<_>>(), ["jq"]);
        assert_eq!(timer.warnings, ["left out, because jq is backed off: it failed with script.failed; for another 60 min"]);
        let jq: PackageName = "jq".parse().expect("name");
        let person = held(&active, (Kind::Update, Origin::Cli), std::slice::from_ref(&jq), now).expect("warned");
        assert_eq!((person.leave_out.len(), person.warnings.len()), (0, 1));
        assert_eq!(held(&active, (Kind::Upgrade, Origin::Cli), &[], now), Ok(Held::default()));
        let refused = held(&active, (Kind::Update, Origin::Timer), &[jq], now).expect_err("refused");
        assert_eq!(refused.code, ErrorCode::BackoffActive);
        let all = [backoff("*", "*", HOUR_US)];
        assert!(held(&all, (Kind::Remove, Origin::Timer), &[], now).is_err());
        assert_eq!(held(&all, (Kind::Remove, Origin::Apt), &[], now).expect("warned").warnings.len(), 1);
    }
}
