//! What to do with an attempt whose worker is gone. Facts in, decision out; acting is others' work.
//!
//! Invariants: an exit code is no evidence and is not among the inputs; the direction turns at most once;
//! nothing is decided while anything of the attempt still runs.

use crate::limits::MAX_ATTEMPTS;
use crate::plan::{PlanAction, PlanItem};
use crate::{Direction, Version};

/// What dpkg's database says of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFact {
    /// The version it names; `None` when dpkg does not know the package.
    pub version: Option<Version>,
    /// `installed` and no error flag: nothing half done.
    pub settled: bool,
    /// Known only by its configuration files.
    pub config_files: bool,
}

closed_enum! {
    /// A package compared with its plan.
    pub enum Standing("standing") {
        /// As the plan wants it.
        Target = "target",
        /// As before.
        Before = "before",
        /// Neither.
        Half = "half",
    }
}

/// Where a package stands between its plan's two ends. A reinstall looks the same at both: `Target`.
#[must_use]
pub fn classify(item: &PlanItem, fact: &PackageFact) -> Standing {
    let installed = |version: &Option<Version>| fact.settled && !fact.config_files && version.is_some() && fact.version == *version;
    let absent = fact.version.is_none();
    let gone = absent || fact.config_files;
    let target = match item.action {
        PlanAction::Install | PlanAction::Upgrade | PlanAction::Downgrade | PlanAction::Reinstall => installed(&item.to),
        PlanAction::Remove => gone,
        PlanAction::Purge => absent,
        PlanAction::Hold | PlanAction::Unhold => installed(&item.from),
    };
    let before = match item.action {
        PlanAction::Install => gone,
        PlanAction::Purge if fact.config_files => item.from == fact.version,
        PlanAction::Upgrade
        | PlanAction::Downgrade
        | PlanAction::Reinstall
        | PlanAction::Remove
        | PlanAction::Purge
        | PlanAction::Hold
        | PlanAction::Unhold => installed(&item.from),
    };
    match (target, before) {
        (true, _) => Standing::Target,
        (false, true) => Standing::Before,
        (false, false) => Standing::Half,
    }
}

/// What is known of an attempt that ended without a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remains {
    /// The worker, a descendant of it, or another holder of dpkg's lock lives.
    pub alive: bool,
    /// The journal says that undo material is complete and durable.
    pub captured: bool,
    /// The journal says that the commit is durable.
    pub committed: bool,
    /// The direction last recorded.
    pub direction: Direction,
    /// Attempts so far, this one included.
    pub attempts: u32,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Something still runs: follow it, start nothing.
    Wait,
    /// It was done: record it so.
    Complete,
    /// Start another attempt in this direction.
    Resume(Direction),
    /// A person decides.
    Attention,
}

/// Decides. Without complete undo material nothing was changed, and undoing is only tidying up; with it the
/// captured files are the authority, because any new file may be torn.
#[must_use]
pub const fn decide(remains: &Remains) -> Decision {
    if remains.alive {
        return Decision::Wait;
    }
    if remains.committed && matches!(remains.direction, Direction::Forward) {
        return Decision::Complete;
    }
    if remains.attempts >= MAX_ATTEMPTS {
        return Decision::Attention;
    }
    Decision::Resume(Direction::Undo)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Reason, UndoQuality};

    fn item(action: PlanAction, from: Option<&str>, to: Option<&str>) -> PlanItem {
        PlanItem {
            package: "hello:amd64".parse().expect("id"),
            action,
            reason: Reason::Requested,
            from: from.map(|v| v.parse().expect("version")),
            to: to.map(|v| v.parse().expect("version")),
            archive: None,
            installed_delta: 0,
            auto_before: false,
            auto_after: false,
            essential: false,
            leftovers: false,
            undo: UndoQuality::Exact,
        }
    }

    fn fact(version: Option<&str>, settled: bool, config_files: bool) -> PackageFact {
        PackageFact { version: version.map(|v| v.parse().expect("version")), settled, config_files }
    }

    #[test]
    fn a_package_is_at_target_before_or_half() {
        use PlanAction as A;
        use Standing as S;
        let cases = [
            (item(A::Install, None, Some("1")), fact(None, false, false), S::Before),
            (item(A::Install, None, Some("1")), fact(Some("1"), true, false), S::Target),
            (item(A::Install, None, Some("1")), fact(Some("1"), false, false), S::Half),
            (item(A::Install, None, Some("2")), fact(Some("1"), false, true), S::Before),
            (item(A::Upgrade, Some("1"), Some("2")), fact(Some("1"), true, false), S::Before),
            (item(A::Upgrade, Some("1"), Some("2")), fact(Some("2"), false, false), S::Half),
            (item(A::Upgrade, Some("1"), Some("2")), fact(Some("2"), true, false), S::Target),
            (item(A::Upgrade, Some("1"), Some("2")), fact(None, false, false), S::Half),
            (item(A::Remove, Some("1"), None), fact(Some("1"), true, false), S::Before),
            (item(A::Remove, Some("1"), None), fact(Some("1"), false, true), S::Target),
            (item(A::Purge, Some("1"), None), fact(Some("1"), false, true), S::Before),
            (item(A::Purge, Some("1"), None), fact(None, false, false), S::Target),
        ];
        for (item, fact, expected) in cases {
            assert_eq!(classify(&item, &fact), expected, "{item:?} {fact:?}");
        }
    }

    #[test]
    fn nothing_is_decided_beside_a_living_process() {
        for committed in [false, true] {
            for attempts in 1..5 {
                let remains = Remains { alive: true, captured: true, committed, direction: Direction::Undo, attempts };
                assert_eq!(decide(&remains), Decision::Wait);
            }
        }
    }

    #[test]
    fn a_committed_attempt_is_complete_and_others_are_undone_until_attempts_run_out() {
        let base = Remains { alive: false, captured: true, committed: false, direction: Direction::Forward, attempts: 1 };
        assert_eq!(decide(&Remains { committed: true, ..base }), Decision::Complete);
        assert_eq!(decide(&base), Decision::Resume(Direction::Undo));
        assert_eq!(decide(&Remains { direction: Direction::Undo, ..base }), Decision::Resume(Direction::Undo));
        assert_eq!(decide(&Remains { attempts: MAX_ATTEMPTS, ..base }), Decision::Attention);
    }
}
