//! Before somebody is authorised nothing is done with what they said: every call of a stranger's, with the daemon's system
//! calls watched. No program is started, no path of the caller's is opened, nothing is written outside the daemon's state.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use backstep_bus::OptionsBuilder;
use backstep_core::doors::Method;
use backstep_tests::authority::Answer;
use backstep_tests::private_bus::Client;
use backstep_tests::stranger::{ANA, BEN, Stranger};

use super::matrix::{Offer, call};
use super::{daemon, packages};

/// Looks at a process and all its threads until the value goes.
struct Trace {
    strace: Child,
}

impl Trace {
    fn begin(pid: u32, output: &Path) -> Result<Self> {
        let mut strace = Command::new("strace");
        strace.args(["--follow-forks", "--trace=%file,%process", "--string-limit=4096", "--attach", &pid.to_string(), "--output"]);
        let mut strace = strace.arg(output).stderr(Stdio::piped()).spawn().context("cannot start strace")?;
        let says = strace.stderr.take().context("a pipe")?;
        let mut line = String::new();
        BufReader::new(says).read_line(&mut line)?;
        anyhow::ensure!(line.contains("attached"), "strace: {line}");
        Ok(Self { strace })
    }

    fn end(mut self) -> Result<()> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.strace.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT)?;
        self.strace.wait()?;
        Ok(())
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        drop(self.strace.kill());
        drop(self.strace.wait());
    }
}

/// The first quoted word of a traced call: its path.
fn path(line: &str) -> Option<&str> {
    line.split('"').nth(1)
}

/// What the daemon may look at to say who called, and its own state.
fn is_own(path: &str, state: &Path) -> bool {
    let known = ["/proc/", "/etc/passwd", "/etc/nsswitch.conf", "/etc/localtime", "/var/lib/dpkg/status"];
    Path::new(path).starts_with(state.parent().unwrap_or(state))
        || state.starts_with(path)
        || known.iter().any(|known| path.starts_with(known))
        || path.is_empty()
}

#[tokio::test]
async fn nothing_of_a_caller_s_is_opened_or_started_before_a_yes() -> Result<()> {
    let (daemon, _authority) = daemon("[limits]\ncalls-per-second = 10000\n", Answer::No).await?;
    let root = Client::new(&daemon.bus).await?;
    let (ana, ben) = (Stranger::connect(&daemon.bus, ANA).await?, Stranger::connect(&daemon.bus, BEN).await?);
    let (id, path_of) = ana.manager.create_transaction("install", "", packages(&["alpha"])).await?;
    let transaction = root.transaction(&path_of).await?;
    ana.transaction(&path_of).await?.prepare().await?;
    let digest = root.wait_for(&transaction, |now| now.state == "prepared").await?.plan_digest;
    let offer = Offer { path: path_of, id, digest, generation: 1 };

    let outside = tempfile::tempdir()?;
    let archive = outside.path().join("callers-own.deb");
    fs::write(&archive, b"!<arch>\n")?;
    let output = outside.path().join("trace");
    let trace = Trace::begin(daemon.pid(), &output)?;
    for method in Method::ALL {
        call(&ben.connection, *method, &offer).await;
    }
    let named = archive.display().to_string();
    for name in [named.as_str(), "/etc/shadow", "../../etc/shadow", "./x.deb"] {
        drop(ben.manager.create_transaction("install", name, packages(&[name])).await);
        drop(ben.manager.get_transaction(name).await);
    }
    let fds = vec![fs::File::open(&archive)?.into()];
    drop(ben.manager.submit("install", "", OptionsBuilder::new().archives(fds).build()).await);
    trace.end()?;

    let text = fs::read_to_string(&output)?;
    let calls: Vec<&str> = text.lines().filter(|line| !line.contains("+++") && !line.contains("---")).collect();
    assert!(calls.len() > 20, "the trace saw nothing: {text}");
    for line in calls {
        let starts = ["execve", "vfork(", " fork("].iter().any(|name| line.contains(name));
        let threads = line.contains("clone") && line.contains("CLONE_THREAD");
        assert!(!starts && (!line.contains("clone") || threads || line.contains("resumed")), "a process was started: {line}");
        if let Some(path) = path(line) {
            assert!(!path.contains("callers-own") && !path.contains("shadow"), "a caller's path: {line}");
            assert!(is_own(path, &daemon.state_dir()), "opened outside the daemon's own files: {line}");
        }
    }
    Ok(())
}
