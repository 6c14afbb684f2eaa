//! Our own programs, built as the tests are.
//!
//! Purpose: a test never runs a program that is older than the source. Absent on purpose: programs of the host.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result};

use crate::command;

/// The path of one of our programs.
pub fn program(name: &str) -> Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    Ok(folder.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?.join(name))
}

/// Builds them where this test was built; a no-op when they are there.
fn build() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.ancestors().nth(2).context("a test lies in target/<profile>/deps")?.to_owned();
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let mut cargo = command::host(env!("CARGO"), ["build", "--quiet", "--locked", "--bins"]);
    // A measurement is of what is shipped, and of the daemon alone.
    if folder.file_name().is_some_and(|profile| profile == "release") {
        cargo.args(["--release", "--package", "backstepd"]);
    } else {
        cargo.arg("--workspace");
    }
    cargo.arg("--manifest-path").arg(manifest).arg("--target-dir").arg(folder.parent().context("a profile lies in the target folder")?);
    command::output(&mut cargo)?.success()?;
    Ok(folder)
}
