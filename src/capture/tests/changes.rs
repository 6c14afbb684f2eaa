//! The record of files changed.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use backstep_capture::{
    Aftermath, CaptureDir, CaptureError, Change, FileChange, FileKind, Late, Selection, Walk, prune, recorded_changes, secure, size,
};
use common::{Place, chmod, paths};
use sha2::{Digest, Sha256};

fn sum(content: &str) -> Option<[u8; 32]> {
    Some(Sha256::digest(content).into())
}

fn of<'a>(found: &'a [FileChange], path: &str) -> &'a FileChange {
    found.iter().find(|change| change.path == Path::new(path)).unwrap_or_else(|| panic!("{path} in {found:#?}"))
}

fn run() -> (Place, CaptureDir) {
    let place = Place::new();
    let files = ["usr/replaced", "usr/same", "usr/moded", "usr/kept", "etc/written", "opt/written", "opt/removed", "opt/moved", "opt/d/x"];
    for path in files {
        place.file(path, path);
    }
    place.file("srv/others", "not looked at");
    place.file("usr/others", "o");
    place.link("opt/l", "moved");
    let dir = CaptureDir::create(&place.capture()).unwrap();
    let link = paths(&["/usr/replaced", "/usr/same", "/usr/moded", "/usr/kept"]);
    secure(&place.root(), &dir, &Selection { link, copy: paths(&["/etc"]), ..Selection::default() }, &mut |_, _| {}).unwrap();
    Walk::take(&place.root(), &dir).unwrap().save(&dir).unwrap();
    change(&place, &mut Late::open(&place.root(), &dir).unwrap());
    (place, dir)
}

fn change(place: &Place, late: &mut Late) {
    place.replace("usr/replaced", "new");
    place.replace("usr/same", "usr/same");
    chmod(place.at("usr/moded"), 0o4755);
    File::create(place.at("etc/written")).unwrap().write_all(b"new").unwrap();
    late.before_write(Path::new("/opt/written")).unwrap();
    fs::write(place.at("opt/written"), "new").unwrap();
    late.before_remove(Path::new("/opt/removed")).unwrap();
    fs::remove_file(place.at("opt/removed")).unwrap();
    late.before_rename(Path::new("/opt/moved"), Path::new("/opt/here")).unwrap();
    fs::rename(place.at("opt/moved"), place.at("opt/here")).unwrap();
    late.before_rename(Path::new("/opt/d"), Path::new("/opt/e")).unwrap();
    fs::rename(place.at("opt/d"), place.at("opt/e")).unwrap();
    late.before_remove(Path::new("/opt/l")).unwrap();
    fs::remove_file(place.at("opt/l")).unwrap();
    place.link("opt/l", "here");
    place.file("usr/others", "someone else");
    place.file("usr/others.new", "n");
    fs::write(place.at("srv/others"), "changed").unwrap();
}

#[test]
fn every_change_is_told_with_both_sides_and_whose_it_is() {
    let (place, dir) = run();
    let found = Aftermath::look(&place.root(), &dir).unwrap().save_changes(&dir).unwrap();
    assert!(found.is_sorted_by(|one, next| one.path < next.path));
    let told: Vec<(&str, &Change)> = found.iter().map(|one| (one.path.to_str().unwrap(), &one.change)).collect();
    let from = |path: &str| Change::RenamedFrom(PathBuf::from(path));
    let expected = [
        ("/etc/written", &Change::Written),
        ("/opt/d", &Change::Removed),
        ("/opt/d/x", &Change::Removed),
        ("/opt/e", &from("/opt/d")),
        ("/opt/e/x", &from("/opt/d/x")),
        ("/opt/here", &from("/opt/moved")),
        ("/opt/l", &Change::Replaced),
        ("/opt/moved", &Change::Removed),
        ("/opt/removed", &Change::Removed),
        ("/opt/written", &Change::Written),
        ("/usr/moded", &Change::Metadata),
        ("/usr/others", &Change::Written),
        ("/usr/others.new", &Change::Created),
        ("/usr/replaced", &Change::Replaced),
    ];
    assert_eq!(told, expected);
    let others: Vec<&str> = found.iter().filter(|one| one.by_others).map(|one| one.path.to_str().unwrap()).collect();
    assert_eq!(others, ["/usr/others", "/usr/others.new"]);
    for path in ["/opt/written", "/etc/written", "/usr/replaced"] {
        let one = of(&found, path);
        let sums = (one.before.as_ref().unwrap().sha256, one.after.as_ref().unwrap().sha256);
        assert_eq!(sums, (sum(path.strip_prefix('/').unwrap()), sum("new")), "{path}");
    }
    let moded = of(&found, "/usr/moded");
    assert_eq!((moded.before.as_ref().unwrap().mode, moded.after.as_ref().unwrap().mode), (0o644, 0o4755));
    let link = of(&found, "/opt/l").after.as_ref().unwrap();
    assert_eq!((link.kind, link.target.as_deref()), (FileKind::Symlink, Some(Path::new("here"))));
    assert_eq!(of(&found, "/opt/removed").before.as_ref().unwrap().sha256, sum("opt/removed"));
}

#[test]
fn the_record_is_read_back_as_it_was_and_damage_is_noticed() {
    let (place, dir) = run();
    assert_eq!(recorded_changes(&dir).unwrap(), None);
    let found = Aftermath::look(&place.root(), &dir).unwrap().save_changes(&dir).unwrap();
    assert_eq!(recorded_changes(&dir).unwrap(), Some(found));
    let file = dir.path().join("changes");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("/usr/moded", "/usr/model")).unwrap();
    assert!(matches!(recorded_changes(&dir), Err(CaptureError::Damaged { .. })));
}

#[test]
fn late_objects_count_and_go_with_the_capture() {
    let place = Place::new();
    place.file("opt/big", vec![7; 1 << 20]);
    place.file("elsewhere", "e");
    let dir = CaptureDir::create(&place.capture()).unwrap();
    secure(&place.root(), &dir, &Selection { link: paths(&["/elsewhere"]), ..Selection::default() }, &mut |_, _| {}).unwrap();
    let before = size(&dir).unwrap();
    Late::open(&place.root(), &dir).unwrap().before_write(Path::new("/opt/big")).unwrap();
    assert!(size(&dir).unwrap() >= before + (1 << 20));
    prune(&dir).unwrap();
    assert!(!dir.path().exists());
}
