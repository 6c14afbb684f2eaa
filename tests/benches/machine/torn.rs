//! What a power cut right after a change took away, after ours and after apt-get's.
//!
//! The cut is the file system's own shutdown call on a loop device: it shows what the kernel had not written yet, not what
//! a disk does with what it was given.

use anyhow::Result;
use backstep_tests::backstep::image;
use backstep_tests::machine::{FileSystem, Machine, Storage};
use backstep_tests::repository::{Repository, Transport};
use backstep_tests::torn::{count, names, packages, torn};

use crate::packages::{no_hooks, words};
use crate::report::Report;

const ROUNDS: usize = 3;

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    for file_system in [FileSystem::Ext4, FileSystem::Xfs] {
        let (mut ours, mut peers) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(upgrade(file_system, "backstep update -y")?);
            peers.push(upgrade(file_system, "apt-get -y -qq install")?);
        }
        let what = format!("files of {} that a power cut right after an upgrade takes away, {}", count(), file_system.name());
        report.counts(&what, "apt-get -y", &ours, &peers);
    }
    Ok(())
}

/// Upgrades by this command and cuts; answers how many files are not those of the new version.
fn upgrade(file_system: FileSystem, command: &str) -> Result<usize> {
    let mut machine = Machine::boot_on(&image()?, Storage::Made(file_system))?;
    if command.starts_with("apt-get") {
        no_hooks(&machine)?;
    }
    let repository = Repository::new(&packages("1"))?;
    machine.add_repository("torn", &repository, Transport::Copy)?;
    words(&machine, &format!("apt-get -y -qq install {}", names().join(" ")))?;
    repository.add(&packages("2"))?;
    machine.add_repository("torn", &repository, Transport::Copy)?;
    words(&machine, "sync")?;
    words(&machine, &format!("{command} {}", names().join(" ")))?;
    machine.lose_what_is_not_durable()?;
    let wrong = torn(&machine, "2")?;
    for (path, what) in wrong.iter().take(3) {
        eprintln!("{command}, {}: {path}: {what}", file_system.name());
    }
    Ok(wrong.len())
}
