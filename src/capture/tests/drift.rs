//! What others changed since the transaction stays theirs.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use backstep_capture::{
    CaptureDir, CaptureError, Kept, RestoreMode, Restored, Selection, compare, drifted, record_after, restore, secure, selection_of,
};
use common::{Place, assert_same, chmod, paths};

const OURS: &str = ".backstep-0123456789ab";

/// A committed transaction: two linked files replaced, a configuration rewritten, a directory made.
fn committed() -> (Place, CaptureDir) {
    let place = Place::new();
    for (path, content) in [("usr/x", "x1"), ("usr/y", "y1"), ("usr/untouched", "u"), ("etc/c", "c1"), ("etc/d", "d1"), ("etc/same", "s")] {
        place.file(path, content);
    }
    let dir = CaptureDir::create(&place.capture()).unwrap();
    let selection = Selection {
        link: paths(&["/usr/x", "/usr/y", "/usr/untouched"]),
        copy: paths(&["/etc"]),
        absent: paths(&["/usr/p/one", "/usr/p/two"]),
        ..Selection::default()
    };
    secure(&place.root(), &dir, &selection, &mut |_, _| {}).unwrap();
    place.replace("usr/x", "x2");
    place.replace("usr/y", "y2");
    File::create(place.at("etc/c")).unwrap().write_all(b"c2").unwrap();
    place.replace("etc/d", "d2");
    place.file("usr/p/one", "1");
    place.file("usr/p/two", "2");
    place.file("etc/new", "n");
    (place, dir)
}

fn undo(place: &Place, dir: &CaptureDir) -> Restored {
    let restored = restore(&place.root(), dir, RestoreMode::KeepDrifted, &mut |_, _| {}).unwrap();
    assert!(restored.failed.is_empty(), "{:?}", restored.failed);
    restored
}

fn kept(path: &str, ours: Option<&str>) -> Kept {
    Kept { path: path.into(), ours: ours.map(PathBuf::from) }
}

#[test]
fn without_a_post_image_drift_cannot_be_told() {
    let (place, dir) = committed();
    assert!(matches!(drifted(&place.root(), &dir), Err(CaptureError::NoPostImage { .. })));
    let refused = restore(&place.root(), &dir, RestoreMode::KeepDrifted, &mut |_, _| {});
    assert!(matches!(refused, Err(CaptureError::NoPostImage { .. })));
}

#[test]
fn without_drift_both_modes_are_the_same() {
    let (place, dir) = committed();
    record_after(&place.root(), &dir).unwrap();
    assert!(dir.has_post_image().unwrap());
    assert_eq!(drifted(&place.root(), &dir).unwrap(), Vec::<PathBuf>::new());
    assert_eq!(undo(&place, &dir).kept, []);
    assert_eq!(compare(&place.root(), &dir).unwrap(), []);
    assert_eq!(undo(&place, &dir).kept, [], "done twice it keeps nothing either");
}

#[test]
fn a_later_capture_is_no_drift() {
    let (place, dir) = committed();
    record_after(&place.root(), &dir).unwrap();
    let later = CaptureDir::create(&place.capture().with_file_name("later-1")).unwrap();
    secure(&place.root(), &later, &selection_of(&dir).unwrap(), &mut |_, _| {}).unwrap();
    assert_eq!(drifted(&place.root(), &dir).unwrap(), Vec::<PathBuf>::new());
}

#[test]
fn what_programs_made_in_what_a_transaction_brought_keeps_its_one_name() {
    use std::os::unix::fs::MetadataExt as _;
    let place = Place::new();
    place.file("usr/keep", "");
    let dir = CaptureDir::create(&place.capture()).unwrap();
    let absent = paths(&["/var/spool", "/var/spool/p", "/var/spool/p/shipped"]);
    secure(&place.root(), &dir, &Selection { absent, ..Selection::default() }, &mut |_, _| {}).unwrap();
    place.file("var/spool/p/shipped", "of the package");
    place.file("var/spool/p/pid", "1");
    place.file("var/spool/p/large", "x".repeat(1 << 20));
    record_after(&place.root(), &dir).unwrap();
    let later = CaptureDir::create(&place.capture().with_file_name("later-1")).unwrap();
    let mut selection = selection_of(&dir).unwrap();
    selection.link.insert("/var/spool/p/shipped".into());
    secure(&place.root(), &later, &selection, &mut |_, _| {}).unwrap();
    let names = |path: &str| fs::metadata(place.at(path)).unwrap().nlink();
    assert_eq!(["var/spool/p/shipped", "var/spool/p/pid", "var/spool/p/large"].map(names), [2, 1, 2]);
    record_after(&place.root(), &later).unwrap();
    let before = place.scan();
    assert_eq!(undo(&place, &dir).kept, []);
    assert!(!place.at("var/spool").exists());
    assert!(restore(&place.root(), &later, RestoreMode::Everything, &mut |_, _| {}).unwrap().failed.is_empty());
    assert_same(&before, &place.scan());
    assert_eq!(names("var/spool/p/pid"), 1);
}

#[test]
fn changed_files_stay_and_ours_lie_beside_them() {
    let (place, dir) = committed();
    record_after(&place.root(), &dir).unwrap();
    File::options().append(true).open(place.at("usr/x")).unwrap().write_all(b" admin").unwrap();
    place.replace("etc/c", "c2 admin");
    fs::remove_file(place.at("etc/d")).unwrap();
    chmod(place.at("usr/p/one"), 0o600);
    place.file("usr/p/theirs", "t");
    place.file("etc/theirs", "t");
    place.replace("usr/untouched", "admin");
    File::create(place.at("etc/same")).unwrap().write_all(b"admin").unwrap();
    let all = ["/etc/c", "/etc/d", "/etc/same", "/etc/theirs", "/usr/p/one", "/usr/p/theirs", "/usr/untouched", "/usr/x"];
    assert_eq!(drifted(&place.root(), &dir).unwrap(), all.map(PathBuf::from));
    let beside = |path: &str| format!("{path}{OURS}");
    let expected = [
        kept("/etc/c", Some(&beside("/etc/c"))),
        kept("/etc/d", Some(&beside("/etc/d"))),
        kept("/etc/theirs", None),
        kept("/usr/p/one", None),
        kept("/usr/p/theirs", None),
        kept("/usr/x", Some(&beside("/usr/x"))),
    ];
    assert_eq!(undo(&place, &dir).kept, expected);
    let read = |path: &str| fs::read_to_string(place.at(path)).unwrap();
    assert_eq!((read("usr/x"), read("etc/c"), read("usr/p/one")), ("x2 admin".into(), "c2 admin".into(), "1".into()));
    assert_eq!((read(&beside("usr/x")), read(&beside("etc/c")), read(&beside("etc/d"))), ("x1".into(), "c1".into(), "d1".into()));
    assert_eq!((read("usr/y"), read("usr/untouched"), read("etc/same")), ("y1".into(), "admin".into(), "admin".into()));
    assert!(!place.at("usr/p/two").exists() && !place.at("etc/new").exists() && !place.at("etc/d").exists());
    let now = place.scan();
    let again = undo(&place, &dir);
    assert!(expected.iter().all(|one| again.kept.contains(one)));
    assert_same(&now, &place.scan());
}

#[test]
fn what_is_the_transactions_own_goes_and_what_was_there_before_stays_all_the_same() {
    let (place, dir) = committed();
    record_after(&place.root(), &dir).unwrap();
    place.file("usr/p/state", "written by the service");
    place.file("usr/p/theirs", "t");
    place.replace("usr/p/one", "written by the service");
    place.replace("etc/c", "c2 admin");
    let own = ["/usr/p/state", "/usr/p/one", "/etc/c"].map(PathBuf::from).into();
    let restored = restore(&place.root(), &dir, RestoreMode::KeepDriftedBut(&own), &mut |_, _| {}).unwrap();
    assert!(restored.failed.is_empty(), "{:?}", restored.failed);
    assert_eq!(restored.kept, [kept("/etc/c", Some(&format!("/etc/c{OURS}"))), kept("/usr/p/theirs", None)]);
    assert!(!place.at("usr/p/state").exists() && !place.at("usr/p/one").exists());
    assert_eq!(fs::read_to_string(place.at("usr/p/theirs")).unwrap(), "t");
}

#[test]
fn a_directory_that_was_taken_away_stays_away() {
    let place = Place::new();
    place.file("opt/p/x", "x1");
    let dir = CaptureDir::create(&place.capture()).unwrap();
    secure(&place.root(), &dir, &Selection { tree: paths(&["/opt/p"]), ..Selection::default() }, &mut |_, _| {}).unwrap();
    place.replace("opt/p/x", "x2");
    chmod(place.at("opt/p"), 0o711);
    record_after(&place.root(), &dir).unwrap();
    fs::remove_dir_all(place.at("opt")).unwrap();
    let restored = undo(&place, &dir);
    assert_eq!(restored.kept, [kept("/opt/p", None), kept("/opt/p/x", None)]);
    assert!(!place.at("opt").exists());
}
