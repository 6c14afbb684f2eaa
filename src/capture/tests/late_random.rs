//! Random trees, random captures of parts of them, random changes that the late capture is told of: after a restore
//! nothing differs.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use backstep_capture::{CaptureDir, Late, RestoreMode, Selection, compare, record_after, restore, secure};
use common::{Place, assert_same, chmod, passable};
use proptest::prelude::*;
use rustix::fs::{CWD, RenameFlags, renameat_with};

/// One system call; paths are numbers into a small set, so that calls meet each other. Those that make no sense fail,
/// after the late capture was told of them.
#[derive(Debug, Clone)]
enum Call {
    Write(usize, Vec<u8>),
    Append(usize, Vec<u8>),
    Create(usize),
    Directory(usize),
    Symlink(usize, usize),
    HardLink(usize, usize),
    Replace(usize, Vec<u8>),
    Mode(usize, u32),
    Remove(usize),
    Rename(usize, usize),
    Exchange(usize, usize),
}

const PATHS: [&str; 16] =
    ["t/a", "t/a/b", "t/a/b/c", "t/a/d", "t/e", "t/e/f", "t/e/b", "t/g", "t/h", "u/a", "u/a/b", "u/a/b/c", "u/e", "u/e/f", "u/g", "u/g/b"];

fn call() -> impl Strategy<Value = Call> {
    let path = || 0..PATHS.len();
    let content = || prop::collection::vec(any::<u8>(), 0..12);
    let mode = || prop::sample::select(vec![0o600, 0o644, 0o755, 0o711, 0o4755, 0o2755]);
    prop_oneof![
        3 => (path(), content()).prop_map(|(path, content)| Call::Write(path, content)),
        2 => (path(), content()).prop_map(|(path, content)| Call::Append(path, content)),
        3 => path().prop_map(Call::Create),
        3 => path().prop_map(Call::Directory),
        1 => (path(), path()).prop_map(|(path, target)| Call::Symlink(path, target)),
        2 => (path(), path()).prop_map(|(from, to)| Call::HardLink(from, to)),
        2 => (path(), content()).prop_map(|(path, content)| Call::Replace(path, content)),
        2 => (path(), mode()).prop_map(|(path, mode)| Call::Mode(path, mode)),
        3 => path().prop_map(Call::Remove),
        4 => (path(), path()).prop_map(|(from, to)| Call::Rename(from, to)),
        1 => (path(), path()).prop_map(|(one, other)| Call::Exchange(one, other)),
    ]
}

/// The supervisor's part: paths come with their parents resolved.
struct Machine<'a> {
    root: PathBuf,
    late: Option<&'a mut Late>,
}

impl Machine<'_> {
    fn path(&self, path: usize) -> Option<(PathBuf, PathBuf)> {
        self.resolved(&self.root.join(PATHS[path]))
    }

    fn resolved(&self, path: &Path) -> Option<(PathBuf, PathBuf)> {
        let parent = path.parent().unwrap().canonicalize().ok()?;
        let real = parent.join(path.file_name().unwrap());
        let inside = Path::new("/").join(real.strip_prefix(&self.root).ok()?);
        Some((real, inside))
    }

    fn tell(&mut self, tell: impl FnOnce(&mut Late) -> Result<(), backstep_capture::CaptureError>) {
        if let Some(late) = &mut self.late {
            tell(late).unwrap();
        }
    }

    fn run(&mut self, call: &Call) -> Option<()> {
        match call {
            Call::Write(path, content) | Call::Append(path, content) => {
                let (real, inside) = self.path(*path)?;
                self.tell(|late| late.before_write(&inside));
                let mut options = File::options();
                options.write(true).create(true);
                options.append(matches!(call, Call::Append(..))).truncate(matches!(call, Call::Write(..)));
                options.open(real).ok()?.write_all(content).unwrap();
            }
            Call::Create(path) => {
                let (real, inside) = self.path(*path)?;
                self.tell(|late| late.before_create(&inside));
                drop(File::create_new(real));
            }
            Call::Directory(path) => {
                let (real, inside) = self.path(*path)?;
                self.tell(|late| late.before_create(&inside));
                fs::create_dir(real).ok()?;
            }
            Call::Symlink(path, target) => {
                let (real, inside) = self.path(*path)?;
                self.tell(|late| late.before_create(&inside));
                std::os::unix::fs::symlink(Path::new(PATHS[*target]).file_name().unwrap(), real).ok()?;
            }
            Call::HardLink(from, to) => {
                let ((from, _), (to, inside)) = (self.path(*from)?, self.path(*to)?);
                self.tell(|late| late.before_create(&inside));
                fs::hard_link(from, to).ok()?;
            }
            Call::Replace(path, content) => {
                let (real, inside) = self.path(*path)?;
                let (new, new_inside) = (real.with_extension("dpkg-new"), inside.with_extension("dpkg-new"));
                self.tell(|late| late.before_create(&new_inside));
                File::create_new(&new).ok()?.write_all(content).unwrap();
                self.tell(|late| late.before_rename(&new_inside, &inside));
                fs::rename(new, real).ok()?;
            }
            Call::Mode(path, mode) => {
                let (real, inside) = self.path(*path)?;
                // What a symbolic link leads to may be outside of the tree that is looked at.
                let real = real.canonicalize().ok().filter(|real| real.starts_with(&self.root) && *real != self.root)?;
                self.tell(|late| late.before_meta(&inside));
                let mode = passable(&real, *mode);
                chmod(real, mode);
            }
            Call::Remove(path) => {
                let (real, inside) = self.path(*path)?;
                self.remove(&real, &inside)?;
            }
            Call::Rename(from, to) => {
                let ((from, inside_from), (to, inside_to)) = (self.path(*from)?, self.path(*to)?);
                self.tell(|late| late.before_rename(&inside_from, &inside_to));
                fs::rename(from, to).ok()?;
            }
            Call::Exchange(one, other) => {
                let ((one, inside_one), (other, inside_other)) = (self.path(*one)?, self.path(*other)?);
                self.tell(|late| late.before_exchange(&inside_one, &inside_other));
                renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).ok()?;
            }
        }
        Some(())
    }

    fn remove(&mut self, real: &Path, inside: &Path) -> Option<()> {
        let found = fs::symlink_metadata(real).ok()?;
        if found.is_dir() {
            for name in fs::read_dir(real).unwrap() {
                let name = name.unwrap().file_name();
                self.remove(&real.join(&name), &inside.join(&name));
            }
        }
        self.tell(|late| late.before_remove(inside));
        if found.is_dir() { fs::remove_dir(real) } else { fs::remove_file(real) }.ok()
    }
}

struct World {
    place: Place,
    dir: CaptureDir,
    before: std::collections::BTreeMap<PathBuf, String>,
}

/// `eager` says for each path whether and how it is captured beforehand.
fn world(before_calls: &[Call], eager: &[u8], changes: &[Call]) -> World {
    let place = Place::new();
    place.dir("t");
    place.dir("u");
    place.file("elsewhere", "e");
    let root = place.root().canonicalize().unwrap();
    for call in before_calls {
        Machine { root: root.clone(), late: None }.run(call);
    }
    let mut selection = Selection::default();
    selection.link.insert("/elsewhere".into());
    for (path, how) in PATHS.iter().zip(eager) {
        let path = Path::new("/").join(path);
        match how {
            0 => drop(selection.link.insert(path)),
            1 => drop(selection.copy.insert(path)),
            2 => drop(selection.tree.insert(path)),
            3 => drop(selection.absent.insert(path)),
            _ => {}
        }
    }
    let dir = CaptureDir::create(&place.capture()).unwrap();
    secure(&root, &dir, &selection, &mut |_, _| {}).unwrap();
    let before = place.scan();
    let mut late = Late::open(&root, &dir).unwrap();
    for (at, call) in changes.iter().enumerate() {
        if at == changes.len() / 2 {
            late = Late::open(&root, &dir).unwrap();
        }
        Machine { root: root.clone(), late: Some(&mut late) }.run(call);
    }
    World { place, dir, before }
}

fn told(mut scan: std::collections::BTreeMap<PathBuf, String>, families: bool) -> std::collections::BTreeMap<PathBuf, String> {
    for line in scan.values_mut().filter(|_| !families) {
        line.truncate(line.find(" family ").unwrap_or(line.len()));
    }
    scan
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    prop::collection::vec(call(), 0..40)
}

fn eager() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0_u8..12, PATHS.len())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, max_shrink_iters: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everything_is_as_before(before in calls(), eager in eager(), changes in calls()) {
        let World { place, dir, before } = world(&before, &eager, &changes);
        let restored = restore(&place.root(), &dir, RestoreMode::Everything, &mut |_, _| {}).unwrap();
        prop_assert!(restored.failed.is_empty() && restored.spoiled.is_empty(), "{:?}", restored);
        // A file that was copied eagerly comes back without the names that the selection does not have.
        let families = !eager.contains(&1);
        assert_same(&told(before, families), &told(place.scan(), families));
        prop_assert_eq!(compare(&place.root(), &dir).unwrap(), vec![]);
    }

    /// Content, type, owner, mode; which names share an inode is not kept by a sparing restore.
    #[test]
    fn a_sparing_restore_without_drift_keeps_nothing_back(before in calls(), eager in eager(), changes in calls()) {
        let World { place, dir, .. } = world(&before, &eager, &changes);
        record_after(&place.root(), &dir).unwrap();
        let restored = restore(&place.root(), &dir, RestoreMode::KeepDrifted, &mut |_, _| {}).unwrap();
        prop_assert!(restored.failed.is_empty() && restored.kept.is_empty(), "{:?}", restored);
        prop_assert_eq!(compare(&place.root(), &dir).unwrap(), vec![]);
    }
}
