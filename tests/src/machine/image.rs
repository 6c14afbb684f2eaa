//! Images: root directories that machines are copied from.
//!
//! Purpose: the slow part, made once and kept between test runs: Debian by debootstrap, and images derived from it by
//! booting a copy and changing it. Invariants: an image is complete or absent (it is made under another name and
//! renamed); it is made anew when what it was made from changes, and the base when it is a week old, because mirrors
//! drop superseded archives. Absent on purpose: a file system with snapshots: the copy is plain and works everywhere.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::fcntl::FlockArg;
use sha2::{Digest, Sha256};

use super::mirror::{self, Mirror};
use super::store::{self, MachineFolder, Storage};
use super::{Machine, USER};
use crate::command;

const SUITE: &str = "bookworm";
const PACKAGES: &str = "systemd,systemd-sysv,dbus,libpam-systemd,polkitd,ca-certificates";
/// Counts changes of the recipe below; a new number makes all images anew.
const RECIPE: u32 = 2;
const BASE_AGE_LIMIT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Units that would start apt or dpkg by themselves.
const MASKED: [&str; 4] = ["apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer"];

/// A root directory to copy machines from.
#[derive(Debug, Clone)]
pub struct Image {
    name: String,
    key: String,
}

impl Image {
    /// Debian with systemd, a bus, polkit, fetched package lists and the user [`USER`]; made if there is none.
    pub fn debian() -> Result<Self> {
        let mirror = mirror::of_host()?;
        let key = format!("recipe {RECIPE}\n{SUITE} {PACKAGES}\n{mirror:?}");
        let image = Self { name: "debian".to_owned(), key };
        image.make_unless_current(Some(BASE_AGE_LIMIT), |root| build_debian(root, &mirror))?;
        Ok(image)
    }

    /// An image made from this one by `change` in a booted copy; made if there is none for these inputs.
    ///
    /// `name` is a file name of its own among all images; `inputs` is all that `change` depends on, e.g. file hashes.
    pub fn derive(&self, name: &str, inputs: &str, change: impl FnOnce(&Machine) -> Result<()>) -> Result<Self> {
        let key = format!("from {} made {:?}\n{}\n{inputs}", self.name, self.made()?, self.key);
        let image = Self { name: name.to_owned(), key };
        image.make_unless_current(None, |root| {
            // On disk, as images are: renaming does not cross file systems.
            let mut machine = Machine::boot_on(self, Storage::Disk)?;
            change(&machine)?;
            machine.power_off()?;
            fs::rename(machine.path("/"), root).context("cannot keep the machine's files")
        })?;
        Ok(image)
    }

    /// An image made from this one by installing archives with apt; made if there is none for these very bytes.
    pub fn with_archives(&self, name: &str, archives: &[PathBuf]) -> Result<Self> {
        self.derive(name, &hashes(archives)?, |machine| machine.install_archives(archives))
    }

    /// Looks at the image's files, which nobody changes meanwhile.
    pub fn with_root<R>(&self, look: impl FnOnce(&Path) -> Result<R>) -> Result<R> {
        let _lock = store::lock_image(&self.name, FlockArg::LockShared)?;
        look(&store::image_root(&self.name))
    }

    /// Copies the image's files to `target`, which is made.
    pub fn copy_to(&self, target: &Path) -> Result<PathBuf> {
        let _lock = store::lock_image(&self.name, FlockArg::LockShared)?;
        let options = ["-aT", "--reflink=auto", "--"].map(PathBuf::from);
        command::run("cp", options.into_iter().chain([store::image_root(&self.name), target.to_owned()]))?;
        Ok(target.to_owned())
    }

    /// A copy for one machine, with an identity of its own.
    pub(super) fn copy(&self, storage: Storage) -> Result<MachineFolder> {
        let folder = MachineFolder::create(storage)?;
        self.copy_to(&folder.root())?;
        let id = fs::read_to_string("/proc/sys/kernel/random/uuid")?.replace('-', "");
        fs::write(folder.root().join("etc/machine-id"), id)?;
        Ok(folder)
    }

    fn made(&self) -> Result<std::time::SystemTime> {
        let key = store::image_key(&self.name);
        fs::metadata(&key)?.modified().with_context(|| format!("cannot see the age of {}", key.display()))
    }

    fn is_current(&self, age_limit: Option<Duration>) -> bool {
        let same = fs::read_to_string(store::image_key(&self.name)).is_ok_and(|key| key == self.key);
        let young = age_limit.is_none_or(|limit| self.made().is_ok_and(|made| made.elapsed().is_ok_and(|age| age < limit)));
        same && young
    }

    fn make_unless_current(&self, age_limit: Option<Duration>, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let _lock = store::lock_image(&self.name, FlockArg::LockExclusive)?;
        if self.is_current(age_limit) {
            return Ok(());
        }
        let (root, key) = (store::image_root(&self.name), store::image_key(&self.name));
        let unfinished = root.with_extension("unfinished");
        command::run("rm", [Path::new("-rf"), &root, &key, &unfinished])?;
        make(&unfinished).with_context(|| format!("cannot make the image {}", self.name))?;
        fs::rename(&unfinished, &root)?;
        fs::write(&key, &self.key).context("cannot note what the image was made from")
    }
}

fn hashes(archives: &[PathBuf]) -> Result<String> {
    let mut lines = String::new();
    for archive in archives {
        let bytes = fs::read(archive).with_context(|| format!("cannot read {}", archive.display()))?;
        let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        lines += &format!("{hash}\n");
    }
    Ok(lines)
}

fn build_debian(root: &Path, mirror: &Mirror) -> Result<()> {
    let cache = format!("--cache-dir={}", store::archive_cache().display());
    let include = format!("--include={PACKAGES}");
    let target = root.to_string_lossy();
    command::run("debootstrap", ["--variant=minbase", &cache, &include, SUITE, &target, &mirror.main])?;
    configure(root, mirror)?;
    let inside = |words: &[&str]| command::run("chroot", [&*target].iter().chain(words)).map(drop);
    inside(&["useradd", "--create-home", "--uid=1000", "--shell=/bin/bash", USER])?;
    inside(&["apt-get", "-qq", "update"])?;
    inside(&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "--yes", "dist-upgrade"])?;
    inside(&["apt-get", "clean"])?;
    // The machine's first question to apt is then as fast as any.
    inside(&["apt-cache", "gencaches"])
}

/// The system's own settings: package sources, names, and units that must not run by themselves.
fn configure(root: &Path, mirror: &Mirror) -> Result<()> {
    let Mirror { main, security, settings } = mirror;
    let write = |path: &str, content: &str| fs::write(root.join(path), content).with_context(|| format!("cannot write {path}"));
    let sources = format!("deb {main} {SUITE} main\ndeb {main} {SUITE}-updates main\ndeb {security} {SUITE}-security main\n");
    write("etc/apt/sources.list", &sources)?;
    write("etc/apt/apt.conf.d/90test", &format!("Acquire::Languages \"none\";\n{settings}"))?;
    write("etc/hostname", "backstep-test\n")?;
    write("etc/hosts", "127.0.0.1 localhost backstep-test\n")?;
    for unit in MASKED {
        symlink("/dev/null", root.join("etc/systemd/system").join(unit))?;
    }
    Ok(())
}
