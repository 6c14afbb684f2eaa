//! What children leave behind. The worker is a subreaper: every process whose parent died becomes its child.
//!
//! A process in the worker's own session still belongs to the change, for example the script of a dpkg that was
//! killed; it is waited for, never killed. A process that opened a session of its own made itself a daemon; it is
//! named and left alone.

use std::fs;
use std::time::{Duration, Instant};

use backstep_core::{ErrorCode, Failure};
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, getsid};

const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Makes this process the one that orphans among its descendants come to.
pub fn adopt_orphans() -> Result<(), Failure> {
    nix::sys::prctl::set_child_subreaper(true)
        .map_err(|errno| Failure::new(ErrorCode::WorkerFailed, format!("cannot adopt orphans: {errno}")))
}

/// Waits until no stray of our session is left but the guard, at most `patience`; answers the names of daemons.
pub(crate) fn wait(patience: Duration, guard: Option<u32>, tick: &mut dyn FnMut() -> Result<(), Failure>) -> Result<Vec<String>, Failure> {
    let begun = Instant::now();
    loop {
        reap();
        let (working, daemons): (Vec<Stray>, Vec<Stray>) = others(guard).partition(|stray| stray.session == own_session());
        if working.is_empty() {
            return Ok(daemons.into_iter().map(|stray| stray.title()).collect());
        }
        if begun.elapsed() >= patience {
            let names: Vec<String> = working.iter().map(Stray::title).collect();
            return Err(Failure::new(
                ErrorCode::WorkerFailed,
                format!("still running after {} s: {}", patience.as_secs(), names.join(", ")),
            ));
        }
        tick()?;
        std::thread::sleep(BETWEEN_LOOKS.min(patience));
    }
}

fn others(guard: Option<u32>) -> impl Iterator<Item = Stray> {
    strays().into_iter().filter(move |stray| u32::try_from(stray.pid).ok() != guard)
}

fn own_session() -> i32 {
    getsid(None).map_or(0, Pid::as_raw)
}

/// Takes note of the ends of orphans, so that none stays as a zombie. Called only while no child of ours runs.
fn reap() {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
            Ok(_) | Err(_) => {}
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stray {
    pid: i32,
    parent: i32,
    session: i32,
    name: String,
    ended: bool,
}

impl Stray {
    fn title(&self) -> String {
        format!("{} (pid {})", self.name, self.pid)
    }
}

fn strays() -> Vec<Stray> {
    let own = getpid().as_raw();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let stats = pids.filter_map(|pid| parse(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?)));
    stats.filter(|stray| stray.parent == own && !stray.ended).collect()
}

/// Reads a line of `/proc/<pid>/stat`; the name stands in brackets and may contain anything.
fn parse(stat: &str) -> Option<Stray> {
    let (before, after) = stat.rsplit_once(") ")?;
    let (pid, name) = before.split_once(" (")?;
    let mut fields = after.split(' ');
    let ended = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    Some(Stray { pid: pid.parse().ok()?, parent, session, name: name.to_owned(), ended })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_name() {
        let stray = parse("42 (a) b (c) S 7 42 9 0 -1 4194304").expect("parsed");
        assert_eq!(stray, Stray { pid: 42, parent: 7, session: 9, name: "a) b (c".into(), ended: false });
        assert_eq!(parse(""), None);
    }
}
