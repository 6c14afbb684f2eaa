use super::*;
use backstep_capture::{Selection, secure};
use backstep_core::{Archive, Kind as RequestKind, Options, PlanAction, Reason, Request, RequestItem, UndoQuality};
use backstep_wire::planner::Revert;
use std::path::PathBuf;
use std::process::Command;

fn id(digit: u8) -> TransactionId {
    format!("01936b2e-7c1a-7d3e-9f10-00000000000{digit}").parse().expect("id")
}

fn item(package: &str, from: Option<&str>, to: Option<&str>) -> PlanItem {
    let version = |text: Option<&str>| text.map(|text| text.parse().expect("version"));
    PlanItem {
        package: package.parse().expect("package"),
        action: PlanAction::Upgrade,
        reason: Reason::Requested,
        from: version(from),
        to: version(to),
        archive: None,
        installed_delta: 0,
        auto_before: false,
        auto_after: false,
        essential: false,
        leftovers: false,
        undo: UndoQuality::Exact,
    }
}

fn with_archive(item: PlanItem, source: ArchiveSource, digit: u8) -> PlanItem {
    let (origin, file_name) = (String::new(), "a.deb".to_owned());
    PlanItem { archive: Some(Archive { source, origin, file_name, size: 1, sha256: Digest([digit; 32]), trusted: false }), ..item }
}

fn plan(digit: u8, items: Vec<PlanItem>) -> Plan {
    Plan {
        transaction: id(digit),
        kind: RequestKind::Upgrade,
        request: Digest([0; 32]),
        world: Digest([0; 32]),
        method: Method::Packages,
        options: Options::default(),
        items,
        marks: Vec::new(),
        restores: Vec::new(),
        download_bytes: 0,
        warnings: Vec::new(),
    }
}

/// A question about rolling back the first of these and all later ones, named newest first.
fn question(mut newest_first: Vec<Plan>, part: &[&str]) -> Question {
    let first = newest_first.pop();
    let revert = |plan: Plan| Revert { plan, world_after: None };
    let named = |name: &&str| RequestItem {
        action: backstep_core::ItemAction::Rollback,
        name: name.parse().expect("name"),
        arch: None,
        version: None,
    };
    let request = Request {
        kind: RequestKind::Rollback,
        description: String::new(),
        tags: Default::default(),
        items: part.iter().map(named).collect(),
        archives: Vec::new(),
        reverts: Some(id(1)),
        retries: None,
        options: Options { undo_later: part.is_empty(), ..Options::default() },
    };
    Question {
        owner: 1000,
        id: id(9),
        request,
        request_digest: Digest([0; 32]),
        revert: first.map(revert),
        held: Ok(Vec::new()),
        later: newest_first.into_iter().map(revert).collect(),
        wanted: Vec::new(),
    }
}

fn told(lost: &[Lost]) -> Vec<String> {
    lost.iter().map(|lost| format!("{} {} {}", lost.package, lost.version, &lost.from.to_string()[35..])).collect()
}

#[test]
fn what_was_before_the_first_of_them_is_wanted_unless_it_was_kept() {
    let folder = tempfile::tempdir().expect("folder");
    let archives = Archives::open(folder.path(), 0).expect("archives");
    let first =
        plan(1, vec![item("aa:all", Some("1"), Some("2")), item("new:all", None, Some("1")), item("held:all", Some("1"), Some("1"))]);
    let second =
        plan(2, vec![item("aa:all", Some("2"), Some("3")), item("bb:all", Some("1:5"), None), item("new:all", Some("1"), Some("2"))]);
    let both = || question(vec![second.clone(), first.clone()], &[]);
    assert_eq!(told(&lost(&both(), &archives)), ["aa:all 1 1", "bb:all 1:5 2"]);
    fs::write(folder.path().join(format!("archives/{}.deb", Digest([7; 32]))), "kept").expect("archive");
    let name = folder.path().join("archives/by-name/bb_1%3a5_all.deb");
    std::os::unix::fs::symlink(format!("../{}.deb", Digest([7; 32])), name).expect("name");
    assert_eq!(told(&lost(&both(), &archives)), ["aa:all 1 1"]);
    assert_eq!(told(&lost(&question(vec![second.clone()], &["bb", "new"]), &archives)), ["new:all 1 2"]);
}

#[test]
fn only_what_would_be_downloaded_or_is_nowhere_is_made() {
    let lost = [Lost { package: "aa:all".parse().expect("package"), version: "1".parse().expect("version"), from: id(1) }];
    let back = |source, method| Ok(Plan { method, ..plan(9, vec![with_archive(item("aa:all", Some("2"), Some("1")), source, 1)]) });
    assert!(is_needed(&back(ArchiveSource::Repository, Method::Packages), &lost));
    assert!(!is_needed(&back(ArchiveSource::Kept, Method::Packages), &lost));
    assert!(!is_needed(&back(ArchiveSource::Repository, Method::Restore(id(1))), &lost));
    assert!(!is_needed(&back(ArchiveSource::Repository, Method::Packages), &[]));
    let failed = |code| Err(Failure::new(code, "why"));
    assert!(is_needed(&failed(ErrorCode::UndoMaterial), &lost) && !is_needed(&failed(ErrorCode::UndoMaterial), &[]));
    assert!(!is_needed(&failed(ErrorCode::UndoConflict), &lost));
}

fn run(program: &str, arguments: &[&Path]) -> String {
    let output = Command::new(program).args(arguments).env("LC_ALL", "C.UTF-8").output().expect(program);
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A system below a folder, and a state directory.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        for path in ["root/var/lib/dpkg/info", "root/var/lib/dpkg/updates", "root/var/lib/dpkg/triggers", "root/var/log", "root/etc"] {
            fs::create_dir_all(folder.path().join(path)).expect("folder");
        }
        fs::create_dir_all(folder.path().join("state/capture")).expect("folder");
        let (passwd, group) = ("root:x:0:0:root:/root:/bin/sh\n", "root:x:0:\n");
        for (path, text) in [("var/lib/dpkg/status", ""), ("etc/passwd", passwd), ("etc/group", group)] {
            fs::write(folder.path().join("root").join(path), text).expect("file");
        }
        Self { folder }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn archive(&self, version: &str) -> PathBuf {
        let tree = self.path(&format!("tree-{version}"));
        for path in ["DEBIAN", "usr/bin", "usr/share/aa", "etc"] {
            fs::create_dir_all(tree.join(path)).expect("folder");
        }
        for path in ["usr/bin/aa", "usr/share/aa/one", "etc/aa.conf", "etc/aa.other"] {
            fs::write(tree.join(path), format!("{path} of {version}\n")).expect("file");
        }
        fs::hard_link(tree.join("usr/share/aa/one"), tree.join("usr/share/aa/two")).expect("link");
        let set_id = std::os::unix::fs::PermissionsExt::from_mode(0o4755);
        fs::set_permissions(tree.join("usr/bin/aa"), set_id).expect("mode");
        let control = format!("Package: aa\nVersion: {version}\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: x\n");
        fs::write(tree.join("DEBIAN/control"), control).expect("control");
        fs::write(tree.join("DEBIAN/conffiles"), "/etc/aa.conf\n/etc/aa.other\n").expect("conffiles");
        let path = self.path(&format!("{version}.deb"));
        run("dpkg-deb", &["--root-owner-group".as_ref(), "--build".as_ref(), &tree, &path]);
        path
    }

    fn dpkg(&self, option: &str, what: &Path) {
        let root = self.path("root");
        run("dpkg", &["--root".as_ref(), &root, "--force-confold".as_ref(), "--force-downgrade".as_ref(), option.as_ref(), what]);
    }

    /// As the worker does it before a change.
    fn capture(&self, of: u8) {
        let list = fs::read_to_string(self.path("root/var/lib/dpkg/info/aa.list")).expect("list");
        let link = list.lines().filter(|line| *line != "/.").map(PathBuf::from).collect();
        let set = |path: &str| [PathBuf::from(path)].into_iter().collect();
        let selection = Selection { link, tree: set("/var/lib/dpkg"), copy: set("/etc"), ..Selection::default() };
        let dir = CaptureDir::create(&self.path(&format!("state/capture/{}-1", id(of)))).expect("dir");
        secure(&self.path("root"), &dir, &selection, &mut |_, _| {}).expect("captured");
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path("root").join(path)).expect("read")
    }
}

#[test]
fn a_version_that_is_nowhere_comes_back_from_the_capture() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let machine = Machine::new();
    let (old, new) = (machine.archive("1"), machine.archive("2"));
    machine.dpkg("--install", &old);
    let before = machine.read("usr/share/aa/two");
    fs::write(machine.path("root/etc/aa.other"), "edited\n").expect("edit");
    fs::write(machine.path("root/etc/aa.other.dpkg-dist"), "etc/aa.other of 1\n").expect("pristine");
    machine.capture(1);
    machine.dpkg("--install", &new);

    let (state, version) = (machine.path("state"), |text: &str| text.parse().expect("version"));
    let (attempts, archives) = (Attempts::open(&state).expect("attempts"), Archives::open(&state, 0).expect("archives"));
    let package: PackageId = "aa:all".parse().expect("package");
    let wanted = |from| Lost { package: package.clone(), version: version("1"), from };
    let lost = [wanted(id(1)), Lost { version: version("9"), ..wanted(id(1)) }, wanted(id(2))];
    let made = make(&lost, &attempts, &archives);
    assert_eq!(made.len(), 1, "another version, and a transaction without a capture: {made:?}");
    assert!(made[0].is_whole(), "{made:?}");
    let archive = machine.path(&format!("state/archives/{}.deb", made[0].archive.sha256));
    assert_eq!(run("dpkg-deb", &["--contents".as_ref(), &archive]), run("dpkg-deb", &["--contents".as_ref(), &old]));
    assert!(!archives.has_kept(&package, &version("1")), "nobody takes it for the package's own");
    machine.dpkg("--install", &archive);
    assert_eq!((machine.read("usr/share/aa/two"), machine.read("etc/aa.other")), (before, "edited\n".to_owned()));
    assert!(machine.read("var/lib/dpkg/status").contains(&format!("Backstep-Rebuilt-From: {}", id(1))));

    let mut back = plan(9, vec![with_archive(item("aa:all", Some("2"), Some("1")), ArchiveSource::Rebuilt, 0)]);
    tell(&mut back, &made);
    assert_eq!(back.warnings, Vec::<String>::new(), "another archive");
    back.items[0].archive.as_mut().expect("archive").sha256 = made[0].archive.sha256;
    assert_eq!(archives_of(&back)[0].sha256, made[0].archive.sha256);
    let inexact = Rebuilt { left_out: vec!["/etc/aa.conf".into()], ..Rebuilt::default() };
    tell(&mut back, &[Made { rebuilt: inexact, ..made[0].clone() }]);
    let expected = ["rebuilt from undo material, because no archive was kept: aa 1", "rebuilt aa: /etc/aa.conf: stays as it is now"];
    assert_eq!(back.warnings, expected);
}

#[test]
fn an_archive_that_cannot_be_finished_leaves_nothing() {
    use std::io::Write;
    let folder = tempfile::tempdir().expect("folder");
    let archives = Archives::open(folder.path(), 0).expect("archives");
    let failed = archives.make(|out| {
        out.write_all(b"half").expect("write");
        Err::<(), _>(Failure::new(ErrorCode::UndoMaterial, "the rest is gone"))
    });
    assert_eq!(failed.map_err(|failure| failure.code), Err(ErrorCode::UndoMaterial));
    assert_eq!(fs::read_dir(folder.path().join("archives")).expect("folder").count(), 1, "the folder of names");
    let (made, ()) = archives.make(|out| out.write_all(b"whole").map_err(|error| failure(&RebuildError::Write(error)))).expect("made");
    assert_eq!((made.size, made.sha256), (5, backstep_wire::digest(b"whole")));
    assert_eq!(archives.open_rebuilt(&[made]).expect("open").len(), 1);
}
