//! A record of 10,000 finished transactions, written by the store itself.

use anyhow::{Context, Result};
use backstep_core::actor::{Actor, Origin};
use backstep_core::{
    BootId, Digest, Direction, Event, Kind, Method, Options, Plan, PlanAction, PlanItem, Reason, Request, Stamp, StepKind, StepState,
    TransactionId, UndoQuality,
};
use backstep_store::{Append, NewTransaction, Run, Store};
use backstep_tests::machine::Machine;
use backstep_wire::{digest, plan, request};

const COUNT: u32 = 10_000;
const SECOND: i64 = 1_000_000;
const PLACE: &str = "/var/lib/backstep/store.db";

/// Puts it in place of the machine's; the daemon starts anew over it.
pub(crate) fn fill(machine: &Machine) -> Result<()> {
    machine.check(["systemctl", "stop", "backstepd.service"])?;
    // In memory: every transaction is several durable commits.
    let folder = tempfile::tempdir_in("/dev/shm")?;
    let path = folder.path().join("store.db");
    let run = Run { id: uuid(0), version: "0".to_owned(), pid: 1, at: stamp(0) };
    let mut store = Store::open(&path, &run)?;
    for number in 1..=COUNT {
        one(&mut store, number).with_context(|| format!("transaction {number}"))?;
    }
    store.close()?;
    machine.check(["rm", "-f", &format!("{PLACE}-wal"), &format!("{PLACE}-shm")])?;
    machine.copy_in(&path, PLACE)
}

fn uuid(number: u32) -> String {
    format!("01936b2e-7c1a-7d3e-9f10-0000{number:08x}")
}

fn stamp(second: i64) -> Stamp {
    Stamp { utc_us: 1_700_000_000 * SECOND + second * SECOND, monotonic_us: second * SECOND, boot: BootId([9; 16]) }
}

fn one(store: &mut Store, number: u32) -> Result<()> {
    let id: TransactionId = uuid(number).parse()?;
    let at = |offset: i64| stamp(i64::from(number) * 10 + offset);
    let asked = Request {
        kind: Kind::Remove,
        description: String::new(),
        tags: Default::default(),
        items: Vec::new(),
        archives: Vec::new(),
        reverts: None,
        retries: None,
        options: Options::default(),
    };
    let request_bytes = request::to_bytes(&asked);
    let actor = actor();
    store.create(&NewTransaction {
        id,
        kind: asked.kind,
        request_bytes: &request_bytes,
        request_digest: digest(&request_bytes),
        description: "",
        tags: &[],
        comment: "",
        actor: &actor,
        at: at(0),
        priority: 0,
        reverts: None,
        scope: None,
        retries: None,
    })?;
    let planned = planned(id, digest(&request_bytes))?;
    let plan_bytes = plan::to_bytes(&planned);
    store.freeze_plan(id, &planned, &plan_bytes, digest(&plan_bytes), at(1))?;
    let mut append = |attempt: Option<u32>, events: &[Event], offset: i64| {
        let world_after = events.contains(&Event::Completed).then_some(Digest([8; 32]));
        store.append(&Append { id, attempt, events, at: at(offset), journal_seq: None, world_after }).map(drop)
    };
    append(None, &[Event::Queued { action: "org.backstep1.remove".to_owned() }, Event::Started { attempt: 1 }], 2)?;
    let mut events = Vec::new();
    for step in StepKind::ALL.iter().copied() {
        events.push(Event::StepStarted { step, direction: Direction::Forward });
        events.push(Event::StepEnded { step, state: StepState::Completed, code: None, text: String::new() });
    }
    events.push(Event::Completed);
    append(Some(1), &events, 5)?;
    Ok(())
}

fn actor() -> Actor {
    Actor {
        uid: 0,
        user: "root".to_owned(),
        loginuid: None,
        pid: Some(2),
        sender: ":1.2".to_owned(),
        unit: String::new(),
        origin: Origin::Cli,
        client: "bench".to_owned(),
    }
}

fn planned(id: TransactionId, request: Digest) -> Result<Plan> {
    let item = PlanItem {
        package: "hello:amd64".parse()?,
        action: PlanAction::Remove,
        reason: Reason::Requested,
        from: Some("2.10-3".parse()?),
        to: None,
        archive: None,
        installed_delta: -283_648,
        auto_before: false,
        auto_after: false,
        essential: false,
        leftovers: false,
        undo: UndoQuality::Exact,
    };
    Ok(Plan {
        transaction: id,
        kind: Kind::Remove,
        request,
        world: Digest([2; 32]),
        method: Method::Packages,
        options: Options::default(),
        items: vec![item],
        marks: Vec::new(),
        restores: Vec::new(),
        download_bytes: 0,
        warnings: Vec::new(),
    })
}
