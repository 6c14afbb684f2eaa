//! Predicted risk: how often changes of a package failed before, through its own fault.
//!
//! Purpose: what is counted, and which failure is told of. Whose fault a failure was is decided by
//! [`crate::backoff::culprits`]. Absent on purpose: a judgement; a plan is shown with it and never refused for it.

use crate::ErrorCode;
use crate::package::{PackageName, Version};

/// Transactions of a package that count at most, the newest.
pub const MAX_COUNTED: u32 = 200;

/// A failure that a package was to blame for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blamed {
    /// When the transaction ended, or began to wait for a person; microseconds since 1970 in UTC.
    pub at_us: i64,
    /// What it failed with.
    pub code: ErrorCode,
}

/// How transactions with a package ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Those that a worker had.
    pub attempts: u32,
    /// Of these, those that failed through the package's fault.
    pub failed: u32,
    /// The last of those.
    pub last: Option<Blamed>,
}

impl Tally {
    /// Counts a transaction; the newest comes first.
    pub fn count(&mut self, blamed: Option<Blamed>) {
        self.attempts += 1;
        self.failed += u32::from(blamed.is_some());
        self.last = self.last.or(blamed);
    }
}

/// How changes to or away from one version of a package ended, and those of its other versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Risk {
    /// Its name, of all architectures.
    pub package: PackageName,
    /// The version.
    pub version: Version,
    /// With this version.
    pub own: Tally,
    /// With any other.
    pub others: Tally,
}

impl Risk {
    /// The failure to tell of: this version's last one; where it never failed, the others'.
    #[must_use]
    pub fn last(&self) -> Option<Blamed> {
        self.own.last.or(self.others.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_s_own_failure_is_told_before_a_later_one_of_others() {
        let at = |at_us| Some(Blamed { at_us, code: ErrorCode::ScriptFailed });
        let mut others = Tally::default();
        [at(9), None, at(3)].into_iter().for_each(|blamed| others.count(blamed));
        assert_eq!(others, Tally { attempts: 3, failed: 2, last: at(9) });
        let (package, version) = ("nano".parse().expect("name"), "1".parse().expect("version"));
        let mut risk = Risk { package, version, own: Tally::default(), others };
        risk.own.count(None);
        assert_eq!(risk.last(), at(9));
        risk.own.count(at(5));
        assert_eq!(risk.last(), at(5));
    }
}
