//! Measures capture and restore: `cargo run --release -p backstep-capture --example measure [DIR] [FILES]`.
//!
//! Makes a tree of small files and an /etc of 1,000, captures both, replaces every file as dpkg does, restores,
//! and prints the times; then the same for a plan of ten packages. The barrier (`syncfs`) is part of every figure;
//! its share is printed by repeating the call on a clean file system.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use backstep_capture::{CaptureDir, RestoreMode, Selection, compare, prune, record_after, restore, secure, selection_of};

const PER_DIRECTORY: usize = 30;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let base = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let files = arguments.next().map_or(24_000, |count| count.parse().unwrap());
    let dir = tempfile::tempdir_in(base).unwrap();
    let root = dir.path().join("root");
    let all = tree(&root, "usr", files, 2_000);
    let etc = tree(&root, "etc", 1_000, 3_000);
    println!("{} files in /usr, {} in /etc", all.len(), etc.len());
    measure("all of /usr by link", dir.path(), &all, &Selection { link: all.clone(), ..Selection::default() });
    let ten: BTreeSet<PathBuf> = all.iter().take(900).cloned().collect();
    let selection = Selection { link: ten.clone(), copy: BTreeSet::from(["/etc".into()]), ..Selection::default() };
    measure("ten packages (900 files) and a copy of /etc", dir.path(), &ten, &selection);
}

fn tree(root: &Path, top: &str, files: usize, size: usize) -> BTreeSet<PathBuf> {
    let mut all = BTreeSet::new();
    for number in 0..files {
        let path = PathBuf::from(format!("/{top}/d{}/f{number}", number / PER_DIRECTORY));
        let real = root.join(path.strip_prefix("/").unwrap());
        fs::create_dir_all(real.parent().unwrap()).unwrap();
        fs::write(real, vec![b'x'; size]).unwrap();
        all.insert(path);
    }
    all
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    println!("  {what:<12} {:>7.1} ms", start.elapsed().as_secs_f64() * 1e3);
    result
}

fn measure(title: &str, base: &Path, files: &BTreeSet<PathBuf>, selection: &Selection) {
    println!("{title}");
    let root = base.join("root");
    let sync = || rustix::fs::syncfs(fs::File::open(base).unwrap()).unwrap();
    sync();
    let dir = CaptureDir::create(&base.join("capture-1")).unwrap();
    let secured = timed("secure", || secure(&root, &dir, selection, &mut |_, _| {}).unwrap());
    timed("clean syncfs", sync);
    println!("  {secured:?}, manifest {} bytes", fs::metadata(dir.path().join("manifest")).unwrap().len());
    for path in files {
        let real = root.join(path.strip_prefix("/").unwrap());
        let new = real.with_extension("dpkg-new");
        fs::write(&new, "new").unwrap();
        fs::rename(new, real).unwrap();
    }
    sync();
    timed("record_after", || record_after(&root, &dir).unwrap());
    timed("selection_of", || selection_of(&dir).unwrap());
    let restored = timed("restore", || restore(&root, &dir, RestoreMode::Everything, &mut |_, _| {}).unwrap());
    assert!(restored.failed.is_empty());
    println!("  relinked {}, copied {}, metadata {}", restored.relinked, restored.copied, restored.metadata);
    let found = timed("compare", || compare(&root, &dir).unwrap());
    assert!(found.is_empty());
    let again = timed("again", || restore(&root, &dir, RestoreMode::Everything, &mut |_, _| {}).unwrap());
    assert_eq!(again.relinked, 0);
    timed("prune", || prune(&dir).unwrap());
}
