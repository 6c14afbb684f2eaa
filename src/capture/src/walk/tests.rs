//! Pictures of real trees.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.0.path().join("capture-1")).unwrap();
        for path in ["usr/a", "usr/b/c", "usr/b/d", "var/log/x", "tmp/x", "opt/.backstep/x", "home/x", "etc/x"] {
            let path = place.at(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        symlink("a", place.at("usr/l")).unwrap();
        place
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join("root").join(path)
    }

    fn dir(&self) -> CaptureDir {
        CaptureDir::at(&self.0.path().join("capture-1"))
    }

    fn take(&self) -> Walk {
        Walk::take(&self.at(""), &self.dir()).unwrap()
    }
}

fn found(before: &Walk, after: &Walk) -> Vec<(String, Seen)> {
    before.differences(after).into_iter().map(|one| (one.path.display().to_string(), one.seen)).collect()
}

#[test]
fn every_kind_of_difference_is_seen_and_exclusions_are_not() {
    let place = Place::new();
    let before = place.take();
    assert_eq!(found(&before, &place.take()), []);
    fs::write(place.at("usr/a"), "changed").unwrap();
    fs::set_permissions(place.at("usr/b/c"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(place.at("usr/b/d")).unwrap();
    fs::create_dir_all(place.at("usr/new/deep")).unwrap();
    fs::write(place.at("usr/new/deep/x"), "x").unwrap();
    fs::remove_file(place.at("usr/l")).unwrap();
    fs::create_dir(place.at("usr/l")).unwrap();
    rustix::fs::setxattr(place.at("etc/x"), "user.a", b"1", rustix::fs::XattrFlags::empty()).unwrap();
    for excluded in ["var/log/x", "tmp/x", "opt/.backstep/x", "home/x"] {
        fs::write(place.at(excluded), "changed").unwrap();
    }
    let expected = [
        ("/etc/x", Seen::Metadata),
        ("/usr/a", Seen::Content),
        ("/usr/b/c", Seen::Metadata),
        ("/usr/b/d", Seen::Vanished),
        ("/usr/l", Seen::Content),
        ("/usr/new", Seen::Created),
        ("/usr/new/deep", Seen::Created),
        ("/usr/new/deep/x", Seen::Created),
    ];
    assert_eq!(found(&before, &place.take()), expected.map(|(path, seen)| (path.to_owned(), seen)));
}

#[test]
fn one_more_name_is_no_change_of_the_others() {
    let place = Place::new();
    let before = place.take();
    fs::hard_link(place.at("usr/a"), place.at("usr/z")).unwrap();
    assert_eq!(found(&before, &place.take()), [("/usr/z".to_owned(), Seen::Created)]);
}

#[test]
fn a_saved_picture_is_the_same_and_a_damaged_one_is_noticed() {
    let place = Place::new();
    assert!(Walk::load(&place.dir()).unwrap().is_none());
    let taken = place.take();
    taken.save(&place.dir()).unwrap();
    let loaded = Walk::load(&place.dir()).unwrap().unwrap();
    assert_eq!((loaded.count(), found(&taken, &loaded)), (taken.count(), vec![]));
    assert_eq!(found(&loaded, &place.take()), []);
    let path = place.dir().path().join(file::FILE_NAME);
    let bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut wrong = bytes.clone();
        wrong[at] ^= 1;
        fs::write(&path, &wrong).unwrap();
        assert!(Walk::load(&place.dir()).is_err(), "byte {at} flipped");
        fs::write(&path, &bytes[..at]).unwrap();
        assert!(Walk::load(&place.dir()).is_err(), "cut at {at}");
    }
}

#[test]
fn what_is_deeper_than_a_path_can_be_is_left_out_alone_and_told() {
    let place = Place::new();
    let clear = place.take();
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY;
    let mut fd = rustix::fs::open(place.at("usr/b"), flags, rustix::fs::Mode::empty()).unwrap();
    for _ in 0..40 {
        rustix::fs::mkdirat(&fd, "n".repeat(250), rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
        fd = rustix::fs::openat(&fd, "n".repeat(250), flags, rustix::fs::Mode::empty()).unwrap();
    }
    let deep = place.take();
    let [gap] = deep.left_out().try_into().unwrap();
    assert!(gap.path.starts_with("/usr/b") && gap.why.starts_with("File name too long"), "{gap}");
    assert_eq!(clear.left_out(), []);
    let above = gap.path.ancestors().count() - Path::new("/usr/b").ancestors().count();
    assert_eq!(found(&clear, &deep).len(), above - 1, "what is above is seen, and of the gap nothing");
    // A picture that is kept knows its gaps.
    deep.save(&place.dir()).unwrap();
    let kept = Walk::load(&place.dir()).unwrap().unwrap();
    assert_eq!(kept.left_out(), deep.left_out());
    fs::write(place.at("usr/a"), "changed").unwrap();
    assert_eq!(found(&kept, &place.take()), [("/usr/a".to_owned(), Seen::Content)]);
}
