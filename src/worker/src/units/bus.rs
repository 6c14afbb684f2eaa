//! The units as the service manager tells them over the bus, property by property.
//!
//! `systemctl show` asks for all properties of each unit. Some of them, which nobody here wants, make the service manager
//! look through all folders of unit files again after each reload: that took longer than everything else together.

use std::io;
use std::path::Path;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedObjectPath, connection};

use super::{LIMIT, MISSING, PATTERNS, Unit, Units, is_own, state};

/// Where the system bus listens, below a machine's root.
pub(super) const SOCKET: &str = "run/dbus/system_bus_socket";
/// How many questions wait for their answers at once.
const AT_ONCE: usize = 32;

/// What `ListUnitsByPatterns` says of one unit: name, description, load state, active state, sub state, whom it follows,
/// path, and the number, kind and path of its job.
type Listed = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait ServiceManager {
    fn list_units_by_patterns(&self, states: &[&str], patterns: &[&str]) -> zbus::Result<Vec<Listed>>;
}

#[zbus::proxy(interface = "org.freedesktop.systemd1.Unit", default_service = "org.freedesktop.systemd1", assume_defaults = false)]
trait LoadedUnit {
    #[zbus(property(emits_changed_signal = "false"), name = "InvocationID")]
    fn invocation_id(&self) -> zbus::Result<Vec<u8>>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn need_daemon_reload(&self) -> zbus::Result<bool>;
}

/// Reads the units over the bus that listens at `socket`; each answer has [`LIMIT`].
pub(super) fn read(socket: &Path) -> zbus::Result<Units> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let address = format!("unix:path={}", socket.display());
    runtime.block_on(async {
        let connecting = connection::Builder::address(address.as_str()).method_timeout(LIMIT).build();
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the bus does not answer");
        units(&tokio::time::timeout(LIMIT, connecting).await.map_err(late)??).await
    })
}

async fn units(bus: &Connection) -> zbus::Result<Units> {
    let listed = ServiceManagerProxy::new(bus).await?.list_units_by_patterns(&[], &PATTERNS).await?;
    let others = listed.into_iter().filter(|listed| !is_own(&listed.0));
    stream::iter(others.map(|listed| describe(bus, listed))).buffer_unordered(AT_ONCE).try_collect().await
}

async fn describe(bus: &Connection, (name, _, load, active, sub, _, path, ..): Listed) -> zbus::Result<(String, Unit)> {
    let asked = LoadedUnitProxy::builder(bus).path(&path).cache_properties(CacheProperties::No).build().await?;
    let mut unit = Unit { active: state(active, &sub), missing: load == MISSING, ..Unit::default() };
    unit.needs_reload = load == "loaded" && asked.need_daemon_reload().await?;
    // Of what does not run nobody asks which start it was.
    if unit.is_active() {
        unit.invocation = asked.invocation_id().await?.iter().map(|byte| format!("{byte:02x}")).collect();
    }
    Ok((name, unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;
    use zbus::{Guid, ObjectPath, interface};

    /// The part of a service manager that is asked, with a few units.
    struct Manager;

    #[interface(name = "org.freedesktop.systemd1.Manager")]
    impl Manager {
        fn list_units_by_patterns(&self, states: Vec<String>, patterns: Vec<String>) -> Vec<Listed> {
            assert!(states.is_empty() && patterns == PATTERNS);
            let rows = [
                ("ssh.service", "loaded", "active", "running"),
                ("again.service", "loaded", "activating", "auto-restart"),
                ("gone.socket", "not-found", "inactive", "dead"),
                ("backstepd.service", "loaded", "active", "running"),
            ];
            let none = || ObjectPath::try_from("/").expect("path").into();
            let row = |(name, load, active, sub): (&str, &str, &str, &str)| {
                let path = ObjectPath::try_from(format!("/unit/{}", name.replace('.', "_"))).expect("path");
                let [name, load, active, sub] = [name, load, active, sub].map(str::to_owned);
                (name, String::new(), load, active, sub, String::new(), path.into(), 0, String::new(), none())
            };
            rows.map(row).to_vec()
        }
    }

    struct Loaded;

    #[interface(name = "org.freedesktop.systemd1.Unit")]
    impl Loaded {
        #[zbus(property, name = "InvocationID")]
        fn invocation_id(&self) -> Vec<u8> {
            vec![0x0a, 0xff]
        }
        #[zbus(property)]
        fn need_daemon_reload(&self) -> bool {
            true
        }
    }

    /// Both ends of a bus without a daemon.
    async fn pair() -> (Connection, Connection) {
        let (ours, theirs) = UnixStream::pair().expect("pair");
        let server = connection::Builder::unix_stream(theirs).server(Guid::generate()).p2p();
        let server = server.serve_at("/org/freedesktop/systemd1", Manager);
        let server =
            ["ssh_service", "again_service"].into_iter().fold(server, |server, name| server.serve_at(format!("/unit/{name}"), Loaded));
        let client = connection::Builder::unix_stream(ours).p2p();
        tokio::try_join!(client.build(), server.build()).expect("connected")
    }

    #[tokio::test]
    async fn units_are_told_as_systemctl_tells_them() {
        let (client, _server) = pair().await;
        let found = units(&client).await.expect("units");
        let shown = "Id=ssh.service\nActiveState=active\nInvocationID=0aff\nNeedDaemonReload=yes\n\n\
                     Id=again.service\nActiveState=activating\nSubState=auto-restart\nNeedDaemonReload=yes\n\n\
                     Id=gone.socket\nActiveState=inactive\nLoadState=not-found\n";
        assert_eq!(found, super::super::parse(shown));
    }

    #[test]
    fn a_bus_that_is_none_is_an_error() {
        let folder = tempfile::tempdir().expect("folder");
        let socket = folder.path().join("socket");
        drop(std::os::unix::net::UnixListener::bind(&socket).expect("socket"));
        assert!(read(&socket).is_err());
    }
}
