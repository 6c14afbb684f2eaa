//! The links that `update-alternatives` keeps outside its own folders and outside every package.
//!
//! Invariant: only a symbolic link into `/etc/alternatives/` is ever removed.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use backstep_core::{ErrorCode, Failure};

use crate::machine::Machine;

const TARGETS: &str = "/etc/alternatives/";

/// The links of all groups, absolute paths.
pub fn links(machine: &Machine) -> Result<BTreeSet<String>, Failure> {
    let folder = machine.at("var/lib/dpkg/alternatives");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(unreadable(&error)),
    };
    let mut links = BTreeSet::new();
    for entry in entries {
        let bytes = entry.and_then(|entry| fs::read(entry.path())).map_err(|error| unreadable(&error))?;
        links.extend(parse(&String::from_utf8_lossy(&bytes)));
    }
    Ok(links)
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::new(ErrorCode::WorkerFailed, format!("cannot read the alternatives: {error}"))
}

fn parse(text: &str) -> Vec<String> {
    let Some(group) = backstep_apt::lists::alternative(text) else { return Vec::new() };
    let links = group.followers.into_iter().map(|(_, link)| link);
    std::iter::once(group.link).chain(links).map(|link| link.display().to_string()).filter(|link| link.starts_with('/')).collect()
}

/// Removes the links that were not there before; answers how many. One that is gone already is fine. Errors: the
/// first link that stays; the others were removed all the same.
pub fn remove_new(machine: &Machine, before: &BTreeSet<String>) -> Result<usize, Failure> {
    let mut removed = Ok(0);
    for link in links(machine)?.difference(before) {
        let path = machine.at(link);
        if fs::read_link(&path).is_ok_and(|target| target.starts_with(TARGETS)) {
            let error = |error| Failure::new(ErrorCode::UndoFailed, format!("cannot remove {link}: {error}"));
            let this = fs::remove_file(&path).map_err(error);
            removed = removed.and_then(|count| this.map(|()| count + 1));
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const EDITOR: &str = "auto\n/usr/bin/editor\neditor.1.gz\n/usr/share/man/man1/editor.1.gz\n\n/bin/nano\n40\n\n\n";

    #[test]
    fn a_group_names_its_links() {
        assert_eq!(parse(EDITOR), ["/usr/bin/editor", "/usr/share/man/man1/editor.1.gz"]);
        assert_eq!(parse("manual\n/usr/bin/x\n\n/bin/y\n1\n"), ["/usr/bin/x"]);
        assert!(parse("").is_empty());
    }

    #[test]
    fn only_new_links_into_the_alternatives_are_removed() {
        let root = tempfile::tempdir().expect("folder");
        let machine = Machine::new(root.path(), root.path());
        for folder in ["var/lib/dpkg/alternatives", "usr/bin", "usr/share/man/man1"] {
            fs::create_dir_all(machine.at(folder)).expect("folder");
        }
        fs::write(machine.at("var/lib/dpkg/alternatives/editor"), EDITOR).expect("group");
        symlink("/etc/alternatives/editor", machine.at("usr/bin/editor")).expect("link");
        fs::write(machine.at("usr/share/man/man1/editor.1.gz"), "a real file").expect("file");
        let kept = BTreeSet::from(["/usr/bin/editor".to_owned()]);
        assert_eq!(remove_new(&machine, &kept), Ok(0));
        assert_eq!(remove_new(&machine, &BTreeSet::new()), Ok(1));
        assert_eq!(remove_new(&machine, &BTreeSet::new()), Ok(0));
        assert!(machine.at("usr/share/man/man1/editor.1.gz").exists());
    }
}
