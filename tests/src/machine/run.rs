//! Running commands in a machine.
//!
//! Purpose: a command in all namespaces of the machine, with an environment that the host's does not reach, and a
//! limit of time. Absent on purpose: login sessions: for polkit such a caller is in no session, even as root's user.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::unistd::Pid;

use crate::command::{self, Output};

/// How long a command may take when the caller says nothing.
const LIMIT: Duration = Duration::from_secs(300);
/// The exit code of timeout(1) when it had to end the command.
const TIMED_OUT: i32 = 124;
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command of a machine that is still to be run.
#[derive(Debug)]
#[must_use = "nothing runs before output or command is called"]
pub struct Call {
    leader: Option<Pid>,
    arguments: Vec<String>,
    user: Option<String>,
    environment: Vec<String>,
    input: Option<Vec<u8>>,
    limit: Duration,
}

impl Call {
    pub(super) fn new(leader: Option<Pid>, arguments: Vec<String>) -> Self {
        Self { leader, arguments, user: None, environment: Vec::new(), input: None, limit: LIMIT }
    }

    /// Runs it as this user and the user's groups, without a session.
    pub fn user(mut self, user: &str) -> Self {
        self.user = Some(user.to_owned());
        self
    }

    /// Sets a variable; by default there are only the search path, the C.UTF-8 locale and the home.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push(format!("{name}={value}"));
        self
    }

    /// Gives it standard input; by default there is none.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// Sets how long it may take, to the second; 5 minutes by default.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it to its end; the error is only that it could not be run or took too long.
    pub fn output(self) -> Result<Output> {
        let (limit, input) = (self.limit, self.input.clone());
        let mut command = self.command()?;
        let output = match input {
            None => command::output(&mut command)?,
            Some(input) => output_with_input(&mut command, input)?,
        };
        if output.status.code() == Some(TIMED_OUT) {
            bail!("{} took longer than {limit:?}\n{}\n{}", output.command, output.stdout, output.stderr);
        }
        Ok(output)
    }

    /// The host's command that runs it, for a caller that starts it itself; input is not part of it.
    pub fn command(self) -> Result<Command> {
        let leader = self.leader.context("the machine is off")?.to_string();
        let limit = self.limit.as_secs().max(1).to_string();
        let mut words: Vec<String> = ["--target", &leader, "--all", "--", "env", "-i"].map(str::to_owned).into();
        words.extend([PATH, "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "TERM=dumb", "DEBIAN_FRONTEND=noninteractive"].map(str::to_owned));
        words.extend(self.identity());
        words.extend(["timeout", "--foreground", "--kill-after=5", &limit].map(str::to_owned));
        words.extend(self.arguments);
        Ok(command::host("nsenter", words))
    }

    /// The rest of the environment, and the words that change the user.
    fn identity(&self) -> Vec<String> {
        let home = self.user.as_ref().map_or_else(|| "/root".to_owned(), |user| format!("/home/{user}"));
        let name = self.user.as_deref().unwrap_or("root");
        let mut words = vec![format!("HOME={home}"), format!("USER={name}"), format!("LOGNAME={name}")];
        words.extend(self.environment.clone());
        if let Some(user) = &self.user {
            words.extend(["setpriv".to_owned(), format!("--reuid={user}"), format!("--regid={user}"), "--init-groups".to_owned()]);
        }
        words
    }
}

fn output_with_input(command: &mut Command, input: Vec<u8>) -> Result<Output> {
    let line = format!("{command:?}");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut pipe = child.stdin.take().context("a child has no input")?;
    // A child may end without reading all of it; its exit code says what that means.
    let writer = std::thread::spawn(move || pipe.write_all(&input));
    let output = child.wait_with_output().with_context(|| format!("cannot run {line}"))?;
    drop(writer.join());
    Ok(Output {
        command: line,
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
