//! What was measured, as a table.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use backstep_tests::command::run;

/// The middle of some numbers; the mean of the two in the middle when there is none.
pub(crate) fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

/// Rounds of ours and of the peer, in seconds.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    /// Ours.
    pub(crate) ours: Vec<f64>,
    /// The peer's.
    pub(crate) peers: Vec<f64>,
}

/// The lines of both tables.
#[derive(Debug, Default)]
pub(crate) struct Report {
    speed: Vec<String>,
    undo: Vec<String>,
}

impl Report {
    /// Two that did the same; `scale` and `unit` are how to write a second.
    pub(crate) fn pairs(&mut self, what: &str, peer: &str, pairs: &Pairs, target: f64, (scale, unit): (f64, &str)) {
        let ratios: Vec<f64> = pairs.ours.iter().zip(&pairs.peers).map(|(ours, peer)| ours / peer).collect();
        let (least, most) = ratios.iter().fold((f64::MAX, 0.0_f64), |(least, most), ratio| (least.min(*ratio), most.max(*ratio)));
        let (ours, peers, ratio) = (median(&pairs.ours) * scale, median(&pairs.peers) * scale, median(&ratios));
        let spread = if ratios.len() > 100 { String::new() } else { format!(" ({least:.2} to {most:.2})") };
        self.line(format!(
            "{what} | {ours:.2} {unit} | {peers:.2} {unit} ({peer}) | {ratio:.2}{spread} | ≤ {target:.2} | {} | {}",
            met(ratio <= target),
            ratios.len()
        ));
    }

    /// One number with a limit.
    pub(crate) fn limit(&mut self, what: &str, value: f64, unit: &str, limit: f64, rounds: usize) {
        self.line(format!("{what} | {value:.1} {unit} | – | – | ≤ {limit} {unit} | {} | {rounds}", met(value <= limit)));
    }

    /// Counts of what should not be, of ours and of the peer, one a round.
    pub(crate) fn counts(&mut self, what: &str, peer: &str, ours: &[usize], peers: &[usize]) {
        let all = |counts: &[usize]| counts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let none = ours.iter().all(|count| *count == 0);
        self.line(format!("{what} | {} | {} ({peer}) | – | 0 | {} | {}", all(ours), all(peers), met(none), ours.len()));
    }

    /// What undos of the same change came to, ours first.
    pub(crate) fn undone(&mut self, what: &str, cells: &[String]) {
        let line = format!("{what} | {}", cells.join(" | "));
        eprintln!("{line}");
        self.undo.push(format!("| {line} |\n"));
    }

    fn line(&mut self, line: String) {
        eprintln!("{line}");
        self.speed.push(format!("| {line} |\n"));
    }

    /// Writes the page.
    pub(crate) fn write(&self) -> Result<()> {
        let page = format!(
            "# Benchmarks\n\nWritten by `make bench`; see `tests/benches/machine`. {}.\n\n\
             Every number is a median. Compared commands run in turns in one machine, from the same state, archives already \
             fetched; the ratio is the median of the rounds' ratios (least to most).\n\n\
             | what | Backstep | peer | ratio | target | met | rounds |\n|---|---|---|---|---|---|---|\n{}\n{}{}",
            surroundings()?,
            self.speed.concat(),
            crate::peers::HEAD,
            self.undo.concat()
        );
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks.md");
        fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))
    }
}

fn met(is: bool) -> &'static str {
    if is { "yes" } else { "**no**" }
}

/// When and on what, without names.
fn surroundings() -> Result<String> {
    let said = |program: &str, words: &[&str]| run(program, words).map(|output| output.stdout.trim().to_owned());
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kib: u64 = memory.split_whitespace().nth(1).context("no memory size")?.parse()?;
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(format!(
        "Measured on {} with {} processors, {} GiB of memory, {} on a virtual disk, Linux {}, in a Debian 12 container; load at the end {}",
        said("date", &["--utc", "+%F"])?,
        std::thread::available_parallelism()?,
        kib.div_ceil(1 << 20),
        said("stat", &["-f", "-c", "%T", "/var/cache"])?,
        said("uname", &["-r"])?,
        load.split(' ').next().unwrap_or_default()
    ))
}
