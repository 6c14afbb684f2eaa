//! Other file systems: an undo directory on each, copies where there can be none. Needs root.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use backstep_capture::{CaptureDir, Late, RestoreMode, Selection, compare, prune, restore, secure};
use common::{Place, assert_same, is_root, paths};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};

/// A mount that is gone when the test is over, however it ends.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: PathBuf) -> Self {
        mount("none", &at, "tmpfs", MountFlags::empty(), Some(c"mode=0755")).unwrap();
        Self(at)
    }

    fn bind(from: &Path, at: PathBuf) -> Self {
        mount_bind(from, &at).unwrap();
        Self(at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.0, UnmountFlags::DETACH) {
            eprintln!("cannot unmount {}: {error}", self.0.display());
        }
    }
}

fn cycle(place: &Place, selection: &Selection, change: impl FnOnce()) -> (u64, u64) {
    let before = scan(place);
    let dir = CaptureDir::create(&place.capture()).unwrap();
    let secured = secure(&place.root(), &dir, selection, &mut |_, _| {}).unwrap();
    change();
    let restored = restore(&place.root(), &dir, RestoreMode::Everything, &mut |_, _| {}).unwrap();
    assert!(restored.failed.is_empty(), "{:?}", restored.failed);
    assert_eq!(compare(&place.root(), &dir).unwrap(), []);
    assert_same(&before, &scan(place));
    (secured.links, secured.bytes_copied)
}

/// Without the mount points: the undo directory changes their time.
fn scan(place: &Place) -> std::collections::BTreeMap<PathBuf, String> {
    let mut found = place.scan();
    found.retain(|path, _| path != Path::new("boot") && path != Path::new("real"));
    found
}

#[test]
fn links_are_kept_on_their_own_file_system() {
    if !is_root("another file system") {
        return;
    }
    let place = Place::new();
    let _mounted = Mounted::tmpfs(place.dir("boot"));
    place.file("boot/kernel", "old kernel");
    place.file("boot/grub/config", "old");
    place.file("usr/x", "x");
    let selection = Selection { link: paths(&["/boot/kernel", "/usr/x"]), copy: paths(&["/boot/grub"]), ..Selection::default() };
    let (links, copied) = cycle(&place, &selection, || {
        place.replace("boot/kernel", "new");
        place.replace("boot/grub/config", "new");
        fs::remove_file(place.at("usr/x")).unwrap();
    });
    assert_eq!((links, copied), (2, 3));
    let elsewhere = place.at("boot/.backstep").join(&place.attempt);
    assert!(elsewhere.join("objects").is_dir());
    assert_eq!(fs::metadata(place.at("boot/.backstep")).map(|found| std::os::unix::fs::MetadataExt::mode(&found) & 0o7777).unwrap(), 0o700);
    prune(&CaptureDir::at(&place.capture())).unwrap();
    assert!(!place.at("boot/.backstep").exists());
}

#[test]
fn a_file_system_without_an_undo_directory_is_copied() {
    if !is_root("another file system") {
        return;
    }
    let place = Place::new();
    let _mounted = Mounted::tmpfs(place.dir("boot"));
    place.file("boot/kernel", "old kernel");
    // Someone else's directory in the place of ours.
    place.dir("boot/.backstep");
    let (links, copied) = cycle(&place, &Selection { link: paths(&["/boot/kernel"]), ..Selection::default() }, || {
        place.replace("boot/kernel", "new");
    });
    assert_eq!((links, copied), (0, 10));
}

#[test]
fn a_bind_mount_of_the_same_file_system_is_another_one() {
    if !is_root("a bind mount") {
        return;
    }
    let place = Place::new();
    place.file("real/x", "x");
    let _mounted = Mounted::bind(&place.at("real"), place.dir("boot"));
    let (links, _) = cycle(&place, &Selection { link: paths(&["/boot/x"]), ..Selection::default() }, || place.replace("boot/x", "y"));
    assert_eq!(links, 1);
}

#[test]
fn trees_end_at_mount_points() {
    if !is_root("a mount point in a tree") {
        return;
    }
    let place = Place::new();
    place.file("etc/a", "a");
    let _mounted = Mounted::tmpfs(place.dir("etc/mnt"));
    place.file("etc/mnt/b", "b");
    let dir = CaptureDir::create(&place.capture()).unwrap();
    let selection = Selection { copy: paths(&["/etc"]), absent: paths(&["/srv/new"]), ..Selection::default() };
    secure(&place.root(), &dir, &selection, &mut |_, _| {}).unwrap();
    place.file("etc/mnt/c", "c");
    let inside = Mounted::tmpfs(place.dir("srv/new/mnt"));
    place.file("srv/new/mnt/data", "precious");
    let restored = restore(&place.root(), &dir, RestoreMode::Everything, &mut |_, _| {}).unwrap();
    assert_eq!(restored.failed.len(), 1, "a mount in the way is reported, not emptied");
    assert!(place.at("srv/new/mnt/data").exists() && place.at("etc/mnt/c").exists());
    drop(inside);
    let restored = restore(&place.root(), &dir, RestoreMode::Everything, &mut |_, _| {}).unwrap();
    assert!(restored.failed.is_empty());
    assert_eq!(compare(&place.root(), &dir).unwrap(), []);
}

/// What a late capture does on another file system; says how many links and copies it took.
fn late_cycle(place: &Place) -> (u64, u64) {
    let before = scan(place);
    let dir = CaptureDir::create(&place.capture()).unwrap();
    secure(&place.root(), &dir, &Selection { link: paths(&["/usr/x"]), ..Selection::default() }, &mut |_, _| {}).unwrap();
    let mut late = Late::open(&place.root(), &dir).unwrap();
    late.before_remove(Path::new("/boot/kernel")).unwrap();
    fs::remove_file(place.at("boot/kernel")).unwrap();
    late.before_write(Path::new("/boot/config")).unwrap();
    fs::write(place.at("boot/config"), "new").unwrap();
    late.before_rename(Path::new("/boot/grub"), Path::new("/boot/grub.old")).unwrap();
    fs::rename(place.at("boot/grub"), place.at("boot/grub.old")).unwrap();
    let summary = late.finish().unwrap();
    let restored = restore(&place.root(), &dir, RestoreMode::Everything, &mut |_, _| {}).unwrap();
    assert!(restored.failed.is_empty() && restored.spoiled.is_empty(), "{restored:?}");
    assert_eq!(compare(&place.root(), &dir).unwrap(), []);
    assert_same(&before, &scan(place));
    (summary.links, summary.copies)
}

fn late_place() -> (Place, Mounted) {
    let place = Place::new();
    let mounted = Mounted::tmpfs(place.dir("boot"));
    for path in ["boot/kernel", "boot/config", "boot/grub/a", "usr/x"] {
        place.file(path, path);
    }
    (place, mounted)
}

#[test]
fn late_captures_make_a_store_where_the_eager_one_needed_none() {
    if is_root("another file system") {
        let (place, _mounted) = late_place();
        // The kernel, which is small here, is only copied; the configuration is linked and copied.
        assert_eq!(late_cycle(&place), (2, 2));
        assert!(place.at("boot/.backstep").join(&place.attempt).join("objects").is_dir());
    }
}

#[test]
fn late_captures_copy_where_there_are_no_links() {
    if is_root("another file system") {
        let (place, _mounted) = late_place();
        // Someone else's directory in the place of ours.
        place.dir("boot/.backstep");
        assert_eq!(late_cycle(&place), (0, 3));
    }
}

#[test]
fn a_full_disk_is_an_error_and_what_was_kept_stays_good() {
    if !is_root("a small file system") {
        return;
    }
    let place = Place::new();
    let state = place.capture().parent().unwrap().to_path_buf();
    mount("none", &state, "tmpfs", MountFlags::empty(), Some(c"size=256k,mode=0755")).unwrap();
    let _mounted = Mounted(state);
    place.file("opt/small", "small");
    place.file("opt/big", vec![7; 1 << 20]);
    place.file("usr/x", "x");
    let before = place.scan();
    let dir = CaptureDir::create(&place.capture()).unwrap();
    secure(&place.root(), &dir, &Selection { copy: paths(&["/usr/x"]), ..Selection::default() }, &mut |_, _| {}).unwrap();
    let mut late = Late::open(&place.root(), &dir).unwrap();
    assert!(late.before_write(Path::new("/opt/big")).is_err());
    assert!(late.before_write(Path::new("/opt/big")).is_err(), "it stays one");
    let restored = restore(&place.root(), &dir, RestoreMode::Everything, &mut |_, _| {}).unwrap();
    assert!(restored.failed.is_empty(), "{restored:?}");
    assert_same(&before, &place.scan());
}

/// Whoever may write the top folder can exchange ours for another one.
#[test]
fn a_file_system_whose_top_folder_others_may_write_has_no_undo_directory() {
    if !is_root("another file system") {
        return;
    }
    let place = Place::new();
    let _mounted = Mounted::tmpfs(place.dir("boot"));
    std::os::unix::fs::chown(place.at("boot"), Some(2), None).unwrap();
    place.file("boot/kernel", "old kernel");
    let kept = cycle(&place, &Selection { link: paths(&["/boot/kernel"]), ..Selection::default() }, || place.replace("boot/kernel", "new"));
    assert_eq!((kept, place.at("boot/.backstep").exists()), ((0, 10), false));
}

#[test]
fn an_undo_directory_that_somebody_put_there_is_not_read() {
    if !is_root("another file system") {
        return;
    }
    let place = Place::new();
    let _mounted = Mounted::tmpfs(place.dir("boot"));
    place.file("boot/kernel", "old kernel");
    let dir = CaptureDir::create(&place.capture()).unwrap();
    let selection = Selection { link: paths(&["/boot/kernel"]), ..Selection::default() };
    assert_eq!(secure(&place.root(), &dir, &selection, &mut |_, _| {}).unwrap().links, 1);
    fs::remove_file(place.at("boot/kernel")).unwrap();
    fs::rename(place.at("boot/.backstep"), place.at("boot/theirs")).unwrap();
    let object = place.file(format!("boot/.backstep/{}/objects/0/0", place.attempt), "planted");
    std::os::unix::fs::chown(place.at("boot/.backstep"), Some(2), Some(2)).unwrap();
    let error = restore(&place.root(), &dir, RestoreMode::Everything, &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("private"), "{error}");
    prune(&dir).unwrap();
    assert!(object.exists() && !place.at("boot/kernel").exists(), "nothing of theirs is touched");
}
