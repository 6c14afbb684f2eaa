//! The README's commands, run as written.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use backstep_tests::backstep::machine;

/// Reports the line that failed; the line's number is the README's.
const PRELUDE: &str = "set -eu\ntrap 'echo \"README.md:$LINENO: exit code $?: $BASH_COMMAND\" >&2' ERR\n";

/// The README as one script: what is no command is an empty line, so that line numbers stay.
fn script(readme: &str) -> String {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in readme.lines() {
        match line {
            "```sh" => inside = true,
            line if line.starts_with("```") => inside = false,
            line if inside => {
                lines.push(line);
                continue;
            }
            _ => {}
        }
        lines.push("");
    }
    lines.join("\n") + "\n"
}

#[test]
fn every_command_of_the_readme_works_as_written() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let script = script(&fs::read_to_string(&path).context("cannot read README.md")?);
    ensure!(script.lines().filter(|line| !line.is_empty()).count() > 50, "the README has lost its commands");
    let machine = machine()?;
    machine.check(["apt-get", "-qq", "update"])?;
    // gdbus is on every desktop, but not in the smallest Debian.
    machine.check(["apt-get", "-qq", "install", "--yes", "libglib2.0-bin"])?;
    machine.write("/root/readme.sh", &script, 0o644)?;
    machine.write("/root/prelude.sh", PRELUDE, 0o644)?;
    let output = machine.run(["env", "BASH_ENV=/root/prelude.sh", "bash", "/root/readme.sh"])?.success()?;
    for sign in ["Done:", "prepared", "completed", "StateChanged"] {
        ensure!(output.stdout.contains(sign), "no {sign:?} in the output:\n{}\n{}", output.stdout, output.stderr);
    }
    Ok(())
}
