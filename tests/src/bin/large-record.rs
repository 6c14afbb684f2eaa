//! Writes a large record for measurements: `backstep-large-record FILE TRANSACTIONS [MINUTES]`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use backstep_tests::large_record::fill;

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let path: PathBuf = words.next().context("say which file")?.into();
    let count: u64 = words.next().context("say how many transactions")?.parse()?;
    let minutes = words.next().map(|word| word.parse::<u64>()).transpose()?;
    let (begun, mut told) = (Instant::now(), Instant::now());
    let done = fill(&path, count, minutes.map(|minutes| Duration::from_secs(60 * minutes)), |done| {
        if told.elapsed() > Duration::from_secs(5) {
            told = Instant::now();
            eprintln!("{done} of {count} after {:.0} s", begun.elapsed().as_secs_f64());
        }
    })?;
    eprintln!("{done} transactions, {} bytes", std::fs::metadata(&path)?.len());
    Ok(())
}
