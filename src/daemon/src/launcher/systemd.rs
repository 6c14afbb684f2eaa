//! Workers as systemd units of their own: they outlive the daemon.

use backstep_core::{AttemptId, ErrorCode, Failure, TransactionId};
use zbus::OwnedObjectPath;

use super::left::{look, works_on};
use crate::asked;

/// Where the administrator's hooks lie.
const HOOKS: &str = "/etc/backstep/hook.d";

/// The part of systemd's manager that is needed.
#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait ServiceManager {
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn get_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    fn get_unit_processes(&self, name: &str) -> zbus::Result<Vec<(String, u32, String)>>;
}

/// The part of a systemd unit that is needed.
#[zbus::proxy(interface = "org.freedesktop.systemd1.Unit", default_service = "org.freedesktop.systemd1")]
trait Unit {
    #[zbus(property(emits_changed_signal = "false"))]
    fn active_state(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn job(&self) -> zbus::Result<(u32, OwnedObjectPath)>;
}

/// The part of a systemd service that is needed.
#[zbus::proxy(interface = "org.freedesktop.systemd1.Service", default_service = "org.freedesktop.systemd1")]
trait Service {
    #[zbus(property(emits_changed_signal = "false"), name = "ExecMainPID")]
    fn exec_main_pid(&self) -> zbus::Result<u32>;
}

/// systemd on one bus.
#[derive(Debug)]
pub struct Systemd {
    connection: zbus::Connection,
}

impl Systemd {
    pub(super) fn new(connection: zbus::Connection) -> Self {
        Self { connection }
    }

    pub(super) async fn start(&self, attempt: AttemptId) -> Result<(), Failure> {
        self.start_unit(&unit_name(attempt)).await
    }

    /// Most machines have no hooks: no unit is started then.
    pub(super) async fn tell_hooks(&self, transaction: TransactionId) -> Result<(), Failure> {
        if std::fs::read_dir(HOOKS).is_ok_and(|mut entries| entries.next().is_some()) {
            self.start_unit(&format!("backstep-hook@{transaction}.service")).await?;
        }
        Ok(())
    }

    async fn start_unit(&self, unit: &str) -> Result<(), Failure> {
        let failed = |error: zbus::Error| Failure::new(ErrorCode::WorkerFailed, format!("cannot start {unit}: {error}"));
        let manager = ServiceManagerProxy::new(&self.connection).await.map_err(failed)?;
        asked::once(manager.start_unit(unit, "fail")).await.map_err(failed)?;
        Ok(())
    }

    /// Whether the unit runs, is about to, or has left processes that still work on the change. A unit that systemd does
    /// not know has ended; one that cannot be asked about is taken for alive, because nothing may be decided beside a
    /// living worker.
    pub(super) async fn is_alive(&self, attempt: AttemptId) -> bool {
        match asked::answer(|| self.lives(attempt)).await {
            Ok(lives) => lives,
            Err(zbus::Error::MethodError(name, _, _)) => name.as_str() != "org.freedesktop.systemd1.NoSuchUnit",
            Err(error) => {
                tracing::warn!("cannot ask systemd about {}: {error}", unit_name(attempt));
                true
            }
        }
    }

    async fn lives(&self, attempt: AttemptId) -> zbus::Result<bool> {
        let manager = ServiceManagerProxy::new(&self.connection).await?;
        let name = unit_name(attempt);
        let path = manager.get_unit(&name).await?;
        let unit = UnitProxy::builder(&self.connection).path(&path).cache_properties(zbus::proxy::CacheProperties::No).build().await?;
        let active = matches!(unit.active_state().await?.as_str(), "active" | "activating" | "deactivating" | "reloading");
        if active || unit.job().await?.0 != 0 {
            return Ok(true);
        }
        let left = manager.get_unit_processes(&name).await?;
        if left.is_empty() {
            return Ok(false);
        }
        let service =
            ServiceProxy::builder(&self.connection).path(&path).cache_properties(zbus::proxy::CacheProperties::No).build().await?;
        let worker = service.exec_main_pid().await?;
        Ok(works_on(worker, &look(worker, left.into_iter().map(|(_, pid, _)| pid))))
    }
}

fn unit_name(attempt: AttemptId) -> String {
    format!("backstep-worker@{attempt}.service")
}
