//! What a change that was told to be done is after a power cut right then. `make bench` counts the same of plain apt-get.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use backstep_tests::backstep::image;
use backstep_tests::machine::{FileSystem, Machine, Storage};
use backstep_tests::repository::{Repository, Transport};
use backstep_tests::torn::{names, packages, torn};

use crate::clients::{backstep, newest};

fn cut_after(machine: &mut Machine, words: &[&str], version: &str) -> Result<()> {
    backstep(machine, words)?.success()?;
    machine.lose_what_is_not_durable()?;
    ensure!(torn(machine, version)? == BTreeMap::new(), "after {words:?}: {:#?}", torn(machine, version)?);
    let last = newest(machine)?;
    ensure!(last["state"] == "completed", "{last:#}");
    for name in names() {
        ensure!(machine.package(&name)? == Some(format!("ii {version}")), "{name} after {words:?}");
    }
    ensure!(machine.check(["dpkg", "--audit"])?.is_empty());
    Ok(())
}

fn nothing_is_torn_on(file_system: FileSystem) -> Result<()> {
    let mut machine = Machine::boot_on(&image()?, Storage::Made(file_system))?;
    let repository = Repository::new(&packages("1"))?;
    machine.add_repository("local", &repository, Transport::Copy)?;
    let names = names();
    let words = |verb| [verb, "-y"].into_iter().chain(names.iter().map(String::as_str)).collect::<Vec<_>>();
    cut_after(&mut machine, &words("install"), "1")?;
    repository.add(&packages("2"))?;
    machine.add_repository("local", &repository, Transport::Copy)?;
    cut_after(&mut machine, &words("update"), "2")?;
    cut_after(&mut machine, &["rollback", "-y", "--last"], "1")
}

#[test]
fn a_power_cut_right_after_a_change_takes_nothing_of_it_on_ext4() -> Result<()> {
    nothing_is_torn_on(FileSystem::Ext4)
}

#[test]
fn a_power_cut_right_after_a_change_takes_nothing_of_it_on_xfs() -> Result<()> {
    nothing_is_torn_on(FileSystem::Xfs)
}
