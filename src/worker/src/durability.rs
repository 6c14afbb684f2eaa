//! When what dpkg writes becomes durable.
//!
//! Every write of dpkg may be synced at once, as dpkg itself does; or the writes of the unpack phase may wait for one
//! barrier before the configure phase. Undo material is durable by then, so a power cut in between is undone. The
//! second way is faster, and stricter than dpkg alone, which syncs neither the folders nor what scripts write.
//!
//! Invariants: writes are held back only when nothing in the plan is needed to boot, and only on file systems whose
//! replacing by rename is ordered (a cut there leaves the old file or the new one); whoever configures passes the
//! barrier first; the commit passes it again.
//!
//! CRASH: a power cut while the mark is there leaves torn new files, or old and new ones beside each other. The attempt
//! is not committed then, `backstep-recover` puts the captured files back before the system starts, and the undo takes
//! them as the authority.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use backstep_apt::boot_critical::is_boot_critical;
use backstep_core::{Plan, PlanAction};
use nix::sys::statfs::{BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, TMPFS_MAGIC, statfs};

use crate::machine::Machine;

/// Folders on whose file systems a change can have written.
const WRITTEN: [&str; 7] = ["", "boot", "etc", "opt", "usr", "var", "boot/efi"];

/// The option that tells the program in dpkg's place which file marks writes that are not durable yet.
pub const UNSYNCED: &str = "--backstep-unsynced=";

/// The same while dpkg syncs each write: then files are old or new, but some are old and some are new.
pub const SYNCED: &str = "--backstep-synced=";

/// How a plan is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Durability {
    /// The unpack phase waits for one barrier.
    Barrier,
    /// dpkg syncs every file; why.
    EveryWrite(String),
}

impl std::fmt::Display for Durability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Barrier => f.write_str("durability: one barrier after unpacking"),
            Self::EveryWrite(why) => write!(f, "durability: every write of dpkg is synced, because {why}"),
        }
    }
}

/// How this plan is written on this machine.
#[must_use]
pub fn choose(machine: &Machine, plan: &Plan) -> Durability {
    let written = plan.items.iter().filter(|item| changes_files(item.action));
    if let Some(name) = written.map(|item| item.package.name.as_str()).find(|name| is_boot_critical(name)) {
        return Durability::EveryWrite(format!("{name} may be needed to boot"));
    }
    let unordered = WRITTEN.iter().map(|folder| machine.at(folder)).find(|folder| folder.exists() && !is_ordered(folder));
    match unordered {
        Some(folder) => Durability::EveryWrite(format!("the file system of {} does not order what it writes", folder.display())),
        None => Durability::Barrier,
    }
}

/// Whether everything that a change can write is on this device.
pub(crate) fn is_on_one_device(machine: &Machine, wanted: Option<u64>) -> bool {
    wanted.is_some() && WRITTEN.iter().filter_map(|folder| device(&machine.at(folder))).all(|found| Some(found) == wanted)
}

fn device(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|meta| meta.dev())
}

fn changes_files(action: PlanAction) -> bool {
    !matches!(action, PlanAction::Hold | PlanAction::Unhold)
}

/// A folder that cannot be asked counts as unordered. What is in memory only needs no order.
fn is_ordered(folder: &Path) -> bool {
    statfs(folder).is_ok_and(|stat| [EXT4_SUPER_MAGIC, BTRFS_SUPER_MAGIC, TMPFS_MAGIC].contains(&stat.filesystem_type()))
}

/// Makes everything durable that a change can have written. A folder that is not there has no file system of its own.
pub fn barrier(machine: &Machine) -> io::Result<()> {
    let mut synced = Vec::new();
    for folder in WRITTEN.iter().filter_map(|folder| File::open(machine.at(folder)).ok()) {
        let device = nix::sys::stat::fstat(&folder)?.st_dev;
        if !synced.contains(&device) {
            nix::unistd::syncfs(&folder)?;
            synced.push(device);
        }
    }
    Ok(())
}

/// The program in dpkg's place, beside this one.
#[must_use]
pub fn program(hook: &str) -> PathBuf {
    Path::new(hook).with_file_name("backstep-dpkg")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{item, plan_of};

    #[test]
    fn what_a_boot_needs_is_synced_write_by_write() {
        let folder = tempfile::tempdir().expect("folder");
        let machine = Machine::new(folder.path(), folder.path());
        let of = |name, action| choose(&machine, &plan_of(vec![item(name, action, Some("1"), Some("2"))]));
        assert!(matches!(of("libc6:amd64", PlanAction::Upgrade), Durability::EveryWrite(why) if why.starts_with("libc6 ")));
        let other = of("jq:amd64", PlanAction::Upgrade);
        assert_eq!(of("libc6:amd64", PlanAction::Hold), other, "a mark writes no file of the package");
    }

    #[test]
    fn other_file_systems_are_told() {
        let folder = tempfile::tempdir().expect("folder");
        let machine = Machine::new(folder.path(), folder.path());
        assert!(is_on_one_device(&machine, device(folder.path())));
        assert!(!is_on_one_device(&machine, device(Path::new("/proc"))));
        assert!(!is_on_one_device(&machine, None));
    }

    #[test]
    fn a_file_system_that_cannot_be_asked_is_not_trusted() {
        assert!(!is_ordered(Path::new("/nonexistent")));
        assert!(!is_ordered(Path::new("/proc")));
    }
}
