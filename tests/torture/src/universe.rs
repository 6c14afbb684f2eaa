//! A small set of packages, a system that has some of them, and plans over it.
//!
//! Every package has one file and adds a line to a common configuration file when it is configured. Names say what
//! goes wrong with a package, so that every kind of outcome can be had.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Result;
use backstep_apt::status::{Status, Want};
use backstep_core::{
    Archive, ArchiveSource, Digest, Failure, ItemAction, Kind, Method, PackageId, Plan, PlanAction, PlanItem, Reason, RequestItem,
    UndoQuality, Version,
};
use backstep_engine::manager::Question;
use backstep_worker::facts;
use backstep_worker::machine::Machine;

use crate::place::put;

/// Name, version that is installed at first, candidate version, dependency.
pub const PACKAGES: &[(&str, &str, &str, &str)] = &[
    ("alpha", "", "1", "alpha-data"),
    ("alpha-data", "", "1", ""),
    ("beta", "1", "2", ""),
    ("gamma", "1", "2", ""),
    ("delta", "1", "1", ""),
    ("kept", "1", "1", ""),
    ("omega", "", "1", ""),
    // Its script fails.
    ("broken", "", "1", ""),
    // apt says that all is well and has done nothing.
    ("silent", "", "1", ""),
    // dpkg is killed in the middle.
    ("killed", "", "1", ""),
    // What is downloaded is something else.
    ("torn", "", "1", ""),
];

/// The file that every configured package adds a line to.
pub const CONF: &str = "etc/conf";

/// One package as dpkg's database names it.
#[must_use]
pub fn stanza(name: &str, status: &str, version: &str) -> String {
    let arch = if name == "dpkg" { "amd64" } else { "all" };
    format!("Package: {name}\nStatus: {status}\nArchitecture: {arch}\nVersion: {version}\n\n")
}

/// The bytes of a package's archive.
#[must_use]
pub fn archive_bytes(name: &str, version: &str) -> Vec<u8> {
    format!("{name} {version}\n").into_bytes()
}

/// Makes the system as it is at first.
pub fn fill(machine: &Machine) -> Result<()> {
    for path in ["var/lib/dpkg/updates", "var/lib/dpkg/info", "var/lib/apt", "var/cache/apt/archives/partial", "etc", "usr/share"] {
        fs::create_dir_all(machine.at(path))?;
    }
    fs::create_dir_all(machine.foreign())?;
    put(&machine.at(CONF), b"conf\n")?;
    let mut status = stanza("dpkg", "install ok installed", "1");
    for (name, version, ..) in PACKAGES.iter().filter(|package| !package.1.is_empty()) {
        let want = if *name == "kept" { "hold" } else { "install" };
        status.push_str(&stanza(name, &format!("{want} ok installed"), version));
        put(&machine.at(&data(name)), &archive_bytes(name, version))?;
        put(&machine.at(&list(name)), list_text(name).as_bytes())?;
    }
    Ok(put(&machine.status(), status.as_bytes())?)
}

/// A package's one file.
#[must_use]
pub fn data(name: &str) -> String {
    format!("usr/share/{name}/data")
}

/// dpkg's list of a package's files.
#[must_use]
pub fn list(name: &str) -> String {
    format!("var/lib/dpkg/info/{name}.list")
}

/// What is in it.
#[must_use]
pub fn list_text(name: &str) -> String {
    format!("/.\n/usr\n/usr/share\n/usr/share/{name}\n/usr/share/{name}/data\n")
}

/// Answers as the planner would, from the system as it is.
pub fn plan(question: &Question, machine: &Machine) -> Result<Plan, Failure> {
    let facts = facts::read(machine)?;
    let (items, method) = match (question.request.kind, &question.revert, question.request.reverts) {
        (Kind::Rollback, Some(revert), Some(target)) if revert.world_after == Some(facts.world) => {
            (revert.plan.items.iter().filter_map(inverted).collect(), Method::Restore(target))
        }
        (Kind::Rollback, Some(revert), _) => (revert.plan.items.iter().filter_map(inverted).collect(), Method::Packages),
        (Kind::Hold | Kind::Unhold, _, _) => (named(&question.request.items, &facts.status), Method::Marks),
        _ => (named(&question.request.items, &facts.status), Method::Packages),
    };
    let mut plan = Plan {
        restores: Vec::new(),
        transaction: question.id,
        kind: question.request.kind,
        request: question.request_digest,
        world: facts.world,
        method,
        options: question.request.options.clone(),
        download_bytes: 0,
        items,
        marks: Vec::new(),
        warnings: Vec::new(),
    };
    plan.sort();
    Ok(plan)
}

fn named(items: &[RequestItem], status: &Status) -> Vec<PlanItem> {
    let mut planned: BTreeMap<PackageId, PlanItem> = BTreeMap::new();
    for item in items {
        let known = PACKAGES.iter().filter(|package| package.0 == item.name.as_str());
        let with_dependencies =
            known.flat_map(|package| std::iter::once(package).chain(PACKAGES.iter().filter(move |other| other.0 == package.3)));
        for (name, ..) in with_dependencies {
            let reason = if *name == item.name.as_str() { Reason::Requested } else { Reason::Dependency };
            if let Some(found) = change(name, item.action, reason, status) {
                planned.entry(found.package.clone()).or_insert(found);
            }
        }
    }
    planned.into_values().collect()
}

fn change(name: &str, wanted: ItemAction, reason: Reason, status: &Status) -> Option<PlanItem> {
    let package = id(name);
    let fact = status.fact(&package);
    let from = fact.version.filter(|_| !fact.config_files);
    let candidate: Version = PACKAGES.iter().find(|known| known.0 == name)?.2.parse().ok()?;
    let held = status.get(&package).is_some_and(|entry| entry.want == Want::Hold);
    let (action, to) = match (wanted, &from) {
        (ItemAction::Install, None) => (PlanAction::Install, Some(candidate)),
        (ItemAction::Install | ItemAction::Update, Some(version)) if *version != candidate => (PlanAction::Upgrade, Some(candidate)),
        (ItemAction::Reinstall, Some(version)) => (PlanAction::Reinstall, Some(version.clone())),
        (ItemAction::Downgrade, Some(version)) if version.as_str() != "0" => (PlanAction::Downgrade, "0".parse().ok()),
        (ItemAction::Remove, Some(_)) => (PlanAction::Remove, None),
        (ItemAction::Purge, Some(_)) => (PlanAction::Purge, None),
        (ItemAction::Hold, Some(version)) if !held => (PlanAction::Hold, Some(version.clone())),
        (ItemAction::Unhold, Some(version)) if held => (PlanAction::Unhold, Some(version.clone())),
        _ => return None,
    };
    let auto = reason == Reason::Dependency;
    Some(PlanItem { auto_after: auto, reason, ..item(package, action, from, to) })
}

/// A package's id.
#[must_use]
pub fn id(name: &str) -> PackageId {
    format!("{name}:all").parse().expect("the table holds valid names")
}

fn item(package: PackageId, action: PlanAction, from: Option<Version>, to: Option<Version>) -> PlanItem {
    let archive = to.as_ref().filter(|_| action.needs_archive()).map(|version| archive(package.name.as_str(), version.as_str()));
    PlanItem {
        package,
        action,
        reason: Reason::Requested,
        from,
        to,
        archive,
        installed_delta: 0,
        auto_before: false,
        auto_after: false,
        essential: false,
        leftovers: false,
        undo: UndoQuality::Exact,
    }
}

fn archive(name: &str, version: &str) -> Archive {
    let bytes = archive_bytes(name, version);
    let (size, sha256): (u64, Digest) = (bytes.len() as u64, backstep_wire::digest(&bytes));
    let file_name = format!("{name}_{version}_all.deb");
    Archive { source: ArchiveSource::Repository, origin: "Torture:1/stable".to_owned(), file_name, size, sha256, trusted: true }
}

fn inverted(before: &PlanItem) -> Option<PlanItem> {
    let action = before.action.inverse()?;
    Some(PlanItem { reason: Reason::Reverted, ..item(before.package.clone(), action, before.to.clone(), before.from.clone()) })
}
