//! Who runs apt: asked of the kernel, from the hook's own process upwards.

use std::fs;
use std::path::Path;

use backstep_core::actor::{Actor, Origin, unit_of};
use backstep_core::limits;
use backstep_core::scrub::scrub;
use backstep_wire::foreign::{Process, Stat};
use nix::unistd::{Uid, User};

/// Hooks are started through one of these.
const SHELLS: [&str; 5] = ["sh", "dash", "bash", "busybox", "mksh"];
/// By whom programs that change the user say who asked.
const ASKED_BY: [&str; 2] = ["SUDO_UID", "PKEXEC_UID"];
/// The longest name of a client.
const MAX_CLIENT: usize = 64;

/// The processes above this one, the nearest first.
pub(super) fn ancestors() -> Vec<Process> {
    let mut found = Vec::new();
    let mut next = std::os::unix::process::parent_id();
    while let Some(stat) = stat(next).filter(|_| next > 1) {
        found.push(Process { pid: next, started: stat.started });
        next = stat.parent;
    }
    found
}

/// Whether a process lives that was started when this one was.
pub(super) fn lives(process: Process) -> bool {
    stat(process.pid).is_some_and(|stat| stat.started == process.started)
}

fn stat(pid: u32) -> Option<Stat> {
    Stat::parse(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
}

/// The nearest process above us that is no shell.
pub(crate) fn apt() -> Option<Process> {
    ancestors().into_iter().find(|process| !is_shell(process.pid))
}

fn is_shell(pid: u32) -> bool {
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok();
    let name = program.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    name.is_some_and(|name| SHELLS.contains(&name))
}

/// Who is behind a process: who logged in, else who became root by sudo or the like, else who it runs as.
pub(crate) fn actor(pid: u32) -> Actor {
    let loginuid = proc_text(pid, "loginuid").and_then(|text| text.trim().parse().ok()).filter(|uid| *uid != u32::MAX);
    let uid = loginuid.or_else(|| asked_by(&proc_text(pid, "environ")?)).unwrap_or_else(|| Uid::current().as_raw());
    Actor {
        uid,
        user: User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name).unwrap_or_default(),
        loginuid,
        pid: Some(pid),
        sender: String::new(),
        unit: proc_text(pid, "cgroup").map(|text| unit_of(&text)).unwrap_or_default(),
        origin: Origin::Apt,
        client: clean(&proc_text(pid, "comm").unwrap_or_default(), MAX_CLIENT),
    }
}

fn proc_text(pid: u32, file: &str) -> Option<String> {
    fs::read(format!("/proc/{pid}/{file}")).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The user that an environment names, as `/proc` shows it.
fn asked_by(environ: &str) -> Option<u32> {
    let value = |name: &str| environ.split('\0').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok());
    ASKED_BY.iter().find_map(|name| value(name))
}

/// The command line of a process.
pub(crate) fn command_line(pid: u32) -> String {
    proc_text(pid, "cmdline").unwrap_or_default().replace('\0', " ")
}

/// A text as the record takes it: no secrets, no control characters, no more bytes than a description.
pub(crate) fn described(text: &str) -> String {
    clean(&scrub(text), limits::MAX_TEXT)
}

fn clean(text: &str, most: usize) -> String {
    let text: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processes_above_us_live_and_begin_with_our_parent() {
        let above = ancestors();
        assert_eq!(above[0].pid, std::os::unix::process::parent_id());
        assert!(above.iter().all(|process| lives(*process)));
        assert!(!lives(Process { pid: above[0].pid, started: above[0].started + 1 }), "another one with the same number");
    }

    #[test]
    fn an_environment_names_who_asked() {
        assert_eq!(asked_by("A=1\0SUDO_UID=1000\0PKEXEC_UID=7\0"), Some(1000));
        assert_eq!(asked_by("PKEXEC_UID=7\0"), Some(7));
        assert_eq!(asked_by("XSUDO_UID=7\0SUDO_UID=\0SUDO_UIDS=3\0"), None);
    }

    #[test]
    fn texts_of_others_are_cut_and_have_no_control_characters() {
        assert_eq!(described(" apt\u{1b}[31m\n"), "apt [31m");
        assert_eq!(described(&"ä".repeat(200)).len(), limits::MAX_TEXT);
        assert_eq!(clean("aä", 2), "a");
    }
}
