//! The sweep: one recording, many cuts, each booted, looked at and judged.
//!
//! Invariants: a cut and its fate follow from the seed and the recording; what a failed cut was made from is kept.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use backstep_tests::command;
use backstep_tests::snapshot::Snapshot;
use backstep_torture::random::Random;

use crate::image::{self, Kernel};
use crate::judge::{self, Rest};
use crate::log::{self, Entry};
use crate::replay::{Fate, Replay};
use crate::scene::CHANGES;
use crate::vm::{Disk, Duty, Vm};

/// How long a machine may take for anything; an emulated processor on a busy host is slow.
const LIMIT: Duration = Duration::from_secs(3600);
/// Bytes that a recording may have; most of it is a hole.
const LOG: u64 = 1 << 34;

/// Where a change is in the recording, as numbers of entries.
#[derive(Debug, Clone, Copy)]
struct Span {
    begin: usize,
    /// The client had its answer.
    acknowledged: usize,
    end: usize,
}

/// A recording, the disk it began with and the right answers.
struct Recording {
    folder: PathBuf,
    kernel: Kernel,
    log: File,
    entries: Vec<Entry>,
    spans: Vec<Span>,
    /// The system before the first change, and after each.
    states: Vec<Snapshot>,
}

/// What the cuts came to.
#[derive(Debug, Default)]
pub struct Figures {
    /// Cuts that were made.
    pub cuts: usize,
    /// Those after which the system was as after the change.
    pub after: usize,
    /// Boots that were reset before they were at rest.
    pub resets: usize,
    /// What went wrong.
    pub failures: Vec<String>,
}

/// Records, then makes so many cuts, spread over the changes. Up to `resets` boots in a row after a cut are reset.
pub fn sweep(cuts: usize, seed: u64, resets: usize) -> Result<Figures> {
    let folder = tempfile::Builder::new().prefix("backstep-powercuts-").tempdir_in("/var/tmp")?;
    let recording = record(folder.path())?;
    let mut figures = Figures::default();
    let mut random = Random::new(seed);
    let mut replay = Replay::new(&recording.log, &recording.entries, &folder.path().join("disk"))?;
    for (number, (change, at)) in choose(&recording.spans, cuts, &mut random).into_iter().enumerate() {
        let fate = Fate::ALL[number % Fate::ALL.len()];
        let begun = Instant::now();
        let cut = folder.path().join(format!("cut-{number}"));
        let open = replay.cut(at, fate, &mut random, &cut)?;
        let (name, total) = (CHANGES[change].0, recording.entries.len());
        let title = format!("seed {seed} cut {number}: {name}, behind entry {at} of {total}, {open} open writes, {fate:?}");
        let made = if number % 4 == 3 { resets } else { 0 };
        match one(&recording, change, at, &cut, (made, &mut random)) {
            Ok((outcome, reset)) => {
                figures.after += usize::from(outcome == Outcome::After);
                figures.resets += reset;
                println!("{title}: as {outcome:?}, {reset} resets, {} s", begun.elapsed().as_secs());
                command::run("rm", [&cut])?;
            }
            Err(error) => {
                println!("{title}: FAILED: {error:#}");
                figures.failures.push(format!("{title}: {error:#}"));
            }
        }
        figures.cuts += 1;
    }
    if !figures.failures.is_empty() {
        println!("the disks of what failed are kept in {}", folder.keep().display());
    }
    Ok(figures)
}

/// A machine changes packages while its disk is recorded.
fn record(folder: &Path) -> Result<Recording> {
    let (disk, log_path) = (folder.join("disk"), folder.join("log"));
    let kernel = image::make(&disk)?;
    let log = File::create(&log_path)?;
    log.set_len(LOG)?;
    let before = folder.join("before");
    command::run("cp", [Path::new("--sparse=always"), Path::new("--reflink=auto"), &disk, &before])?;
    let mut vm = Vm::boot(&kernel, Disk::Recorded(&before, &log_path), Duty::Record, &folder.join("console-record"))?;
    let log = File::open(&log_path)?;
    let mut spans = Vec::new();
    for (name, _) in CHANGES {
        let mut place = |word: &str| -> Result<usize> {
            vm.wait_for_words(&format!("powercut: {word} {name}\r\n"), LIMIT)?;
            Ok(log::entries(&log)?.len())
        };
        spans.push(Span { begin: place("begin")?, acknowledged: place("acknowledged")?, end: place("end")? });
    }
    vm.wait(LIMIT)?;
    ensure!(!vm.said().contains("powercut: failed"), "a change failed:\n{}", vm.said());
    let entries = log::entries(&log)?;
    println!("recorded {} entries, {} flushes: {spans:?}", entries.len(), entries.iter().filter(|entry| entry.is_flush()).count());
    let states = states(folder, &log, &entries, &spans)?;
    Ok(Recording { folder: folder.to_owned(), kernel, log, entries, spans, states })
}

/// The right answers: the disk at each quiet moment.
fn states(folder: &Path, log: &File, entries: &[Entry], spans: &[Span]) -> Result<Vec<Snapshot>> {
    let (copy, quiet) = (folder.join("before"), folder.join("quiet"));
    command::run("cp", [Path::new("--sparse=always"), Path::new("--reflink=auto"), &folder.join("disk"), &copy])?;
    let mut replay = Replay::new(log, entries, &copy)?;
    let mut random = Random::new(0);
    let moments = spans.first().map(|span| span.begin).into_iter().chain(spans.iter().map(|span| span.end));
    let states = moments.map(|at| {
        replay.cut(at, Fate::Kept, &mut random, &quiet)?;
        judge::state(&quiet)
    });
    let states = states.collect::<Result<Vec<_>>>()?;
    command::run("rm", [&copy, &quiet])?;
    for (state, (name, _)) in states.windows(2).zip(CHANGES) {
        ensure!(!state[0].differences(&state[1]).is_empty(), "{name} changes nothing");
    }
    Ok(states)
}

/// Places for cuts in the order of the recording, as many in each change; with the change.
fn choose(spans: &[Span], cuts: usize, random: &mut Random) -> Vec<(usize, usize)> {
    let mut chosen: Vec<(usize, usize)> = (0..cuts)
        .map(|number| {
            let change = number % spans.len();
            let Span { begin, end, .. } = spans[change];
            (change, begin + random.below((end - begin).max(1)))
        })
        .collect();
    chosen.sort_by_key(|(_, at)| *at);
    chosen
}

/// As which of its two right answers a machine came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Before,
    After,
}

fn one(recording: &Recording, change: usize, at: usize, cut: &Path, (resets, random): (usize, &mut Random)) -> Result<(Outcome, usize)> {
    let console = recording.folder.join("console");
    let mut made = 0;
    for _ in 0..resets {
        let delay = Duration::from_secs(8 + random.number() % 30);
        made += usize::from(Vm::boot(&recording.kernel, Disk::Plain(cut), Duty::Settle, &console)?.reset_after(delay)?);
    }
    let mut vm = Vm::boot(&recording.kernel, Disk::Plain(cut), Duty::Settle, &console)?;
    vm.wait(LIMIT)?;
    let said = vm.said();
    let rest = judge::rest(cut, &said).with_context(|| said.clone())?;
    Ok((outcome(recording, change, at, &rest)?, made))
}

fn outcome(recording: &Recording, change: usize, at: usize, rest: &Rest) -> Result<Outcome> {
    let (before, after) = (recording.states[change].differences(&rest.state), recording.states[change + 1].differences(&rest.state));
    let outcome = match (before.is_empty(), after.is_empty()) {
        (true, _) => Outcome::Before,
        (_, true) => Outcome::After,
        (false, false) => bail!("neither as before:\n{}\nnor as after:\n{}", before.join("\n"), after.join("\n")),
    };
    let acknowledged = at >= recording.spans[change].acknowledged;
    ensure!(!acknowledged || outcome == Outcome::After, "what the client was told is lost");
    on_record(rest, change, outcome)?;
    Ok(outcome)
}

/// The record says of our changes what the system says.
fn on_record(rest: &Rest, change: usize, outcome: Outcome) -> Result<()> {
    let ours: Vec<&str> = rest.history.iter().rev().filter(|row| row["origin"] == "cli").filter_map(|row| row["state"].as_str()).collect();
    let done = change + usize::from(outcome == Outcome::After);
    let completed = ours.iter().filter(|state| **state == "completed").count();
    let undone = ours.iter().skip(done).all(|state| *state == "rolled-back");
    ensure!(completed == done && undone, "the system has {done} changes, the record {ours:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_spread_over_the_changes_and_in_order() {
        let spans = [Span { begin: 10, acknowledged: 15, end: 20 }, Span { begin: 30, acknowledged: 35, end: 40 }];
        let chosen = choose(&spans, 6, &mut Random::new(3));
        assert_eq!(chosen.iter().map(|(change, _)| *change).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 1]);
        assert!(chosen.iter().all(|(change, at)| (spans[*change].begin..spans[*change].end).contains(at)));
        assert!(chosen.is_sorted_by_key(|(_, at)| *at));
    }
}
