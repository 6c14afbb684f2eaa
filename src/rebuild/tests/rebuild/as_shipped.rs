//! A package whose system was bent in every way that dpkg allows, made again as it was shipped.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::common::{Scratch, contents, control_members, is_root, query, run};
use crate::tree::Tree;
use backstep_rebuild::{Edited, RebuildError, Rebuilder, Rebuilt, Wanted};

const CONTROL: &str = "Package: bent\nVersion: 1:2~rc1-3\nArchitecture: all\nMaintainer: a <a@example.org>\nSection: misc\n\
    Priority: optional\nX-Odd: kept\nDescription: x\n y\n";
const CONFFILES: [&str; 5] = ["same", "dist", "ucf", "lost", "gone"];

/// An archive by dpkg-deb, and a system on which it is unpacked.
struct Bent {
    scratch: Scratch,
    original: PathBuf,
    root: PathBuf,
}

impl Bent {
    fn new() -> Self {
        let scratch = Scratch::new();
        let tree = scratch.path("tree");
        for folder in ["DEBIAN", "bin", "etc/bent", "usr/share/bent/empty", "usr/bin", "var/lib/bent"] {
            fs::create_dir_all(tree.join(folder)).expect("folder");
        }
        let write = |path: &str, mode: u32| {
            fs::write(tree.join(path), format!("{path} as shipped\n")).expect("file");
            fs::set_permissions(tree.join(path), fs::Permissions::from_mode(mode)).expect("mode");
        };
        for (path, mode) in [("bin/alias", 0o755), ("usr/bin/diverted", 0o755), ("usr/bin/overridden", 0o755), ("usr/bin/setuid", 0o4755)] {
            write(path, mode);
        }
        write("usr/share/bent/one", 0o644);
        fs::hard_link(tree.join("usr/share/bent/one"), tree.join("usr/share/bent/two")).expect("hard link");
        symlink("one", tree.join("usr/share/bent/link")).expect("link");
        fs::write(tree.join("usr/share/bent").join(OsStr::from_bytes(b"\xff\xfe")), "odd").expect("odd");
        fs::write(tree.join("usr/share/bent").join("n".repeat(246)), "long").expect("long");
        let conffiles: Vec<String> = CONFFILES.iter().map(|name| format!("/etc/bent/{name}\n")).collect();
        CONFFILES.iter().for_each(|name| write(&format!("etc/bent/{name}"), 0o644));
        fs::write(tree.join("DEBIAN/conffiles"), conffiles.concat()).expect("conffiles");
        fs::write(tree.join("DEBIAN/control"), CONTROL).expect("control");
        fs::write(tree.join("DEBIAN/triggers"), "interest-noawait /usr/share/nowhere\n").expect("triggers");
        let original = scratch.path("original.deb");
        run("dpkg-deb", &["--root-owner-group", "-Zxz", "--build", &tree.to_string_lossy(), &original.to_string_lossy()]);
        let root = scratch.bare();
        fs::create_dir_all(root.join("usr/bin")).expect("folder");
        symlink("usr/bin", root.join("bin")).expect("merged");
        run("dpkg", &["--root", &root.to_string_lossy(), "--install", &original.to_string_lossy()]);
        Self { scratch, original, root }
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.root.join(path).parent().expect("parent")).expect("folder");
        fs::write(self.root.join(path), text).expect("write");
    }

    fn rebuilt(&self, edited: Edited) -> (PathBuf, Rebuilt) {
        let path = self.scratch.path("rebuilt.deb");
        let mut file = fs::File::create(&path).expect("file");
        let rebuilt = self.rebuild("1:2~rc1-3", edited, &mut file).expect("rebuilt");
        (path, rebuilt)
    }

    fn rebuild(&self, version: &str, edited: Edited, file: &mut fs::File) -> Result<Rebuilt, RebuildError> {
        let (package, version) = ("bent:all".parse().expect("package"), version.parse().expect("version"));
        let tree = Tree::new(&self.root);
        let from = "01936b2e-7c1a-7d3e-9f10-0123456789ab".parse().expect("id");
        Rebuilder::new(&tree)?.rebuild(&Wanted { package: &package, version: &version, from, room: u64::MAX, edited: &|_| edited }, file)
    }
}

/// What differs between an archive and the one it stands for.
fn differing(one: &Path, other: &Path) -> Vec<String> {
    let (one, other): (BTreeMap<_, _>, BTreeMap<_, _>) = (contents(one), contents(other));
    let paths = one.keys().chain(other.keys().filter(|path| !one.contains_key(*path)));
    paths.filter(|path| one.get(*path) != other.get(*path)).cloned().collect()
}

#[test]
fn what_nobody_changed_is_the_same_archive() {
    if !is_root() {
        return;
    }
    let bent = Bent::new();
    let (archive, rebuilt) = bent.rebuilt(Edited::AsFound);
    assert!(rebuilt.is_whole(), "{rebuilt:?}");
    assert_eq!(differing(&archive, &bent.original), Vec::<String>::new());
    let mut members = control_members(&archive, &bent.scratch);
    // dpkg makes the sums itself where a package brings none.
    assert!(members.remove("md5sums").is_some());
    assert_eq!(members, control_members(&bent.original, &bent.scratch));
    let control = run("dpkg-deb", &["--field", &archive.to_string_lossy()]);
    let expected = [CONTROL, "Backstep-Rebuilt-From: 01936b2e-7c1a-7d3e-9f10-0123456789ab\n"].concat();
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&control), sorted(&expected));
    let first = fs::read(&archive).expect("bytes");
    assert_eq!(first, fs::read(bent.rebuilt(Edited::AsFound).0).expect("bytes"), "the same material gives the same bytes");
}

#[test]
fn what_the_administrator_bent_is_shipped_straight() {
    if !is_root() {
        return;
    }
    let bent = Bent::new();
    let root = bent.root.to_string_lossy().into_owned();
    run("dpkg-divert", &["--root", &root, "--local", "--rename", "--divert", "/usr/bin/moved", "--add", "/usr/bin/diverted"]);
    bent.write("usr/bin/diverted", "somebody else's\n");
    run("dpkg-statoverride", &["--root", &root, "--update", "--add", "#7", "#8", "4750", "/usr/bin/overridden"]);
    fs::remove_dir(bent.root.join("var/lib/bent")).expect("remove");
    fs::create_dir_all(bent.root.join("srv/bent")).expect("folder");
    symlink("../../srv/bent", bent.root.join("var/lib/bent")).expect("link");
    for (path, text) in [("etc/bent/dist", "mine"), ("etc/bent/ucf", "mine"), ("etc/bent/lost", "mine")] {
        bent.write(path, text);
    }
    bent.write("etc/bent/dist.dpkg-dist", "etc/bent/dist as shipped\n");
    bent.write("etc/bent/lost.dpkg-dist", "another version's\n");
    bent.write("var/lib/ucf/cache/:etc:bent:ucf", "etc/bent/ucf as shipped\n");
    fs::remove_file(bent.root.join("etc/bent/gone")).expect("remove");
    fs::remove_file(bent.root.join("usr/share/bent/link")).expect("remove");

    let (archive, rebuilt) = bent.rebuilt(Edited::AsFound);
    assert_eq!((rebuilt.edited, rebuilt.left_out), (vec!["/etc/bent/lost".into()], vec!["/etc/bent/gone".into()]));
    assert_eq!((rebuilt.missing, rebuilt.altered), (vec!["/usr/share/bent/link".into()], Vec::<PathBuf>::new()));
    // A folder that is empty and a link now is shipped as that: nothing tells that it was a folder.
    let known = ["/etc/bent/lost", "/var/lib/bent", "/etc/bent/gone", "/usr/share/bent/link"];
    assert_eq!(differing(&archive, &bent.original), known.map(str::to_owned));
    let field = |name: &str| run("dpkg-deb", &["--field", &archive.to_string_lossy(), name]);
    assert_eq!(field("Backstep-Rebuilt-Edited").trim(), "/etc/bent/lost");
    assert_eq!(field("Backstep-Rebuilt-Without").trim(), "/etc/bent/gone");

    let (archive, rebuilt) = bent.rebuilt(Edited::LeftOut);
    assert_eq!(rebuilt.left_out, [PathBuf::from("/etc/bent/lost"), "/etc/bent/gone".into()]);
    let shipped = &control_members(&archive, &bent.scratch)["conffiles"].1;
    assert_eq!(String::from_utf8_lossy(shipped), "/etc/bent/same\n/etc/bent/dist\n/etc/bent/ucf\n");
}

/// dpkg must go on taking an edited file for edited, and one that an older version left for nobody's.
#[test]
fn dpkg_leaves_edited_files_alone_afterwards() {
    if !is_root() {
        return;
    }
    let bent = Bent::new();
    bent.write("etc/bent/lost", "mine");
    let status = bent.root.join("var/lib/dpkg/status");
    let with_obsolete = fs::read_to_string(&status).expect("status").replace("Conffiles:\n", "Conffiles:\n /etc/bent/old 00 obsolete\n");
    fs::write(&status, with_obsolete).expect("status");
    bent.write("etc/bent/old", "an older version's, edited");
    let list = bent.root.join("var/lib/dpkg/info/bent.list");
    fs::write(&list, fs::read(&list).expect("list").into_iter().chain(*b"/etc/bent/old\n").collect::<Vec<u8>>()).expect("list");
    let (archive, rebuilt) = bent.rebuilt(Edited::LeftOut);
    assert_eq!((rebuilt.left_out, rebuilt.missing), (vec!["/etc/bent/lost".into()], Vec::<PathBuf>::new()));
    let (root, archive) = (bent.root.to_string_lossy().into_owned(), archive.to_string_lossy().into_owned());
    run("dpkg", &["--root", &root, "--install", &archive]);
    assert_eq!(fs::read_to_string(bent.root.join("etc/bent/lost")).expect("lost"), "mine");
    // The next version that ships it finds it edited, and keeps it.
    run("dpkg", &["--root", &root, "--force-confold", "--install", &bent.original.to_string_lossy()]);
    assert_eq!(fs::read_to_string(bent.root.join("etc/bent/lost")).expect("lost"), "mine");
    assert_eq!(fs::read_to_string(bent.root.join("etc/bent/old")).expect("old"), "an older version's, edited");
    assert_eq!(query(&bent.root, "Backstep-Rebuilt-From", "bent"), "", "the original has no mark");
}

#[test]
fn what_was_not_installed_is_not_made_up() {
    if !is_root() {
        return;
    }
    let bent = Bent::new();
    let mut file = fs::File::create(bent.scratch.path("none.deb")).expect("file");
    let of = |version: &str, file: &mut fs::File| bent.rebuild(version, Edited::AsFound, file).map_err(|error| error.to_string());
    assert_eq!(of("1:1", &mut file), Err("cannot rebuild bent:all: version 1:1 was not installed then".to_owned()));
    run("dpkg", &["--root", &bent.root.to_string_lossy(), "--remove", "bent"]);
    assert!(of("1:2~rc1-3", &mut file).is_err(), "only its configuration files are left");
}
