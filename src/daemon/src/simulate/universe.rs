//! A made-up set of packages and the plans over it.

use backstep_core::{
    Archive, ArchiveSource, Digest, ErrorCode, Failure, Kind, Method, PackageId, Plan, PlanAction, PlanItem, Reason, RequestItem,
    TransactionId, UndoQuality, Version,
};
use backstep_wire::planner::{Answer, Question};

/// Name, version that is installed, candidate version, dependency.
const PACKAGES: &[(&str, &str, &str, &str)] = &[
    ("alpha", "", "1.0-1", "alpha-data"),
    ("alpha-data", "", "1.0-1", ""),
    ("beta", "1.0-1", "2.0-1", ""),
    ("gamma", "3.1-2", "3.2-1", ""),
    ("delta", "0.9-4", "0.9-4", ""),
    // Its worker fails in the apply step and undoes.
    ("broken", "", "1.0-1", ""),
    // Its worker takes half a minute, to be watched and cancelled.
    ("slow", "", "1.0-1", ""),
];

/// The made-up machine. It forgets everything: each plan is made over the same packages.
#[derive(Debug, Clone, Default)]
pub struct Universe;

impl Universe {
    /// Answers as the planner would.
    pub fn answer(&self, question: &Question) -> Answer {
        let mut items = match question.request.kind {
            Kind::Rollback => question
                .revert
                .iter()
                .flat_map(|revert| revert.plan.items.iter().filter_map(inverted))
                .filter(|item| is_wanted(question, item))
                .collect(),
            Kind::Upgrade | Kind::FullUpgrade => {
                PACKAGES.iter().filter(|p| !p.1.is_empty() && p.1 != p.2).map(|p| change(p, Reason::Upgrade)).collect()
            }
            Kind::Autoremove => Vec::new(),
            _ => question.request.items.iter().map(named).collect::<Result<Vec<_>, _>>()?.concat(),
        };
        items.retain(|item: &PlanItem| !question.leave_out.contains(&item.package.name));
        items.dedup_by(|a: &mut PlanItem, b| a.package == b.package);
        let method = match (question.request.kind, question.request.reverts) {
            (Kind::Rollback, Some(target)) => Method::Restore(target),
            (Kind::Hold | Kind::Unhold, _) => Method::Marks,
            _ => Method::Packages,
        };
        let mut plan = Plan {
            transaction: question.transaction,
            kind: question.request.kind,
            request: question.request_digest,
            world: Digest([0; 32]),
            restores: if method == Method::Marks || method == Method::Packages { Vec::new() } else { later(question) },
            method,
            options: question.request.options.clone(),
            download_bytes: items.iter().filter_map(|item| item.archive.as_ref()).map(|archive| archive.size).sum(),
            items,
            marks: Vec::new(),
            warnings: vec!["simulated: nothing will be changed".to_owned()],
        };
        plan.sort();
        Ok(plan)
    }
}

/// A rollback of a part names its packages.
fn is_wanted(question: &Question, item: &PlanItem) -> bool {
    let named = &question.request.items;
    named.is_empty() || named.iter().any(|one| one.name == item.package.name)
}

fn later(question: &Question) -> Vec<TransactionId> {
    question.later.iter().map(|revert| revert.plan.transaction).collect()
}

fn named(item: &RequestItem) -> Result<Vec<PlanItem>, Failure> {
    let known = PACKAGES.iter().find(|package| package.0 == item.name.as_str());
    let package = known.ok_or_else(|| Failure::new(ErrorCode::PackageUnknown, format!("no package is called {}", item.name)))?;
    use backstep_core::ItemAction as A;
    let absent = package.1.is_empty();
    let not_installed = || Failure::new(ErrorCode::PackageNotInstalled, format!("{} is not installed", item.name));
    match item.action {
        A::Install if !absent && package.1 == package.2 => Ok(Vec::new()),
        A::Install => {
            let dependency = PACKAGES.iter().find(|other| other.0 == package.3).map(|other| change(other, Reason::Dependency));
            Ok(std::iter::once(change(package, Reason::Requested)).chain(dependency).collect())
        }
        _ if absent => Err(not_installed()),
        A::Update if package.1 == package.2 => Ok(Vec::new()),
        A::Update => Ok(vec![change(package, Reason::Requested)]),
        A::Remove => Ok(vec![bare(package, PlanAction::Remove)]),
        A::Purge => Ok(vec![bare(package, PlanAction::Purge)]),
        A::Hold => Ok(vec![bare(package, PlanAction::Hold)]),
        A::Unhold => Ok(vec![bare(package, PlanAction::Unhold)]),
        A::Rollback => Ok(Vec::new()),
        A::Reinstall => Ok(vec![PlanItem { action: PlanAction::Reinstall, to: version(package.1), ..change(package, Reason::Requested) }]),
        A::Downgrade => Err(Failure::new(ErrorCode::VersionUnknown, format!("{} has no earlier version", item.name))),
    }
}

fn version(text: &str) -> Option<Version> {
    text.parse().ok()
}

fn bare(package: &(&str, &str, &str, &str), action: PlanAction) -> PlanItem {
    PlanItem {
        action,
        to: None,
        archive: None,
        installed_delta: if matches!(action, PlanAction::Hold | PlanAction::Unhold) { 0 } else { -1_000_000 },
        ..change(package, Reason::Requested)
    }
}

fn change(package: &(&str, &str, &str, &str), reason: Reason) -> PlanItem {
    let (name, installed, candidate, _) = *package;
    let id: PackageId = format!("{name}:amd64").parse().expect("the table holds valid names");
    PlanItem {
        package: id,
        action: if installed.is_empty() { PlanAction::Install } else { PlanAction::Upgrade },
        reason,
        from: version(installed),
        to: version(candidate),
        archive: Some(Archive {
            source: ArchiveSource::Repository,
            origin: "Simulated:1/stable".to_owned(),
            file_name: format!("{name}_{candidate}_amd64.deb"),
            size: 250_000,
            sha256: backstep_wire::digest(name.as_bytes()),
            trusted: true,
        }),
        installed_delta: 1_000_000,
        auto_before: false,
        auto_after: reason == Reason::Dependency,
        essential: false,
        leftovers: false,
        undo: UndoQuality::Exact,
    }
}

fn inverted(item: &PlanItem) -> Option<PlanItem> {
    let action = item.action.inverse()?;
    Some(PlanItem {
        action,
        reason: Reason::Reverted,
        from: item.to.clone(),
        to: item.from.clone(),
        archive: None,
        installed_delta: -item.installed_delta,
        ..item.clone()
    })
}
