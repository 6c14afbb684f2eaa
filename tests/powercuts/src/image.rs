//! The disk that machines boot from: Debian with its cloud kernel and our packages, on ext4.
//!
//! Absent on purpose: a boot loader: qemu gets kernel and initramfs as files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use backstep_tests::backstep::archives;
use backstep_tests::command;
use backstep_tests::machine::{Image, Machine};
use backstep_tests::repository::{Repository, Transport};

use crate::scene;

/// Bytes of a disk; most of it is a hole.
const DISK: u64 = 1_600_000_000;
/// What the initramfs needs to mount the disk; everything else would only make it slower to unpack.
const MODULES: &str = "virtio_pci\nvirtio_blk\next4\ncrc32c_generic\n";
/// Counts changes of the recipe.
const RECIPE: u32 = 2;

/// What qemu boots.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// The kernel.
    pub image: PathBuf,
    /// Its initramfs.
    pub initrd: PathBuf,
}

/// Debian with a kernel whose initramfs knows nothing of Backstep.
fn plain() -> Result<Image> {
    Image::debian()?.derive("kernel", &format!("{RECIPE} {MODULES}"), |machine| {
        machine.write("/etc/initramfs-tools/conf.d/powercuts", "MODULES=list\nCOMPRESS=gzip\n", 0o644)?;
        machine.write("/etc/fstab", "/dev/vda / ext4 errors=remount-ro 0 1\n", 0o644)?;
        let install = ["apt-get", "install", "-qq", "--yes", "--no-install-recommends", "initramfs-tools", "e2fsprogs"];
        machine.check(install)?;
        machine.write("/etc/initramfs-tools/modules", MODULES, 0o644)?;
        machine.call(["apt-get", "install", "-qq", "--yes", "--no-install-recommends", "linux-image-cloud-amd64"]).output()?.success()?;
        machine.check(["apt-get", "clean"]).map(drop)
    })
}

/// The same with Backstep, also in the initramfs.
pub fn installed() -> Result<Image> {
    plain()?.with_archives("powercuts", &archives()?)
}

/// The same with the scene's old packages installed and new ones offered.
fn prepared() -> Result<Image> {
    let scene = format!("{RECIPE}{}{}{:?}", scene::program(), scene::UNIT_TEXT, scene::offered());
    installed()?.derive("powercuts-scene", &scene, set)
}

fn set(machine: &Machine) -> Result<()> {
    machine.check(["rm", "-rf", "/etc/apt/sources.list", "/var/lib/apt/lists"])?;
    machine.add_repository("local", &Repository::new(&scene::old())?, Transport::Copy)?;
    machine.check(["apt-get", "install", "-qq", "--yes", "bs-tool", "bs-hook"])?;
    machine.add_repository("local", &Repository::new(&scene::offered())?, Transport::Copy)?;
    machine.write("/etc/bs-tool.conf", "by the administrator\n", 0o640)?;
    machine.check(["apt-cache", "gencaches"])?;
    employ(machine)
}

/// Gives the machine the program that does its duty.
pub fn employ(machine: &Machine) -> Result<()> {
    machine.write(scene::PROGRAM, scene::program(), 0o755)?;
    machine.write(scene::UNIT, scene::UNIT_TEXT, 0o644)?;
    // It hangs the console up when it comes to it, and what the program says from then on is lost.
    machine.check(["systemctl", "mask", "--quiet", "serial-getty@ttyS0.service"])?;
    machine.check(["systemctl", "enable", "--quiet", "powercut.service"]).map(drop)
}

/// Makes the scene's disk at `disk` and puts its kernel beside it.
pub fn make(disk: &Path) -> Result<Kernel> {
    let folder = disk.parent().context("a disk lies in a folder")?;
    let tree = prepared()?.copy_to(&folder.join("tree"))?;
    let kernel = kernel_of(&tree, folder, "initrd")?;
    format(&tree, disk)?;
    command::run("rm", [Path::new("-rf"), &tree])?;
    Ok(kernel)
}

/// Copies the kernel of a tree, and its initramfs under this name.
pub fn kernel_of(tree: &Path, folder: &Path, initrd: &str) -> Result<Kernel> {
    let kernel = Kernel { image: folder.join("vmlinuz"), initrd: folder.join(initrd) };
    for (from, to) in [("vmlinuz", &kernel.image), ("initrd.img", &kernel.initrd)] {
        fs::copy(newest(&tree.join("boot"), from)?, to)?;
    }
    Ok(kernel)
}

/// The kernel with the initramfs that knows nothing of Backstep.
pub fn plain_kernel(folder: &Path) -> Result<Kernel> {
    plain()?.with_root(|root| kernel_of(root, folder, "initrd-plain"))
}

/// Makes a disk of a tree, with its hard links.
pub fn format(tree: &Path, disk: &Path) -> Result<()> {
    File::create(disk)?.set_len(DISK)?;
    let words = ["-q", "-F", "-E", "lazy_itable_init=0", "-d", &tree.to_string_lossy(), &disk.to_string_lossy()];
    command::run("mkfs.ext4", words).map(drop)
}

fn newest(boot: &Path, name: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(boot)?.collect::<std::io::Result<Vec<_>>>()?;
    let named = entries
        .iter()
        .map(fs::DirEntry::path)
        .filter(|path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&format!("{name}-"))));
    named.max().with_context(|| format!("no {name} in {}", boot.display()))
}
