//! A bus of its own for each test, with our daemon on it.
//!
//! Purpose: the real daemon behind a real bus, without systemd and without touching the machine's own. What is
//! started here is ended here. Absent on purpose: fakes of the daemon.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use backstep_bus::names::BUS_NAME;
use backstep_bus::{CallError, ManagerProxy, OptionsBuilder, PackageArgument, TransactionProperties, TransactionProxy};
use backstep_core::ErrorCode;
use futures_util::StreamExt;
use zbus::{OwnedObjectPath, Variant};

use crate::programs::program;
use crate::wait::wait_until;

/// How long a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The options of a request for these packages, each by the kind's own action.
#[must_use]
pub fn packages(names: &[&str]) -> HashMap<&'static str, Variant<'static>> {
    let rows: Vec<PackageArgument> = names.iter().map(|name| (String::new(), (*name).to_owned(), String::new())).collect();
    OptionsBuilder::new().packages(rows).build()
}

/// The stable code of an error that must be one.
///
/// # Panics
/// There is no error.
pub fn code<T: std::fmt::Debug>(result: zbus::Result<T>) -> Option<ErrorCode> {
    CallError::from(result.expect_err("an error")).code()
}

/// A message bus in a folder of its own.
pub struct PrivateBus {
    folder: tempfile::TempDir,
    bus: Child,
}

impl PrivateBus {
    /// Starts a bus that lets everybody talk to everybody.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("bus.conf");
        fs::write(&config, config_text(&folder.path().join("socket")))?;
        let mut argument = std::ffi::OsString::from("--config-file=");
        argument.push(&config);
        let bus =
            Command::new("dbus-daemon").arg(argument).arg("--nofork").stdin(Stdio::null()).spawn().context("cannot start dbus-daemon")?;
        let bus = Self { folder, bus };
        // The socket's name is there before anybody listens.
        let socket = bus.folder.path().join("socket");
        wait_until("the bus listens", PATIENCE, || Ok(std::os::unix::net::UnixStream::connect(&socket).ok()))?;
        Ok(bus)
    }

    /// Lets other users reach the bus, and writes the daemon's configuration.
    pub fn open_to_all(self, configuration: &str) -> Result<Self> {
        fs::set_permissions(self.folder.path(), fs::Permissions::from_mode(0o711))?;
        fs::set_permissions(self.folder.path().join("socket"), fs::Permissions::from_mode(0o666))?;
        fs::write(self.folder.path().join("backstep.toml"), configuration)?;
        Ok(self)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> String {
        format!("unix:path={}", self.folder.path().join("socket").display())
    }

    /// The folder of this bus and its daemon.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A new connection.
    pub async fn connect(&self) -> Result<zbus::Connection> {
        Ok(zbus::connection::Builder::address(self.address().as_str()).build().await?)
    }
}

fn config_text(socket: &Path) -> String {
    format!(
        r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path={}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
  </policy>
</busconfig>
"#,
        socket.display()
    )
}

impl Drop for PrivateBus {
    fn drop(&mut self) {
        end(&mut self.bus);
    }
}

/// Our daemon on a private bus, changing nothing (`--simulate`).
pub struct Simulated {
    /// The bus.
    pub bus: PrivateBus,
    daemon: Child,
    flags: &'static [&'static str],
}

impl Simulated {
    /// Starts the daemon and waits until it serves.
    pub async fn start() -> Result<Self> {
        Self::on(PrivateBus::start()?, &[]).await
    }

    /// The same on a bus that is there already, with more flags.
    pub async fn on(bus: PrivateBus, flags: &'static [&'static str]) -> Result<Self> {
        let daemon = spawn(&bus, flags)?;
        let simulated = Self { bus, daemon, flags };
        simulated.serving().await?;
        Ok(simulated)
    }

    /// Kills the daemon as a crash would, and starts it again over the same state.
    pub async fn crash_and_restart(&mut self) -> Result<()> {
        self.daemon.kill()?;
        self.daemon.wait()?;
        self.daemon = spawn(&self.bus, self.flags)?;
        self.serving().await
    }

    /// Ends the daemon in good order.
    pub fn stop(&mut self) -> Result<()> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.daemon.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        let status = self.daemon.wait()?;
        anyhow::ensure!(status.success(), "the daemon ended with {status}");
        Ok(())
    }

    /// Ends the daemon in good order, and starts it again over the same state.
    pub async fn stop_and_restart(&mut self) -> Result<()> {
        self.stop()?;
        self.daemon = spawn(&self.bus, self.flags)?;
        self.serving().await
    }

    /// The daemon's state directory.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.bus.folder().join("state")
    }

    /// The daemon's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.daemon.id()
    }

    async fn serving(&self) -> Result<()> {
        let connection = self.bus.connect().await?;
        let dbus = zbus::fdo::DBusProxy::new(&connection).await?;
        let mut changes = dbus.receive_name_owner_changed_with_args(&[(0, BUS_NAME)]).await?;
        // A change may be the last daemon's end.
        while !dbus.name_has_owner(BUS_NAME.try_into()?).await? {
            tokio::time::timeout(PATIENCE, changes.next()).await.context("the daemon did not take its name")?;
        }
        Ok(())
    }
}

fn spawn(bus: &PrivateBus, flags: &[&str]) -> Result<Child> {
    let runtime = bus.folder().join("run");
    fs::create_dir_all(&runtime)?;
    let mut command = Command::new(program("backstepd")?);
    command.args(["--simulate", "--no-idle-exit"]).args(flags).arg("--bus").arg(bus.address());
    command.arg("--state-dir").arg(bus.folder().join("state")).arg("--runtime-dir").arg(runtime);
    command.arg("--config").arg(bus.folder().join("backstep.toml")).stdin(Stdio::null());
    let log = fs::File::options().create(true).append(true).open(bus.folder().join("backstepd.log"))?;
    command.envs(unit_environment()).stderr(log).spawn().context("cannot start backstepd")
}

/// What the daemon's unit sets: without it memory is taken and given back in another way.
fn unit_environment() -> impl Iterator<Item = (&'static str, &'static str)> {
    let unit = include_str!("../../systemd/backstepd.service");
    let set = unit.lines().filter_map(|line| line.strip_prefix("Environment="));
    set.flat_map(str::split_whitespace).filter_map(|one| one.split_once('='))
}

impl Drop for Simulated {
    fn drop(&mut self) {
        end(&mut self.daemon);
    }
}

/// A child that has ended already is what is wanted, so an error here says nothing.
fn end(child: &mut Child) {
    drop(child.kill());
    drop(child.wait());
}

/// A client of the daemon.
pub struct Client {
    /// The connection.
    pub connection: zbus::Connection,
    /// The manager.
    pub manager: ManagerProxy<'static>,
}

impl Client {
    /// Connects.
    pub async fn new(bus: &PrivateBus) -> Result<Self> {
        let connection = bus.connect().await?;
        let manager = ManagerProxy::without_cache(&connection).await?;
        Ok(Self { connection, manager })
    }

    /// A transaction's object.
    pub async fn transaction(&self, path: &OwnedObjectPath) -> Result<TransactionProxy<'static>, CallError> {
        TransactionProxy::at(&self.connection, path).await
    }

    /// Waits until a transaction is as wanted.
    pub async fn wait_for(
        &self,
        transaction: &TransactionProxy<'_>,
        wanted: impl Fn(&TransactionProperties) -> bool,
    ) -> Result<TransactionProperties> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let now = transaction.properties().await?;
            if wanted(&now) {
                return Ok(now);
            }
            anyhow::ensure!(tokio::time::Instant::now() < deadline, "still {now:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The name of who runs the tests, and so calls the daemon.
pub fn own_name() -> Result<String> {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid())?;
    Ok(user.context("the user of this process has no name")?.name)
}

/// Whether a test may do what only root may; says so when it may not.
#[must_use]
pub fn is_root(what: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("not root: {what} is not covered by this run");
    }
    root
}
