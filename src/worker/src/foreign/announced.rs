//! What apt announced, as a request and a plan.
//!
//! Nobody asked for this plan and nobody authorised it: it says what apt was about to do, in the same words as every other
//! plan, so that it is shown and undone like every other. What apt does not say beforehand is filled in by [`carried_out`].

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use backstep_apt::pre_install_pkgs::{self, Change, Purge};
use backstep_apt::quality;
use backstep_core::{
    Archive, ArchiveSource, ErrorCode, Failure, Kind, Method, Options, PackageId, Plan, PlanAction, PlanItem, Reason, Request, RequestItem,
    Tags, TransactionId, Version,
};

use crate::archives;
use crate::archives::file_name;
use crate::facts::Facts;
use crate::machine::Machine;

/// What apt said on the hook's standard input.
pub(super) struct Announced {
    /// The changes, a package each.
    pub(super) changes: Vec<Change>,
    /// apt's command line; empty when the program is another one.
    pub(super) command: String,
}

/// Reads the hook's input.
pub(super) fn read(input: &str) -> Result<Announced, Failure> {
    let error = |error: pre_install_pkgs::HookError| Failure::new(ErrorCode::PlanFailed, error.to_string());
    let setting = |key| pre_install_pkgs::setting(input, key).unwrap_or_default();
    let purge = if ["1", "true", "yes", "on"].contains(&setting("APT::Get::Purge").as_str()) { Purge::Yes } else { Purge::No };
    let items = pre_install_pkgs::parse(input).map_err(error)?;
    let changes = pre_install_pkgs::changes(&items, purge).map_err(error)?;
    Ok(Announced { changes, command: setting("CommandLine::AsString") })
}

/// What the run would have been asked as. Runs for the whole system have their kind; others name their packages.
pub(super) fn request(changes: &[Change], command: &str, description: String) -> Request {
    let kind = kind(changes, command);
    let items = if kind.default_action().is_some() {
        changes.iter().map(|change| RequestItem::for_change(&change.package, change.action, change.to.as_ref())).collect()
    } else {
        Vec::new()
    };
    Request {
        kind,
        description,
        tags: Tags::default(),
        items,
        archives: Vec::new(),
        reverts: None,
        retries: None,
        options: Options::default(),
    }
}

fn kind(changes: &[Change], command: &str) -> Kind {
    let whole = [
        ("upgrade", Kind::Upgrade),
        ("dist-upgrade", Kind::FullUpgrade),
        ("full-upgrade", Kind::FullUpgrade),
        ("autoremove", Kind::Autoremove),
        ("auto-remove", Kind::Autoremove),
        ("autopurge", Kind::Autoremove),
    ];
    // The first word that is the name of an operation; options and their values come before it or after it.
    if let Some((_, kind)) = command.split(' ').skip(1).find_map(|word| whole.iter().find(|(name, _)| *name == word)) {
        return *kind;
    }
    let all = |action| changes.iter().all(|change| change.action == action);
    [
        (PlanAction::Remove, Kind::Remove),
        (PlanAction::Purge, Kind::Purge),
        (PlanAction::Upgrade, Kind::Update),
        (PlanAction::Downgrade, Kind::Downgrade),
        (PlanAction::Reinstall, Kind::Reinstall),
    ]
    .into_iter()
    .find(|(action, _)| all(*action))
    .map_or(Kind::Install, |(_, kind)| kind)
}

/// The plan, with every archive kept for this undo and later ones. The failure is that of an archive that cannot be
/// kept; the plan is whole all the same, but for that archive.
pub(super) fn plan(machine: &Machine, id: TransactionId, request: &Request, changes: &[Change], facts: &Facts) -> (Plan, Option<Failure>) {
    let mut unkept = None;
    let mut item = |change: &Change| {
        let kept =
            change.archive.as_ref().zip(change.to.as_ref()).map(|(path, to)| archive(machine, path, &change.package, to)).transpose();
        let archive = kept.unwrap_or_else(|failure| {
            unkept.get_or_insert(failure);
            None
        });
        PlanItem { archive, ..item(machine, request, change, facts) }
    };
    let mut plan = Plan {
        transaction: id,
        kind: request.kind,
        request: backstep_wire::digest(&backstep_wire::request::to_bytes(request)),
        world: facts.world,
        method: Method::Packages,
        options: request.options.clone(),
        items: changes.iter().map(&mut item).collect(),
        marks: Vec::new(),
        restores: Vec::new(),
        download_bytes: 0,
        warnings: Vec::new(),
    };
    plan.sort();
    (plan, unkept)
}

fn item(machine: &Machine, request: &Request, change: &Change, facts: &Facts) -> PlanItem {
    let (package, entry) = (&change.package, facts.status.get(&change.package));
    let auto = facts.marks.is_auto(package);
    PlanItem {
        package: package.clone(),
        action: change.action,
        reason: reason(request, change),
        from: change.from.clone(),
        to: change.to.clone(),
        archive: None,
        installed_delta: -claimed(facts, package),
        auto_before: auto,
        auto_after: auto,
        essential: entry.is_some_and(|entry| entry.essential || entry.protected),
        leftovers: facts.status.fact(package).config_files,
        undo: quality::judge(package, change.action, claimed(facts, package) != 0, &machine.admin()),
    }
}

/// Bytes that a package takes, as it claims.
fn claimed(facts: &Facts, package: &PackageId) -> i64 {
    let there = facts.status.get(package).filter(|entry| !matches!(entry.text().split(' ').next(), Some("config-files" | "not-installed")));
    there.map_or(0, |entry| i64::try_from(entry.installed_size.max(1)).unwrap_or(i64::MAX / 1024).saturating_mul(1024))
}

fn reason(request: &Request, change: &Change) -> Reason {
    let named = |word: &str| word.split(['=', '/', ':']).next() == Some(change.package.name.as_str());
    let path = change.archive.as_ref().and_then(|path| path.file_name()).and_then(|name| name.to_str());
    let words = || request.description.split(' ').skip(1);
    match request.kind {
        Kind::Upgrade | Kind::FullUpgrade => Reason::Upgrade,
        Kind::Autoremove => Reason::Unused,
        _ if words()
            .any(|word| named(word) || named(word.trim_end_matches(['+', '-'])) || path.is_some_and(|path| word.ends_with(path))) =>
        {
            Reason::Requested
        }
        _ if change.action == PlanAction::Install => Reason::Dependency,
        _ if change.action.needs_archive() => Reason::Upgrade,
        _ => Reason::Conflict,
    }
}

/// Describes an archive and keeps it under its content. What lies in apt's own folder, apt has verified.
fn archive(machine: &Machine, path: &Path, package: &PackageId, version: &Version) -> Result<Archive, Failure> {
    let error = |error: std::io::Error| Failure::new(ErrorCode::CaptureFailed, format!("cannot keep {}: {error}", path.display()));
    let mut file = File::open(path).map_err(error)?;
    let size = file.metadata().map_err(error)?.len();
    let sha256 = archives::hash(&mut file).map_err(error)?;
    let cached = path.starts_with(machine.apt_archives());
    let source = if cached { ArchiveSource::Repository } else { ArchiveSource::Local };
    let archive = Archive { source, origin: String::new(), file_name: file_name(package, version), size, sha256, trusted: cached };
    let kept = machine.kept_archive(sha256);
    if cached {
        archives::keep(path, &kept, &archive)?
    } else {
        archives::copy(path, &kept, &archive)?
    }
    archives::name(machine, &archive.file_name, sha256).map_err(error)?;
    Ok(archive)
}

/// Whether a plan is what was announced.
pub(super) fn is_of(plan: &Plan, changes: &[Change]) -> bool {
    let planned: BTreeSet<_> = plan.items.iter().map(|item| (&item.package, item.action, &item.from, &item.to)).collect();
    let announced: BTreeSet<_> = changes.iter().map(|change| (&change.package, change.action, &change.from, &change.to)).collect();
    planned == announced
}

/// The plan with what only the result tells: what was purged and not only removed, marks, sizes.
pub(super) fn carried_out(announced: &Plan, facts: &Facts) -> Plan {
    let mut plan = announced.clone();
    for item in &mut plan.items {
        let fact = facts.status.fact(&item.package);
        if item.action == PlanAction::Remove && fact.version.is_none() {
            item.action = PlanAction::Purge;
        }
        item.auto_after = facts.marks.is_auto(&item.package) && item.action.needs_archive();
        item.installed_delta += claimed(facts, &item.package);
    }
    plan.sort();
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts;
    use std::fs;

    const STATUS: &str = "Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\n\
        Package: tool\nStatus: install ok installed\nArchitecture: all\nVersion: 1\nInstalled-Size: 3\nEssential: yes\n\n\
        Package: old\nStatus: install ok installed\nArchitecture: all\nVersion: 5\nInstalled-Size: 2\n";
    const MARKS: &str = "Package: old\nArchitecture: amd64\nAuto-Installed: 1\n";

    struct Place {
        _folder: tempfile::TempDir,
        machine: Machine,
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("folder");
            let machine = Machine::new(&folder.path().join("root"), &folder.path().join("state"));
            for path in [machine.admin(), machine.at("var/lib/apt"), machine.apt_archives(), machine.archives()] {
                fs::create_dir_all(path).expect("folder");
            }
            fs::write(machine.extended_states(), MARKS).expect("marks");
            Self { _folder: folder, machine }
        }

        fn facts(&self, status: &str) -> Facts {
            fs::write(self.machine.status(), status).expect("status");
            facts::read(&self.machine).expect("facts")
        }
    }

    fn id() -> TransactionId {
        crate::testing::attempt(1).transaction
    }

    fn hook(command: &str, list: &str) -> Announced {
        read(&format!("VERSION 3\nCommandLine::AsString={command}\n\n{list}")).expect("reads")
    }

    #[test]
    fn a_run_for_the_whole_system_has_its_kind_and_others_name_their_packages() {
        let up = "tool 1 all none < 2 all none /x.deb\n";
        let gone = "old 5 all none > - - none **REMOVE**\n";
        let of = |command: &str, list: &str| {
            let announced = hook(command, list);
            let request = request(&announced.changes, &announced.command, String::new());
            (request.kind, request.items.len(), request.validate())
        };
        assert_eq!(of("apt-get%20-y%20upgrade", up), (Kind::Upgrade, 0, Ok(())));
        assert_eq!(of("apt%20full-upgrade", &format!("{up}{gone}")), (Kind::FullUpgrade, 0, Ok(())));
        assert_eq!(of("apt-get%20autoremove", gone), (Kind::Autoremove, 0, Ok(())));
        assert_eq!(of("", up), (Kind::Update, 1, Ok(())), "a program that is not apt's own");
        assert_eq!(of("apt-get%20remove%20old", gone), (Kind::Remove, 1, Ok(())));
        assert_eq!(of("apt%20install%20tool%20old-", &format!("{up}{gone}")), (Kind::Install, 2, Ok(())));
    }

    #[test]
    fn the_plan_says_what_apt_announced_and_the_archives_are_kept() {
        let place = Place::new();
        let facts = place.facts(STATUS);
        let cached = place.machine.apt_archives().join("tool_2_all.deb");
        fs::write(&cached, "an archive").expect("archive");
        let list = format!("tool 1 all none < 2 all none {}\nold 5 all none > - - none **REMOVE**\n", cached.display());
        let announced = hook("apt-get%20install%20tool", &list);
        let request = request(&announced.changes, &announced.command, announced.command.clone());
        let plan = plan(&place.machine, id(), &request, &announced.changes, &facts).0;
        let [gone, up] = plan.items.as_slice() else { panic!("two items: {plan:?}") };
        assert_eq!((gone.action, gone.reason, gone.auto_before, gone.installed_delta), (PlanAction::Remove, Reason::Conflict, true, -2048));
        assert_eq!((up.action, up.reason, up.essential, up.installed_delta), (PlanAction::Upgrade, Reason::Requested, true, -3072));
        let archive = up.archive.as_ref().expect("an archive");
        assert_eq!((archive.file_name.as_str(), archive.source, archive.trusted), ("tool_2_all.deb", ArchiveSource::Repository, true));
        assert_eq!(fs::read_to_string(place.machine.kept_archive(archive.sha256)).expect("kept"), "an archive");
        assert_eq!(plan.world, facts.world);
    }

    #[test]
    fn an_archive_that_cannot_be_kept_is_told_and_the_plan_is_whole() {
        let place = Place::new();
        let facts = place.facts(STATUS);
        let announced = hook("", "tool 1 all none < 2 all none /nonexistent.deb\n");
        let request = request(&announced.changes, "", String::new());
        let (plan, unkept) = plan(&place.machine, id(), &request, &announced.changes, &facts);
        assert_eq!((plan.items.len(), plan.items[0].archive.as_ref()), (1, None));
        assert_eq!(unkept.map(|failure| failure.code), Some(ErrorCode::CaptureFailed));
    }

    #[test]
    fn the_result_tells_a_purge_from_a_removal_and_the_sizes() {
        let place = Place::new();
        let facts = place.facts(STATUS);
        let announced = hook("", "old 5 all none > - - none **REMOVE**\ntool 1 all none > - - none **REMOVE**\n");
        let request = request(&announced.changes, "", String::new());
        let plan = plan(&place.machine, id(), &request, &announced.changes, &facts).0;
        let left = "Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\n\
            Package: tool\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\nInstalled-Size: 3\n";
        let done = carried_out(&plan, &place.facts(left));
        let actions: Vec<_> = done.items.iter().map(|item| (item.action, item.package.name.as_str(), item.installed_delta)).collect();
        assert_eq!(actions, [(PlanAction::Purge, "old", -2048), (PlanAction::Remove, "tool", -3072)]);
    }

    #[test]
    fn configuration_that_an_earlier_removal_left_is_known() {
        let place = Place::new();
        let facts = place.facts(&format!("{STATUS}\nPackage: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n"));
        let announced = hook("", "gone - - none < 2 all none /x.deb\nnew - - none < 2 all none /y.deb\n");
        let request = request(&announced.changes, "", String::new());
        let plan = plan(&place.machine, id(), &request, &announced.changes, &facts).0;
        let known: Vec<_> = plan.items.iter().map(|item| (item.package.name.as_str(), item.leftovers)).collect();
        assert_eq!(known, [("gone", true), ("new", false)]);
    }

    #[test]
    fn an_archive_of_somebody_else_is_copied() {
        let place = Place::new();
        let path = place.machine.root().join("mine.deb");
        fs::write(&path, "mine").expect("archive");
        let made = archive(&place.machine, &path, &"mine:all".parse().expect("id"), &"1:2".parse().expect("version")).expect("archive");
        assert_eq!((made.source, made.trusted, made.file_name.as_str()), (ArchiveSource::Local, false, "mine_1%3a2_all.deb"));
        fs::write(&path, "changed").expect("archive");
        assert_eq!(fs::read_to_string(place.machine.kept_archive(made.sha256)).expect("kept"), "mine");
    }
}
