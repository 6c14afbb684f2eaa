//! Capture, change, restore: every type of file and every kind of change.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, chown};
use std::path::Path;

use backstep_capture::{
    CaptureDir, CaptureError, RestoreMode, Restored, Secured, Selection, What, compare, content, estimate, prune, restore, secure,
    selection_of, size,
};
use common::{Place, assert_same, chmod, is_root, paths};

fn take(place: &Place, selection: &Selection) -> (CaptureDir, Secured) {
    let dir = CaptureDir::create(&place.capture()).unwrap();
    let secured = secure(&place.root(), &dir, selection, &mut |_, _| {}).unwrap();
    (dir, secured)
}

fn put_back(place: &Place, dir: &CaptureDir) -> Restored {
    let restored = restore(&place.root(), dir, RestoreMode::Everything, &mut |_, _| {}).unwrap();
    assert!(restored.failed.is_empty(), "{:?}", restored.failed);
    restored
}

struct Counts {
    relinked: u64,
    copied: u64,
    directories: u64,
}

/// Captures, changes, restores; asserts that everything is as before, twice.
fn round_trip(place: &Place, selection: &Selection, change: impl FnOnce()) -> Counts {
    let before = place.scan();
    let (dir, _) = take(place, selection);
    assert_same(&before, &place.scan());
    change();
    assert!(!compare(&place.root(), &dir).unwrap().is_empty(), "the change is seen");
    let restored = put_back(place, &dir);
    assert_eq!(compare(&place.root(), &dir).unwrap(), []);
    assert_same(&before, &place.scan());
    let again = put_back(place, &dir);
    assert_eq!((again.relinked, again.copied, again.removed, again.metadata, again.directories), (0, 0, 0, 0, 0), "nothing is left to do");
    assert_same(&before, &place.scan());
    Counts { relinked: restored.relinked, copied: restored.copied, directories: restored.directories }
}

fn link(all: &[&str]) -> Selection {
    Selection { link: paths(all), ..Selection::default() }
}

fn copy(all: &[&str]) -> Selection {
    Selection { copy: paths(all), ..Selection::default() }
}

#[test]
fn replaced_and_removed_files_come_back_as_the_same_inode() {
    let place = Place::new();
    let (one, two) = (place.file("usr/bin/one", "1"), place.file("usr/bin/two", "2"));
    let ino = |path: &Path| fs::metadata(path).unwrap().ino();
    let before = (ino(&one), ino(&two));
    let restored = round_trip(&place, &link(&["/usr/bin/one", "/usr/bin/two"]), || {
        place.replace("usr/bin/one", "new");
        fs::remove_file(&two).unwrap();
    });
    assert_eq!((ino(&one), ino(&two)), before);
    assert_eq!(restored.relinked, 2);
}

#[test]
fn a_removed_tree_comes_back_with_its_directories() {
    let place = Place::new();
    place.file("opt/a/b/c", "c");
    place.link("opt/a/l", "b/c");
    chmod(place.at("opt/a"), 0o750);
    round_trip(&place, &link(&["/opt/a", "/opt/a/b", "/opt/a/b/c", "/opt/a/l"]), || fs::remove_dir_all(place.at("opt")).unwrap());
}

#[test]
fn what_was_absent_is_removed_with_everything_in_it() {
    let place = Place::new();
    place.file("usr/share/keep", "k");
    let absent = paths(&["/usr/share/new", "/usr/lib/p/q/r", "/usr/share/keep"]);
    round_trip(&place, &Selection { absent, ..Selection::default() }, || {
        place.file("usr/share/new", "n");
        place.file("usr/lib/p/q/r", "r");
        place.file("usr/lib/p/unlisted/__pycache__/x.pyc", "x");
        place.link("usr/lib/p/out", place.at("usr/share"));
        place.replace("usr/share/keep", "overwritten, unowned");
    });
    assert!(place.at("usr/share/keep").exists(), "links are not followed");
}

#[test]
fn in_place_writes_to_copied_files_are_undone_in_the_same_inode() {
    let place = Place::new();
    let profile = place.file("etc/profile", "old");
    place.file("etc/d/gone", "gone");
    let ino = fs::metadata(&profile).unwrap().ino();
    let restored = round_trip(&place, &copy(&["/etc"]), || {
        File::options().append(true).open(&profile).unwrap().write_all(b" and new").unwrap();
        fs::remove_dir_all(place.at("etc/d")).unwrap();
        place.file("etc/created/by/script", "s");
    });
    assert_eq!(fs::metadata(&profile).unwrap().ino(), ino);
    assert_eq!((restored.copied, restored.directories), (2, 1));
}

#[test]
fn in_place_writes_to_linked_files_are_reported_not_hidden() {
    let place = Place::new();
    let file = place.file("usr/x", "old");
    let (dir, _) = take(&place, &link(&["/usr/x"]));
    File::options().append(true).open(&file).unwrap().write_all(b"!").unwrap();
    for _ in 0..2 {
        assert_eq!(put_back(&place, &dir).spoiled, [Path::new("/usr/x")]);
        let found = compare(&place.root(), &dir).unwrap();
        assert_eq!(found.iter().map(|difference| difference.what).collect::<Vec<_>>(), [What::Content]);
    }
}

#[test]
fn types_change_and_change_back() {
    let place = Place::new();
    place.file("t/file-to-dir", "f");
    place.file("t/dir-to-file/in", "i");
    place.file("t/dir-to-link/in", "i");
    place.file("elsewhere/in", "safe");
    place.link("t/link-to-dir", "dir-to-file");
    place.link("t/link-to-link", "a");
    let all = link(&[
        "/t/file-to-dir",
        "/t/dir-to-file",
        "/t/dir-to-file/in",
        "/t/dir-to-link",
        "/t/dir-to-link/in",
        "/t/link-to-dir",
        "/t/link-to-link",
    ]);
    round_trip(&place, &all, || {
        fs::remove_file(place.at("t/file-to-dir")).unwrap();
        place.file("t/file-to-dir/x", "x");
        fs::remove_dir_all(place.at("t/dir-to-file")).unwrap();
        place.file("t/dir-to-file", "now a file");
        fs::remove_dir_all(place.at("t/dir-to-link")).unwrap();
        place.link("t/dir-to-link", place.at("elsewhere"));
        fs::remove_file(place.at("t/link-to-dir")).unwrap();
        place.file("t/link-to-dir/x", "x");
        fs::remove_file(place.at("t/link-to-link")).unwrap();
        place.link("t/link-to-link", "b");
    });
}

#[test]
fn hard_links_are_hard_links_again() {
    let place = Place::new();
    for area in ["usr", "etc"] {
        place.file(format!("{area}/a"), "same");
        fs::hard_link(place.at(format!("{area}/a")), place.at(format!("{area}/b"))).unwrap();
        fs::hard_link(place.at(format!("{area}/a")), place.at(format!("{area}/c"))).unwrap();
    }
    // One inode in both sets.
    fs::hard_link(place.at("etc/a"), place.at("usr/also")).unwrap();
    let selection = Selection { link: paths(&["/usr/a", "/usr/b", "/usr/c", "/usr/also"]), copy: paths(&["/etc"]), ..Selection::default() };
    round_trip(&place, &selection, || {
        place.replace("usr/a", "1");
        fs::remove_file(place.at("usr/b")).unwrap();
        place.replace("etc/a", "2");
        File::create(place.at("etc/b")).unwrap().write_all(b"in place").unwrap();
        fs::remove_file(place.at("etc/c")).unwrap();
        place.replace("usr/also", "3");
    });
}

#[test]
fn hard_links_that_are_all_gone_are_made_anew() {
    let place = Place::new();
    place.file("etc/a", "same");
    fs::hard_link(place.at("etc/a"), place.at("etc/b")).unwrap();
    round_trip(&place, &copy(&["/etc"]), || fs::remove_dir_all(place.at("etc")).unwrap());
}

#[test]
fn any_bytes_are_a_name() {
    let place = Place::new();
    let odd = Path::new("usr").join(OsStr::from_bytes(b"\xff\xfe \n\t%=,"));
    let long = Path::new("usr").join("l".repeat(255));
    for path in [&odd, &long] {
        place.file(path, "x");
    }
    let link = [&odd, &long].map(|path| Path::new("/").join(path)).into_iter().collect();
    round_trip(&place, &Selection { link, ..Selection::default() }, || {
        place.replace(&odd, "y");
        place.replace(&long, "y");
    });
}

#[test]
fn holes_stay_holes() {
    let place = Place::new();
    place.dir("var");
    let file = File::create(place.at("var/sparse")).unwrap();
    file.set_len(4 << 20).unwrap();
    file.write_all_at(b"data", 2 << 20).unwrap();
    let before = file.metadata().unwrap().blocks();
    let restored = round_trip(&place, &copy(&["/var/sparse"]), || {
        fs::remove_file(place.at("var/sparse")).unwrap();
        place.file("var/sparse", "short");
    });
    assert_eq!(restored.copied, 1);
    assert!(fs::metadata(place.at("var/sparse")).unwrap().blocks() <= before + 16);
    assert!(size(&CaptureDir::at(&place.capture())).unwrap() < 1 << 20);
}

#[test]
fn a_path_through_a_merged_directory_is_the_same_path() {
    let place = Place::new();
    place.file("usr/bin/x", "x");
    place.link("bin", "usr/bin");
    place.link("absolute", "/usr/bin");
    place.link("outside", "../../../../../..");
    let selection =
        Selection { link: paths(&["/bin/x", "/usr/bin/x", "/absolute/x", "/bin"]), absent: paths(&["/bin/new"]), ..Selection::default() };
    let (dir, secured) = take(&place, &selection);
    assert_eq!(secured.links, 1, "one file, however it is called");
    assert_eq!(selection_of(&dir).unwrap().link, paths(&["/bin", "/usr", "/usr/bin", "/usr/bin/x"]));
    assert_eq!(selection_of(&dir).unwrap().brought, paths(&["/usr/bin/new"]));
    prune(&dir).unwrap();
    round_trip(&place, &selection, || {
        place.replace("usr/bin/x", "y");
        place.file("usr/bin/new", "n");
    });
    let through = link(&["/outside/root/x"]);
    prune(&dir).unwrap();
    let (dir, _) = take(&place, &through);
    let found = selection_of(&dir).unwrap();
    assert_eq!(found.brought, paths(&["/root"]), "links cannot lead out of the root");
}

#[test]
fn a_parent_that_became_a_link_leads_nowhere() {
    let place = Place::new();
    place.file("d/x", "x");
    place.file("victim/x", "precious");
    place.file("victim/new", "precious");
    let selection = Selection { link: paths(&["/d/x"]), absent: paths(&["/d/new"]), ..Selection::default() };
    round_trip(&place, &selection, || {
        fs::remove_dir_all(place.at("d")).unwrap();
        place.link("d", "victim");
    });
    assert_eq!(fs::read(place.at("victim/x")).unwrap(), b"precious");
}

#[test]
fn excluded_paths_are_left_alone() {
    let place = Place::new();
    place.file("etc/a", "a");
    place.file("etc/mine/b", "b");
    let selection = Selection { copy: paths(&["/etc"]), exclude: paths(&["/etc/mine", "/etc/later"]), ..Selection::default() };
    let (dir, _) = take(&place, &selection);
    place.file("etc/mine/b", "changed");
    place.file("etc/later/x", "x");
    drop(put_back(&place, &dir));
    assert_eq!(fs::read(place.at("etc/mine/b")).unwrap(), b"changed");
    assert!(place.at("etc/later/x").exists());
    assert_eq!(compare(&place.root(), &dir).unwrap(), []);
    assert_eq!(selection_of(&dir).unwrap().exclude, paths(&["/etc/mine", "/etc/later"]));
}

#[test]
fn special_files_and_set_id_bits_come_back() {
    let place = Place::new();
    place.file("s/suid", "s");
    chmod(place.at("s/suid"), 0o4755);
    place.dir("s/sticky");
    chmod(place.at("s/sticky"), 0o3777);
    rustix::fs::mknodat(rustix::fs::CWD, place.at("s/fifo"), rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o640), 0)
        .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(place.at("s/socket")).unwrap();
    let mut all = vec!["/s/suid", "/s/sticky", "/s/fifo", "/s/socket"];
    if is_root("devices and owners") {
        let null = rustix::fs::makedev(1, 3);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            place.at("s/null"),
            rustix::fs::FileType::CharacterDevice,
            rustix::fs::Mode::from_raw_mode(0o666),
            null,
        )
        .unwrap();
        chown(place.at("s/suid"), Some(7), Some(8)).unwrap();
        chmod(place.at("s/suid"), 0o6755);
        all.push("/s/null");
    }
    round_trip(&place, &link(&all), || {
        // dpkg disarms the old inode, which is ours too, before it unlinks it.
        chmod(place.at("s/suid"), 0o600);
        fs::remove_dir_all(place.at("s")).unwrap();
    });
}

#[test]
fn attributes_capabilities_and_access_lists_come_back() {
    let place = Place::new();
    let set = |path: &str, name: &str, value: &[u8]| rustix::fs::lsetxattr(place.at(path), name, value, rustix::fs::XattrFlags::empty());
    // Version 2, effective, cap_net_raw.
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // Version 2: owner rw-, user 7 rwx, group r--, mask rwx, others r--.
    let entry = |tag: u16, perm: u16, id: u32| [&tag.to_le_bytes()[..], &perm.to_le_bytes(), &id.to_le_bytes()].concat();
    let list = [2u32.to_le_bytes().to_vec(), entry(1, 6, !0), entry(2, 7, 7), entry(4, 4, !0), entry(16, 7, !0), entry(32, 4, !0)].concat();
    for path in ["usr/linked", "etc/copied"] {
        place.file(path, "x");
        set(path, "user.note", b"a\0b").unwrap();
        if set(path, "system.posix_acl_access", &list).is_err() {
            eprintln!("no access lists on this file system: they are not covered by this run");
        }
        if is_root("capabilities") {
            set(path, "security.capability", &capability).unwrap();
        }
    }
    let selection = Selection { link: paths(&["/usr/linked"]), copy: paths(&["/etc"]), ..Selection::default() };
    round_trip(&place, &selection, || {
        chmod(place.at("usr/linked"), 0o600);
        set("usr/linked", "user.other", b"new").unwrap();
        rustix::fs::lremovexattr(place.at("usr/linked"), "user.note").unwrap();
        place.replace("etc/copied", "y");
    });
    prune(&CaptureDir::at(&place.capture())).unwrap();
    round_trip(&place, &selection, || {
        if is_root("a change of owner") {
            chown(place.at("usr/linked"), Some(5), Some(5)).unwrap();
        }
        File::create(place.at("etc/copied")).unwrap().write_all(b"in place").unwrap();
    });
}

#[test]
fn a_rollback_can_be_rolled_back() {
    let place = Place::new();
    place.file("usr/x", "1");
    place.file("etc/c", "1");
    let selection = Selection { link: paths(&["/usr/x"]), copy: paths(&["/etc"]), absent: paths(&["/usr/p/q"]), ..Selection::default() };
    let (first, _) = take(&place, &selection);
    let before = place.scan();
    place.replace("usr/x", "2");
    File::create(place.at("etc/c")).unwrap().write_all(b"22").unwrap();
    place.file("etc/new", "n");
    place.file("usr/p/q", "q");
    place.file("usr/p/generated", "g");
    let after = place.scan();
    let second = CaptureDir::create(&place.capture().with_file_name("second-1")).unwrap();
    let all = selection_of(&first).unwrap();
    let secured = secure(&place.root(), &second, &all, &mut |_, _| {}).unwrap();
    assert_eq!(secured.links, 1, "what programs made is copied");
    drop(put_back(&place, &first));
    assert_same(&before, &place.scan());
    drop(put_back(&place, &second));
    assert_same(&after, &place.scan());
    assert_eq!(compare(&place.root(), &second).unwrap(), []);
}

#[test]
fn a_capture_is_complete_or_not_a_capture() {
    let place = Place::new();
    place.file("etc/a", "a");
    let dir = CaptureDir::create(&place.capture()).unwrap();
    assert!(!dir.is_complete().unwrap());
    assert!(matches!(CaptureDir::open(&place.capture()), Err(CaptureError::Incomplete { .. })));
    assert!(matches!(restore(&place.root(), &dir, RestoreMode::Everything, &mut |_, _| {}), Err(CaptureError::Incomplete { .. })));
    // Creating it again clears what is there.
    fs::create_dir_all(place.capture().join("objects/0")).unwrap();
    CaptureDir::create(&place.capture()).unwrap();
    assert!(!place.capture().join("objects").exists());
    let (dir, secured) = take(&place, &copy(&["/etc"]));
    assert_eq!((secured.paths, secured.bytes_copied), (2, 1));
    assert!(CaptureDir::open(&place.capture()).is_ok());
    assert!(matches!(CaptureDir::create(&place.capture()), Err(CaptureError::Exists { .. })));
    let manifest = place.capture().join("manifest");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("etc/a", "etc/b")).unwrap();
    assert!(matches!(compare(&place.root(), &dir), Err(CaptureError::Damaged { .. })));
    prune(&dir).unwrap();
    prune(&dir).unwrap();
    assert!(!place.capture().exists());
}

#[test]
fn sizes_count_what_only_the_capture_holds() {
    let place = Place::new();
    place.file("usr/big", vec![7; 1 << 20]);
    place.file("etc/small", vec![7; 8192]);
    let selection = Selection { link: paths(&["/usr/big"]), copy: paths(&["/etc"]), ..Selection::default() };
    let foreseen = estimate(&place.root(), &selection).unwrap();
    assert!(foreseen.held >= 1 << 20 && foreseen.now >= 8192 && foreseen.now < 1 << 16, "{foreseen:?}");
    let (dir, _) = take(&place, &selection);
    assert!(size(&dir).unwrap() < 1 << 16);
    place.replace("usr/big", "x");
    assert!(size(&dir).unwrap() >= 1 << 20);
}

#[test]
fn progress_reaches_its_total() {
    let place = Place::new();
    for number in 0..100 {
        place.file(format!("usr/{}/{number}", number % 7), "x");
    }
    let mut last = (0, 0);
    let mut watch = |done, total| {
        assert!(done >= last.0 && done <= total);
        last = (done, total);
    };
    let dir = CaptureDir::create(&place.capture()).unwrap();
    let selection = Selection { tree: paths(&["/usr"]), ..Selection::default() };
    let secured = secure(&place.root(), &dir, &selection, &mut watch).unwrap();
    assert_eq!(last, (secured.paths, secured.paths));
    let mut last = (0, 0);
    drop(restore(&place.root(), &dir, RestoreMode::Everything, &mut |done, total| last = (done, total)).unwrap());
    assert_eq!(last, (secured.paths, secured.paths));
}

#[test]
fn paths_that_leave_the_root_are_refused() {
    let place = Place::new();
    let dir = CaptureDir::create(&place.capture()).unwrap();
    for bad in ["/", "", "/usr/../etc"] {
        assert!(matches!(secure(&place.root(), &dir, &link(&[bad]), &mut |_, _| {}), Err(CaptureError::BadPath { .. })), "{bad:?}");
    }
}

#[test]
fn the_content_before_can_be_read_after_the_change() {
    let place = Place::new();
    place.file("usr/a", "one");
    place.file("etc/b", "two");
    let (dir, _) = take(&place, &Selection { link: paths(&["/usr/a"]), copy: paths(&["/etc"]), ..Selection::default() });
    place.replace("usr/a", "new");
    fs::write(place.at("etc/b"), "new").unwrap();
    assert_eq!(content(&dir, Path::new("/usr/a")).unwrap().as_deref(), Some(&b"one"[..]));
    assert_eq!(content(&dir, Path::new("/etc/b")).unwrap().as_deref(), Some(&b"two"[..]));
    assert_eq!(content(&dir, Path::new("/etc")).unwrap(), None);
    assert_eq!(content(&dir, Path::new("/usr/unknown")).unwrap(), None);
}
