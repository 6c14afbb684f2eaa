//! Measurements of the record at scale: a record of any size, the real daemon over it on a bus of its own.
//!
//! `--transactions N` says how large (50,000 when absent). Writing a million takes a while and gigabytes; an interrupted run is
//! gone on with, and the file is removed at the end unless `--keep` is said. The results go to `docs/benchmarks-record.md`. A
//! target that is not met is written down, and fails nothing.

// A measurement sets its scene with plain calls.
#![allow(clippy::disallowed_methods)]

mod append;
mod asked;
mod report;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use backstep_tests::large_record::{EVENTS, ITEMS, fill};

use crate::report::Report;

const USUAL: u64 = 50_000;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let count = match words.iter().position(|word| word == "--transactions") {
        Some(place) => words.get(place + 1).context("--transactions wants a number")?.parse()?,
        None => USUAL,
    };
    // Where the build is, which is a disk; what /tmp is nobody knows.
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join(format!("record-{count}.db"));
    let mut report = Report::default();
    written(&path, count, &mut report)?;
    append::measure(&folder, &mut report)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(asked::measure(&path, count, &mut report))?;
    if !words.iter().any(|word| word == "--keep") {
        std::fs::remove_file(&path)?;
    }
    report.write(count)
}

fn written(path: &Path, count: u64, report: &mut Report) -> Result<()> {
    fill(path, count, None, |done| {
        if done.is_multiple_of(50_000) {
            eprintln!("{done} of {count} transactions are written");
        }
    })?;
    let bytes = std::fs::metadata(path)?.len();
    let what = format!("size of the record, for each transaction of {ITEMS} items and {EVENTS} events");
    #[allow(clippy::cast_precision_loss)]
    report.told(&what, bytes as f64 / count as f64, "bytes");
    Ok(())
}
