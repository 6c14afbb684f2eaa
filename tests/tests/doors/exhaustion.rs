//! One user tries to use the daemon up: as many connections as the bus gives, answers that nobody reads, descriptors without
//! end, properties again and again, messages as large as the bus lets through and as the daemon does. Others are served, and
//! memory and descriptors stay where they were.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use backstep_bus::names::{BUS_NAME, MANAGER_INTERFACE, MANAGER_PATH};
use backstep_bus::{ListFilter, OptionsBuilder};
use backstep_core::ErrorCode;
use backstep_tests::authority::Answer;
use backstep_tests::private_bus::{Client, PrivateBus, Simulated};
use backstep_tests::stranger::{ANA, BEN, Silent, Stranger};
use futures_util::future::join_all;
use zbus::message::Flags;
use zbus::{Message, Variant};

use super::flood::{Quiet, answered, descriptors, quiet_user, status};
use super::{code, daemon, packages};

/// What the bus gives one user, less the few that a test needs to look on.
const CONNECTIONS: usize = 240;
/// Debug builds on a busy machine: the bound is on the order of magnitude. docs/security.md has what was measured.
const PATIENCE: Duration = Duration::from_millis(250);
/// Between two strikes: beyond what the daemon is reached by, it is the bus that is used up, by its own limits.
const PAUSE: Duration = Duration::from_millis(100);
const SLOWEST: Duration = Duration::from_secs(10);

/// Does one thing again and again on a thread of its own until the value goes.
struct Attack {
    over: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<Result<()>>>,
}

impl Attack {
    fn begin(mut strike: impl FnMut() -> Result<()> + Send + 'static) -> Self {
        let (over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ends, counts) = (Arc::clone(&over), Arc::clone(&done));
        let thread = std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                strike()?;
                counts.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        Self { over, done, thread: Some(thread) }
    }

    /// How often it was done. The authority answers meanwhile, on the thread that waits here.
    async fn end(mut self) -> Result<u64> {
        self.over.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it ends once");
        while !thread.is_finished() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        thread.join().map_err(|_| anyhow::anyhow!("the attack panicked"))??;
        Ok(self.done.load(Ordering::Relaxed))
    }
}

/// Others are served in time, and the daemon does not grow.
async fn others_are_served(daemon: &Simulated, ben: &Stranger, what: &str, attack: Attack) -> Result<()> {
    let quiet = tokio::time::timeout(Duration::from_secs(120), quiet_user(ben)).await;
    let Quiet { middle, almost_all, slowest } = quiet.context("another user is not served any more")??;
    let strikes = attack.end().await?;
    let peak = status(daemon, "VmHWM")?;
    println!("{what}: {strikes} times; another user: middle {middle:?}, p99 {almost_all:?}, slowest {slowest:?}; {peak} kB at most");
    assert!(strikes > 0 && middle < PATIENCE && slowest < SLOWEST, "{what}: {middle:?} {slowest:?}");
    assert!(peak < 128 << 10, "{what}: {peak} kB");
    Ok(())
}

async fn served_again(user: &Stranger) -> Result<()> {
    tokio::time::timeout(Duration::from_secs(120), answered(user)).await.context("another user is not served any more")?
}

fn call(member: &'static str) -> zbus::message::Builder<'static> {
    Message::method_call(MANAGER_PATH, member).destination(BUS_NAME).interface(MANAGER_INTERFACE)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

async fn strangers(bus: &PrivateBus, number: usize) -> Result<Vec<Stranger>> {
    let mut all = Vec::new();
    for _ in 0..number {
        all.push(Stranger::connect(bus, ANA).await?);
    }
    Ok(all)
}

#[tokio::test]
async fn connections_without_number_and_answers_that_nobody_reads() -> Result<()> {
    let (daemon, _authority) = daemon("", Answer::No).await?;
    let ben = Stranger::connect(&daemon.bus, BEN).await?;
    let before = descriptors(&daemon)?;
    let mut silent = silent(&daemon.bus, CONNECTIONS)?;
    let list = call("ListTransactions").build(&(std::collections::HashMap::<String, Variant<'_>>::new(),))?;
    let bytes = list.data().to_vec();
    let attack = Attack::begin(move || {
        for caller in &mut silent {
            // What the bus does not take is not sent: its queue for this connection is full of answers.
            drop(caller.socket.write(&bytes));
        }
        std::thread::sleep(PAUSE);
        Ok(())
    });
    others_are_served(&daemon, &ben, "240 connections that never read", attack).await?;
    assert!(descriptors(&daemon)? <= before + 4);
    Ok(())
}

/// Calls with so many bytes of arguments on each connection, one after another, as fast as the bus takes them.
fn large_calls(mut silent: Vec<Silent>, bytes: usize) -> Result<impl FnMut() -> Result<()> + Send + 'static> {
    let options = std::collections::HashMap::from([("packages", Variant::from(vec![0_u8; bytes]))]);
    let mut call = call("CreateTransaction").build(&("install", "", options))?.data().to_vec();
    let mut places = vec![0; silent.len()];
    let mut serial = 1_u32;
    Ok(move || {
        for (caller, place) in silent.iter_mut().zip(&mut places) {
            if *place == 0 {
                serial += 1;
            }
            call[8..12].copy_from_slice(&serial.to_le_bytes());
            match caller.socket.write(&call[*place..]) {
                Ok(written) => *place = (*place + written) % call.len(),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    })
}

fn silent(bus: &PrivateBus, number: usize) -> Result<Vec<Silent>> {
    (0..number).map(|_| Silent::connect(bus, ANA)).collect()
}

#[tokio::test]
async fn messages_as_large_as_the_bus_lets_through() -> Result<()> {
    let (daemon, _authority) = daemon("", Answer::No).await?;
    let ben = Stranger::connect(&daemon.bus, BEN).await?;
    let attack = Attack::begin(large_calls(silent(&daemon.bus, 4)?, 31 << 20)?);
    others_are_served(&daemon, &ben, "31 MiB in each message, four connections", attack).await?;

    served_again(&ben).await?;
    let ana = Stranger::connect(&daemon.bus, ANA).await?;
    let large = "x".repeat(31 << 20);
    assert_eq!(code(ana.manager.create_transaction("install", &large, packages(&["alpha"])).await), Some(ErrorCode::RequestTooLarge));
    assert!(ana.manager.create_transaction("install", "", packages(&["alpha"])).await.is_ok(), "the next one is taken");
    let root = Client::new(&daemon.bus).await?;
    let rows = root.manager.list_refusals(backstep_bus::RefusalRowFilter::default()).await?;
    let row = rows.iter().find(|row| row.uid == ANA && row.method == "CreateTransaction").expect("a row");
    assert_eq!(row.error_code, ErrorCode::RequestTooLarge.as_str(), "{rows:?}");
    Ok(())
}

/// The bus itself is slow meanwhile, for everybody: a hundred megabytes wait in it.
#[tokio::test]
async fn messages_as_large_as_the_daemon_lets_through() -> Result<()> {
    let (daemon, _authority) = daemon("", Answer::No).await?;
    let ben = Stranger::connect(&daemon.bus, BEN).await?;
    let attack = Attack::begin(large_calls(silent(&daemon.bus, CONNECTIONS)?, 250_000)?);
    tokio::time::sleep(Duration::from_secs(10)).await;
    attack.end().await?;
    served_again(&ben).await?;
    let peak = status(&daemon, "VmHWM")?;
    println!("250 kB in each message, 240 connections, ten seconds: {peak} kB at most");
    // Two such messages of bytes, read as variants, would be more.
    assert!(peak < 48 << 10, "{peak} kB");
    Ok(())
}

/// Each is a task of the daemon's until it is known who called.
#[tokio::test]
async fn calls_without_end_that_want_no_answer() -> Result<()> {
    let (daemon, _authority) = daemon("", Answer::No).await?;
    let ben = Stranger::connect(&daemon.bus, BEN).await?;
    let list = call("ListTransactions").with_flags(Flags::NO_REPLY_EXPECTED);
    let bytes = list.build(&(std::collections::HashMap::<String, Variant<'_>>::new(),))?.data().to_vec();
    let mut silent = silent(&daemon.bus, CONNECTIONS)?;
    let mut places = vec![0; silent.len()];
    let attack = Attack::begin(move || {
        for (caller, place) in silent.iter_mut().zip(&mut places) {
            if let Ok(written) = caller.socket.write(&bytes[*place..]) {
                *place = (*place + written) % bytes.len();
            }
        }
        std::thread::sleep(PAUSE);
        Ok(())
    });
    others_are_served(&daemon, &ben, "240 connections that want no answer", attack).await
}

#[tokio::test]
async fn descriptors_without_end() -> Result<()> {
    let (daemon, _authority) = daemon("", Answer::No).await?;
    let ben = Stranger::connect(&daemon.bus, BEN).await?;
    let before = descriptors(&daemon)?;
    let ana = strangers(&daemon.bus, 8).await?;
    let runtime = runtime();
    let attack = Attack::begin(move || {
        let archives = || (0..16).map(|_| Ok(OwnedFd::from(std::fs::File::open("/dev/zero")?))).collect::<Result<Vec<_>>>();
        let options = ana.iter().map(|_| Ok(OptionsBuilder::new().archives(archives()?).build())).collect::<Result<Vec<_>>>()?;
        runtime.block_on(join_all(ana.iter().zip(options).map(|(ana, options)| ana.manager.create_transaction("install", "", options))));
        Ok(())
    });
    others_are_served(&daemon, &ben, "16 descriptors in each call", attack).await?;
    assert!(descriptors(&daemon)? <= before + 4, "{before} before");
    let root = Client::new(&daemon.bus).await?;
    assert!(root.manager.list_transactions(ListFilter::default()).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn properties_again_and_again() -> Result<()> {
    let (daemon, authority) = daemon("", Answer::No).await?;
    let root = Client::new(&daemon.bus).await?;
    let (_, path) = root.manager.create_transaction("install", "", packages(&["alpha"])).await?;
    let ben = Stranger::connect(&daemon.bus, BEN).await?;
    let ana = Stranger::connect(&daemon.bus, ANA).await?;
    authority.take_asked();
    get_all(&ana, &path).await?;
    // polkit is asked once about a message, not once about each private property in it.
    assert_eq!(authority.take_asked().len(), 1);
    let runtime = runtime();
    let attack = Attack::begin(move || {
        // After the first thousand they are too many for one user, and refused.
        runtime.block_on(join_all((0..8).map(|_| get_all(&ana, &path)))).into_iter().for_each(drop);
        Ok(())
    });
    others_are_served(&daemon, &ben, "all properties of another's transaction, eight calls at a time", attack).await
}

async fn get_all(who: &Stranger, path: &zbus::OwnedObjectPath) -> Result<()> {
    let interface = "org.freedesktop.DBus.Properties";
    who.connection.call_method(Some(BUS_NAME), path, Some(interface), "GetAll", &("org.backstep1.Transaction",)).await?;
    Ok(())
}

/// Nothing is ever deleted from the record: what one user may put there is bounded.
#[tokio::test]
async fn the_record_does_not_grow_without_bound() -> Result<()> {
    let (daemon, _authority) = daemon("[limits]\nrecord-bytes-per-hour = 100000\ncalls-per-second = 10000\n", Answer::No).await?;
    let (ana, ben) = (Stranger::connect(&daemon.bus, ANA).await?, Stranger::connect(&daemon.bus, BEN).await?);
    let mut made = 0;
    let refused = loop {
        match ana.manager.create_transaction("install", "", packages(&["alpha"])).await {
            Ok((_, path)) => drop(ana.transaction(&path).await?.cancel().await?),
            Err(error) => break code::<()>(Err(error)),
        }
        made += 1;
        anyhow::ensure!(made < 100, "the record takes everything");
    };
    assert_eq!(refused, Some(ErrorCode::RequestThrottled));
    assert!((20..=24).contains(&made), "{made}");
    assert!(ben.manager.create_transaction("install", "", packages(&["alpha"])).await.is_ok());
    Ok(())
}
