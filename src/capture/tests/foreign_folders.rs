//! Folders that a service's own user may write: what they put there never gets the owner, the mode or the name of what is
//! put back.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use backstep_capture::{CaptureDir, RestoreMode, Restored, Selection, restore, secure};
use common::{Place, chmod, is_root, paths};

const SERVICE: u32 = 2;
const GROUP: u32 = 4;

/// A service's folder with a folder of root's for a group, which runs what is in it with the group's rights.
fn place() -> (Place, CaptureDir) {
    let place = Place::new();
    chown(place.dir("lib"), Some(SERVICE), Some(SERVICE)).unwrap();
    chown(place.dir("lib/spool"), Some(0), Some(GROUP)).unwrap();
    chmod(place.at("lib/spool"), 0o2755);
    chown(place.file("lib/helper", "helper"), Some(0), Some(GROUP)).unwrap();
    chmod(place.at("lib/helper"), 0o4755);
    let dir = CaptureDir::create(&place.capture()).unwrap();
    let selection = Selection { copy: paths(&["/lib"]), ..Selection::default() };
    secure(&place.root(), &dir, &selection, &mut |_, _| {}).unwrap();
    (place, dir)
}

fn put_back(place: &Place, dir: &CaptureDir) -> Restored {
    restore(&place.root(), dir, RestoreMode::Everything, &mut |_, _| {}).unwrap()
}

/// Owner, group and mode.
fn dress(path: &Path) -> (u32, u32, u32) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid(), found.permissions().mode() & 0o7777)
}

/// A file of the service's, which it can run.
fn planted(place: &Place, path: &str) -> PathBuf {
    let planted = place.file(path, "planted");
    chmod(&planted, 0o755);
    chown(&planted, Some(SERVICE), Some(SERVICE)).unwrap();
    planted
}

#[test]
fn a_temporary_name_that_is_taken_gets_nothing() {
    if !is_root("a folder of another user's") {
        return;
    }
    let (place, dir) = place();
    fs::remove_dir(place.at("lib/spool")).unwrap();
    fs::remove_file(place.at("lib/helper")).unwrap();
    let taken = ["directory", "0", "1", "2", "family"].map(|name| planted(&place, &format!("lib/.backstep-tmp.{name}")));
    let restored = put_back(&place, &dir);
    assert!(restored.failed.is_empty(), "{restored:?}");
    assert_eq!((dress(&place.at("lib/spool")), dress(&place.at("lib/helper"))), ((0, GROUP, 0o2755), (0, GROUP, 0o4755)));
    assert!(place.at("lib/spool").is_dir());
    assert_eq!(fs::read(place.at("lib/helper")).unwrap(), b"helper");
    for planted in taken.iter().filter(|planted| planted.exists()) {
        assert_eq!(dress(planted), (SERVICE, SERVICE, 0o755), "{}", planted.display());
    }
}

#[test]
fn a_folder_of_root_s_that_was_moved_to_the_name_stays_closed() {
    if !is_root("a folder of another user's") {
        return;
    }
    let (place, dir) = place();
    // As an inode of its own: what was captured is the inode of before.
    fs::rename(place.at("lib/spool"), place.dir("elsewhere").join("spool")).unwrap();
    place.file("lib/spool/key", "secret");
    chmod(place.at("lib/spool"), 0o700);
    let restored = put_back(&place, &dir);
    assert_eq!(dress(&place.at("lib/spool")), (0, 0, 0o700));
    assert!(restored.failed.iter().any(|failed| failed.path == Path::new("/lib/spool")), "{restored:?}");
}

#[test]
fn a_file_of_the_same_content_is_no_program_of_root_s() {
    if !is_root("a folder of another user's") {
        return;
    }
    let (place, dir) = place();
    fs::remove_file(place.at("lib/helper")).unwrap();
    let planted = place.file("lib/helper", "helper");
    chown(&planted, Some(SERVICE), Some(SERVICE)).unwrap();
    let (theirs, open) = (fs::metadata(&planted).unwrap().ino(), fs::File::open(&planted).unwrap());
    let restored = put_back(&place, &dir);
    assert!(restored.failed.is_empty(), "{restored:?}");
    assert_eq!(dress(&place.at("lib/helper")), (0, GROUP, 0o4755));
    assert_ne!(fs::metadata(place.at("lib/helper")).unwrap().ino(), theirs, "they may hold it open for writing");
    assert_eq!(open.metadata().unwrap().uid(), SERVICE);
}

#[test]
fn nothing_of_ours_stays_in_their_folder() {
    if !is_root("a folder of another user's") {
        return;
    }
    let (place, dir) = place();
    let before = place.scan();
    fs::remove_dir(place.at("lib/spool")).unwrap();
    place.replace("lib/helper", "new");
    assert!(put_back(&place, &dir).failed.is_empty());
    common::assert_same(&before, &place.scan());
}
