//! A control group of its own for every machine.
//!
//! Purpose: systemd in a machine takes over the group in which systemd-nspawn was started, so two machines in one
//! group would take it from each other. On a host that systemd runs, systemd-run makes the group as a scope; elsewhere
//! it is made by hand in the hierarchies that systemd uses, of either version. Absent on purpose: limits.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const MOUNT: &str = "/sys/fs/cgroup";

/// The words to put before a command line so that it runs in the group of the machine `name`.
///
/// They replace themselves by the command: its process is the one that was started.
pub(super) fn wrapper(name: &str) -> Result<Vec<String>> {
    if Path::new("/run/systemd/system").is_dir() {
        let unit = format!("--unit={name}");
        let words = ["systemd-run", "--scope", "--quiet", "--collect", "--property=Delegate=yes", &unit, "--"];
        return Ok(words.map(str::to_owned).into());
    }
    let script = r#"while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit 1; shift; done; shift; exec "$@""#;
    let mut words = ["sh", "-c", script, "sh"].map(str::to_owned).to_vec();
    for group in groups(name) {
        fs::create_dir_all(&group).with_context(|| format!("cannot make the control group {}", group.display()))?;
        words.push(group.to_string_lossy().into_owned());
    }
    words.push("--".to_owned());
    Ok(words)
}

/// Removes the machine's groups, which have no processes any more; what cannot be removed does no harm.
pub(super) fn remove(name: &str) {
    groups(name).iter().for_each(|group| remove_tree(group));
}

fn remove_tree(group: &Path) {
    let Ok(entries) = fs::read_dir(group) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    if let Err(error) = fs::remove_dir(group) {
        eprintln!("cannot remove the control group {}: {error}", group.display());
    }
}

fn groups(name: &str) -> Vec<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    own.lines().filter_map(parse_line).map(|group| group.join(name)).collect()
}

/// The folder of a group that systemd uses, from a line of `/proc/self/cgroup`; `None` for other controllers.
fn parse_line(line: &str) -> Option<PathBuf> {
    let mut fields = line.splitn(3, ':');
    let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let unified = Path::new(MOUNT).join("unified");
    let mount = match (id, controllers) {
        ("0", "") if unified.is_dir() => unified,
        ("0", "") => PathBuf::from(MOUNT),
        (_, "name=systemd") => Path::new(MOUNT).join("systemd"),
        _ => return None,
    };
    Some(mount.join(path.trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hierarchies_of_systemd_count() {
        assert_eq!(parse_line("9:name=systemd:/a/b"), Some(PathBuf::from("/sys/fs/cgroup/systemd/a/b")));
        assert_eq!(parse_line("4:memory:/a"), None);
        assert!(parse_line("0::/").is_some_and(|path| path.starts_with(MOUNT)));
        assert_eq!(parse_line("nonsense"), None);
    }
}
