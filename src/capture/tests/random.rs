//! Random trees and random changes: after a restore nothing differs, by our comparison and by an independent scan.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use backstep_capture::{CaptureDir, RestoreMode, Selection, compare, drifted, record_after, restore, secure};
use common::{Place, assert_same, chmod, passable, paths};
use proptest::prelude::*;

/// One change; paths are numbers into a small set, so that changes meet each other.
#[derive(Debug, Clone)]
enum Change {
    File(usize, Vec<u8>),
    Directory(usize),
    Link(usize, usize),
    HardLink(usize, usize),
    Replace(usize, Vec<u8>),
    WriteInPlace(usize, Vec<u8>),
    Mode(usize, u32),
    Remove(usize),
    Move(usize, usize),
}

const PATHS: [&str; 24] = [
    "linked/a",
    "linked/a/b",
    "linked/a/b/c",
    "linked/a/d",
    "linked/e",
    "linked/e/f",
    "linked/g",
    "linked/h",
    "copied/a",
    "copied/a/b",
    "copied/a/b/c",
    "copied/a/d",
    "copied/e",
    "copied/e/f",
    "copied/g",
    "copied/h",
    "single/a",
    "single/a/b",
    "single/a/b/c",
    "single/a/d",
    "single/e",
    "single/e/f",
    "single/g",
    "single/h",
];

fn change() -> impl Strategy<Value = Change> {
    let path = || 0..PATHS.len();
    let content = || prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        4 => (path(), content()).prop_map(|(path, content)| Change::File(path, content)),
        2 => path().prop_map(Change::Directory),
        2 => (path(), path()).prop_map(|(path, target)| Change::Link(path, target)),
        2 => (path(), path()).prop_map(|(from, to)| Change::HardLink(from, to)),
        3 => (path(), content()).prop_map(|(path, content)| Change::Replace(path, content)),
        3 => (path(), content()).prop_map(|(path, content)| Change::WriteInPlace(path, content)),
        2 => (path(), prop::sample::select(vec![0o600, 0o644, 0o755, 0o711, 0o4755, 0o2755])).prop_map(|(path, mode)| Change::Mode(path, mode)),
        3 => path().prop_map(Change::Remove),
        2 => (path(), path()).prop_map(|(from, to)| Change::Move(from, to)),
    ]
}

/// Does a change where it makes sense, and nothing where it does not.
fn apply(root: &Path, change: &Change) {
    let at = |path: usize| root.join(PATHS[path]);
    let area = |path: usize| PATHS[path].split('/').next();
    let found = |path: usize| fs::symlink_metadata(at(path)).ok();
    let has_parent = |path: usize| {
        fs::symlink_metadata(at(path).parent().unwrap()).is_ok_and(|parent| parent.is_dir()) && through_no_link(root, &at(path))
    };
    let is_file = |path: usize| has_parent(path) && found(path).is_some_and(|found| found.is_file());
    let is_free = |path: usize| has_parent(path) && found(path).is_none();
    match change {
        Change::File(path, content) if is_free(*path) => fs::write(at(*path), content).unwrap(),
        Change::Directory(path) if is_free(*path) => fs::create_dir(at(*path)).unwrap(),
        Change::Link(path, target) if is_free(*path) => std::os::unix::fs::symlink(at(*target), at(*path)).unwrap(),
        Change::HardLink(from, to) if is_file(*from) && is_free(*to) && area(*from) == area(*to) => {
            fs::hard_link(at(*from), at(*to)).unwrap()
        }
        Change::Replace(path, content) if is_file(*path) => {
            fs::write(root.join("new"), content).unwrap();
            fs::rename(root.join("new"), at(*path)).unwrap();
        }
        Change::WriteInPlace(path, content) if is_file(*path) && area(*path) == Some("copied") => {
            File::create(at(*path)).unwrap().write_all(content).unwrap()
        }
        Change::Mode(path, mode) if has_parent(*path) && found(*path).is_some_and(|found| !found.is_symlink()) => {
            chmod(at(*path), passable(&at(*path), *mode))
        }
        Change::Remove(path) if has_parent(*path) => match found(*path) {
            Some(found) if found.is_dir() => fs::remove_dir_all(at(*path)).unwrap(),
            Some(_) => fs::remove_file(at(*path)).unwrap(),
            None => {}
        },
        // A directory does not move into itself.
        Change::Move(from, to)
            if has_parent(*from)
                && found(*from).is_some()
                && is_free(*to)
                && area(*from) == area(*to)
                && !at(*to).starts_with(at(*from)) =>
        {
            fs::rename(at(*from), at(*to)).unwrap();
        }
        _ => {}
    }
}

fn through_no_link(root: &Path, path: &Path) -> bool {
    path.ancestors().skip(1).take_while(|ancestor| ancestor.starts_with(root)).all(|ancestor| !ancestor.is_symlink())
}

fn build(before: &[Change]) -> Place {
    let place = Place::new();
    for area in ["linked", "copied", "single"] {
        place.dir(area);
    }
    before.iter().for_each(|change| apply(&place.root(), change));
    // One inode of both sets.
    place.file("copied/both", "both");
    fs::hard_link(place.at("copied/both"), place.at("linked/both")).unwrap();
    place
}

fn selection() -> Selection {
    let single: Vec<PathBuf> = PATHS.iter().filter(|path| path.starts_with("single")).map(|path| Path::new("/").join(path)).collect();
    Selection { tree: paths(&["/linked"]), copy: paths(&["/copied"]), link: single.into_iter().collect(), ..Selection::default() }
}

fn capture(place: &Place) -> CaptureDir {
    let dir = CaptureDir::create(&place.capture()).unwrap();
    secure(&place.root(), &dir, &selection(), &mut |_, _| {}).unwrap();
    dir
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everything_is_as_before(before in prop::collection::vec(change(), 0..40), changes in prop::collection::vec(change(), 0..40)) {
        let place = build(&before);
        let dir = capture(&place);
        let old = place.scan();
        changes.iter().for_each(|change| apply(&place.root(), change));
        let restored = restore(&place.root(), &dir, RestoreMode::Everything, &mut |_, _| {}).unwrap();
        prop_assert!(restored.failed.is_empty(), "{:?}", restored.failed);
        prop_assert_eq!(compare(&place.root(), &dir).unwrap(), vec![]);
        assert_same(&old, &place.scan());
    }

    #[test]
    fn without_drift_a_sparing_restore_is_a_full_one(before in prop::collection::vec(change(), 0..30), changes in prop::collection::vec(change(), 0..30)) {
        let place = build(&before);
        let dir = capture(&place);
        let old = place.scan();
        changes.iter().for_each(|change| apply(&place.root(), change));
        record_after(&place.root(), &dir).unwrap();
        prop_assert_eq!(drifted(&place.root(), &dir).unwrap(), Vec::<PathBuf>::new());
        let restored = restore(&place.root(), &dir, RestoreMode::KeepDrifted, &mut |_, _| {}).unwrap();
        prop_assert!(restored.failed.is_empty() && restored.kept.is_empty(), "{:?}", restored);
        prop_assert_eq!(compare(&place.root(), &dir).unwrap(), vec![]);
        assert_same(&old, &place.scan());
    }
}
