//! A file system in a file, mounted: what was not written to it when it stops is lost, as when the power goes.
//!
//! A thread that uses one has mounts of its own ([`own_mounts`]): what another one mounts would keep it busy.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use backstep_tests::command;
use backstep_tests::machine::FileSystem;
use backstep_tests::wait::wait_until;
use nix::sched::{CloneFlags, unshare};

/// Enough for the system in it and for what a change adds; less is no xfs.
const BYTES: u64 = 512 << 20;
/// How long the kernel may take to let go of one.
const PATIENCE: Duration = Duration::from_secs(30);

/// A mounted one.
#[derive(Debug)]
pub struct Disk {
    kind: FileSystem,
    image: PathBuf,
    folder: PathBuf,
    mounted: bool,
}

/// Gives this thread mounts that nobody else sees.
pub fn own_mounts() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("cannot have mounts of its own")?;
    command::run("mount", ["--make-rprivate", "/"]).map(drop)
}

impl Disk {
    /// Makes an empty one in a new file.
    pub fn make(kind: FileSystem, image: &Path, folder: &Path) -> Result<Self> {
        kind.make(image, BYTES)?;
        Self::mount(kind, image, folder)
    }

    /// Mounts a copy of what an image holds now, which may be in use: that is what the disk has.
    pub fn copy(kind: FileSystem, from: &Path, image: &Path, folder: &Path) -> Result<Self> {
        copy(from, image)?;
        Self::mount(kind, image, folder)
    }

    fn mount(kind: FileSystem, image: &Path, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        kind.mount(image, folder)?;
        Ok(Self { kind, image: image.to_owned(), folder: folder.to_owned(), mounted: true })
    }

    /// Goes on, after the power came back, from what has reached the disk by now.
    pub fn come_back(self, image: &Path) -> Result<Self> {
        copy(&self.image, image)?;
        let (kind, folder) = (self.kind, self.folder.clone());
        fs::remove_file(self.end()?)?;
        Self::mount(kind, image, &folder)
    }

    /// Unmounts it in order; its file stays.
    pub fn end(mut self) -> Result<PathBuf> {
        self.unmount()?;
        Ok(self.image.clone())
    }

    /// The same; then the file system must have nothing to repair, and its file goes.
    pub fn end_clean(self) -> Result<()> {
        let (program, flag) = match self.kind {
            FileSystem::Ext4 => ("e2fsck", "-fn"),
            FileSystem::Xfs => ("xfs_repair", "-n"),
            FileSystem::Btrfs => ("btrfs", "check"),
        };
        let image = self.end()?;
        let check = command::run(program, [Path::new(flag), &image])?.stdout;
        ensure!(!check.contains("WARNING"), "the file system is not clean: {check}");
        fs::remove_file(&image).map_err(Into::into)
    }

    /// Also waits for the kernel: a cell that has just ended may hold it for a moment, or a child of another thread that has not
    /// yet become its program.
    fn unmount(&mut self) -> Result<()> {
        wait_until("it is not in use", PATIENCE, || {
            let went = command::output(&mut command::host("umount", [&self.folder]))?;
            Ok(went.status.success().then_some(()))
        })?;
        self.mounted = false;
        let image = self.image.as_path();
        wait_until("the kernel has let go of it", PATIENCE, || {
            let held = command::run("losetup", [Path::new("-j"), image])?.stdout;
            Ok(held.is_empty().then_some(()))
        })
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    command::run("cp", [Path::new("--sparse=always"), from, to]).map(drop)
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted
            && let Err(error) = command::run("umount", [Path::new("--lazy"), &self.folder])
        {
            eprintln!("cannot unmount {}: {error:#}", self.folder.display());
        }
    }
}
