//! Kills of real apt and dpkg, and power cuts of what they change, as far as they fit into every run of the machine tests;
//! `make torture` makes 10,000 kills and 2,600 cuts.

use anyhow::{Result, ensure};
use backstep_tests::programs::program;

/// Kills to ask for in one run of the tests: 500 are made at least, because some calls are not made each time.
const KILLS: &str = "572";
/// Cuts on each file system.
const CUTS: &str = "78";

#[test]
fn real_dpkg_killed_anywhere_is_as_before_or_as_after() -> Result<()> {
    run(&["sweep", KILLS, "1"])
}

#[test]
fn a_change_whose_power_is_cut_anywhere_is_as_before_or_as_after() -> Result<()> {
    run(&["cuts", "ext4", CUTS, "1"])?;
    run(&["cuts", "xfs", CUTS, "2"])
}

#[allow(clippy::disallowed_methods, reason = "the program under test is started here")]
fn run(arguments: &[&str]) -> Result<()> {
    // They lie beside the program that the test starts, and are as new as the sources.
    program("backstep-worker")?;
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_backstep-kills")).args(arguments).status()?;
    ensure!(status.success(), "{arguments:?} ended with {status}");
    Ok(())
}
