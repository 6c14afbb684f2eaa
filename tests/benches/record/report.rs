//! What was measured, as a table.

use std::path::Path;

use anyhow::{Context, Result};

/// The middle of some numbers, the lower of two.
pub(crate) fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// The lines of the table.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<String>);

impl Report {
    /// A number without a target.
    pub(crate) fn told(&mut self, what: &str, value: f64, unit: &str) {
        self.line(format!("{what} | {value:.0} {unit} | – | – | 1 |"));
    }

    /// A number that must not be larger.
    pub(crate) fn at_most(&mut self, what: &str, value: f64, unit: &str, limit: f64, rounds: usize) {
        self.line(format!("{what} | {value:.2} {unit} | ≤ {limit} {unit} | {} | {rounds} |", met(value <= limit)));
    }

    /// A number that must not be smaller.
    pub(crate) fn at_least(&mut self, what: &str, value: f64, unit: &str, limit: f64, rounds: usize) {
        self.line(format!("{what} | {value:.2} {unit} | ≥ {limit} {unit} | {} | {rounds} |", met(value >= limit)));
    }

    /// How much of the number before the daemon's processors took; the rest is waiting, for the disk or for others.
    pub(crate) fn of_these(&mut self, value: f64, unit: &str) {
        self.line(format!("– of these the daemon's processor time, mean | {value:.2} {unit} | – | – | – |"));
    }

    fn line(&mut self, line: String) {
        eprintln!("{line}");
        self.0.push(format!("| {line}\n"));
    }

    /// Writes the page.
    pub(crate) fn write(&self, count: u64) -> Result<()> {
        let load = std::fs::read_to_string("/proc/loadavg")?;
        let page = format!(
            "# Benchmarks of the record\n\nWritten by `make bench` with {count} transactions; see `tests/benches/record`. {} \
             processors, load at the end {}: more than the processors there are means that others used them, too, and that these figures are \
             worse than the machine can do. Every time is a median over the bus, from one client.\n\n\
             | what | measured | target | met | rounds |\n|---|---|---|---|---|\n{}",
            std::thread::available_parallelism()?,
            load.split(' ').next().unwrap_or_default(),
            self.0.concat()
        );
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks-record.md");
        std::fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))
    }
}

fn met(is: bool) -> &'static str {
    if is { "yes" } else { "**no**" }
}
