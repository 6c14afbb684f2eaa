//! Where a package comes from: what the record says put beside what dpkg says, as far as a caller may see it.

use backstep_bus::record::OriginRow;
use backstep_core::PackageName;
use backstep_core::history::{ItemChange, Provenance};

use crate::records::Versions;

/// The rows for each architecture. `installed` is `None` when nobody looked: then the record is taken for right.
/// `visible` says whether the caller may see what this user did.
pub fn explain(name: &PackageName, recorded: &[Provenance], installed: Option<&Versions>, visible: impl Fn(u32) -> bool) -> Vec<OriginRow> {
    let mut rows = Vec::new();
    for of_arch in recorded {
        let now = match installed {
            Some(versions) => versions.iter().find(|(arch, _)| *arch == of_arch.arch).map(|(_, version)| version.clone()),
            None => of_arch.last.to.clone(),
        };
        let frame = |role: &str| frame(name, &of_arch.arch, role, now.clone());
        rows.extend(roles(of_arch).into_iter().map(|(role, change)| seen(frame(role), change, &visible)));
    }
    let known = |arch: &str| recorded.iter().any(|of_arch| of_arch.arch == arch);
    let unrecorded = installed.into_iter().flatten().filter(|(arch, _)| !known(arch));
    rows.extend(unrecorded.map(|(arch, version)| frame(name, arch, "unrecorded", Some(version.clone()))));
    rows
}

/// What brought it first; what changed it since only when that is something else.
fn roles(recorded: &Provenance) -> Vec<(&'static str, &ItemChange)> {
    let mut roles: Vec<_> = recorded.brought.iter().map(|brought| ("brought", brought)).collect();
    if recorded.last.to.is_none() {
        roles.push(("removed", &recorded.last));
    } else if recorded.brought.as_ref() != Some(&recorded.last) {
        roles.push(("changed", &recorded.last));
    }
    roles
}

fn frame(name: &PackageName, arch: &str, role: &str, installed: Option<String>) -> OriginRow {
    OriginRow { package: name.to_string(), arch: arch.to_owned(), role: role.to_owned(), installed, ..OriginRow::default() }
}

fn seen(frame: OriginRow, change: &ItemChange, visible: &impl Fn(u32) -> bool) -> OriginRow {
    if !visible(change.summary.actor.uid) {
        return OriginRow { hidden: Some(true), ..frame };
    }
    let OriginRow { package, arch, role, installed, .. } = frame;
    OriginRow { package, arch, role, installed, ..OriginRow::from(change) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backstep_core::actor::{Actor, Origin};
    use backstep_core::record::Summary;
    use backstep_core::{BootId, Kind, PlanAction, Reason, Stamp, Status};

    fn change(digit: u8, from: Option<&str>, to: Option<&str>) -> ItemChange {
        let actor = Actor {
            uid: 1000,
            user: "ana".into(),
            loginuid: None,
            pid: None,
            sender: String::new(),
            unit: String::new(),
            origin: Origin::Cli,
            client: String::new(),
        };
        let stamp = Stamp { utc_us: 5, monotonic_us: 5, boot: BootId([0; 16]) };
        let summary = Summary {
            id: format!("01936b2e-7c1a-7d3e-9f10-00000000000{digit}").parse().expect("id"),
            kind: Kind::Install,
            status: Status::CREATED,
            description: "why".into(),
            tags: Default::default(),
            actor,
            sequence: 1,
            priority: 0,
            reverts: None,
            retries: None,
            reverted_by: None,
            created: stamp,
            queued: None,
            started: None,
            finished: Some(stamp),
            duration_us: None,
            plan_summary: String::new(),
            items_done: 1,
            items_total: 1,
            error: None,
        };
        let text = |version: Option<&str>| version.map(str::to_owned);
        let (from, to) = (text(from), text(to));
        ItemChange { action: PlanAction::Install, reason: Reason::Requested, from, to, requested: vec!["jq".into()], summary }
    }

    fn told(rows: &[OriginRow]) -> Vec<(&str, Option<&str>, bool)> {
        rows.iter().map(|row| (row.role.as_str(), row.installed.as_deref(), row.transaction.is_some())).collect()
    }

    #[test]
    fn one_change_is_told_once_and_two_are_told_apart() {
        let name: PackageName = "lib".parse().expect("name");
        let (first, second) = (change(1, None, Some("1")), change(2, Some("1"), Some("2")));
        let once = Provenance { arch: "amd64".into(), last: first.clone(), brought: Some(first.clone()) };
        assert_eq!(told(&explain(&name, &[once], None, |_| true)), [("brought", Some("1"), true)]);
        let twice = Provenance { arch: "amd64".into(), last: second.clone(), brought: Some(first) };
        let installed = vec![("amd64".to_owned(), "3".to_owned()), ("i386".to_owned(), "1".to_owned())];
        let rows = explain(&name, std::slice::from_ref(&twice), Some(&installed), |_| true);
        assert_eq!(told(&rows), [("brought", Some("3"), true), ("changed", Some("3"), true), ("unrecorded", Some("1"), false)]);
        let gone = Provenance { arch: "amd64".into(), last: change(3, Some("2"), None), brought: None };
        assert_eq!(told(&explain(&name, &[gone], None, |_| true)), [("removed", None, true)]);
        let hidden = explain(&name, &[twice], Some(&Vec::new()), |uid| uid != 1000);
        let bare = |role| OriginRow { hidden: Some(true), ..frame(&name, "amd64", role, None) };
        assert_eq!(hidden, [bare("brought"), bare("changed")]);
    }
}
