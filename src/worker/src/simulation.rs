//! Whether apt would still do what the plan says, asked with `apt-get -s`.

use std::collections::BTreeSet;

use backstep_core::{ErrorCode, Failure, Plan, PlanAction, PlanItem};

use crate::child::{Call, Children, Ended, output};

const MAX_OUTPUT: u64 = 16 << 20;

/// What happens to a package: name, verb, version before, version after.
type Deed = (String, &'static str, Option<String>, Option<String>);

/// Asks apt; an answer that is not the plan is `plan.stale`.
pub fn check(children: &dyn Children, arguments: &[String], plan: &Plan) -> Result<(), Failure> {
    let arguments = std::iter::once("-s".to_owned()).chain(arguments.iter().cloned());
    let (ended, bytes) = output(children, Call::new("apt-get", arguments), MAX_OUTPUT)?;
    if ended != Ended::Code(0) {
        return Err(Failure::new(ErrorCode::PlanStale, "the system changed, and apt cannot do what was planned any more"));
    }
    compare(plan, &String::from_utf8_lossy(&bytes))
}

fn compare(plan: &Plan, simulation: &str) -> Result<(), Failure> {
    let planned: BTreeSet<Deed> = plan.items.iter().filter_map(planned).collect();
    let found: BTreeSet<Deed> = simulation.lines().filter_map(simulated).collect();
    let names: BTreeSet<&str> = planned.symmetric_difference(&found).map(|deed| deed.0.as_str()).collect();
    if names.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = names.into_iter().take(10).collect();
    Err(Failure::new(ErrorCode::PlanStale, format!("the system changed, and apt would do something else now to {}", names.join(", "))))
}

fn planned(item: &PlanItem) -> Option<Deed> {
    let text = |version: &Option<backstep_core::Version>| version.as_ref().map(ToString::to_string);
    let name = item.package.name.to_string();
    match item.action {
        PlanAction::Hold | PlanAction::Unhold => None,
        PlanAction::Remove | PlanAction::Purge => Some((name, "remove", text(&item.from), None)),
        PlanAction::Install => Some((name, "install", None, text(&item.to))),
        PlanAction::Upgrade | PlanAction::Downgrade | PlanAction::Reinstall => Some((name, "install", text(&item.from), text(&item.to))),
    }
}

/// `Inst name [from] (to origin [arch])`, `Remv name [from]`, `Purg name [from]`; a foreign name carries `:arch`.
fn simulated(line: &str) -> Option<Deed> {
    let (verb, rest) = line.split_once(' ')?;
    let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let name = name.split(':').next()?.to_owned();
    let from = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(version, _)| version.to_owned());
    match verb {
        "Inst" => {
            let to = rest.split_once('(').and_then(|(_, new)| new.split([' ', ')']).next()).map(str::to_owned);
            Some((name, "install", from, to))
        }
        "Remv" | "Purg" => Some((name, "remove", from, None)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{item, plan_of};

    #[test]
    fn the_same_set_in_any_order_is_the_plan() {
        let plan = plan_of(vec![
            item("aa:all", PlanAction::Install, None, Some("1:2-3")),
            item("bb:amd64", PlanAction::Upgrade, Some("1"), Some("2")),
            item("cc:i386", PlanAction::Remove, Some("5"), None),
        ]);
        let text = "Reading…\nRemv cc:i386 [5]\nInst bb [1] (2 Debian:12/stable [amd64]) []\nInst aa (1:2-3 localhost [all])\nConf bb (2 x [amd64])\n";
        assert_eq!(compare(&plan, text), Ok(()));
        let failure = compare(&plan, "Inst bb [1] (3 Debian:12/stable [amd64])\n").expect_err("stale");
        assert_eq!(failure.code, ErrorCode::PlanStale);
        assert!(failure.text.ends_with("to aa, bb, cc"), "{}", failure.text);
    }
}
