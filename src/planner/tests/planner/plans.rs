//! What a plan says beside its deeds: reasons, marks, archives, undo; holds, local archives and rollbacks.

use std::fs;

use crate::support::{Universe, build, deeds, request};
use backstep_core::{
    Architecture, ArchiveSource, Digest, ErrorCode, ItemAction, Kind, Method, Plan, PlanAction, PlanItem, Reason, Request,
};
use backstep_wire::planner::Revert;

const INSTALLED: &str = "
    Package: app\nVersion: 1\nDepends: lib\n
    Package: lib\nVersion: 1\n
    Package: orphan\nVersion: 1\n
    Package: redis-server\nVersion: 1\n
    Package: frozen\nVersion: 1\nStatus: hold ok installed\n
    Package: shadow\nVersion: 1\nStatus: deinstall ok config-files\n";

const AVAILABLE: &str = "
    Package: app\nVersion: 1:2\nDepends: lib, helper\n
    Package: lib\nVersion: 1\n
    Package: lib\nVersion: 2\n
    Package: helper\nVersion: 1\nArchitecture: all\n
    Package: redis-server\nVersion: 2\n";

fn universe() -> Universe {
    Universe::new(AVAILABLE, INSTALLED, &["lib", "orphan"], "")
}

fn item<'p>(plan: &'p Plan, name: &str) -> &'p PlanItem {
    plan.items.iter().find(|item| item.package.name.as_str() == name).unwrap_or_else(|| panic!("{name} in {plan:?}"))
}

fn rollback() -> Request {
    Request {
        kind: Kind::Rollback,
        reverts: Some("01936b2e-7c1a-7d3e-9f10-0123456789ac".parse().expect("id")),
        ..request(Kind::Install, "")
    }
}

#[test]
fn what_is_left_out_of_an_upgrade_stays_and_the_rest_goes_on() {
    let mut universe = universe();
    let names = |plan: &Plan| plan.items.iter().map(|item| item.package.name.to_string()).collect::<Vec<_>>();
    let whole = universe.ask(request(Kind::FullUpgrade, "")).expect("plan");
    assert!(names(&whole).contains(&"redis-server".to_owned()) && names(&whole).contains(&"lib".to_owned()), "{whole:?}");
    universe.leave_out = vec!["redis-server".parse().expect("name"), "nosuch".parse().expect("name")];
    let rest = universe.ask(request(Kind::FullUpgrade, "")).expect("plan");
    assert_eq!(names(&rest), names(&whole).into_iter().filter(|name| name != "redis-server").collect::<Vec<_>>());
    assert!(!rest.warnings.iter().any(|text| text.contains("redis")), "it is not kept back, it is left out: {:?}", rest.warnings);
}

#[test]
fn rows_tell_why_from_where_and_how_well_it_can_be_undone() {
    let universe = universe();
    let plan = universe.ask(request(Kind::Install, "app lib redis-server")).expect("plan");
    let app = item(&plan, "app");
    assert_eq!((app.action, app.reason), (PlanAction::Upgrade, Reason::Requested));
    let archive = app.archive.as_ref().expect("archive");
    assert_eq!((archive.file_name.as_str(), archive.origin.as_str(), archive.size), ("app_1%3a2_amd64.deb", "Test/stable", 1000));
    assert!(archive.trusted && archive.source == ArchiveSource::Repository);
    let helper = item(&plan, "helper");
    assert_eq!((helper.reason, helper.package.to_string().as_str()), (Reason::Dependency, "helper:all"));
    assert!(helper.auto_after && !helper.auto_before && helper.installed_delta == 10 * 1024);
    let lib = item(&plan, "lib");
    assert!(lib.auto_before && !lib.auto_after);
    assert_eq!(item(&plan, "redis-server").undo.as_str(), "best-effort");
    assert_eq!(app.undo.as_str(), "exact");
    assert_eq!(plan.download_bytes, 4000);
    assert!(plan.warnings.iter().any(|warning| warning == "no longer needed: orphan"), "{:?}", plan.warnings);
    fs::write(universe.path("var/cache/apt/archives/app_1%3a2_amd64.deb"), vec![0; 1000]).expect("archive");
    assert_eq!(universe.ask(request(Kind::Install, "app lib redis-server")).expect("plan").download_bytes, 3000);
}

#[test]
fn marks_alone_are_a_plan_and_nothing_to_do_is_an_empty_one() {
    let universe = universe();
    let plan = universe.ask(request(Kind::Install, "orphan")).expect("plan");
    assert!(plan.items.is_empty());
    assert_eq!(plan.marks, [("orphan:amd64".parse().expect("id"), false)]);
    assert!(universe.ask(request(Kind::Update, "frozen")).expect("plan").is_empty());
    assert!(universe.ask(Request { kind: Kind::Autoremove, ..request(Kind::Install, "") }).expect("plan").count(PlanAction::Remove) == 1);
    let update = universe.ask(request(Kind::Update, "lib")).expect("plan");
    assert!(item(&update, "lib").auto_after, "an update says nothing about why a package is there");
}

#[test]
fn purges_say_what_cannot_come_back() {
    let universe = universe();
    fs::write(universe.path("var/lib/dpkg/info/app.postrm"), "case $1 in purge) rm -rf /var/lib/app;; esac").expect("script");
    let plan = universe.ask(request(Kind::Purge, "app redis-server shadow")).expect("plan");
    assert_eq!(item(&plan, "app").undo.as_str(), "best-effort");
    assert_eq!(item(&plan, "redis-server").undo.as_str(), "impossible");
    assert!(plan.is_irreversible());
    let shadow = item(&plan, "shadow");
    assert_eq!((shadow.from.as_ref().map(ToString::to_string).as_deref(), shadow.installed_delta), (Some("1"), 0));
    let remove = universe.ask(request(Kind::Install, "helper app-")).expect("plan");
    assert_eq!((item(&remove, "app").action, item(&remove, "app").reason), (PlanAction::Remove, Reason::Requested));
}

#[test]
fn holds_are_marks_and_already_so_is_nothing() {
    let universe = universe();
    let plan = universe.ask(request(Kind::Hold, "app frozen")).expect("plan");
    assert_eq!((plan.method, plan.items.len()), (Method::Marks, 1));
    assert_eq!(item(&plan, "app").action, PlanAction::Hold);
    assert_eq!(universe.ask(request(Kind::Unhold, "frozen")).expect("plan").items[0].action, PlanAction::Unhold);
    assert_eq!(universe.ask(request(Kind::Hold, "helper")).expect_err("refused").code, ErrorCode::PackageNotInstalled);
}

#[test]
fn an_interrupted_dpkg_is_named() {
    let universe = universe();
    universe.write("var/lib/dpkg/updates/0001", "");
    assert_eq!(universe.ask(request(Kind::Install, "app")).expect_err("refused").code, ErrorCode::DpkgInterrupted);
    fs::remove_file(universe.path("var/lib/dpkg/updates/0001")).expect("remove");
    universe.set_installed("Package: torn\nVersion: 1\nStatus: install ok half-configured\n", &[]);
    let failure = universe.ask(request(Kind::Install, "helper")).expect_err("refused");
    assert_eq!(failure.code, ErrorCode::DpkgInterrupted);
    assert!(failure.text.contains("torn"));
}

#[test]
fn a_full_disk_is_seen_before() {
    let universe = universe();
    let huge = AVAILABLE.replace("Package: helper", "Package: helper\nInstalled-Size: 99999999999");
    let universe = {
        drop(universe);
        Universe::new(&huge.replace("Installed-Size: 99999999999\nVersion", "Version"), INSTALLED, &[], "")
    };
    // The generated size is fixed; a claim of its own is put into apt's list directly.
    let lists = fs::read_dir(universe.path("var/lib/apt/lists")).expect("lists");
    let list = lists.map(|entry| entry.expect("entry").path()).find(|path| path.to_string_lossy().ends_with("_Packages"));
    if let Some(list) = list {
        let list = fs::canonicalize(&list).expect("list");
        let text = fs::read_to_string(&list).expect("list");
        fs::write(&list, text.replacen("Installed-Size: 10", "Installed-Size: 99999999999", 9)).expect("list");
        assert_eq!(universe.ask(request(Kind::Install, "helper")).expect_err("refused").code, ErrorCode::DiskFull);
    }
}

#[test]
fn a_local_archive_is_installed_with_what_it_needs() {
    let universe = universe();
    let folder = tempfile::tempdir().expect("folder");
    let archive = build(folder.path(), "Package: mine\nVersion: 1.5\nDepends: helper\n");
    let bytes = fs::read(&archive).expect("archive");
    let plan = universe.ask_with(request(Kind::Install, ""), &[(ArchiveSource::Local, archive)], None).expect("plan");
    let mine = item(&plan, "mine");
    let described = mine.archive.as_ref().expect("archive");
    assert_eq!((mine.reason, described.source, described.trusted), (Reason::Requested, ArchiveSource::Local, false));
    assert_eq!((described.file_name.as_str(), described.size), ("mine_1.5_amd64.deb", bytes.len() as u64));
    assert_eq!(described.sha256, backstep_wire::digest(&bytes));
    assert_eq!(item(&plan, "helper").reason, Reason::Dependency);
    assert_eq!(plan.download_bytes, 1000);
    assert!(plan.has_untrusted_archive() && plan.warnings.iter().any(|warning| warning.contains("mine")));
}

#[test]
fn a_bad_local_archive_is_refused() {
    let universe = universe();
    let folder = tempfile::tempdir().expect("folder");
    let junk = folder.path().join("junk.deb");
    fs::write(&junk, b"this is no archive").expect("junk");
    let failure = universe.ask_with(request(Kind::Install, ""), &[(ArchiveSource::Local, junk)], None).expect_err("refused");
    assert_eq!(failure.code, ErrorCode::ArchiveInvalid, "{failure}");
    let foreign = build(folder.path(), "Package: alien\nVersion: 1\nArchitecture: s390x\n");
    let failure = universe.ask_with(request(Kind::Install, ""), &[(ArchiveSource::Local, foreign)], None).expect_err("refused");
    assert_eq!(failure.code, ErrorCode::ArchiveInvalid);
    assert!(failure.text.contains("s390x"), "{failure}");
    let good = fs::read(build(folder.path(), "Package: mine\nVersion: 1\n")).expect("archive");
    let second = member("control.tar.xz", b"another");
    for (what, bytes) in [
        ("cut off", good[..good.len() - 20].to_vec()),
        ("a script in front", [b"#!/bin/sh\n".as_slice(), &good].concat()),
        ("another archive behind", [good.as_slice(), b"PK\x05\x06"].concat()),
        ("a second list of facts", [good.as_slice(), &second].concat()),
    ] {
        let path = folder.path().join("odd.deb");
        fs::write(&path, bytes).expect("archive");
        let failure = universe.ask_with(request(Kind::Install, ""), &[(ArchiveSource::Local, path)], None).expect_err(what);
        assert_eq!(failure.code, ErrorCode::ArchiveInvalid, "{what}: {failure}");
    }
}

/// One member of a container.
fn member(name: &str, content: &[u8]) -> Vec<u8> {
    [format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, content.len()).as_bytes(), content].concat()
}

#[test]
fn the_newest_transaction_is_undone_by_its_files() {
    let universe = universe();
    let done = universe.ask(request(Kind::Install, "app lib")).expect("plan");
    let revert = Revert { world_after: Some(done.world), plan: done.clone() };
    let plan = universe.ask_with(rollback(), &[], Some(revert)).expect("plan");
    assert_eq!(plan.method, Method::Restore(done.transaction));
    let lib = item(&plan, "lib");
    assert_eq!((lib.action, lib.reason, lib.archive.is_none()), (PlanAction::Downgrade, Reason::Reverted, true));
    assert!(!lib.auto_before && lib.auto_after);
    assert_eq!(item(&plan, "helper").action, PlanAction::Purge);
}

/// What a rollback does to `shadow` after an install or a purge of it, by files or by packages.
fn shadow_back(kind: Kind, by_files: bool) -> Plan {
    let universe = Universe::new("Package: shadow\nVersion: 2\n", INSTALLED, &[], "");
    let done = universe.ask(request(kind, "shadow")).expect("plan");
    assert!(item(&done, "shadow").leftovers);
    if !by_files {
        let now = if kind == Kind::Install { "Package: shadow\nVersion: 2\n" } else { "" };
        universe.set_installed(&format!("{now}\nPackage: other\nVersion: 1\n"), &[]);
    }
    let world_after = by_files.then_some(done.world);
    universe.ask_with(rollback(), &[], Some(Revert { plan: done, world_after })).expect("plan")
}

#[test]
fn configuration_that_an_earlier_removal_left_is_not_purged_by_undoing_an_install() {
    for by_files in [true, false] {
        let plan = shadow_back(Kind::Install, by_files);
        assert_eq!(item(&plan, "shadow").action, PlanAction::Remove, "{:?}", plan.method);
    }
}

#[test]
fn a_purge_of_leftovers_brings_configuration_back_and_no_package() {
    let plan = shadow_back(Kind::Purge, true);
    let shadow = item(&plan, "shadow");
    assert_eq!((shadow.action, &shadow.from, &shadow.to), (PlanAction::Remove, &None, &None));
    assert!(plan.warnings.iter().any(|text| text.contains("only configuration files come back: shadow")), "{:?}", plan.warnings);
    assert!(shadow_back(Kind::Purge, false).is_empty(), "no package brings the files back");
}

#[test]
fn undoing_an_undo_leads_back_to_the_same_leftovers() {
    for (kind, again) in [(Kind::Install, PlanAction::Install), (Kind::Purge, PlanAction::Purge)] {
        let plan = shadow_back(kind, true);
        let universe = Universe::new("", INSTALLED, &[], "");
        let back = Plan { world: universe.ask(request(Kind::Purge, "shadow")).expect("plan").world, ..plan };
        let revert = Revert { world_after: Some(back.world), plan: back };
        let twice = universe.ask_with(rollback(), &[], Some(revert)).expect("plan");
        assert_eq!((item(&twice, "shadow").action, item(&twice, "shadow").leftovers), (again, true));
    }
}

#[test]
fn a_purged_package_that_claims_no_size_is_installed_again() {
    let universe = Universe::new("Package: light\nVersion: 1\n", "Package: light\nVersion: 1\nInstalled-Size: 0\n", &[], "");
    let done = universe.ask(request(Kind::Purge, "light")).expect("plan");
    assert_eq!(item(&done, "light").installed_delta, 0);
    universe.set_installed("Package: other\nVersion: 1\n", &[]);
    let plan = universe.ask_with(rollback(), &[], Some(Revert { plan: done, world_after: None })).expect("plan");
    assert_eq!(item(&plan, "light").action, PlanAction::Install);
}

#[test]
fn several_transactions_are_undone_by_their_files_or_as_one_change_by_packages() {
    let universe = universe();
    let mut newer = universe.ask(request(Kind::Install, "app lib")).expect("plan");
    newer.transaction = "01936b2e-7c1a-7d3e-9f10-0123456789ad".parse().expect("id");
    let mut older = universe.ask(request(Kind::Install, "helper")).expect("plan");
    let now = newer.world;
    (newer.world, older.world) = (Digest([2; 32]), Digest([1; 32]));
    let mut asked = rollback();
    asked.options.undo_later = true;
    let series = |left: [Option<u8>; 1]| {
        let older = Revert { plan: older.clone(), world_after: left[0].map(|left| Digest([left; 32])) };
        vec![Revert { plan: newer.clone(), world_after: Some(now) }, older]
    };
    let plan = universe.ask_to_undo(asked.clone(), &[], series([Some(2)])).expect("plan");
    assert_eq!((plan.method, plan.restores.as_slice()), (Method::Restore(older.transaction), &[newer.transaction][..]));
    assert!(plan.items.iter().any(|item| item.package.name.as_str() == "lib"), "{:?}", deeds(&plan));
    universe.set_installed(AFTER, &["helper", "orphan"]);
    let folder = tempfile::tempdir().expect("folder");
    let kept = build(folder.path(), "Package: app\nVersion: 1\nDepends: lib\n");
    let plan = universe.ask_to_undo(asked, &[(ArchiveSource::Kept, kept)], series([None])).expect("plan");
    assert_eq!((plan.method, plan.restores.len(), item(&plan, "helper").action), (Method::Packages, 0, PlanAction::Purge));
    assert!(plan.warnings[0].contains("packages are changed instead of files"), "{:?}", plan.warnings);
}

#[test]
fn a_part_is_undone_by_packages_where_others_can_do_without_it() {
    let (universe, revert) = changed("");
    let folder = tempfile::tempdir().expect("folder");
    let part = |names: &str, revert: &Revert| {
        let mut asked = Request { items: request(Kind::Install, names).items, ..rollback() };
        asked.items.iter_mut().for_each(|item| item.action = ItemAction::Rollback);
        let kept = build(folder.path(), "Package: app\nVersion: 1\nDepends: lib\n");
        universe.ask_with(asked, &[(ArchiveSource::Kept, kept)], Some(revert.clone()))
    };
    let plan = part("lib", &revert).expect("plan");
    assert_eq!((plan.method, deeds(&plan).len(), item(&plan, "lib").action), (Method::Packages, 1, PlanAction::Downgrade));
    assert!(plan.warnings.iter().any(|warning| warning.contains("only a part")), "{:?}", plan.warnings);
    let needed = part("helper", &revert).expect_err("refused");
    assert_eq!(needed.code, ErrorCode::UndoConflict, "{needed}");
    assert!(needed.text.contains("app depends on helper"), "{needed}");
    let unknown = part("orphan", &revert).expect_err("refused");
    assert_eq!(unknown.code, ErrorCode::UndoNothing, "{unknown}");
    assert!(unknown.text.contains("did not change orphan; it changed "), "{unknown}");
}

const AFTER: &str = "
    Package: app\nVersion: 1:2\nDepends: lib, helper\n
    Package: lib\nVersion: 2\n
    Package: helper\nVersion: 1\nArchitecture: all\n
    Package: orphan\nVersion: 1\n";

/// The universe after `install app lib`, and that transaction.
fn changed(also: &str) -> (Universe, Revert) {
    let universe = universe();
    let plan = universe.ask(request(Kind::Install, "app lib")).expect("plan");
    universe.set_installed(&format!("{AFTER}\n{also}"), &["helper", "orphan"]);
    (universe, Revert { plan, world_after: Some(Digest([9; 32])) })
}

#[test]
fn an_older_transaction_is_undone_by_packages_and_kept_archives() {
    let (universe, revert) = changed("");
    let failure = universe.ask_with(rollback(), &[], Some(revert.clone())).expect_err("the old app is nowhere");
    assert_eq!(failure.code, ErrorCode::UndoMaterial);
    assert!(failure.text.contains("app 1"), "{failure}");
    let folder = tempfile::tempdir().expect("folder");
    let kept = build(folder.path(), "Package: app\nVersion: 1\nDepends: lib\n");
    let plan = universe.ask_with(rollback(), &[(ArchiveSource::Kept, kept.clone())], Some(revert.clone())).expect("plan");
    assert_eq!(plan.method, Method::Packages);
    let (app, lib, helper) = (item(&plan, "app"), item(&plan, "lib"), item(&plan, "helper"));
    assert_eq!((app.action, lib.action, helper.action), (PlanAction::Downgrade, PlanAction::Downgrade, PlanAction::Purge));
    assert_eq!(app.archive.as_ref().map(|archive| archive.source), Some(ArchiveSource::Kept));
    assert_eq!(lib.archive.as_ref().map(|archive| archive.source), Some(ArchiveSource::Repository));
    assert!(lib.auto_after && !lib.auto_before && !app.auto_after);
    assert_eq!(plan.items.len(), 3, "{:?}", deeds(&plan));
    // What is rebuilt is taken before what a repository has, and after the package's own.
    let rebuilt = |name: &str, needs: &str| {
        let folder = folder.path().join(name);
        fs::create_dir(&folder).expect("folder");
        let control = format!("Package: {name}\nVersion: 1\n{needs}Backstep-Rebuilt-From: 01936b2e-7c1a-7d3e-9f10-0123456789ab\n");
        (ArchiveSource::Rebuilt, build(&folder, &control))
    };
    let both = [rebuilt("app", "Depends: lib\n"), rebuilt("lib", "")];
    let plan = universe.ask_with(rollback(), &both, Some(revert.clone())).expect("plan");
    for name in ["app", "lib"] {
        let archive = item(&plan, name).archive.as_ref().expect("archive");
        assert_eq!((archive.source, archive.origin.as_str()), (ArchiveSource::Rebuilt, "rebuilt from undo material"), "{name}");
    }
    assert_eq!((plan.download_bytes, plan.warnings.iter().any(|text| text.contains("signed"))), (0, false), "{:?}", plan.warnings);
    let with_own = [both[0].clone(), (ArchiveSource::Kept, kept.clone())];
    let plan = universe.ask_with(rollback(), &with_own, Some(revert.clone())).expect("plan");
    assert_eq!(item(&plan, "app").archive.as_ref().map(|archive| archive.source), Some(ArchiveSource::Kept));
    fs::copy(kept, universe.path("var/cache/apt/archives/app_1_amd64.deb")).expect("copy");
    let plan = universe.ask_with(rollback(), &both, Some(revert.clone())).expect("plan");
    assert_eq!(item(&plan, "app").archive.as_ref().map(|archive| archive.source), Some(ArchiveSource::Kept), "it is in apt's folder");
    let cached = universe.ask_with(rollback(), &[], Some(revert)).expect("plan");
    assert_eq!(item(&cached, "app").archive, app.archive);
}

#[test]
fn what_came_later_stands_in_the_way_by_name() {
    let folder = tempfile::tempdir().expect("folder");
    let kept = build(folder.path(), "Package: app\nVersion: 1\nDepends: lib\n");
    let (universe, revert) = changed("Package: later\nVersion: 1\nDepends: helper\n");
    let failure = universe.ask_with(rollback(), &[(ArchiveSource::Kept, kept)], Some(revert.clone())).expect_err("refused");
    assert_eq!(failure.code, ErrorCode::UndoConflict);
    assert!(failure.text.contains("later depends on helper"), "{failure}");
    universe.set_installed(&AFTER.replace("Package: lib\nVersion: 2", "Package: lib\nVersion: 3"), &[]);
    let failure = universe.ask_with(rollback(), &[], Some(revert)).expect_err("refused");
    assert_eq!(failure.code, ErrorCode::UndoConflict);
    assert!(failure.text.contains("lib is at 3"), "{failure}");
}

#[test]
fn a_hold_is_undone_and_an_undone_transaction_needs_nothing() {
    let universe = universe();
    let plan = universe.ask(request(Kind::Unhold, "frozen")).expect("plan");
    let revert = Revert { plan, world_after: None };
    assert!(universe.ask_with(rollback(), &[], Some(revert.clone())).expect("plan").is_empty(), "it is still held");
    universe.set_installed("Package: frozen\nVersion: 1\n", &[]);
    let back = universe.ask_with(rollback(), &[], Some(revert)).expect("plan");
    assert_eq!((back.method, back.items[0].action), (Method::Marks, PlanAction::Hold));
    assert_eq!(universe.ask_with(rollback(), &[], None).expect_err("refused").code, ErrorCode::UndoNothing);
}

#[test]
fn architectures_are_the_packages_own() {
    let universe = universe();
    let mut asked = request(Kind::Install, "helper");
    asked.items[0].arch = Some("all".parse::<Architecture>().expect("arch"));
    asked.items[0].action = ItemAction::Install;
    assert_eq!(universe.ask(asked).expect("plan").items[0].package.to_string(), "helper:all");
    assert_eq!(universe.ask(request(Kind::Install, "app:i386")).expect_err("refused").code, ErrorCode::PackageUnknown);
}
