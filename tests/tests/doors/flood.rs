//! One user floods: typed errors for that one, answers in time for others, bounded memory, nothing left open.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use backstep_bus::{ListFilter, RefusalRowFilter};
use backstep_core::ErrorCode;
use backstep_tests::authority::Answer;
use backstep_tests::private_bus::{Client, Simulated};
use backstep_tests::stranger::{ANA, BEN, Stranger};
use futures_util::future::join_all;

use super::{code, daemon, packages};

const CALLS: usize = 6_000;
const CONNECTIONS: usize = 8;
/// Debug builds on a busy machine: the bound is on order of magnitude, not on speed.
const PATIENCE: Duration = Duration::from_millis(250);

pub(super) fn status(daemon: &Simulated, key: &str) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid()))?;
    let line = text.lines().find(|line| line.starts_with(key)).with_context(|| format!("no {key}"))?;
    Ok(line.split_whitespace().nth(1).context("no number")?.parse()?)
}

pub(super) fn descriptors(daemon: &Simulated) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{}/fd", daemon.pid()))?.count())
}

/// Floods on a thread of its own, so that only the daemon is shared with others. Answers what it was told, and how often.
fn flood(bus: &Arc<Simulated>) -> std::thread::JoinHandle<Result<BTreeMap<Option<ErrorCode>, usize>>> {
    let daemon = Arc::clone(bus);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(flood_by_many(&daemon))
    })
}

async fn flood_by_many(daemon: &Simulated) -> Result<BTreeMap<Option<ErrorCode>, usize>> {
    let mut strangers = Vec::new();
    for _ in 0..CONNECTIONS {
        strangers.push(Stranger::connect(&daemon.bus, ANA).await?);
    }
    let mut codes = BTreeMap::new();
    for _ in 0..CALLS / CONNECTIONS / 50 {
        let calls = strangers.iter().flat_map(|ana| (0..50).map(|_| ana.manager.create_transaction("install", "", packages(&["alpha"]))));
        for answer in join_all(calls).await {
            *codes.entry(code(answer)).or_insert(0) += 1;
        }
    }
    Ok(codes)
}

/// How long a quiet user's calls took.
#[derive(Debug)]
pub(super) struct Quiet {
    pub(super) middle: Duration,
    /// Ninety-nine of a hundred.
    pub(super) almost_all: Duration,
    pub(super) slowest: Duration,
}

/// Calls until there is an answer: the bus refuses calls to the daemon while it has more for it than it keeps.
pub(super) async fn answered(user: &Stranger) -> Result<()> {
    while let Err(error) = user.manager.list_transactions(ListFilter { limit: Some(5), ..ListFilter::default() }).await {
        anyhow::ensure!(error.to_string().contains("LimitsExceeded"), "{error}");
    }
    Ok(())
}

/// Two hundred calls of a user who does nothing else; what counts is when each is answered.
pub(super) async fn quiet_user(ben: &Stranger) -> Result<Quiet> {
    let mut took = Vec::new();
    for _ in 0..200 {
        let begun = Instant::now();
        answered(ben).await?;
        took.push(begun.elapsed());
        // The pace of a person's program: the limits are not what is measured here.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    took.sort_unstable();
    Ok(Quiet { middle: took[100], almost_all: took[197], slowest: took[199] })
}

#[tokio::test]
async fn a_flood_of_one_user_is_no_flood_of_all() -> Result<()> {
    let (daemon, _authority) = daemon("", Answer::No).await?;
    let daemon = Arc::new(daemon);
    let ben = Stranger::connect(&daemon.bus, BEN).await?;
    let before = descriptors(&daemon)?;
    let flood = flood(&daemon);
    let quiet = quiet_user(&ben).await?;
    let codes = flood.join().map_err(|_| anyhow::anyhow!("the flood panicked"))??;
    println!("codes {codes:?}; another user: {quiet:?}; {} kB", status(&daemon, "VmHWM")?);
    assert!(quiet.middle < PATIENCE, "{quiet:?}");
    assert!(status(&daemon, "VmHWM")? < 128 << 10);
    // Eight are taken; the rest of the burst finds no room, the rest of the flood is not looked at.
    assert_eq!(codes.get(&None), Some(&8), "{codes:?}");
    assert!(codes.get(&Some(ErrorCode::RequestThrottled)).is_some_and(|throttled| *throttled > CALLS / 2), "{codes:?}");
    assert!(codes.keys().flatten().all(|code| [ErrorCode::QueueFull, ErrorCode::RequestThrottled].contains(code)), "{codes:?}");

    let root = Client::new(&daemon.bus).await?;
    let open = root.manager.list_transactions(ListFilter { unfinished: Some(true), ..ListFilter::default() }).await?;
    assert_eq!(open.len(), 8);
    let rows = root.manager.list_refusals(RefusalRowFilter { limit: Some(500), ..RefusalRowFilter::default() }).await?;
    assert!((10..=20).contains(&rows.len()), "{} rows", rows.len());
    assert!(descriptors(&daemon)? <= before + 4, "{before} before");
    Ok(())
}

#[tokio::test]
async fn limits_are_what_the_configuration_says() -> Result<()> {
    let limits = "[limits]\nopen-per-user = 2\nopen = 3\ncalls-per-second = 1000\nrequest-bytes = 2000\n";
    let (daemon, _authority) = daemon(limits, Answer::No).await?;
    let (ana, ben) = (Stranger::connect(&daemon.bus, ANA).await?, Stranger::connect(&daemon.bus, BEN).await?);
    let create = |who: &Stranger| {
        let manager = who.manager.clone();
        async move { code(manager.create_transaction("install", "", packages(&["alpha"])).await) }
    };
    assert_eq!([create(&ana).await, create(&ana).await, create(&ana).await], [None, None, Some(ErrorCode::QueueFull)]);
    assert_eq!([create(&ben).await, create(&ben).await], [None, Some(ErrorCode::QueueFull)]);
    let long = "x".repeat(2000);
    assert_eq!(code(ana.manager.create_transaction("install", &long, packages(&["alpha"])).await), Some(ErrorCode::RequestTooLarge));
    Ok(())
}

#[tokio::test]
async fn questions_that_nobody_answers_are_bounded_and_come_to_an_end() -> Result<()> {
    let (daemon, authority) = daemon("[limits]\ncalls-at-once-per-user = 3\nanswer-seconds = 2\n", Answer::Silence).await?;
    let ana = Stranger::connect(&daemon.bus, ANA).await?;
    let ask = || ana.manager.submit("install", "", packages(&["alpha"]));
    let codes: Vec<_> = join_all((0..6).map(|_| ask())).await.into_iter().map(code).collect();
    let count = |wanted| codes.iter().filter(|code| **code == Some(wanted)).count();
    assert_eq!((count(ErrorCode::AuthDenied), count(ErrorCode::RequestThrottled)), (3, 3), "{codes:?}");
    assert_eq!(authority.take_asked().len(), 3);
    // A yes that comes too late is none.
    assert_eq!(authority.release(Answer::Yes).await?, 3);
    let root = Client::new(&daemon.bus).await?;
    let rows = root.manager.list_transactions(ListFilter::default()).await?;
    assert!(rows.iter().all(|row| row.state == "prepared"), "{rows:?}");
    Ok(())
}
