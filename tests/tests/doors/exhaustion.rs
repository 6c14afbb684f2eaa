//! One user tries to use the daemon up: as many connections as the bus gives, answers that nobody reads, descriptors without
//! end, properties again and again. Others are served, and memory and descriptors stay where they were. Absent: messages as
//! large as the bus lets through, which the bus library takes into memory before anything of ours sees them.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use backstep_bus::names::{BUS_NAME, MANAGER_INTERFACE, MANAGER_PATH};
use backstep_bus::{ListFilter, OptionsBuilder};
use backstep_core::ErrorCode;
use backstep_tests::authority::Answer;
use backstep_tests::private_bus::{Client, PrivateBus, Simulated};
use backstep_tests::stranger::{ANA, BEN, Silent, Stranger};
use futures_util::future::join_all;
use zbus::{Message, Variant};

use super::flood::{descriptors, quiet_user, status};
use super::{code, daemon, packages};

/// What the bus gives one user, less the few that a test needs to look on.
const CONNECTIONS: usize = 240;
/// Debug builds on a busy machine: the bound is on the order of magnitude. docs/security.md has what was measured.
const PATIENCE: Duration = Duration::from_millis(250);
/// Between two strikes: beyond what the daemon is reached by, it is the bus that is used up, by its own limits.
const PAUSE: Duration = Duration::from_millis(50);
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
    let (slowest, middle) = quiet_user(ben).await?;
    let strikes = attack.end().await?;
    let peak = status(daemon, "VmHWM")?;
    println!("{what}: {strikes} times; another user: middle {middle:?}, slowest of a hundred {slowest:?}; {peak} kB at most");
    assert!(strikes > 0 && middle < PATIENCE && slowest < SLOWEST, "{what}: {middle:?} {slowest:?}");
    assert!(peak < 128 << 10, "{what}: {peak} kB");
    Ok(())
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
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS {
        silent.push(Silent::connect(&daemon.bus, ANA)?);
    }
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
        runtime.block_on(join_all((0..8).map(|_| get_all(&ana, &path))));
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
