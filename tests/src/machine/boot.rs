//! Starting and ending the container of a machine.
//!
//! Purpose: systemd-nspawn as a child in a process group of its own, unknown to the host's machine manager, and the
//! process 1 that it started. Invariants: only that child and its child are ever signalled. Absent on purpose: what
//! runs in the machine.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cgroup;
use super::lifetime::Lifetime;
use super::store::MachineFolder;
use crate::command;
use crate::wait::wait_until;

/// How long systemd-nspawn may take to start process 1.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long a shutdown in order may take; longer than the 90 s that systemd gives a service that does not stop.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(120);
/// How long a machine may run; the longest test takes a third of it on a slow host.
const LIFE_LIMIT: Duration = Duration::from_secs(15 * 60);

/// A started container.
#[derive(Debug)]
pub(super) struct Container {
    child: Child,
    leader: Pid,
    lifetime: Option<Lifetime>,
}

impl Container {
    /// Starts process 1 of a machine; it has not booted yet when this returns.
    pub(super) fn start(folder: &MachineFolder) -> Result<Self> {
        let console = File::create(folder.console_path()).context("cannot make the console file")?;
        let mut words = cgroup::wrapper(folder.name())?;
        let nspawn = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", "--link-journal=no", "--timezone=off"];
        words.extend(nspawn.map(str::to_owned));
        words.extend(["--machine".to_owned(), folder.name().to_owned(), "--directory".to_owned()]);
        words.push(folder.root().to_string_lossy().into_owned());
        let mut start = command::host(&words[0], &words[1..]);
        start.process_group(0).stdout(console.try_clone()?).stderr(console);
        let mut child = start.spawn().with_context(|| format!("cannot start {}", words[0]))?;
        let pid = pid_of(&child);
        folder.note_process(pid)?;
        let leader = wait_until("process 1 of the machine runs", START_LIMIT, || match child.try_wait()? {
            Some(status) => bail!("systemd-nspawn ended with {status}:\n{}", folder.console()),
            None => find_leader(pid),
        });
        match leader {
            Ok(leader) => Ok(Self { child, leader, lifetime: Some(Lifetime::start(LIFE_LIMIT, move || kill_in_time(pid, leader))) }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// Lets it run for as long as its owner likes.
    pub(super) fn lift_limit(&mut self) {
        self.lifetime = None;
    }

    /// Process 1 of the machine, as the host numbers it.
    pub(super) fn leader(&self) -> Pid {
        self.leader
    }

    /// The machine's root directory with all that is mounted in it, as seen from the host.
    pub(super) fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.leader))
    }

    /// An error if process 1 is gone.
    pub(super) fn check_alive(&self) -> Result<()> {
        kill(self.leader, None).context("the machine has gone")
    }

    /// Shuts down in order; after the limit everything is killed and the limit is the error.
    pub(super) fn power_off(mut self) -> Result<()> {
        // systemd-nspawn passes this on to process 1 as the request to power off.
        kill(pid_of(&self.child), Signal::SIGTERM).context("cannot power the machine off")?;
        let child = &mut self.child;
        let ended = wait_until("the machine is off", POWER_OFF_LIMIT, || Ok(child.try_wait()?.map(drop)));
        if ended.is_err() {
            // A machine with a process of ours that nobody waits for cannot end: the kernel keeps it.
            self.kill().context("after it did not power off")?;
        }
        ended
    }

    /// Kills every process of the machine at once.
    pub(super) fn kill(mut self) -> Result<()> {
        // The kernel kills all processes of a machine together with its process 1.
        kill(self.leader, Signal::SIGKILL).context("cannot kill the machine")?;
        let child = &mut self.child;
        wait_until("systemd-nspawn has ended", START_LIMIT, || Ok(child.try_wait()?.map(drop)))
    }
}

/// Kills process 1 if it is still the child of its systemd-nspawn.
fn kill_in_time(nspawn: Pid, leader: Pid) {
    if matches!(find_leader(nspawn), Ok(Some(found)) if found == leader) {
        let killed = kill(leader, Signal::SIGKILL);
        eprintln!("a machine ran longer than {LIFE_LIMIT:?} and was killed: {killed:?}");
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// The child of systemd-nspawn that has become systemd.
fn find_leader(nspawn: Pid) -> Result<Option<Pid>> {
    let is_systemd = |pid: &Pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "systemd");
    Ok(children_of(nspawn)?.into_iter().find(is_systemd))
}

/// The processes whose parent is `parent`.
pub(super) fn children_of(parent: Pid) -> Result<Vec<Pid>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse() else { continue };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if parent_in(&stat) == Some(parent.as_raw()) {
            children.push(Pid::from_raw(pid));
        }
    }
    Ok(children)
}

/// The parent's id from the content of `/proc/PID/stat`; the name before it may hold anything.
fn parent_in(stat: &str) -> Option<i32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parent_is_found_behind_an_odd_name() {
        assert_eq!(parent_in("12 (a) b (c) S 7 12 12 0"), Some(7));
        assert_eq!(parent_in(""), None);
    }

    #[test]
    fn own_children_are_found() -> Result<()> {
        let mut child = command::host("sleep", ["100"]).spawn()?;
        let found = children_of(Pid::this());
        child.kill()?;
        child.wait()?;
        assert!(found?.contains(&pid_of(&child)));
        Ok(())
    }
}
