//! Marks: holds in dpkg's selections and automatic marks in apt's file.

use backstep_apt::status::Want;
use backstep_core::{ErrorCode, Failure, PackageId, Plan, PlanAction};
use backstep_engine::runner::Done;

use crate::child::{Call, Unwatched};
use crate::context::Context;
use crate::durable::replace;
use crate::facts::{self, Facts, wanted_marks};

/// Sets the selections and marks of the plan.
pub(super) fn change(context: &Context) -> Result<Done, Failure> {
    let lines: String = selections(&context.plan).map(|(package, word)| format!("{} {word}\n", selector(package))).collect();
    if !lines.is_empty() {
        let call = Call { input: Some(lines.into_bytes()), with_lock: true, ..Call::new("dpkg", ["--set-selections"]) };
        let ended = context.children.run(call, &mut Unwatched)?;
        if !ended.is_success() {
            return Err(Failure::new(ErrorCode::DpkgFailed, format!("cannot set selections: dpkg {ended}")));
        }
    }
    set_auto(context)?;
    Ok(Done::applied("marks set"))
}

fn selections(plan: &Plan) -> impl Iterator<Item = (&PackageId, &'static str)> {
    plan.items.iter().filter_map(|item| match item.action {
        PlanAction::Hold => Some((&item.package, "hold")),
        PlanAction::Unhold => Some((&item.package, "install")),
        PlanAction::Install
        | PlanAction::Upgrade
        | PlanAction::Downgrade
        | PlanAction::Reinstall
        | PlanAction::Remove
        | PlanAction::Purge => None,
    })
}

/// dpkg files packages for all architectures under their name alone.
fn selector(package: &PackageId) -> String {
    if package.arch.as_str() == "all" { package.name.to_string() } else { package.to_string() }
}

/// The selections that are not as the plan wants them, in words.
pub(super) fn off(plan: &Plan, facts: &Facts) -> Vec<String> {
    let wants = |package: &PackageId| facts.status.get(package).map(|entry| entry.want);
    let off = selections(plan).filter(|(package, word)| (wants(package) == Some(Want::Hold)) != (*word == "hold"));
    off.map(|(package, word)| format!("{package} is not set to {word}")).collect()
}

/// Writes apt's marks exactly as the plan says; apt-get itself marks everything it is told as manual.
pub(super) fn set_auto(context: &Context) -> Result<(), Failure> {
    let mut marks = facts::read(&context.machine)?.marks;
    let as_they_are = marks.clone();
    for (package, auto) in wanted_marks(&context.plan) {
        marks.set_auto(package, auto);
    }
    if marks == as_they_are {
        return Ok(());
    }
    let path = context.machine.extended_states();
    replace(&path, marks.render().as_bytes(), 0o644)
        .map_err(|error| Failure::new(ErrorCode::DpkgFailed, format!("cannot write {}: {error}", path.display())))
}
