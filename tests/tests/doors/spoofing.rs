//! Somebody else says that a transaction has ended: the client believes what the daemon answers, and nothing else.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use backstep_bus::names::TRANSACTION_INTERFACE;
use backstep_core::TransactionState;
use backstep_tests::authority::Answer;
use backstep_tests::command;
use backstep_tests::private_bus::Client;
use backstep_tests::programs::program;
use backstep_tests::stranger::{BEN, Stranger};
use zbus::Variant;

use super::daemon;

/// Lies about an object, to everybody and to each name that there is.
async fn lie(ben: &Stranger, path: &zbus::OwnedObjectPath, id: &str) -> Result<()> {
    let state = std::collections::HashMap::from([("State", Variant::from("failed")), ("ErrorCode", Variant::from("script.failed"))]);
    let bus = zbus::fdo::DBusProxy::new(&ben.connection).await?;
    let mut listeners: Vec<Option<zbus::names::BusName<'static>>> = vec![None];
    listeners.extend(bus.list_names().await?.into_iter().map(|name| Some(zbus::names::BusName::from(name))));
    for to in listeners {
        let emit = |interface: &'static str, member: &'static str| (to.clone(), path.clone(), interface, member);
        let (to, path, interface, member) = emit(TRANSACTION_INTERFACE, "Finished");
        ben.connection.emit_signal(to, path, interface, member, &(id, "failed", "script.failed")).await?;
        let (to, path, interface, member) = emit(TRANSACTION_INTERFACE, "StateChanged");
        ben.connection.emit_signal(to, path, interface, member, &(id, 99_u64, "failed")).await?;
        let (to, path, interface, member) = emit("org.freedesktop.DBus.Properties", "PropertiesChanged");
        let changed = (TRANSACTION_INTERFACE, &state, Vec::<&str>::new());
        ben.connection.emit_signal(to, path, interface, member, &changed).await?;
    }
    Ok(())
}

/// What is asked is whether lies are believed; so many that the bus cuts off who does not read them are another matter.
const MOST: usize = 40;

#[tokio::test]
async fn a_client_believes_the_daemon_and_nobody_s_signals() -> Result<()> {
    let (daemon, _authority) = daemon("", Answer::No).await?;
    let root = Client::new(&daemon.bus).await?;
    let ben = Stranger::connect(&daemon.bus, BEN).await?;
    let client = program("backstep")?;
    let mut install = command::host(client.to_str().context("a path in UTF-8")?, ["--bus", &daemon.bus.address()]);
    install.args(["install", "--yes", "--no-progress", "alpha", "beta", "gamma"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let over = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&over);
    let running = std::thread::spawn(move || {
        let output = install.output();
        ended.store(true, Ordering::Relaxed);
        output
    });
    let mut lies = 0;
    while !over.load(Ordering::Relaxed) {
        let active = root.manager.active().await?;
        for path in active.into_iter().take(MOST - lies) {
            let id = backstep_bus::names::transaction_of_path(path.as_str())?.to_string();
            lie(&ben, &path, &id).await?;
            lies += 1;
        }
    }
    let output = running.join().map_err(|_| anyhow::anyhow!("the client panicked"))??;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(lies > 2 && output.status.success() && !said.contains("failed"), "{lies} lies; {}: {said}", output.status);
    let rows = root.manager.list_transactions(backstep_bus::ListFilter::default()).await?;
    assert_eq!(rows[0].state, TransactionState::Completed.to_string());
    Ok(())
}
