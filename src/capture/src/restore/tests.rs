//! A restore interrupted between any two changes and run again ends as one that was not.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../../tests/common/mod.rs"]
mod common;

use std::fs::{self, File};
use std::io::Write;

use super::*;
use crate::{Late, Selection, compare, record_after, secure, selection_of};
use common::{Place, assert_same, chmod, paths};

fn damaged_place() -> (Place, CaptureDir, std::collections::BTreeMap<PathBuf, String>) {
    damaged_place_with(|_| ())
}

fn damaged_place_with(prepare: impl Fn(&Place)) -> (Place, CaptureDir, std::collections::BTreeMap<PathBuf, String>) {
    let place = Place::new();
    for path in ["usr/a", "usr/b/c", "etc/a", "etc/b/c", "etc/d"] {
        place.file(path, path);
    }
    fs::hard_link(place.at("etc/a"), place.at("etc/twin")).unwrap();
    place.link("usr/l", "a");
    chmod(place.at("usr/a"), 0o4755);
    prepare(&place);
    let dir = CaptureDir::create(&place.capture()).unwrap();
    let selection = Selection {
        link: paths(&["/usr/a", "/usr/b/c", "/usr/l"]),
        copy: paths(&["/etc"]),
        absent: paths(&["/opt/p/q"]),
        ..Selection::default()
    };
    secure(&place.root(), &dir, &selection, &mut |_, _| {}).unwrap();
    let before = place.scan();
    change(&place);
    (place, dir, before)
}

fn change(place: &Place) {
    chmod(place.at("usr/a"), 0o600);
    place.replace("usr/a", "new");
    fs::remove_dir_all(place.at("usr/b")).unwrap();
    fs::remove_file(place.at("usr/l")).unwrap();
    place.file("usr/l/in/the/way", "w");
    File::create(place.at("etc/d")).unwrap().write_all(b"in place").unwrap();
    place.replace("etc/a", "new");
    fs::remove_dir_all(place.at("etc/b")).unwrap();
    place.file("etc/created", "c");
    place.file("opt/p/q", "q");
    place.file("opt/p/r/s", "s");
}

/// The same without foresight: everything but one file is captured late.
fn late_damaged_place() -> (Place, CaptureDir, std::collections::BTreeMap<PathBuf, String>) {
    let place = Place::new();
    for path in ["usr/eager", "opt/w", "opt/w2", "opt/r", "opt/d/x", "opt/d/sub/y", "opt/m"] {
        place.file(path, path);
    }
    fs::hard_link(place.at("opt/w"), place.at("opt/twin")).unwrap();
    chmod(place.at("opt/m"), 0o4755);
    let dir = CaptureDir::create(&place.capture()).unwrap();
    secure(&place.root(), &dir, &Selection { link: paths(&["/usr/eager"]), ..Selection::default() }, &mut |_, _| {}).unwrap();
    let before = place.scan();
    change_late(&place, &mut Late::open(&place.root(), &dir).unwrap());
    (place, dir, before)
}

fn change_late(place: &Place, late: &mut Late) {
    for path in ["usr/eager", "opt/w", "opt/w2"] {
        late.before_write(&absolute(Path::new(path))).unwrap();
        fs::write(place.at(path), "written").unwrap();
    }
    for path in ["usr/eager", "opt/r", "opt/w2"] {
        late.before_remove(&absolute(Path::new(path))).unwrap();
        fs::remove_file(place.at(path)).unwrap();
    }
    late.before_rename(Path::new("/opt/d"), Path::new("/opt/e")).unwrap();
    fs::rename(place.at("opt/d"), place.at("opt/e")).unwrap();
    late.before_rename(Path::new("/opt/e/sub"), Path::new("/opt/moved")).unwrap();
    fs::rename(place.at("opt/e/sub"), place.at("opt/moved")).unwrap();
    late.before_create(Path::new("/opt/d")).unwrap();
    place.link("opt/d", "e");
    late.before_meta(Path::new("/opt/m")).unwrap();
    chmod(place.at("opt/m"), 0o600);
    late.before_create(Path::new("/opt/new")).unwrap();
    place.file("opt/new/in", "i");
}

fn interrupted_everywhere(mode: RestoreMode, damaged: impl Fn() -> (Place, CaptureDir, std::collections::BTreeMap<PathBuf, String>)) {
    for steps in 0.. {
        let (place, dir, before) = damaged();
        if mode == RestoreMode::KeepDrifted {
            record_after(&place.root(), &dir).unwrap();
        }
        let first = restore_until(&place.root(), &dir, mode, &Fuse::of(steps), &mut |_, _| {});
        let whole = first.is_ok();
        assert!(whole || matches!(first, Err(CaptureError::Interrupted)), "{first:?}");
        let again = restore(&place.root(), &dir, mode, &mut |_, _| {}).unwrap();
        assert!(again.failed.is_empty() && again.kept.is_empty(), "after {steps}: {again:?}");
        assert_eq!(compare(&place.root(), &dir).unwrap(), [], "after {steps}");
        assert_same(&before, &place.scan());
        if whole {
            assert!(steps > 20, "the fuse burned only {steps} times");
            return;
        }
    }
}

/// The same where others may write, so that everything is made in private folders.
fn damaged_place_of_others() -> (Place, CaptureDir, std::collections::BTreeMap<PathBuf, String>) {
    damaged_place_with(|place| ["usr", "usr/b", "etc", "etc/b"].iter().for_each(|path| chmod(place.at(path), 0o777)))
}

#[test]
fn a_restore_in_folders_of_others_can_be_interrupted_anywhere() {
    interrupted_everywhere(RestoreMode::Everything, damaged_place_of_others);
    interrupted_everywhere(RestoreMode::KeepDrifted, damaged_place_of_others);
}

#[test]
fn a_full_restore_can_be_interrupted_anywhere() {
    interrupted_everywhere(RestoreMode::Everything, damaged_place);
}

#[test]
fn a_sparing_restore_can_be_interrupted_anywhere() {
    interrupted_everywhere(RestoreMode::KeepDrifted, damaged_place);
}

#[test]
fn a_full_restore_of_late_captures_can_be_interrupted_anywhere() {
    interrupted_everywhere(RestoreMode::Everything, late_damaged_place);
}

#[test]
fn a_sparing_restore_of_late_captures_can_be_interrupted_anywhere() {
    interrupted_everywhere(RestoreMode::KeepDrifted, late_damaged_place);
}

/// What undoes a change undone in part: a capture of its own, made before the other was put back.
fn capture_again(place: &Place, of: &CaptureDir) -> CaptureDir {
    let dir = CaptureDir::create(&place.dir.path().join("state").join("01936b2e-7c1a-7d3e-9f10-0123456789ac-1")).unwrap();
    secure(&place.root(), &dir, &selection_of(of).unwrap(), &mut |_, _| {}).unwrap();
    dir
}

#[test]
fn a_restore_that_is_itself_undone_leaves_nothing_of_its_own_wherever_it_was_interrupted() {
    let mut left = 0;
    for steps in 0.. {
        let (place, dir, _) = damaged_place();
        record_after(&place.root(), &dir).unwrap();
        let (undo, before) = (capture_again(&place, &dir), place.scan());
        let first = restore_until(&place.root(), &dir, RestoreMode::KeepDrifted, &Fuse::of(steps), &mut |_, _| {});
        let is_own = |path: &PathBuf| path.to_string_lossy().contains(bench::TEMPORARY);
        left += usize::from(place.scan().keys().any(is_own));
        let undone = restore(&place.root(), &undo, RestoreMode::Everything, &mut |_, _| {}).unwrap();
        assert!(undone.failed.is_empty(), "after {steps}: {undone:?}");
        assert_same(&before, &place.scan());
        if first.is_ok() {
            assert!(left > 3, "only {left} of {steps} interruptions left a temporary name");
            return;
        }
    }
}
