//! Disposable Debian machines: systemd as process 1, a system bus, polkit, real apt and dpkg.
//!
//! Purpose: `Machine::boot(&Image::debian()?)` gives a machine in a few seconds, whatever the host is, without a
//! virtual machine: a plain folder on the host, booted by systemd-nspawn, which shares the host's network. A plain
//! folder and not an overlay, because hard links, renames and inode numbers must be those of a real file system.
//! Needs root. Invariants: a machine belongs to the process that booted it and goes with it; only processes that were
//! started here are ended; a machine that runs for a quarter of an hour is killed; every machine has its own control group. Absent on purpose: what Backstep is.

mod boot;
mod cgroup;
mod image;
mod lifetime;
mod mirror;
mod run;
mod store;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::repository::{Repository, Transport};
use boot::Container;
use store::MachineFolder;

pub use image::Image;
pub use run::Call;
pub use store::{FileSystem, Storage};

/// How long a machine may take from the start of process 1 until systemd has done its work.
const BOOT_LIMIT: Duration = Duration::from_secs(90);
/// The user without any right in every machine, uid 1000.
pub const USER: &str = "user";

/// A running machine; it is powered off and removed when this value goes.
///
/// Keep it in the test, not in a static: statics never go, and the machine would stay until a later run finds it.
#[derive(Debug)]
pub struct Machine {
    container: Option<Container>,
    folder: MachineFolder,
}

impl Machine {
    /// Boots a machine from a copy of an image and waits until systemd says that it is up.
    ///
    /// Its files are in memory if the host has plenty of it.
    pub fn boot(image: &Image) -> Result<Self> {
        Self::boot_on(image, Storage::usual())
    }

    /// The same with files where the caller wants them.
    pub fn boot_on(image: &Image, storage: Storage) -> Result<Self> {
        let folder = image.copy(storage)?;
        let container = Container::start(&folder)?;
        let machine = Self { container: Some(container), folder };
        machine.wait_until_up()?;
        Ok(machine)
    }

    /// Lets the machine run for longer than the quarter of an hour after which it is killed, until it is rebooted.
    pub fn run_for_long(&mut self) {
        if let Some(container) = &mut self.container {
            container.lift_limit();
        }
    }

    /// Powers the machine off, keeps its files, and boots it again.
    pub fn reboot(&mut self) -> Result<()> {
        self.power_off()?;
        self.container = Some(Container::start(&self.folder)?);
        self.wait_until_up()
    }

    /// Stops the machine as a power cut does: every process is killed at once. Its files stay until the value goes.
    pub fn stop_dead(&mut self) -> Result<()> {
        self.container.take().map_or(Ok(()), Container::kill)
    }

    /// The same; then boots it again.
    pub fn power_cut(&mut self) -> Result<()> {
        self.stop_dead()?;
        self.container = Some(Container::start(&self.folder)?);
        self.wait_until_up()
    }

    /// Stops the file system of a machine that has one of its own ([`Storage::Made`]), then the machine, and boots from what had
    /// reached the disk by then. What was written and not made durable is lost, as in a power cut.
    pub fn lose_what_is_not_durable(&mut self) -> Result<()> {
        // EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are one number; 2 is "without writing the log".
        let stop = "open(F, '<', '/etc/hostname') or die $!; my $how = pack('L', 2); ioctl(F, 0x8004587d, $how) or die $!";
        self.check(["perl", "-e", stop])?;
        self.stop_dead()?;
        self.folder.mount_again()?;
        self.container = Some(Container::start(&self.folder)?);
        self.wait_until_up()
    }

    /// Shuts the machine down in order; its files stay until the value goes.
    pub fn power_off(&mut self) -> Result<()> {
        self.container.take().map_or(Ok(()), Container::power_off)
    }

    /// Runs a command as root and waits for it; the error is only that it could not be run or took too long.
    pub fn run<A: AsRef<str>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<crate::command::Output> {
        self.call(arguments).output()
    }

    /// Runs a command as root that must exit 0, and returns its standard output.
    pub fn check<A: AsRef<str>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<String> {
        Ok(self.run(arguments)?.success()?.stdout)
    }

    /// Runs a command as another user, without a session; see [`USER`].
    pub fn run_as<A: AsRef<str>>(&self, user: &str, arguments: impl IntoIterator<Item = A>) -> Result<crate::command::Output> {
        self.call(arguments).user(user).output()
    }

    /// A command that is to be run with more than the usual: other user, environment, input, limit, or not waited for.
    pub fn call<A: AsRef<str>>(&self, arguments: impl IntoIterator<Item = A>) -> Call {
        let leader = self.container.as_ref().map(Container::leader);
        Call::new(leader, arguments.into_iter().map(|word| word.as_ref().to_owned()).collect())
    }

    /// Where a path of the machine is on the host; also below what the machine has mounted, while it runs.
    ///
    /// Absolute symbolic links in the machine point to the host's files when they are followed from there: read
    /// those with [`Machine::check`] and `cat`. The answer is good until the machine is powered off.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        let root = self.container.as_ref().map_or_else(|| self.folder.root(), Container::root);
        root.join(path.trim_start_matches('/'))
    }

    /// The content of a file.
    pub fn read(&self, path: &str) -> Result<String> {
        fs::read_to_string(self.path(path)).with_context(|| format!("cannot read {path} of the machine"))
    }

    /// Writes a file and makes the folders that it needs.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        let target = self.path(path);
        let write = || {
            target.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(&target, content)?;
            fs::set_permissions(&target, Permissions::from_mode(mode))
        };
        write().with_context(|| format!("cannot write {path} of the machine"))
    }

    /// Copies a file of the host into the machine.
    pub fn copy_in(&self, host_path: &Path, path: &str) -> Result<()> {
        let content = fs::read(host_path).with_context(|| format!("cannot read {}", host_path.display()))?;
        let mode = fs::metadata(host_path)?.permissions().mode();
        self.write(path, content, mode & 0o7777)
    }

    /// What a unit wrote into the journal since the machine booted, without times.
    pub fn journal(&self, unit: &str) -> Result<String> {
        self.check(["journalctl", "--no-pager", "--boot", "--output=cat", "--unit", unit])
    }

    /// Installs archives of the host with apt.
    pub fn install_archives(&self, archives: &[PathBuf]) -> Result<()> {
        ensure!(!archives.is_empty(), "no archives to install");
        let mut install: Vec<_> = ["apt-get", "install", "--yes", "--no-install-recommends"].map(str::to_owned).into();
        for archive in archives {
            let name = archive.file_name().context("an archive has no file name")?.to_string_lossy();
            let target = format!("/var/tmp/{name}");
            self.copy_in(archive, &target)?;
            install.push(target);
        }
        self.call(&install).limit(Duration::from_secs(600)).output()?.success().map(drop)
    }

    /// Puts a copy of the repository into the machine, as a package source called `name`, and fetches its index.
    ///
    /// Calling it again with the same name brings the machine's copy up to date.
    pub fn add_repository(&self, name: &str, repository: &Repository, transport: Transport) -> Result<()> {
        let folder = format!("/srv/{name}");
        crate::command::run("rm", ["-rf".as_ref(), self.path(&folder).as_os_str()])?;
        for entry in fs::read_dir(repository.path())? {
            let entry = entry?;
            self.copy_in(&entry.path(), &format!("{folder}/{}", entry.file_name().to_string_lossy()))?;
        }
        let list = format!("/etc/apt/sources.list.d/{name}.list");
        self.write(&list, Repository::source_line(&folder, transport), 0o644)?;
        let only = [format!("Dir::Etc::sourcelist={list}"), "Dir::Etc::sourceparts=/dev/null".to_owned()];
        self.check(["apt-get", "-qq", "-o", &only[0], "-o", &only[1], "-o", "APT::Get::List-Cleanup=0", "update"]).map(drop)
    }

    /// What dpkg says about a package, e.g. `ii 2.10-3`; `None` when dpkg knows nothing of it.
    pub fn package(&self, name: &str) -> Result<Option<String>> {
        let output = self.run(["dpkg-query", "--show", "--showformat=${db:Status-Abbrev}${Version}", name])?;
        Ok(output.status.success().then(|| output.stdout.trim().to_owned()))
    }

    fn wait_until_up(&self) -> Result<()> {
        crate::wait::wait_until("the machine is up", BOOT_LIMIT, || {
            self.container.as_ref().map_or(Ok(()), Container::check_alive)?;
            let state = self.run(["systemctl", "is-system-running"])?.stdout;
            Ok(matches!(state.trim(), "running" | "degraded").then_some(()))
        })
        .with_context(|| format!("the console said:\n{}", self.folder.console()))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Err(error) = self.power_off() {
            eprintln!("machine {}: {error:#}", self.folder.name());
        }
    }
}
