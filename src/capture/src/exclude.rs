//! Places that nets 2 and 3 leave alone: one short list, each with its reason.
//!
//! What the eager capture names is kept wherever it is; the list only limits what is added to it unasked.

use std::path::Path;

use crate::dir::ELSEWHERE;

/// Relative to the root. Everything below is left alone too.
const EXCLUDED: [&str; 23] = [
    // The kernel's own file systems: nothing in them is a file that could be put back.
    "proc",
    "sys",
    "dev",
    // Gone at the next start anyway, and full of sockets and locks of running processes.
    "run",
    "tmp",
    // Scratch by definition; scripts leave nothing there that the system needs.
    "var/tmp",
    // People's and services' data, perhaps terabytes and perhaps not even local. `root` is not in this list: it is
    // the home directory that maintainer scripts run with.
    "home",
    "srv",
    // Foreign file systems, mounted by an administrator for a while.
    "mnt",
    "media",
    // The story of what happened stays, also that of a failure.
    "var/log",
    // Our own state: undo material must not undo itself.
    "var/lib/backstep",
    // Written from our record at any time.
    "etc/apt/preferences.d/backstep.pref",
    // apt's downloads and what it computes from them: large, and made again by `apt-get update`.
    "var/cache/apt",
    "var/lib/apt/lists",
    // Whole other systems, with their own ways back.
    "var/lib/docker",
    "var/lib/containerd",
    "var/lib/containers",
    "var/lib/lxc",
    "var/lib/machines",
    "var/lib/libvirt/images",
    // Locks belong to whoever holds them: a lock file that is replaced locks nobody out.
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
];

/// Whether what is unforeseen at an absolute path is left alone, neither kept nor told.
#[must_use]
pub fn is_left_alone(path: &Path) -> bool {
    is_excluded(path.strip_prefix("/").unwrap_or(path))
}

/// Whether a path, relative to the root, is left alone.
pub(crate) fn is_excluded(path: &Path) -> bool {
    EXCLUDED.iter().any(|excluded| path.starts_with(excluded)) || path.components().any(|name| name.as_os_str() == ELSEWHERE)
}

/// The list, relative to the root.
pub(crate) fn excluded() -> impl Iterator<Item = &'static str> {
    EXCLUDED.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_count() {
        for excluded in ["proc", "tmp/x", "var/log/apt/term.log", "boot/.backstep/x", "var/lib/dpkg/lock"] {
            assert!(is_excluded(Path::new(excluded)), "{excluded}");
        }
        for taken in ["process", "root/.bashrc", "var/lib/dpkg/locked", "var/logs", "opt/tmp", "usr/.backstepped"] {
            assert!(!is_excluded(Path::new(taken)), "{taken}");
        }
    }
}
