//! Measures nets 2 and 3: `cargo run --release -p backstep-capture --example nets [DIR] [FILES]`.
//!
//! Makes a tree, captures half of it, and prints what a call of the late capture costs for paths that are known and
//! for such as are not, and what two pictures of the whole and their difference cost. The best of five counts.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use backstep_capture::{Aftermath, CaptureDir, Late, RestoreMode, Selection, Walk, restore, secure};

const PER_DIRECTORY: usize = 30;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let base = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let files: usize = arguments.next().map_or(100_000, |count| count.parse().unwrap());
    let dir = tempfile::tempdir_in(base).unwrap();
    let root = dir.path().join("root");
    let all: Vec<PathBuf> = (0..files).map(|number| file(&root, number)).collect();
    let capture = CaptureDir::create(&dir.path().join("capture-1")).unwrap();
    let mut selection = Selection { link: all.iter().take(files / 2).cloned().collect(), ..Selection::default() };
    selection.absent = selection.link.iter().map(|path| new_name(path)).collect();
    secure(&root, &capture, &selection, &mut |_, _| {}).unwrap();
    walks(&root, &capture, &all);
    late(&root, &capture, &all);
    let record = timed("changes", || Aftermath::look(&root, &capture).unwrap().save_changes(&capture).unwrap());
    println!("{} changes", record.len());
    let restored = timed("restore", || restore(&root, &capture, RestoreMode::Everything, &mut |_, _| {}).unwrap());
    assert!(restored.failed.is_empty());
}

fn file(root: &Path, number: usize) -> PathBuf {
    let path = format!("/usr/share/package-{}/f{number}", number / PER_DIRECTORY);
    let real = root.join(path.strip_prefix('/').unwrap());
    fs::create_dir_all(real.parent().unwrap()).unwrap();
    fs::write(real, "content").unwrap();
    path.into()
}

fn new_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".dpkg-new");
    name.into()
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    println!("{what:<34} {:>9.2} ms", start.elapsed().as_secs_f64() * 1e3);
    result
}

fn best<T>(what: &str, work: impl Fn() -> T) -> T {
    let once = || {
        let start = Instant::now();
        let result = work();
        (start.elapsed(), result)
    };
    let (mut least, mut result) = (Duration::MAX, None);
    for _ in 0..5 {
        let (took, made) = once();
        least = least.min(took);
        result = Some(made);
    }
    println!("{what:<34} {:>9.2} ms", least.as_secs_f64() * 1e3);
    result.unwrap()
}

fn walks(root: &Path, capture: &CaptureDir, all: &[PathBuf]) {
    let before = best("walk", || Walk::take(root, capture).unwrap());
    println!("{} names", before.count());
    timed("save the picture", || before.save(capture).unwrap());
    println!("{} bytes", fs::metadata(capture.path().join("walk")).unwrap().len());
    timed("load the picture", || Walk::load(capture).unwrap());
    for path in all.iter().step_by(100) {
        fs::write(root.join(path.strip_prefix("/").unwrap()), "changed!").unwrap();
    }
    best("walk, difference of both", || {
        let after = Walk::take(root, capture).unwrap();
        assert_eq!(before.differences(&after).len(), all.len().div_ceil(100));
    });
    for path in all.iter().step_by(100) {
        fs::write(root.join(path.strip_prefix("/").unwrap()), "content").unwrap();
    }
}

fn late(root: &Path, capture: &CaptureDir, all: &[PathBuf]) {
    let mut late = timed("open the late capture", || Late::open(root, capture).unwrap());
    let (known, unknown) = all.split_at(all.len() / 2);
    let mut per_call = |what: &str, paths: &[PathBuf], call: &mut dyn FnMut(&mut Late, &Path)| {
        let start = Instant::now();
        paths.iter().for_each(|path| call(&mut late, path));
        println!("{what:<34} {:>9.2} µs a call", start.elapsed().as_secs_f64() * 1e6 / paths.len() as f64);
    };
    let news: Vec<PathBuf> = known.iter().map(|path| new_name(path)).collect();
    per_call("known: create x.dpkg-new", &news, &mut |late, path| late.before_create(path).unwrap());
    per_call("known: rename x.dpkg-new to x", &news, &mut |late, path| late.before_rename(path, &path.with_extension("")).unwrap());
    per_call("known: remove x", known, &mut |late, path| late.before_remove(path).unwrap());
    per_call("unknown: create", &unknown[..2000].iter().map(|path| new_name(path)).collect::<Vec<_>>(), &mut |late, path| {
        late.before_create(path).unwrap();
    });
    per_call("linked: write", &known[..200], &mut |late, path| late.before_write(path).unwrap());
    per_call("linked: write again", &known[..200], &mut |late, path| late.before_write(path).unwrap());
    per_call("unknown: remove", &unknown[..200], &mut |late, path| late.before_remove(path).unwrap());
    let directory = unknown[3000].parent().unwrap();
    per_call("unknown: rename of 30 files", &[directory.to_path_buf()], &mut |late, path| {
        late.before_rename(path, &path.with_extension("old")).unwrap();
    });
    println!("{:?}", late.finish().unwrap());
}
