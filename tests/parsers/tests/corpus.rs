//! What the fuzzer found worth keeping, and what was once a finding, through the same entries with this compiler.

// Tests set their scene with plain calls.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Builds for debugging on a busy machine; the fuzzer itself allows a second of an optimised build.
const PATIENCE: Duration = Duration::from_secs(1);

fn fuzz(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(path)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn every_input_of_the_corpus_is_read_in_time_and_without_a_panic() {
    for (name, entry) in backstep_parsers::ALL {
        let inputs = files(&fuzz("corpus").join(name));
        assert!(inputs.len() >= 10, "{name}: a corpus of {} inputs", inputs.len());
        for input in inputs {
            let bytes = fs::read(&input).expect("an input");
            let begun = Instant::now();
            entry(&bytes);
            assert!(begun.elapsed() < PATIENCE, "{} took {:?}", input.display(), begun.elapsed());
        }
    }
}

/// Damaged copies of everything that was kept: a little fuzzing in every run.
#[test]
fn damaged_copies_of_the_corpus_are_read_without_a_panic() {
    for (name, entry) in backstep_parsers::ALL {
        let mut inputs = files(&fuzz("corpus").join(name));
        inputs.sort();
        for (number, input) in inputs.iter().enumerate() {
            let bytes = fs::read(input).expect("an input");
            for seed in 0..20 {
                entry(&backstep_core::hostile::mutation(&bytes, seed * 1_000_003 + number as u64));
            }
        }
    }
}

#[test]
fn every_reader_has_a_target_and_a_corpus_and_the_other_way_round() {
    let readers: BTreeSet<String> = backstep_parsers::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    let names = |folder: &str| -> BTreeSet<String> {
        let stem = |path: &PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        files(&fuzz(folder)).iter().filter_map(stem).collect()
    };
    assert_eq!(names("fuzz_targets"), readers);
    assert_eq!(names("corpus"), readers);
    let manifest = fs::read_to_string(fuzz("Cargo.toml")).expect("the manifest");
    for name in &readers {
        let target = format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"");
        assert!(manifest.contains(&target), "{name} is no target of cargo-fuzz");
        let source = fs::read_to_string(fuzz("fuzz_targets").join(format!("{name}.rs"))).expect("a target");
        assert!(source.contains(&format!("entry(\"{name}\")(bytes)")), "{name} calls another entry");
    }
}
