//! Late capture: every kind of change, kept just before it happens, in every form that the eager capture left it in.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use backstep_capture::{
    Aftermath, CaptureDir, Late, RestoreMode, Restored, Selection, Walk, compare, content, record_after, restore, secure, selection_of,
};
use common::{Place, assert_same, chmod, is_root, paths};

/// A capture of a selection, the tree as it was, and the late capture that watches the changes.
struct Watched {
    place: Place,
    dir: CaptureDir,
    before: BTreeMap<PathBuf, String>,
    late: Late,
}

fn watch(place: Place, selection: &Selection) -> Watched {
    let before = place.scan();
    let dir = CaptureDir::create(&place.capture()).unwrap();
    secure(&place.root(), &dir, selection, &mut |_, _| {}).unwrap();
    let late = Late::open(&place.root(), &dir).unwrap();
    Watched { place, dir, before, late }
}

/// Nothing is captured eagerly but an unrelated file.
fn unknown(place: Place) -> Watched {
    place.file("elsewhere", "e");
    watch(place, &Selection { link: paths(&["/elsewhere"]), ..Selection::default() })
}

fn linked(place: Place, all: &[&str]) -> Watched {
    watch(place, &Selection { link: paths(all), ..Selection::default() })
}

fn inside(path: &str) -> PathBuf {
    Path::new("/").join(path)
}

impl Watched {
    fn at(&self, path: &str) -> PathBuf {
        self.place.at(path)
    }

    fn write(&mut self, path: &str, content: &str) {
        self.late.before_write(&inside(path)).unwrap();
        File::create(self.at(path)).unwrap().write_all(content.as_bytes()).unwrap();
    }

    fn create(&mut self, path: &str, content: &str) {
        self.late.before_create(&inside(path)).unwrap();
        File::create_new(self.at(path)).unwrap().write_all(content.as_bytes()).unwrap();
    }

    fn mkdir(&mut self, path: &str) {
        self.late.before_create(&inside(path)).unwrap();
        fs::create_dir(self.at(path)).unwrap();
    }

    fn symlink(&mut self, target: &str, path: &str) {
        self.late.before_create(&inside(path)).unwrap();
        std::os::unix::fs::symlink(target, self.at(path)).unwrap();
    }

    fn hard_link(&mut self, old: &str, path: &str) {
        self.late.before_create(&inside(path)).unwrap();
        fs::hard_link(self.at(old), self.at(path)).unwrap();
    }

    fn remove(&mut self, path: &str) {
        self.late.before_remove(&inside(path)).unwrap();
        fs::remove_file(self.at(path)).unwrap();
    }

    fn rmdir(&mut self, path: &str) {
        self.late.before_remove(&inside(path)).unwrap();
        fs::remove_dir(self.at(path)).unwrap();
    }

    fn rename(&mut self, from: &str, to: &str) {
        self.late.before_rename(&inside(from), &inside(to)).unwrap();
        fs::rename(self.at(from), self.at(to)).unwrap();
    }

    fn exchange(&mut self, one: &str, other: &str) {
        self.late.before_exchange(&inside(one), &inside(other)).unwrap();
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        rustix::fs::renameat_with(rustix::fs::CWD, self.at(one), rustix::fs::CWD, self.at(other), flags).unwrap();
    }

    fn chmod(&mut self, path: &str, mode: u32) {
        self.late.before_meta(&inside(path)).unwrap();
        chmod(self.at(path), mode);
    }

    /// Asserts that all of it is undone, twice.
    fn undone(self) -> Restored {
        assert_ne!(self.before, self.place.scan(), "something was changed");
        assert!(!compare(&self.place.root(), &self.dir).unwrap().is_empty(), "the change is seen");
        let restored = self.put_back();
        self.undone_again();
        restored
    }

    fn undone_again(&self) {
        let again = self.put_back();
        assert_eq!((again.relinked, again.copied, again.mended, again.renamed), (0, 0, 0, 0), "nothing is left to do");
        assert_eq!((again.removed, again.metadata, again.directories), (0, 0, 0), "nothing is left to do");
    }

    fn put_back(&self) -> Restored {
        let restored = restore(&self.place.root(), &self.dir, RestoreMode::Everything, &mut |_, _| {}).unwrap();
        assert!(restored.failed.is_empty() && restored.spoiled.is_empty(), "{restored:?}");
        assert_same(&self.before, &self.place.scan());
        assert_eq!(compare(&self.place.root(), &self.dir).unwrap(), []);
        restored
    }

    /// The same by a sparing restore: nobody else changed anything.
    fn undone_sparingly(self) {
        self.late.finish().unwrap();
        record_after(&self.place.root(), &self.dir).unwrap();
        for _ in 0..2 {
            let restored = restore(&self.place.root(), &self.dir, RestoreMode::KeepDrifted, &mut |_, _| {}).unwrap();
            assert!(restored.failed.is_empty() && restored.kept.is_empty(), "{restored:?}");
            assert_same(&self.before, &self.place.scan());
            assert_eq!(compare(&self.place.root(), &self.dir).unwrap(), []);
        }
    }
}

fn place(files: &[(&str, &str)]) -> Place {
    let place = Place::new();
    for (path, content) in files {
        place.file(path, content);
    }
    place
}

#[test]
fn what_a_directory_brings_by_an_exchange_goes_again() {
    let place = place(&[("opt/x", "")]);
    place.dir("opt/known");
    place.dir("opt/removed");
    let mut w = linked(place, &["/opt/removed"]);
    w.create("opt/new", "");
    // A call that then fails: a file does not take a directory's place.
    w.late.before_rename(&inside("opt/new"), &inside("opt/known")).unwrap();
    w.late.before_remove(&inside("opt/removed")).unwrap();
    fs::remove_dir(w.at("opt/removed")).unwrap();
    w.create("opt/removed", "");
    w.create("opt/known/f", "");
    w.exchange("opt/removed", "opt/known");
    drop(w.undone());
}

#[test]
fn a_file_nobody_foresaw_comes_back_after_a_write() {
    let mut w = unknown(place(&[("opt/x", "old")]));
    let ino = fs::metadata(w.at("opt/x")).unwrap().ino();
    w.write("opt/x", "new and longer");
    w.write("opt/x", "again");
    assert_eq!(content(&w.dir, Path::new("/opt/x")).unwrap().as_deref(), Some(&b"old"[..]), "the copy, not the spoiled link");
    let (x, restored) = (w.at("opt/x"), w.put_back());
    assert_eq!((fs::metadata(x).unwrap().ino(), restored.mended), (ino, 1));
}

/// postfix, for one, refuses a file that has two names.
#[test]
fn a_small_file_nobody_foresaw_comes_back_with_one_name() {
    let mut w = unknown(place(&[("var/pid", "1"), ("var/x", "old")]));
    w.remove("var/pid");
    w.create("var/x.new", "new");
    w.rename("var/x.new", "var/x");
    drop(w.put_back());
    for path in ["var/pid", "var/x"] {
        assert_eq!(fs::metadata(w.at(path)).unwrap().nlink(), 1, "{path}");
    }
}

#[test]
fn an_eager_link_that_is_written_in_place_is_copied_first() {
    for sparing in [false, true] {
        let mut w = linked(place(&[("usr/x", "old")]), &["/usr/x"]);
        w.write("usr/x", "new");
        if sparing { w.undone_sparingly() } else { drop(w.undone()) }
    }
}

#[test]
fn written_and_then_replaced_or_removed() {
    for sparing in [false, true] {
        let files = [("usr/x", "old"), ("usr/y", "old"), ("opt/x", "old"), ("opt/y", "old")];
        let mut w = linked(place(&files), &["/usr/x", "/usr/y"]);
        for folder in ["usr", "opt"] {
            let name = |name: &str| format!("{folder}/{name}");
            w.write(&name("x"), "new");
            w.create(&name("x.dpkg-new"), "other");
            w.rename(&name("x.dpkg-new"), &name("x"));
            w.write(&name("x"), "written again");
            w.write(&name("y"), "new");
            w.remove(&name("y"));
        }
        if sparing { w.undone_sparingly() } else { drop(w.undone()) }
    }
}

#[test]
fn other_names_of_a_written_file_are_mended_too() {
    let place = place(&[("usr/a", "old"), ("opt/a", "old")]);
    fs::hard_link(place.at("usr/a"), place.at("usr/b")).unwrap();
    fs::hard_link(place.at("opt/a"), place.at("opt/b")).unwrap();
    let mut w = linked(place, &["/usr/a"]);
    for folder in ["usr", "opt"] {
        w.write(&format!("{folder}/a"), "new");
        w.remove(&format!("{folder}/a"));
    }
    drop(w.undone());
}

#[test]
fn a_new_name_for_an_old_file_is_no_new_file() {
    for sparing in [false, true] {
        let mut w = linked(place(&[("usr/x", "old"), ("opt/x", "old"), ("opt/m", "old")]), &["/usr/x"]);
        for path in ["usr/x", "opt/x"] {
            w.hard_link(path, &format!("{path}.link"));
            w.write(&format!("{path}.link"), "new");
        }
        w.hard_link("opt/m", "opt/m.link");
        w.chmod("opt/m.link", 0o600);
        if sparing { w.undone_sparingly() } else { drop(w.undone()) }
    }
}

/// A rollback is a change of its own: what it puts back can be put forward again, byte for byte.
#[test]
fn what_was_undone_can_be_done_again() {
    let mut w = unknown(place(&[("opt/x", "old"), ("opt/dir/leaf", "leaf"), ("opt/file", "f"), ("opt/link", "l")]));
    Walk::take(&w.place.root(), &w.dir).unwrap().save(&w.dir).unwrap();
    w.hard_link("opt/x", "opt/x.link");
    w.write("opt/x.link", "new");
    w.rename("opt/dir", "opt/moved");
    w.write("opt/moved/leaf", "written");
    w.remove("opt/file");
    w.mkdir("opt/file");
    w.create("opt/file/in", "it");
    let after = w.place.scan();
    record_after(&w.place.root(), &w.dir).unwrap();
    Aftermath::look(&w.place.root(), &w.dir).unwrap().save_changes(&w.dir).unwrap();
    let back = CaptureDir::create(&w.place.capture().with_file_name("back")).unwrap();
    secure(&w.place.root(), &back, &selection_of(&w.dir).unwrap(), &mut |_, _| {}).unwrap();
    let restored = restore(&w.place.root(), &w.dir, RestoreMode::KeepDrifted, &mut |_, _| {}).unwrap();
    assert!(restored.failed.is_empty() && restored.kept.is_empty(), "{restored:?}");
    assert_same(&w.before, &w.place.scan());
    record_after(&w.place.root(), &back).unwrap();
    let again = restore(&w.place.root(), &back, RestoreMode::KeepDrifted, &mut |_, _| {}).unwrap();
    assert!(again.failed.is_empty() && again.kept.is_empty(), "{again:?}");
    assert_same(&after, &w.place.scan());
}

/// Through a name that nobody captured: what others wrote stays.
#[test]
fn an_inode_that_others_wrote_to_since_is_left_alone() {
    let mut w = unknown(place(&[("opt/x", "old")]));
    w.hard_link("opt/x", "opt/link");
    w.write("opt/link", "new");
    record_after(&w.place.root(), &w.dir).unwrap();
    fs::write(w.at("opt/x"), "by others").unwrap();
    let restored = restore(&w.place.root(), &w.dir, RestoreMode::KeepDrifted, &mut |_, _| {}).unwrap();
    assert!(restored.failed.is_empty(), "{restored:?}");
    assert_eq!(fs::read_to_string(w.at("opt/x")).unwrap(), "by others", "{restored:?}");
}

#[test]
fn a_renamed_file_that_is_written_under_its_new_name() {
    for sparing in [false, true] {
        let mut w = linked(place(&[("usr/x", "old"), ("opt/x", "old"), ("opt/y", "other")]), &["/usr/x"]);
        w.rename("usr/x", "usr/moved");
        w.write("usr/moved", "new");
        w.rename("opt/x", "opt/y");
        w.write("opt/y", "new");
        w.rename("opt/y", "opt/z");
        w.create("opt/x", "in its place");
        if sparing { w.undone_sparingly() } else { drop(w.undone()) }
    }
}

#[test]
fn a_written_copy_of_the_eager_capture_needs_nothing_more() {
    let place = place(&[("etc/x", "old")]);
    let mut w = watch(place, &Selection { copy: paths(&["/etc"]), ..Selection::default() });
    w.write("etc/x", "new");
    w.create("etc/y", "new");
    w.remove("etc/x");
    let log = fs::metadata(w.dir.path().join("late")).unwrap().len();
    assert_eq!(log, "backstep-late 1\n".len() as u64);
    drop(w.undone());
}

#[test]
fn a_second_name_of_a_copied_file_is_mended_too() {
    let place = place(&[("etc/x", "old")]);
    fs::create_dir(place.at("opt")).unwrap();
    fs::hard_link(place.at("etc/x"), place.at("opt/x")).unwrap();
    let mut w = watch(place, &Selection { copy: paths(&["/etc"]), ..Selection::default() });
    w.write("opt/x", "new");
    w.remove("etc/x");
    drop(w.undone());
}

/// One name was copied eagerly; the other one loses its file first, and then the file is written to.
#[test]
fn a_second_name_that_goes_before_a_copied_file_is_written_comes_back() {
    let place = place(&[("etc/x", "old"), ("opt/dir/leaf", "l")]);
    fs::hard_link(place.at("etc/x"), place.at("opt/x")).unwrap();
    let mut w = watch(place, &Selection { copy: paths(&["/etc"]), ..Selection::default() });
    w.remove("opt/x");
    w.write("etc/x", "new");
    drop(w.undone());
}

#[test]
fn what_is_created_goes_again_and_times_of_directories_come_back() {
    for sparing in [false, true] {
        let mut w = unknown(place(&[("opt/deep/er/x", "x")]));
        w.create("opt/deep/er/new", "n");
        w.mkdir("opt/d");
        w.create("opt/d/in", "i");
        w.mkdir("opt/d/e");
        w.symlink("nowhere", "opt/d/e/l");
        w.write("opt/by-write", "w");
        w.create("top", "t");
        w.create("opt/gone", "g");
        w.remove("opt/gone");
        if sparing { w.undone_sparingly() } else { drop(w.undone()) }
    }
}

#[test]
fn metadata_and_set_id_bits_of_files_nobody_foresaw() {
    for sparing in [false, true] {
        let place = place(&[("opt/suid", "s"), ("opt/x", "x"), ("opt/d/in", "i")]);
        chmod(place.at("opt/suid"), 0o4755);
        let xattr = |path: &Path, name: &str, value: &[u8]| {
            rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
        };
        xattr(&place.at("opt/x"), "user.a", b"1");
        place.link("opt/l", "x");
        let mut w = unknown(place);
        // As dpkg disarms what it removes.
        w.chmod("opt/suid", 0o600);
        w.remove("opt/suid");
        w.chmod("opt/d", 0o700);
        w.late.before_meta(&inside("opt/x")).unwrap();
        xattr(&w.at("opt/x"), "user.a", b"2");
        xattr(&w.at("opt/x"), "user.b", b"3");
        if is_root("owners and capabilities") {
            let caps = b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
            xattr(&w.at("opt/x"), "security.capability", caps);
            w.late.before_meta(&inside("opt/l")).unwrap();
            std::os::unix::fs::lchown(w.at("opt/l"), Some(1), Some(1)).unwrap();
            chown(w.at("opt/l"), Some(2), None).unwrap();
        }
        if sparing { w.undone_sparingly() } else { drop(w.undone()) }
    }
}

#[test]
fn a_write_through_a_link_is_a_write_to_its_end() {
    let place = place(&[("opt/real/x", "old")]);
    place.link("opt/one", "../opt/two");
    place.link("opt/two", "/opt/real/x");
    place.link("opt/dangling", "real/new");
    place.link("opt/round", "round");
    let mut w = unknown(place);
    w.late.before_write(Path::new("/opt/one")).unwrap();
    fs::write(w.at("opt/real/x"), "new").unwrap();
    w.late.before_write(Path::new("/opt/dangling")).unwrap();
    fs::write(w.at("opt/real/new"), "new").unwrap();
    w.late.before_write(Path::new("/opt/round")).unwrap();
    drop(w.undone());
}

#[test]
fn chains_of_renames_and_an_exchange() {
    for sparing in [false, true] {
        let mut w = linked(place(&[("a/1", "1"), ("a/2", "2"), ("a/3", "3"), ("b/4", "4")]), &["/a/1"]);
        w.rename("a/1", "a/t");
        w.rename("a/2", "a/1");
        w.rename("a/t", "a/2");
        w.exchange("a/3", "b/4");
        w.write("b/4", "was 3");
        w.rename("a/3", "a/1");
        if sparing { w.undone_sparingly() } else { drop(w.undone()) }
    }
}

#[test]
fn a_renamed_directory_goes_back_as_the_same_one() {
    let place = place(&[("opt/d/x", "x"), ("opt/d/y", "y"), ("opt/d/sub/z", "z")]);
    place.link("opt/d/l", "x");
    let ino = fs::metadata(place.at("opt/d")).unwrap().ino();
    let mut w = unknown(place);
    w.rename("opt/d", "opt/e");
    w.write("opt/e/x", "written");
    w.remove("opt/e/y");
    w.create("opt/e/sub/new", "n");
    w.rename("opt/e/sub", "opt/e/moved");
    w.rename("opt/e", "top");
    w.chmod("top/moved/z", 0o600);
    assert_eq!(w.put_back().renamed, 3);
    assert_eq!(fs::metadata(w.at("opt/d")).unwrap().ino(), ino);
    w.undone_again();
}

#[test]
fn a_renamed_directory_comes_back_sparingly_by_its_files() {
    let mut w = unknown(place(&[("opt/d/x", "x"), ("opt/d/sub/z", "z")]));
    w.rename("opt/d", "opt/e");
    w.write("opt/e/x", "written");
    w.undone_sparingly();
}

#[test]
fn a_renamed_directory_makes_room_for_another() {
    let place = place(&[("opt/d/x", "old x"), ("opt/d/only", "o"), ("opt/f/x", "other"), ("opt/f/mine", "m")]);
    place.dir("opt/empty");
    let mut w = unknown(place);
    w.rename("opt/d", "opt/d.backup");
    w.mkdir("opt/d");
    w.create("opt/d/x", "new x");
    w.create("opt/d/other", "new");
    w.write("opt/d/x", "written");
    w.rename("opt/f", "opt/empty");
    w.write("opt/empty/x", "written");
    drop(w.undone());
}

#[test]
fn a_directory_that_arrives_where_one_was_removed_brings_new_names() {
    let place = place(&[("opt/d/x", "x"), ("opt/f/y", "y")]);
    place.dir("opt/d2");
    let mut w = unknown(place);
    w.remove("opt/d/x");
    w.rmdir("opt/d");
    w.rename("opt/f", "opt/d");
    w.write("opt/d/y", "written");
    w.chmod("opt/d/y", 0o600);
    w.mkdir("opt/new");
    w.create("opt/new/n", "n");
    w.rmdir("opt/d2");
    w.rename("opt/new", "opt/d2");
    w.write("opt/d2/n", "written");
    drop(w.undone());
}

#[test]
fn directories_are_exchanged() {
    let mut w = unknown(place(&[("opt/d/x", "x"), ("opt/f/y", "y"), ("opt/file", "f")]));
    w.exchange("opt/d", "opt/f");
    w.write("opt/d/y", "written");
    w.exchange("opt/d", "opt/file");
    w.write("opt/d", "written");
    drop(w.undone());
}

#[test]
fn types_change() {
    for sparing in [false, true] {
        let place = place(&[("t/dir/in", "i"), ("t/file", "f"), ("t/real/x", "x")]);
        place.link("t/link", "real");
        let mut w = unknown(place);
        // dir_to_symlink and symlink_to_dir.
        w.rename("t/dir", "t/dir.backup");
        w.symlink("real", "t/dir");
        w.remove("t/link");
        w.mkdir("t/link");
        w.create("t/link/x", "in a directory that was a link");
        w.remove("t/file");
        w.mkdir("t/file");
        w.create("t/file/in", "i");
        if sparing { w.undone_sparingly() } else { drop(w.undone()) }
    }
}

#[test]
fn special_files_and_odd_names() {
    let place = Place::new();
    let longest = "n".repeat(255);
    place.file(format!("t/{longest}"), "long");
    place.file(Path::new("t").join(OsStr::from_bytes(b"\xff\n\t%")), "odd");
    if is_root("devices") {
        let (kind, mode) = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::from_raw_mode(0o640));
        rustix::fs::mknodat(rustix::fs::CWD, place.at("t/null"), kind, mode, rustix::fs::makedev(1, 3)).unwrap();
    }
    rustix::fs::mknodat(rustix::fs::CWD, place.at("t/fifo"), rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o640), 0)
        .unwrap();
    drop(std::os::unix::net::UnixListener::bind(place.at("t/s")).unwrap());
    let mut w = unknown(place);
    let odd = Path::new("/t").join(OsStr::from_bytes(b"\xff\n\t%"));
    w.late.before_write(&odd).unwrap();
    fs::write(w.place.at(odd.strip_prefix("/").unwrap()), "new").unwrap();
    w.remove(&format!("t/{longest}"));
    for name in ["t/fifo", "t/s", "t/null"] {
        if fs::symlink_metadata(w.at(name)).is_ok() {
            w.late.before_write(&inside(name)).unwrap();
            w.chmod(name, 0o600);
            w.remove(name);
        }
    }
    drop(w.undone());
}

#[test]
fn calls_that_fail_leave_a_record_too_many_and_no_harm() {
    let mut w = unknown(place(&[("opt/d/x", "x"), ("opt/e/y", "y"), ("opt/f", "f")]));
    // ENOTEMPTY, ENOTDIR, ENOENT, EEXIST.
    w.late.before_rename(Path::new("/opt/d"), Path::new("/opt/e")).unwrap();
    w.late.before_remove(Path::new("/opt/d")).unwrap();
    w.late.before_remove(Path::new("/opt/f/x")).unwrap();
    w.late.before_create(Path::new("/opt/missing/x")).unwrap();
    w.late.before_create(Path::new("/opt/f")).unwrap();
    w.late.before_rename(Path::new("/opt/none"), Path::new("/opt/d")).unwrap();
    w.write("opt/d/x", "written");
    w.write("opt/e/y", "written");
    drop(w.undone());
}

#[test]
fn excluded_places_are_counted_and_left_alone() {
    let place = place(&[("var/log/x", "old"), ("home/u/x", "old"), ("usr/x", "old")]);
    place.dir("tmp");
    let mut w = linked(place, &["/usr/x"]);
    w.write("var/log/x", "kept as it is");
    w.create("tmp/new", "n");
    w.remove("home/u/x");
    w.rename("usr/x", "tmp/x");
    w.write("tmp/x", "the kept link is this file");
    let (place, dir) = (w.place, w.dir);
    assert_eq!(w.late.finish().unwrap().excluded, 4);
    let restored = restore(&place.root(), &dir, RestoreMode::Everything, &mut |_, _| {}).unwrap();
    assert!(restored.failed.is_empty(), "{restored:?}");
    assert_eq!(fs::read_to_string(place.at("usr/x")).unwrap(), "old");
    assert_eq!(fs::read_to_string(place.at("var/log/x")).unwrap(), "kept as it is");
    assert!(place.at("tmp/new").exists() && !place.at("home/u/x").exists());
}

/// The log's end is not durable when the power goes; the name is. Times of folders are lost with it.
#[test]
fn what_was_made_goes_although_its_record_was_lost() {
    let mut w = unknown(place(&[("opt/dir/leaf", "l")]));
    let log = w.dir.path().join("late");
    let durable = fs::metadata(&log).unwrap().len();
    w.create("opt/new", "n");
    w.mkdir("opt/dir/more");
    w.create("opt/dir/more/deep", "n");
    w.create("opt/dir/draft", "n");
    w.rename("opt/dir/draft", "opt/dir/made");
    File::options().write(true).open(&log).unwrap().set_len(durable).unwrap();
    let restored = restore(&w.place.root(), &w.dir, RestoreMode::Everything, &mut |_, _| {}).unwrap();
    assert!(restored.failed.is_empty() && restored.removed == 4, "{restored:?}");
    assert!(w.place.scan().keys().eq(w.before.keys()), "{:?}", w.place.scan());
}

#[test]
fn a_new_file_with_a_second_name_in_the_place_of_an_old_one_goes_sparingly() {
    let mut w = unknown(place(&[("u/e/f", ""), ("t/x", "")]));
    w.create("t/e", "");
    w.late.before_create(&inside("u/e/f")).unwrap();
    w.remove("u/e/f");
    w.hard_link("t/e", "u/e/f");
    w.undone_sparingly();
}

#[test]
fn a_second_late_capture_goes_on_with_the_first() {
    let mut w = unknown(place(&[("opt/x", "old"), ("opt/y", "old"), ("opt/z", "old")]));
    w.write("opt/x", "new");
    w.hard_link("opt/y", "opt/y.link");
    w.remove("opt/y");
    w.late = Late::open(&w.place.root(), &w.dir).unwrap();
    w.write("opt/x", "newer");
    w.write("opt/y.link", "new");
    w.remove("opt/z");
    drop(w.undone());
}

#[test]
fn without_a_complete_eager_capture_there_is_no_late_one() {
    let place = Place::new();
    let dir = CaptureDir::create(&place.capture()).unwrap();
    assert!(Late::open(&place.root(), &dir).is_err());
}
