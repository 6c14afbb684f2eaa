//! Torn files of what a system needs to come up: put back in the initramfs, or by the early unit where that can still run.
//!
//! A machine is stopped dead while dpkg unpacks the C library, systemd and dpkg anew. Then files of theirs are made empty, as
//! a file system that does not order data leaves them, and a virtual machine boots from that. Invariants: a torn file is a
//! new one, so that what was captured stays what it was.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use backstep_tests::machine::{Machine, Storage};
use backstep_tests::snapshot::Snapshot;
use backstep_tests::wait::wait_until;

use crate::image::{self, Kernel};
use crate::judge;
use crate::vm::{Disk, Duty, Vm};

const LIMIT: Duration = Duration::from_secs(3600);
/// Unpacked anew, in one change.
const PACKAGES: [&str; 3] = ["libc6", "systemd", "dpkg"];
/// Without these an early unit still runs.
const SOME: [&str; 3] = ["usr/bin/dpkg", "usr/bin/dpkg-deb", "lib/systemd/systemd-logind"];
/// Without these nothing does but the kernel and the initramfs.
const ALL: [&str; 4] =
    ["lib/x86_64-linux-gnu/libc.so.6", "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "lib/systemd/systemd", "var/lib/dpkg/status"];
/// How often it is tried to stop the machine in time.
const TRIES: u32 = 5;

/// Both ways, one after the other.
pub fn torn() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("backstep-torn-").tempdir_in("/var/tmp")?;
    let (machine, before) = stopped_while_unpacking()?;
    let tree = machine.path("/");
    let with = image::kernel_of(&tree, folder.path(), "initrd")?;
    let without = image::plain_kernel(folder.path())?;
    tear(&tree, &SOME)?;
    boot("by the early unit", &tree, folder.path(), &without, &before)?;
    tear(&tree, &ALL)?;
    boot("in the initramfs", &tree, folder.path(), &with, &before)
}

/// A machine that is off, with a mark, and its files before.
fn stopped_while_unpacking() -> Result<(Machine, Snapshot)> {
    for _ in 0..TRIES {
        // On disk: hard links are counted there as on a real one.
        let mut machine = Machine::boot_on(&image::installed()?, Storage::Disk)?;
        image::employ(&machine)?;
        machine.check(["systemctl", "stop", "backstepd.service"])?;
        let before = judge::files(&machine.path("/"))?;
        let words = ["backstep", "reinstall", "--yes", "--no-wait"].into_iter().chain(PACKAGES);
        machine.check(words)?;
        wait_until("dpkg unpacks", LIMIT, || Ok(mark(&machine)?.map(drop)))?;
        machine.stop_dead()?;
        if mark(&machine)?.is_some() {
            return Ok((machine, before));
        }
    }
    bail!("dpkg was quicker {TRIES} times")
}

fn mark(machine: &Machine) -> Result<Option<PathBuf>> {
    let Ok(attempts) = fs::read_dir(machine.path("/var/lib/backstep/attempts")) else { return Ok(None) };
    let attempts = attempts.collect::<std::io::Result<Vec<_>>>()?;
    Ok(attempts.iter().map(|attempt| attempt.path().join("unsynced")).find(|mark| mark.exists()))
}

/// Makes files empty.
fn tear(tree: &Path, names: &[&str]) -> Result<()> {
    for name in names {
        let path = tree.join(name);
        fs::remove_file(&path).and_then(|()| File::create(&path)).with_context(|| format!("cannot tear {}", path.display()))?;
    }
    Ok(())
}

fn boot(way: &str, tree: &Path, folder: &Path, kernel: &Kernel, before: &Snapshot) -> Result<()> {
    let (disk, console) = (folder.join("disk"), folder.join("console"));
    image::format(tree, &disk)?;
    let mut vm = Vm::boot(kernel, Disk::Plain(&disk), Duty::Settle, &console)?;
    vm.wait(LIMIT)?;
    let said = vm.said();
    let rest = judge::rest(&disk, &said).with_context(|| said.clone())?;
    ensure!(rest.early.len() == 1, "{way}: nothing was put back before the start: {:?}\n{said}", rest.early);
    let off = before.differences(&rest.state);
    let off: Vec<_> = off
        .iter()
        .filter(|line| ["/usr", "/etc", "/var/lib/dpkg", "/var/lib/apt"].iter().any(|tree| line[2..].starts_with(tree)))
        .collect();
    ensure!(off.is_empty(), "{way}: not as before:\n{off:#?}\n{said}");
    println!("{way}: {}", rest.early[0].trim_end());
    Ok(())
}
