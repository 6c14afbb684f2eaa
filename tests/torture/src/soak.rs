//! The soak: random transactions over one record and one system for a given time, with kills at random points; what a
//! long-lived daemon uses is looked at meanwhile.
//!
//! Absent on purpose: the bus. What is measured is the engine's daemon as these tests run it, not `backstepd`'s objects.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use backstep_core::{Kind, Request, TransactionId, TransactionState};
use backstep_engine::manager::Verdict;
use backstep_engine::ports::Identities;
use backstepd::adapters::NewIds;

use crate::daemon::{Daemon, failed, with};
use crate::judge::{at_rest, records};
use crate::place::{Place, folder};
use crate::random::Random;
use crate::scenario::{Cancel, Ends, Wish};
use crate::tracer::{Blow, CALLS, End, Role, Strike, Tracer};

/// What is asked for; the first kinds are the usual ones.
const KINDS: [Kind; 9] =
    [Kind::Install, Kind::Install, Kind::Update, Kind::Remove, Kind::Purge, Kind::Reinstall, Kind::Hold, Kind::Unhold, Kind::Downgrade];
const SETS: [&[&str]; 10] = [
    &["alpha"],
    &["beta"],
    &["gamma"],
    &["delta"],
    &["omega"],
    &["beta", "gamma"],
    &["alpha", "omega"],
    &["broken"],
    &["silent"],
    &["killed"],
];
/// One in so many undoes the last change.
const ROLLBACKS: usize = 4;
/// A life shorter than this says nothing about leaks.
const LONG: Duration = Duration::from_secs(30);

/// Serves random requests until it is told to stop: what was under way comes first.
pub fn serve(dir: &Path, seed: u64) -> Result<()> {
    with(dir, async |daemon| {
        let stop = daemon.place().dir().join("stop");
        let mut random = Random::new(seed);
        drop_offers(daemon)?;
        loop {
            rest(daemon).await?;
            if stop.exists() {
                return Ok(());
            }
            let (id, request) = (NewIds.next(), request(&mut random, daemon)?);
            daemon.ask_for(id, &request)?;
            rest(daemon).await?;
            if let Some(summary) = daemon.manager.ledger().summary(id).map_err(failed)? {
                println!("ended {id} {}", summary.status.state);
            }
            daemon.manager.take_notices();
        }
    })
}

fn request(random: &mut Random, daemon: &Daemon) -> Result<Request> {
    let last = daemon.manager.ledger().last_undoable().map_err(failed)?;
    let (kind, packages) = (KINDS[random.below(KINDS.len())], SETS[random.below(SETS.len())]);
    let kind = if packages[0].len() == 6 { Kind::Install } else { kind };
    let wish = Wish {
        kind,
        packages,
        reverts: None,
        leave: random.below(8) == 0,
        accept: false,
        cancel: Cancel::Never,
        priority: 0,
        ends: Ends::Done,
    };
    Ok(match last.filter(|_| random.below(ROLLBACKS) == 0) {
        Some(target) => Request { kind: Kind::Rollback, items: Vec::new(), reverts: Some(target), ..wish.request() },
        None => wish.request(),
    })
}

/// Nobody is left who would take up the offers of a daemon that was killed.
fn drop_offers(daemon: &mut Daemon) -> Result<()> {
    for summary in daemon.manager.ledger().unfinished().map_err(failed)? {
        if matches!(summary.status.state, TransactionState::Created | TransactionState::Prepared) {
            daemon.manager.cancel(summary.id, 0).map_err(failed)?;
        }
    }
    Ok(())
}

async fn rest(daemon: &mut Daemon) -> Result<()> {
    loop {
        let open = daemon.manager.ledger().unfinished().map_err(failed)?;
        let stuck = |id: &TransactionId| open.iter().any(|s| s.id == *id && s.status.state == TransactionState::NeedsAttention);
        let Some(first) = open.first().map(|summary| summary.id) else { return Ok(()) };
        match open.iter().map(|summary| summary.id).find(stuck) {
            Some(id) => daemon.manager.decide(id, Verdict::Undo).map_err(failed)?,
            None => daemon.work(&|_| false).await.with_context(|| first.to_string())?,
        }
    }
}

/// What a process uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Use {
    rss_kib: u64,
    descriptors: usize,
    threads: usize,
    wal: u64,
}

/// One daemon's life: what it used at its beginning, at its end and at most.
#[derive(Debug, Clone, Copy)]
struct Life {
    pid: i32,
    begun: Instant,
    last: Instant,
    first: Use,
    now: Use,
    most: Use,
}

fn look(pid: i32, wal: &Path) -> Option<Use> {
    let count = |what: &str| Some(fs::read_dir(format!("/proc/{pid}/{what}")).ok()?.count());
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let rss_kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?.parse().ok()?;
    let wal = fs::metadata(wal).map_or(0, |meta| meta.len());
    Some(Use { rss_kib, descriptors: count("fd")?, threads: count("task")?, wal })
}

impl Use {
    fn most(self, other: Self) -> Self {
        Self {
            rss_kib: self.rss_kib.max(other.rss_kib),
            descriptors: self.descriptors.max(other.descriptors),
            threads: self.threads.max(other.threads),
            wal: self.wal.max(other.wal),
        }
    }
}

/// Looks at the daemon twice a second. A life begins to count when it has settled.
/// At the end it tells the daemon to come to rest.
fn watch(daemon: &AtomicI32, place: &Place, (over, until): (&AtomicBool, Instant), lives: &Mutex<Vec<Life>>) {
    let (wal, stop) = (place.state().join("store.db-wal"), place.dir().join("stop"));
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(500));
        if Instant::now() > until && !stop.exists() {
            fs::File::create(&stop).map_or_else(|error| eprintln!("cannot stop: {error}"), drop);
        }
        let pid = daemon.load(Ordering::Relaxed);
        let Some(now) = look(pid, &wal) else { continue };
        let mut lives = lives.lock().unwrap_or_else(PoisonError::into_inner);
        match lives.last_mut().filter(|life| life.pid == pid) {
            Some(life) => (life.last, life.now, life.most) = (Instant::now(), now, life.most.most(now)),
            None => lives.push(Life { pid, begun: Instant::now(), last: Instant::now(), first: now, now, most: now }),
        }
    }
}

/// Soaks for a time, lets everything come to rest, judges, and prints the figures.
pub fn soak(seed: u64, time: Duration) -> Result<()> {
    nix::sys::prctl::set_child_subreaper(true)?;
    let folder = folder()?;
    let place = Place::make(folder.path())?;
    let (mut tracer, mut random, begun) = (Tracer::new(), Random::new(seed), Instant::now());
    tracer.set_patience(time + Duration::from_secs(300));
    let (over, lives): (Arc<AtomicBool>, Arc<Mutex<Vec<Life>>>) = Default::default();
    let watcher = {
        let (over, lives, daemon, place) = (over.clone(), lives.clone(), tracer.daemon.clone(), place.clone());
        std::thread::spawn(move || watch(&daemon, &place, (&over, begun + time), &lives))
    };
    let (mut starts, mut kills) = (0_u64, 0_u64);
    while begun.elapsed() < time {
        starts += 1;
        let end = start(&mut tracer, &place, random.number(), Some(strike(&mut random)))?;
        let told_to_stop = begun.elapsed() >= time && end == End::Code(0);
        ensure!(end == End::Killed || told_to_stop, "the daemon ended with {end:?}: {}", Place::lines(&place.log())?.join("\n"));
        kills += u64::from(end == End::Killed);
        if starts.is_multiple_of(10) {
            println!("{} s: {starts} starts, {} lines told", begun.elapsed().as_secs(), Place::lines(&place.told())?.len());
        }
    }
    for _ in 0..2 {
        let end = start(&mut tracer, &place, random.number(), None)?;
        ensure!(end == End::Code(0), "the last start ended with {end:?}: {}", Place::lines(&place.log())?.join("\n"));
        tracer.drain()?;
    }
    over.store(true, Ordering::Relaxed);
    watcher.join().map_err(|_| anyhow::anyhow!("the watcher panicked"))?;
    let records = records(&place)?;
    let lives = lives.lock().unwrap_or_else(PoisonError::into_inner).clone();
    println!("seed {seed}: {} s, {starts} starts, {kills} kills of the daemon, {} transactions", begun.elapsed().as_secs(), records.len());
    for state in TransactionState::ALL {
        let count = records.values().filter(|record| record.summary.status.state == *state).count();
        if count > 0 {
            println!("  {state}: {count}");
        }
    }
    let attempts: u32 = records.values().map(|record| record.summary.status.attempts).sum();
    println!("  attempts of workers: {attempts}");
    tell(&lives);
    at_rest(&place, &records)
}

fn tell(lives: &[Life]) {
    let most = lives.iter().map(|life| life.most).reduce(Use::most);
    println!("  at most: {most:?}");
    for life in lives.iter().filter(|life| life.last - life.begun >= LONG) {
        println!("  a life of {} s: first {:?}, last {:?}", (life.last - life.begun).as_secs(), life.first, life.now);
    }
}

fn start(tracer: &mut Tracer, place: &Place, seed: u64, strike: Option<Strike>) -> Result<End> {
    let arguments = ["daemon".to_owned(), place.dir().display().to_string(), format!("soak:{seed}")];
    let program = std::env::current_exe()?;
    tracer.run(&program, &arguments, (&place.told(), &place.log()), strike)
}

/// Mostly soon, sometimes late: from a few calls to many transactions. What is killed besides the daemon is what is
/// below it, with it.
fn strike(random: &mut Random) -> Strike {
    let role = Role::ALL[[0, 0, 0, 1, 2][random.below(5)]];
    let most = if random.below(20) == 0 { 1 << 16 } else { 1 << (5 + random.below(8)) };
    let at = u32::try_from(random.below(most)).unwrap_or(0) + 1;
    let blow = if role == Role::Daemon && random.below(2) == 0 { Blow::Kill } else { Blow::KillAll };
    Strike { role, at, blow, calls: &CALLS }
}
