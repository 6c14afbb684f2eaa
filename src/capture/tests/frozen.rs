//! Files and folders that nobody may change (`chattr +i`, `+a`), before a change or after it.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::fs::{self, File};
use std::path::Path;

use backstep_capture::{CaptureDir, RestoreMode, Restored, Selection, compare, record_after, restore, secure};
use common::{Place, assert_same, is_root, paths};
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

const NONE: IFlags = IFlags::empty();

/// Says whether the file system has such flags.
fn set(place: &Place, path: &str, wanted: IFlags) -> bool {
    let file = File::open(place.at(path)).unwrap();
    let flags = ioctl_getflags(&file).map(|flags| flags.difference(IFlags::IMMUTABLE | IFlags::APPEND) | wanted);
    flags.and_then(|flags| ioctl_setflags(&file, flags)).is_ok()
}

fn flags(place: &Place, path: &str) -> IFlags {
    ioctl_getflags(File::open(place.at(path)).unwrap()).unwrap() & (IFlags::IMMUTABLE | IFlags::APPEND)
}

fn selection() -> Selection {
    Selection {
        link: paths(&["/usr/replaced", "/usr/same", "/usr/d/gone", "/usr/frozen"]),
        tree: paths(&["/var/tree"]),
        copy: paths(&["/etc"]),
        absent: paths(&["/usr/new", "/usr/newdir"]),
        ..Selection::default()
    }
}

/// A place with a capture; none where a file cannot be frozen.
fn captured() -> Option<(Place, CaptureDir)> {
    let place = Place::new();
    for path in ["usr/replaced", "usr/same", "usr/d/gone", "usr/frozen", "var/tree/x", "etc/written", "etc/frozen", "etc/log"] {
        place.file(path, path);
    }
    if !is_root("a frozen file") || !set(&place, "etc/frozen", IFlags::IMMUTABLE) {
        return None;
    }
    assert!(set(&place, "usr/frozen", IFlags::IMMUTABLE) && set(&place, "etc/log", IFlags::APPEND));
    let dir = CaptureDir::create(&place.capture()).unwrap();
    secure(&place.root(), &dir, &selection(), &mut |_, _| {}).unwrap();
    Some((place, dir))
}

/// What a script does that wants to stay.
fn freeze_everything(place: &Place) {
    place.replace("usr/replaced", "new");
    fs::write(place.at("etc/written"), "new").unwrap();
    fs::remove_file(place.at("usr/d/gone")).unwrap();
    for path in ["usr/new", "usr/newdir/below/x", "var/tree/more/x"] {
        place.file(path, "new");
    }
    let frozen = ["usr/replaced", "usr/same", "etc/written", "usr/d", "usr/new", "usr/newdir/below/x", "usr/newdir/below", "usr/newdir"];
    for path in frozen.into_iter().chain(["var/tree/more/x", "var/tree/more", "var/tree"]) {
        assert!(set(place, path, IFlags::IMMUTABLE), "{path}");
    }
    // And what was frozen is changed.
    for path in ["etc/frozen", "etc/log", "usr/frozen"] {
        assert!(set(place, path, NONE));
        place.replace(path, "new");
    }
    assert!(set(place, "etc/frozen", IFlags::IMMUTABLE));
}

/// So that the folder can be removed when the test is over.
fn thaw(place: &Place) {
    for path in ["usr/frozen", "etc/frozen", "etc/log", "usr/same", "usr/replaced"] {
        set(place, path, NONE);
    }
}

fn put_back(place: &Place, dir: &CaptureDir, mode: RestoreMode) -> Restored {
    let restored = restore(&place.root(), dir, mode, &mut |_, _| {}).unwrap();
    assert!(restored.failed.is_empty(), "{:?}", restored.failed);
    restored
}

fn assert_flags(place: &Place) {
    for path in ["usr/replaced", "usr/same", "usr/d", "usr/d/gone", "var/tree", "etc/written"] {
        assert_eq!(flags(place, path), NONE, "{path}");
    }
    assert_eq!((flags(place, "etc/frozen"), flags(place, "usr/frozen")), (IFlags::IMMUTABLE, IFlags::IMMUTABLE));
    assert_eq!(flags(place, "etc/log"), IFlags::APPEND);
}

#[test]
fn what_a_script_froze_comes_back_and_what_was_frozen_is_again() {
    for mode in [RestoreMode::Everything, RestoreMode::KeepDrifted] {
        let Some((place, dir)) = captured() else { return };
        let before = place.scan();
        freeze_everything(&place);
        assert!(!compare(&place.root(), &dir).unwrap().is_empty());
        record_after(&place.root(), &dir).unwrap();
        drop(put_back(&place, &dir, mode));
        assert_eq!(compare(&place.root(), &dir).unwrap(), []);
        assert_same(&before, &place.scan());
        assert_flags(&place);
        let again = put_back(&place, &dir, mode);
        assert_eq!((again.relinked, again.copied, again.removed, again.metadata, again.directories), (0, 0, 0, 0, 0), "{again:?}");
        thaw(&place);
    }
}

#[test]
fn a_flag_alone_is_a_change() {
    let Some((place, dir)) = captured() else { return };
    assert!(set(&place, "usr/same", IFlags::IMMUTABLE) && set(&place, "etc/frozen", NONE));
    let found: Vec<String> = compare(&place.root(), &dir).unwrap().iter().map(ToString::to_string).collect();
    assert!(found.len() == 2 && found[0].contains("/etc/frozen") && found[1].contains("/usr/same"), "{found:?}");
    drop(put_back(&place, &dir, RestoreMode::Everything));
    assert_flags(&place);
    thaw(&place);
}

#[test]
fn what_the_administrator_froze_since_stays() {
    let Some((place, dir)) = captured() else { return };
    place.replace("usr/replaced", "new");
    record_after(&place.root(), &dir).unwrap();
    assert!(set(&place, "usr/replaced", IFlags::IMMUTABLE));
    let restored = put_back(&place, &dir, RestoreMode::KeepDrifted);
    assert_eq!(restored.kept.len(), 1, "{restored:?}");
    assert_eq!(restored.kept[0].path, Path::new("/usr/replaced"));
    assert_eq!((fs::read_to_string(place.at("usr/replaced")).unwrap(), flags(&place, "usr/replaced")), ("new".into(), IFlags::IMMUTABLE));
    thaw(&place);
}
