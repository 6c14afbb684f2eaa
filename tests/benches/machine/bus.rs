//! Reading a transaction over the bus beside the cheapest call there is, on one connection.

use std::time::Instant;

use anyhow::{Context, Result};
use backstep_bus::names::{BUS_NAME, TRANSACTION_INTERFACE};
use backstep_tests::machine::Machine;

use crate::report::{Pairs, Report};

const CALLS: usize = 3000;

/// A connection to the machine's system bus, as root.
pub(crate) async fn connect(machine: &Machine) -> Result<zbus::Connection> {
    let address = format!("unix:path={}", machine.path("/run/dbus/system_bus_socket").display());
    zbus::connection::Builder::address(address.as_str()).build().await.context("cannot connect to the machine's bus")
}

pub(crate) async fn measure(machine: &Machine, report: &mut Report) -> Result<()> {
    let connection = connect(machine).await?;
    machine.run(["backstep", "plan", "install", "hello"])?.success()?;
    let list: serde_json::Value = serde_json::from_str(&machine.check(["backstep", "--json", "history"])?)?;
    let id = list[0]["id"].as_str().context("no transaction")?.to_owned();
    let manager = backstep_bus::ManagerProxy::without_cache(&connection).await?;
    let path = manager.get_transaction(&id).await?;
    let mut pairs = Pairs::default();
    for _ in 0..CALLS {
        let begun = Instant::now();
        connection.call_method(Some(BUS_NAME), path.as_str(), Some("org.freedesktop.DBus.Peer"), "Ping", &()).await?;
        pairs.peers.push(begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        let properties = Some("org.freedesktop.DBus.Properties");
        connection.call_method(Some(BUS_NAME), path.as_str(), properties, "GetAll", &TRANSACTION_INTERFACE).await?;
        pairs.ours.push(begun.elapsed().as_secs_f64());
    }
    report.pairs("GetAll of a transaction", "Peer.Ping", &pairs, 2.0, (1e6, "µs"));
    Ok(())
}
