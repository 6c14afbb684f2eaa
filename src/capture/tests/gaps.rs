//! What somebody who is not root makes so that it cannot be looked at stops nothing and is told. Needs root.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use backstep_capture::{
    Aftermath, CaptureDir, CaptureError, Late, RestoreMode, Secured, Selection, compare, drifted, estimate, restore, secure,
};
use common::{Place, is_root, paths};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const SOMEBODY: u32 = 1000;

fn etc() -> Selection {
    Selection { copy: paths(&["/etc"]), link: paths(&["/etc/svc/file"]), ..Selection::default() }
}

/// A folder of somebody's below `/etc`, with a file, and a file of root's beside it.
fn somebodys() -> (Place, PathBuf) {
    let place = Place::new();
    place.file("etc/roots", "root's");
    place.file("etc/svc/file", "theirs");
    let svc = place.at("etc/svc");
    chown(&svc, Some(SOMEBODY), None).unwrap();
    (place, svc)
}

fn take(place: &Place, selection: &Selection) -> Result<(CaptureDir, Secured), CaptureError> {
    let dir = CaptureDir::create(&place.capture())?;
    estimate(&place.root(), selection)?;
    let secured = secure(&place.root(), &dir, selection, &mut |_, _| {})?;
    Ok((dir, secured))
}

/// Captures, changes what can be changed, and puts it back; answers what was left out.
fn cycle(place: &Place) -> Vec<String> {
    let (dir, secured) = take(place, &etc()).unwrap();
    fs::write(place.at("etc/roots"), "changed").unwrap();
    Aftermath::look(&place.root(), &dir).unwrap().save_image(&dir).unwrap();
    assert_eq!(drifted(&place.root(), &dir).unwrap(), Vec::<PathBuf>::new());
    let restored = restore(&place.root(), &dir, RestoreMode::Everything, &mut |_, _| {}).unwrap();
    assert!(restored.failed.is_empty(), "{:?}", restored.failed);
    assert_eq!(compare(&place.root(), &dir).unwrap(), []);
    assert_eq!(fs::read_to_string(place.at("etc/roots")).unwrap(), "root's");
    secured.left_out.iter().map(ToString::to_string).collect()
}

/// Directories in directories, made one in the other.
fn nest(at: &Path, name: &str, depth: usize) {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut fd: OwnedFd = openat(CWD, at, flags, Mode::empty()).unwrap();
    for _ in 0..depth {
        mkdirat(&fd, name, Mode::from_raw_mode(0o755)).unwrap();
        fd = openat(&fd, name, flags, Mode::empty()).unwrap();
    }
}

#[test]
fn folders_as_deep_as_paths_can_be_are_kept() {
    if !is_root("a folder of somebody's") {
        return;
    }
    let few = Rlimit { current: Some(256), ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, few).unwrap();
    let (place, svc) = somebodys();
    nest(&svc, "d", 1500);
    assert_eq!(cycle(&place), Vec::<String>::new());
    // By a script, which moves it.
    let place = Place::new();
    nest(&place.dir("opt/deep"), "d", 1500);
    let (dir, _) = take(&place, &Selection::default()).unwrap();
    let mut late = Late::open(&place.root(), &dir).unwrap();
    late.before_rename(Path::new("/opt/deep"), Path::new("/opt/moved")).unwrap();
    assert!(late.finish().unwrap().present >= 1500);
}

#[test]
fn what_is_deeper_than_a_path_can_be_is_left_out_where_it_is_somebody_s() {
    if !is_root("a folder of somebody's") {
        return;
    }
    let (place, svc) = somebodys();
    nest(&svc, &"n".repeat(250), 40);
    let left_out = cycle(&place);
    assert_eq!(left_out.len(), 1, "{left_out:?}");
    assert!(left_out[0].starts_with("/etc/svc/nnn") && left_out[0].contains("… (File name too long"), "{left_out:?}");

    let place = Place::new();
    nest(&place.dir("etc"), &"n".repeat(250), 40);
    let error = take(&place, &etc()).map(drop).unwrap_err();
    assert!(error.to_string().starts_with("cannot open etc/nnn"), "{error}");
}

#[test]
fn what_anybody_may_write_to_is_somebody_s() {
    if !is_root("a folder that others may write") {
        return;
    }
    let (place, _) = somebodys();
    let drop_off = place.dir("etc/drop");
    common::chmod(&drop_off, 0o1777);
    nest(&drop_off, &"n".repeat(250), 40);
    assert_eq!(cycle(&place).len(), 1);
}

/// A file system of somebody's own, as `fusermount` makes it, which no program answers for. Root is kept out as well.
struct Fuse(PathBuf, #[expect(dead_code, reason = "the file system lives as long as it is open")] File);

impl Fuse {
    fn new(at: PathBuf) -> Self {
        let device = File::options().read(true).write(true).open("/dev/fuse").unwrap();
        let options = format!("fd={},rootmode=40000,user_id={SOMEBODY},group_id={SOMEBODY}", device.as_raw_fd());
        mount("somebody", &at, "fuse", MountFlags::NOSUID | MountFlags::NODEV, Some(CString::new(options).unwrap().as_c_str())).unwrap();
        Self(at, device)
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.0, UnmountFlags::DETACH) {
            eprintln!("cannot unmount {}: {error}", self.0.display());
        }
    }
}

#[test]
fn a_file_system_that_keeps_root_out_is_left_out() {
    if !is_root("a mount") || !Path::new("/dev/fuse").exists() {
        eprintln!("a file system of somebody's own is not covered by this run");
        return;
    }
    let (place, svc) = somebodys();
    let inside = Fuse::new(place.dir("etc/svc/m"));
    assert_eq!(cycle(&place), ["/etc/svc/m (Permission denied (os error 13))"]);
    drop(inside);
    fs::remove_dir_all(place.capture()).unwrap();
    // Of the folder itself nothing is seen any more, not even whose it was.
    let _over = Fuse::new(svc);
    assert_eq!(cycle(&place), ["/etc/svc (Permission denied (os error 13))"]);
}

#[test]
fn a_file_system_that_came_during_the_change_stops_neither_its_end_nor_its_undo() {
    if !is_root("a mount") || !Path::new("/dev/fuse").exists() {
        eprintln!("a file system of somebody's own is not covered by this run");
        return;
    }
    let (place, svc) = somebodys();
    let (dir, secured) = take(&place, &etc()).unwrap();
    assert_eq!(secured.left_out, []);
    let _over = Fuse::new(svc);
    Aftermath::look(&place.root(), &dir).unwrap().save_image(&dir).unwrap();
    drifted(&place.root(), &dir).unwrap();
    let unseen: Vec<String> = compare(&place.root(), &dir).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(unseen, ["/etc/svc: it cannot be looked at", "/etc/svc/file: it cannot be looked at"]);

    fs::write(place.at("etc/roots"), "changed").unwrap();
    for mode in [RestoreMode::Everything, RestoreMode::Early] {
        let restored = restore(&place.root(), &dir, mode, &mut |_, _| {}).unwrap();
        let failed: BTreeSet<String> = restored.failed.iter().map(|failed| failed.path.display().to_string()).collect();
        assert_eq!(failed.into_iter().collect::<Vec<_>>(), ["/etc/svc"]);
        assert_eq!(fs::read_to_string(place.at("etc/roots")).unwrap(), "root's", "what can be put back is");
    }
    fs::write(place.at("etc/roots"), "changed").unwrap();
    let restored = restore(&place.root(), &dir, RestoreMode::KeepDrifted, &mut |_, _| {}).unwrap();
    assert_eq!(restored.failed.len(), 1, "{:?}", restored.failed);
    assert_eq!(fs::read_to_string(place.at("etc/roots")).unwrap(), "changed", "what others changed since stays");
}

#[test]
fn a_script_may_change_what_nobody_can_look_at() {
    if !is_root("a mount") || !Path::new("/dev/fuse").exists() {
        eprintln!("a file system of somebody's own is not covered by this run");
        return;
    }
    let (place, svc) = somebodys();
    let (dir, _) = take(&place, &Selection::default()).unwrap();
    let mut late = Late::open(&place.root(), &dir).unwrap();
    let over = Fuse::new(svc);
    late.before_remove(Path::new("/etc/svc/file")).unwrap();
    late.before_write(Path::new("/etc/roots")).unwrap();
    let left_out: Vec<String> = late.finish().unwrap().left_out.iter().map(ToString::to_string).collect();
    assert_eq!(left_out, ["/etc/svc/file (Permission denied (os error 13))"]);
    drop(over);
    fs::write(place.at("etc/svc/file"), "theirs still").unwrap();
    fs::write(place.at("etc/roots"), "changed").unwrap();
    let restored = restore(&place.root(), &dir, RestoreMode::Everything, &mut |_, _| {}).unwrap();
    assert!(restored.failed.is_empty(), "{:?}", restored.failed);
    assert_eq!(fs::read_to_string(place.at("etc/roots")).unwrap(), "root's");
    assert_eq!(fs::read_to_string(place.at("etc/svc/file")).unwrap(), "theirs still", "it is left alone");
}
