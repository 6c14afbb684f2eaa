//! Whether somebody else changed packages after an attempt was interrupted: then putting its capture back would
//! take their change away, and a person decides.
//!
//! What the interrupted attempt itself may have left is no conflict: packages of the plan anywhere between its two
//! ends, and triggers of other packages that wait.

use std::path::Path;

use backstep_apt::status::Status;
use backstep_capture::{CaptureDir, content};
use backstep_core::{ErrorCode, Failure, PackageId, Plan, PlanAction, PlanItem, Version};

use crate::context::Context;
use crate::facts;
use crate::steps::capture_failure;

/// Names at most this many packages.
const MAX_NAMES: usize = 10;
const STATUS: &str = "/var/lib/dpkg/status";

/// Compares dpkg's database with the captured one. Errors: `undo.conflict` with the packages' names.
pub fn check(context: &Context) -> Result<(), Failure> {
    let dir = CaptureDir::at(&context.capture());
    if !dir.is_complete().map_err(|error| capture_failure(&error))? {
        return Ok(());
    }
    let Some(bytes) = content(&dir, Path::new(STATUS)).map_err(|error| capture_failure(&error))? else { return Ok(()) };
    let unreadable = |error| Failure::new(ErrorCode::UndoMaterial, format!("cannot read the captured database of dpkg: {error}"));
    let before = Status::parse(&bytes).map_err(unreadable)?;
    // A database that was torn by the interruption says nothing about others, and the restore is what mends it.
    let Ok(now) = facts::read(&context.machine) else { return Ok(()) };
    let now = now.status;
    match changed_by_others(&context.plan, &before, &now).as_slice() {
        [] => Ok(()),
        names => Err(conflict(names)),
    }
}

fn conflict(names: &[String]) -> Failure {
    let mut named: Vec<&str> = names.iter().take(MAX_NAMES).map(String::as_str).collect();
    let more = format!("{} more", names.len().saturating_sub(MAX_NAMES));
    if names.len() > MAX_NAMES {
        named.push(&more);
    }
    Failure::new(ErrorCode::UndoConflict, format!("packages were changed by others since: {}", named.join(", ")))
}

fn changed_by_others(plan: &Plan, before: &Status, now: &Status) -> Vec<String> {
    let is_planned = |package: &PackageId| plan.items.iter().any(|item| item.package == *package);
    let gone = before.iter().map(|(package, _)| package).filter(|package| now.get(package).is_none());
    let all = now.iter().map(|(package, _)| package).chain(gone);
    let others = all.filter(|package| !is_planned(package) && presence(before, package) != presence(now, package));
    let planned = plan.items.iter().filter(|item| is_elsewhere(item, now)).map(|item| &item.package);
    let mut names: Vec<String> = others.chain(planned).map(ToString::to_string).collect();
    names.sort();
    names
}

/// The version that is there, and whether only its configuration is.
fn presence(status: &Status, package: &PackageId) -> Option<(Version, bool)> {
    let fact = status.fact(package);
    fact.version.map(|version| (version, fact.config_files))
}

/// Whether a package of the plan is neither at one of its ends nor on the way.
fn is_elsewhere(item: &PlanItem, now: &Status) -> bool {
    match presence(now, &item.package) {
        Some((version, false)) => ![&item.from, &item.to].into_iter().flatten().any(|end| *end == version),
        // A package that dpkg knows without a version is half removed or half installed.
        None if now.get(&item.package).is_some_and(|entry| entry.state != backstep_apt::status::State::NotInstalled) => false,
        Some((_, true)) | None => match item.action {
            PlanAction::Install | PlanAction::Remove | PlanAction::Purge => false,
            PlanAction::Upgrade | PlanAction::Downgrade | PlanAction::Reinstall | PlanAction::Hold | PlanAction::Unhold => true,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{item, plan_of};

    fn status(lines: &[(&str, &str, &str)]) -> Status {
        let stanza = |(name, state, version): &(&str, &str, &str)| {
            format!("Package: {name}\nStatus: {state}\nArchitecture: all\nVersion: {version}\n\n")
        };
        Status::parse(lines.iter().map(stanza).collect::<String>().as_bytes()).expect("status")
    }

    const IN: &str = "install ok installed";

    fn found(now: &[(&str, &str, &str)]) -> Vec<String> {
        let plan =
            plan_of(vec![item("up:all", PlanAction::Upgrade, Some("1"), Some("2")), item("new:all", PlanAction::Install, None, Some("1"))]);
        changed_by_others(&plan, &status(&[("up", IN, "1"), ("man", IN, "5")]), &status(now))
    }

    #[test]
    fn what_the_attempt_left_is_no_conflict() {
        assert!(found(&[("up", IN, "1"), ("man", IN, "5")]).is_empty());
        assert!(found(&[("up", IN, "2"), ("new", IN, "1"), ("man", IN, "5")]).is_empty());
        let half = [("up", "install reinstreq half-installed", "1"), ("new", "install ok unpacked", "1")];
        assert!(found(&[half[0], half[1], ("man", "install ok triggers-pending", "5")]).is_empty());
    }

    #[test]
    fn what_others_changed_since_is_named() {
        assert_eq!(found(&[("up", IN, "3"), ("man", IN, "5")]), ["up:all"]);
        assert_eq!(found(&[("man", IN, "5")]), ["up:all"]);
        assert_eq!(found(&[("up", IN, "2"), ("man", IN, "6")]), ["man:all"]);
        assert_eq!(found(&[("up", IN, "2"), ("other", IN, "1")]), ["man:all", "other:all"]);
        assert_eq!(found(&[("up", IN, "1"), ("man", "deinstall ok config-files", "5")]), ["man:all"]);
        assert!(conflict(&vec!["a:all".to_owned(); 12]).text.ends_with("a:all, 2 more"));
    }
}
