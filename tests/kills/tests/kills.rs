//! Kills of real apt and dpkg, as far as they fit into every run of the machine tests; `make torture` makes 10,000.

use anyhow::{Result, ensure};
use backstep_tests::programs::program;

/// Kills to ask for in one run of the tests: 500 are made at least, because some calls are not made each time.
const KILLS: &str = "572";

#[test]
#[allow(clippy::disallowed_methods, reason = "the program under test is started here")]
fn real_dpkg_killed_anywhere_is_as_before_or_as_after() -> Result<()> {
    // They lie beside the program that the test starts, and are as new as the sources.
    program("backstep-worker")?;
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_backstep-kills")).args(["sweep", KILLS, "1"]).status()?;
    ensure!(status.success(), "the kills ended with {status}");
    Ok(())
}
