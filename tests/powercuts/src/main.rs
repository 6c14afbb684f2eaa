//! `backstep-powercuts`: see the library.

use anyhow::{Result, bail};
use backstep_powercuts::sweep::sweep;
use backstep_powercuts::torn::torn;

const USAGE: &str = "usage: backstep-powercuts sweep CUTS SEED RESETS | torn";

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["sweep", cuts, seed, resets] => report(cuts.parse()?, seed.parse()?, resets.parse()?),
        ["torn"] => torn(),
        _ => bail!(USAGE),
    }
}

fn report(cuts: usize, seed: u64, resets: usize) -> Result<()> {
    let figures = sweep(cuts, seed, resets)?;
    let failed = figures.failures.len();
    println!(
        "{} cuts, {} as after the change, {} resets of a recovering machine, {failed} failed",
        figures.cuts, figures.after, figures.resets
    );
    if failed == 0 { Ok(()) } else { bail!("{failed} cuts failed:\n{}", figures.failures.join("\n")) }
}
