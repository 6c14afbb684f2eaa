//! What a dead worker left running in its unit, and whether that still belongs to the change.
//!
//! A worker leads a session of its own, and apt, dpkg and their scripts are in it: they are waited for. What opened a
//! session of its own is a daemon that a script started, or the worker's guard: neither is waited for, because such a
//! daemon may live for ever, and its guard lives as long. Absent on purpose: dpkg's frontend lock. Who inherited it is
//! not for this sandboxed process to see; the worker that undoes waits for it, with a bound, and names its holder.

use std::io;

/// The facts of one process that count here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    session: u32,
    ended: bool,
}

/// Whether one of the processes of a dead worker's unit still works on the change. Without a worker's number (0) all do.
pub(super) fn works_on(worker: u32, left: &[Left]) -> bool {
    left.iter().any(|process| !process.ended && (worker == 0 || process.session == worker))
}

/// Looks at processes; those that ended meanwhile are left out. One that cannot be seen is taken for the worker's.
pub(super) fn look(worker: u32, pids: impl Iterator<Item = u32>) -> Vec<Left> {
    let unseen = Left { session: worker, ended: false };
    pids.filter_map(|pid| match std::fs::read(format!("/proc/{pid}/stat")) {
        // A name need not be UTF-8.
        Ok(stat) => Some(parse(&String::from_utf8_lossy(&stat)).unwrap_or(unseen)),
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ESRCH) => None,
        Err(_) => Some(unseen),
    })
    .collect()
}

/// Reads a line of `/proc/<pid>/stat`; the name stands in brackets and may contain anything.
fn parse(stat: &str) -> Option<Left> {
    let (_, after) = stat.rsplit_once(") ")?;
    let mut fields = after.split(' ');
    let ended = matches!(fields.next()?, "Z" | "X");
    // State, parent, group, session.
    Some(Left { session: fields.nth(2)?.parse().ok()?, ended })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(session: u32) -> Left {
        Left { session, ended: false }
    }

    #[test]
    fn what_is_in_the_worker_s_session_is_waited_for_and_nothing_else() {
        assert!(!works_on(7, &[]));
        assert!(works_on(7, &[left(99), left(7)]), "a script of a dpkg that was killed");
        assert!(!works_on(7, &[left(99), left(98)]), "a daemon of a script, and the guard");
        assert!(!works_on(7, &[Left { session: 7, ended: true }]), "one that has ended and was not reaped");
        assert!(works_on(0, &[left(99)]), "whose unit's worker is not known");
    }

    #[test]
    fn a_stat_line_is_read_whatever_the_name() {
        assert_eq!(parse("42 (a) b (c) S 7 42 9 0 -1 4194304"), Some(left(9)));
        assert_eq!(parse("42 (x) Z 7 42 9 0 -1"), Some(Left { session: 9, ended: true }));
        assert_eq!(parse(""), None);
    }

    #[test]
    fn processes_are_looked_at_and_those_that_are_gone_are_not_there() {
        let own = nix::unistd::getsid(None).expect("a session").as_raw().cast_unsigned();
        // No process has this number: it is above the kernel's highest.
        assert_eq!(look(1, [std::process::id(), 1 << 30].into_iter()), [left(own)]);
    }

    #[test]
    #[allow(clippy::disallowed_methods)] // A process to look at.
    fn a_process_whose_name_is_no_text_is_seen() {
        use std::io::Read;
        use std::process::{Command, Stdio};
        let script = "printf '\\377' >/proc/$$/comm; echo; read ended";
        let mut child = Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh");
        child.stdout.as_mut().expect("its output").read_exact(&mut [0]).expect("the name is set");
        let seen = look(1, [child.id()].into_iter());
        drop(child.stdin.take());
        child.wait().expect("it ends");
        assert!(seen.len() == 1 && seen[0].session != 1 && !seen[0].ended, "{seen:?}");
    }
}
