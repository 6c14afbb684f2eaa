//! A record of any size, as a busy fleet's first machine would have it: for measurements, never shipped.
//!
//! Purpose: every row is written by the store itself, through the real schema, its triggers and its chain. What is
//! written follows from a transaction's number alone, so that a run that was interrupted is gone on with. Absent on
//! purpose: anything random.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use backstep_core::actor::{Actor, Origin};
use backstep_core::{
    Archive, ArchiveSource, BootId, Digest, Direction, ErrorCode, Event, Kind, Method, Options, Plan, PlanAction, PlanItem, Reason,
    Request, Stamp, StepKind, StepState, TransactionId, UndoQuality,
};
use backstep_store::{Adoption, NewTransaction, Reader, Run, Store};
use backstep_wire::{digest, plan, request};

/// Items of every transaction.
pub const ITEMS: u64 = 5;
/// Events of every transaction.
pub const EVENTS: u64 = 10;
/// In every tenth transaction, and so in the most lists.
pub const COMMON_PACKAGE: &str = "common";
/// In one transaction of ten thousand.
pub const RARE_PACKAGE: &str = "rare";
/// Between two transactions: a million of them take three years.
const PACE_US: i64 = 94_600_000;
const START_US: i64 = 1_600_000_000_000_000;
/// Transactions of one commit, and between two looks at the clock.
const BATCH: u64 = 2_000;
const KINDS: [Kind; 6] = [Kind::Install, Kind::Upgrade, Kind::Remove, Kind::Purge, Kind::FullUpgrade, Kind::Reinstall];

/// When the last of so many transactions ended, in microseconds since 1970, UTC.
#[must_use]
pub fn end_us(count: u64) -> i64 {
    START_US + count.cast_signed() * PACE_US + 9_000_000
}

/// Writes transactions until the record has `count` of them, or until `patience` is over; answers how many it has.
/// `told` hears how many there are after each commit.
pub fn fill(path: &Path, count: u64, patience: Option<Duration>, mut told: impl FnMut(u64)) -> Result<u64> {
    let begun = Instant::now();
    let mut done = if path.exists() { written(path)? } else { 0 };
    let run = Run { id: id(u64::from(u32::MAX) + done).to_string(), version: "0".to_owned(), pid: 1, at: stamp(0, 0) };
    let mut store = Store::open(path, &run)?;
    store.expect_bulk()?;
    while done < count && patience.is_none_or(|patience| begun.elapsed() < patience) {
        let until = count.min(done + BATCH);
        store.batch(|store| (done + 1..=until).try_for_each(|number| one(store, number)))?;
        done = until;
        told(done);
    }
    store.close()?;
    Ok(done)
}

/// How many transactions are there: every one is written whole, and has as many events.
fn written(path: &Path) -> Result<u64> {
    let events = Reader::open(path)?.measures()?.events;
    anyhow::ensure!(events.is_multiple_of(EVENTS), "{} was not written by this program", path.display());
    Ok(events / EVENTS)
}

/// Numbers that look like chance and are none (Knuth's multiplier, the high half).
fn scattered(number: u64) -> u64 {
    number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 33
}

fn id(number: u64) -> TransactionId {
    let milliseconds = (START_US / 1_000).unsigned_abs() + number;
    let (high, low) = (milliseconds >> 16, milliseconds & 0xffff);
    let tail = (scattered(number) << 32 | number & 0xffff_ffff) & 0xffff_ffff_ffff;
    format!("{high:08x}-{low:04x}-7000-8000-{tail:012x}").parse().expect("an id of version 7")
}

fn stamp(number: u64, second: i64) -> Stamp {
    let since = number.cast_signed() * PACE_US + second * 1_000_000;
    Stamp { utc_us: START_US + since, monotonic_us: since, boot: BootId([9; 16]) }
}

fn one(store: &mut Store, number: u64) -> Result<()> {
    let id = id(number);
    let kind = KINDS[usize::try_from(scattered(number) % 6)?];
    // One in four says why.
    let description = if number.is_multiple_of(4) { format!("change {number} of the web servers") } else { String::new() };
    let asked = Request {
        kind,
        description,
        tags: Default::default(),
        items: Vec::new(),
        archives: Vec::new(),
        reverts: None,
        retries: None,
        options: Options::default(),
    };
    let request_bytes = request::to_bytes(&asked);
    let planned = planned(id, kind, number, digest(&request_bytes))?;
    let plan_bytes = plan::to_bytes(&planned);
    let actor = actor(number);
    let fails = number.is_multiple_of(33);
    let adoption = Adoption {
        new: NewTransaction {
            id,
            kind,
            request_bytes: &request_bytes,
            request_digest: digest(&request_bytes),
            description: &asked.description,
            tags: &[],
            comment: &asked.description,
            actor: &actor,
            at: stamp(number, 0),
            priority: 0,
            reverts: None,
            scope: None,
            retries: None,
        },
        plan: &planned,
        plan_bytes: &plan_bytes,
        plan_digest: digest(&plan_bytes),
        events: &events(number, fails),
        journal_seq: 12,
        world_after: (!fails).then_some(Digest([8; 32])),
    };
    store.adopt(&adoption).with_context(|| format!("transaction {number}"))?;
    Ok(())
}

/// Begins a transaction and leaves it at work, so that events can be appended to it.
pub fn working(store: &mut Store) -> Result<TransactionId> {
    let number = u64::from(u32::MAX) / 2;
    let (id, kind) = (id(number), Kind::Install);
    let request_bytes = b"asked".to_vec();
    let planned = planned(id, kind, number, digest(&request_bytes))?;
    let plan_bytes = plan::to_bytes(&planned);
    let actor = actor(number);
    store.adopt(&Adoption {
        new: NewTransaction {
            id,
            kind,
            request_bytes: &request_bytes,
            request_digest: digest(&request_bytes),
            description: "",
            tags: &[],
            comment: "",
            actor: &actor,
            at: stamp(number, 0),
            priority: 0,
            reverts: None,
            scope: None,
            retries: None,
        },
        plan: &planned,
        plan_bytes: &plan_bytes,
        plan_digest: digest(&plan_bytes),
        events: &events(number, false)[..3],
        journal_seq: 0,
        world_after: None,
    })?;
    Ok(id)
}

/// What happened after the plan was made: eight events.
fn events(number: u64, fails: bool) -> Vec<(Event, Stamp)> {
    use StepKind::{Apply, Check};
    let begun = |step, direction| Event::StepStarted { step, direction };
    let ended = |step, state, code| Event::StepEnded { step, state, code, text: "5 packages".to_owned() };
    let failed = ErrorCode::ScriptFailed;
    let text = "the post-installation script ended with status 1".to_owned();
    let rest = if fails {
        vec![
            ended(Apply, StepState::Failed, Some(failed)),
            Event::UndoStarted { code: failed, text },
            begun(Apply, Direction::Undo),
            ended(Apply, StepState::Undone, None),
            Event::UndoFinished { differences: 0 },
        ]
    } else {
        vec![
            ended(Apply, StepState::Completed, None),
            begun(Check, Direction::Forward),
            ended(Check, StepState::Completed, None),
            Event::Noted { code: None, text: "2 services were restarted".to_owned() },
            Event::Completed,
        ]
    };
    let queued = Event::Queued { action: "org.backstep1.install".to_owned() };
    let first = [queued, Event::Started { attempt: 1 }, begun(Apply, Direction::Forward)];
    let seconds = 1 + (scattered(number) % 7).cast_signed();
    let last = rest.len() + 2;
    let all = first.into_iter().chain(rest).enumerate();
    all.map(|(place, event)| (event, stamp(number, if place == last { 1 + seconds } else { 1 }))).collect()
}

fn actor(number: u64) -> Actor {
    let uid = u32::try_from(1_000 + number % 5).unwrap_or(1_000);
    Actor {
        uid,
        user: format!("user{uid}"),
        loginuid: Some(uid),
        pid: Some(2_000),
        sender: ":1.2".to_owned(),
        unit: "session-2.scope".to_owned(),
        origin: if number.is_multiple_of(3) { Origin::Timer } else { Origin::Cli },
        client: "backstep 0.1.0".to_owned(),
    }
}

fn planned(id: TransactionId, kind: Kind, number: u64, request: Digest) -> Result<Plan> {
    let items = (0..ITEMS).map(|place| item(kind, number, place)).collect::<Result<Vec<_>>>()?;
    Ok(Plan {
        restores: Vec::new(),
        transaction: id,
        kind,
        request,
        world: Digest([2; 32]),
        method: Method::Packages,
        options: Options::default(),
        items,
        marks: Vec::new(),
        download_bytes: 5_000_000,
        warnings: Vec::new(),
    })
}

/// The name of an item: no two of a transaction are the same.
fn name(number: u64, place: u64) -> String {
    match place {
        0 if number.is_multiple_of(10_000) => RARE_PACKAGE.to_owned(),
        0 if number.is_multiple_of(10) => COMMON_PACKAGE.to_owned(),
        _ => format!("package-{place}-{}", scattered(number * ITEMS + place) % 4_000),
    }
}

fn item(kind: Kind, number: u64, place: u64) -> Result<PlanItem> {
    let (action, from, to) = match kind {
        Kind::Install => (PlanAction::Install, None, Some(1)),
        Kind::Remove => (PlanAction::Remove, Some(1), None),
        Kind::Purge => (PlanAction::Purge, Some(1), None),
        Kind::Reinstall => (PlanAction::Reinstall, Some(1), Some(1)),
        _ => (PlanAction::Upgrade, Some(1), Some(2)),
    };
    let name = name(number, place);
    let version = |release: i32| format!("2.{}-{release}", number / 10_000).parse();
    let archive = to.map(|release| Archive {
        source: ArchiveSource::Repository,
        origin: "Debian 12 main".to_owned(),
        file_name: format!("{name}_2.{}-{release}_amd64.deb", number / 10_000),
        size: 1_000_000,
        sha256: digest(name.as_bytes()),
        trusted: true,
    });
    Ok(PlanItem {
        package: format!("{name}:amd64").parse()?,
        action,
        reason: if place == 0 { Reason::Requested } else { Reason::Dependency },
        from: from.map(version).transpose()?,
        to: to.map(version).transpose()?,
        archive,
        installed_delta: 283_648,
        auto_before: false,
        auto_after: place > 0,
        essential: false,
        leftovers: false,
        undo: UndoQuality::Exact,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_run_is_gone_on_with() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("store.db");
        assert_eq!(fill(&path, 30, None, |_| {}).expect("fill"), 30);
        let mut told = Vec::new();
        assert_eq!(fill(&path, 60, None, |done| told.push(done)).expect("go on"), 60);
        assert_eq!(told, [60]);
        let reader = Reader::open(&path).expect("open");
        assert_eq!(reader.verify(|_, _| true).expect("whole").events, 60 * EVENTS);
        let measures = reader.measures().expect("measures");
        assert_eq!(measures.transactions.iter().map(|(_, _, count)| count).sum::<u64>(), 60);
        let once = folder.path().join("once.db");
        fill(&once, 60, None, |_| {}).expect("fill");
        let hash = |path: &Path| Reader::open(path).expect("open").verify(|_, _| true).expect("whole").hash;
        // The runs are other ones; all else is the same.
        assert_ne!(hash(&path), hash(&once));
    }
}
