//! The one way in which tests run children.
//!
//! Purpose: a child's exit status and both its outputs are never lost: [`Output::success`] puts them into the error.
//! Absent on purpose: a shell.

use std::ffi::OsStr;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

/// What a child printed and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command line, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output; invalid UTF-8 is replaced.
    pub stdout: String,
    /// Standard error; invalid UTF-8 is replaced.
    pub stderr: String,
}

impl Output {
    /// The output again if the child exited 0, else an error with all that it printed.
    pub fn success(self) -> Result<Self> {
        if self.status.success() {
            return Ok(self);
        }
        bail!("{}: {}\n-- stdout:\n{}\n-- stderr:\n{}", self.command, self.status, self.stdout, self.stderr)
    }

    /// The output again if the child exited with `code`, else an error with all that it printed.
    pub fn failure(self, code: i32) -> Result<Self> {
        if self.status.code() == Some(code) {
            return Ok(self);
        }
        bail!("{}: {}, not {code}\n-- stdout:\n{}\n-- stderr:\n{}", self.command, self.status, self.stdout, self.stderr)
    }
}

/// A command of the host, by name and arguments, without standard input.
pub fn host<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs a command to its end and keeps what it printed; the error is only that it could not be run.
pub fn output(command: &mut Command) -> Result<Output> {
    let line = line_of(command);
    let output = command.output().with_context(|| format!("cannot run {line}"))?;
    Ok(Output {
        command: line,
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs a command of the host that must exit 0.
pub fn run<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Result<Output> {
    output(&mut host(program, arguments))?.success()
}

fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
