//! A restore interrupted between any two changes and run again ends as one that was not.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../../tests/common/mod.rs"]
mod common;

use std::fs::{self, File};
use std::io::Write;

use super::*;
use crate::{Selection, compare, record_after, secure};
use common::{Place, assert_same, chmod, paths};

fn damaged_place() -> (Place, CaptureDir, std::collections::BTreeMap<PathBuf, String>) {
    let place = Place::new();
    for path in ["usr/a", "usr/b/c", "etc/a", "etc/b/c", "etc/d"] {
        place.file(path, path);
    }
    fs::hard_link(place.at("etc/a"), place.at("etc/twin")).unwrap();
    place.link("usr/l", "a");
    chmod(place.at("usr/a"), 0o4755);
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

fn interrupted_everywhere(mode: RestoreMode) {
    for steps in 0.. {
        let (place, dir, before) = damaged_place();
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

#[test]
fn a_full_restore_can_be_interrupted_anywhere() {
    interrupted_everywhere(RestoreMode::Everything);
}

#[test]
fn a_sparing_restore_can_be_interrupted_anywhere() {
    interrupted_everywhere(RestoreMode::KeepDrifted);
}
