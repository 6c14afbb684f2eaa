//! Packages of the machine that runs the tests, made again from what is installed there. Nothing on it is changed: it is
//! read, and what is installed is installed below a folder of the test's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::common::{
    Scratch, contents, control_members, installed, is_installed, is_root, original, query, run, same_paths, unpack, with_needs, wrong_sums,
};
use crate::tree::Tree;
use backstep_rebuild::{Edited, Rebuilder, Rebuilt, Wanted};

/// The loader and its library, hard links, diversions, set-id programs, configuration files, many files, a pair that may be
/// installed for several architectures.
const PACKAGES: [&str; 12] =
    ["libc6", "bash", "coreutils", "perl-base", "hostname", "gzip", "dash", "login", "passwd", "apt", "base-files", "zlib1g"];

fn rebuilt(name: &str, scratch: &Scratch) -> (PathBuf, Rebuilt) {
    let (package, version) = installed(name);
    let tree = Tree::new(Path::new("/"));
    let rebuilder = Rebuilder::new(&tree).expect("database");
    let from = "01936b2e-7c1a-7d3e-9f10-0123456789ab".parse().expect("id");
    let path = scratch.path(&format!("{name}.deb"));
    let mut file = std::fs::File::create(&path).expect("file");
    let wanted = Wanted { package: &package, version: &version, from, room: u64::MAX, edited: &|_| Edited::AsFound };
    let rebuilt = rebuilder.rebuild(&wanted, &mut file).expect("rebuilt");
    (path, rebuilt)
}

/// What dpkg itself says of an archive must be what it says of the installed package.
#[test]
fn real_packages_are_made_again_as_they_are_installed() {
    let scratch = Scratch::new();
    for name in PACKAGES.into_iter().filter(|name| is_installed(name)) {
        let (archive, rebuilt) = rebuilt(name, &scratch);
        assert_eq!(rebuilt.altered, Vec::<PathBuf>::new(), "{name}");
        for field in ["Package", "Version", "Architecture", "Depends", "Pre-Depends", "Multi-Arch", "Essential", "Description"] {
            let is = run("dpkg-query", &["-W", "-f", &format!("${{{field}}}"), name]);
            assert_eq!(run("dpkg-deb", &["-f", &archive.to_string_lossy(), field]).trim_end(), is.trim_end(), "{field} of {name}");
        }
        assert_eq!(run("dpkg-deb", &["-f", &archive.to_string_lossy(), "Status"]).trim(), "");
        let listed: Vec<String> = run("dpkg", &["-L", name]).lines().filter(|line| line.starts_with('/')).map(str::to_owned).collect();
        let paths: Vec<String> = contents(&archive).into_keys().collect();
        let gone = |path: &String| rebuilt.missing.iter().any(|missing| missing == Path::new(path));
        let mut expected: Vec<String> =
            listed.iter().filter(|path| !gone(path)).map(|path| if path == "/." { "/".to_owned() } else { path.clone() }).collect();
        expected.sort();
        expected.retain(|path| !path.contains(" diverted "));
        same_paths(name, &paths, &expected);
        let sums = wrong_sums(&archive, &scratch);
        assert_eq!(sums, "", "{name}");
    }
}

/// Where the archive that the package came from can be had, its content must be the same in every entry: type, owner, mode,
/// size, target, hard links, and the bytes.
#[test]
fn they_are_what_the_archive_has_where_it_can_be_had() {
    let scratch = Scratch::new();
    for name in PACKAGES.into_iter().filter(|name| is_installed(name)) {
        let Some(original) = original(name, &scratch) else { continue };
        let (archive, rebuilt) = rebuilt(name, &scratch);
        let (mut ours, mut theirs) = (contents(&archive), contents(&original));
        let gone = |path: &String| rebuilt.missing.iter().any(|missing| missing == Path::new(path));
        let edited = |path: &String| rebuilt.edited.iter().any(|edited| edited == Path::new(path));
        theirs.retain(|path, _| !gone(path) && !edited(path));
        // Scripts and programs give folders to users of their own; what they were shipped with is on no record.
        let given = |path: &String, entry: &String| {
            entry.starts_with("Directory") && theirs.contains_key(path) && !entry.contains("(Some(\"root\")")
        };
        ours.retain(|path, entry| !edited(path) && !given(path, entry));
        let given: Vec<String> = theirs.keys().filter(|path| !ours.contains_key(*path)).cloned().collect();
        assert!(given.len() <= 3, "{name}: {given:?}");
        theirs.retain(|path, _| !given.contains(path));
        let differing: BTreeMap<_, _> = theirs.iter().filter(|(path, entry)| ours.get(*path) != Some(entry)).collect();
        let ours_of: Vec<_> = differing.keys().map(|path| ours.get(*path)).collect();
        assert!(differing.is_empty(), "{name}: {differing:?} became {ours_of:?}");
        assert_eq!(ours.len(), theirs.len(), "{name}");
        assert_eq!(control_members(&archive, &scratch), control_members(&original, &scratch), "{name}");
    }
}

/// dpkg takes them, and knows afterwards that they were rebuilt.
#[test]
fn dpkg_takes_them() {
    // Owners are root's to give.
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let all: Vec<(String, PathBuf, Rebuilt)> = with_needs(&[&PACKAGES[..], &["dpkg", "sed", "grep"]].concat())
        .into_iter()
        .map(|name| {
            let (archive, rebuilt) = rebuilt(&name, &scratch);
            (name, archive, rebuilt)
        })
        .collect();
    let archives: Vec<PathBuf> = all.iter().map(|(_, archive, _)| archive.clone()).collect();
    let root = scratch.system(&archives);
    assert_eq!(unpack(&root, &archives), "");
    for (name, _, rebuilt) in &all {
        assert_eq!(query(&root, "Backstep-Rebuilt-From", name), "01936b2e-7c1a-7d3e-9f10-0123456789ab", "{name}");
        assert_eq!(query(&root, "db:Status-Status", name), "unpacked");
        let verified = run("dpkg", &["--root", &root.to_string_lossy(), "--verify", name]);
        // Configuration files come to their places when the package is configured.
        let is_known = |line: &&str| line.contains(" c /") || rebuilt.altered.iter().any(|path| line.ends_with(&*path.to_string_lossy()));
        let odd: Vec<&str> = verified.lines().filter(|line| !is_known(line)).collect();
        assert!(odd.is_empty(), "{name}: {odd:?}");
    }
}
