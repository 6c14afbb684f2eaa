//! Documents against the golden files and the JSON Schema that is published with them.
//!
//! A golden file never changes within a version, but for fields that are added.

use std::collections::BTreeSet;

use backstep_core::actor::{Actor, Origin};
use backstep_core::record::{EventRecord, ItemRecord, ItemState, Record, Sources, StepRecord, Summary};
use backstep_core::state::TrackingStatus;
use backstep_core::{
    BootId, Digest, Direction, ErrorCode, Event, Failure, Kind, PlanAction, Stamp, Status, StepKind, StepState, Tags, TransactionId,
    TransactionState,
};
use backstep_spool::document;
use serde_json::{Value, json};

const SCHEMA: &str = include_str!("../../../docs/schema/transaction.schema.json");

fn at(us: i64) -> Stamp {
    Stamp { utc_us: 1_700_000_000_000_000 + us, monotonic_us: us, boot: BootId([0xb0; 16]) }
}

fn id(n: u8) -> TransactionId {
    format!("01936b2e-7c1a-7d3e-9f10-0000000000{n:02x}").parse().expect("id")
}

fn status(state: TransactionState, attempts: u32, undoing: bool) -> Status {
    Status { state, cancel_requested: false, attempts, undoing }
}

fn events(events: Vec<Event>) -> Vec<EventRecord> {
    let record = |(seq, event): (i64, Event)| EventRecord {
        seq,
        at: at(seq),
        attempt: (seq > 3).then_some(1),
        event,
        hash: Digest([u8::try_from(seq).unwrap_or(0xff); 32]),
    };
    (1..).zip(events).map(record).collect()
}

fn created() -> Record {
    let actor = Actor {
        uid: 1000,
        user: "ana".into(),
        loginuid: Some(1000),
        pid: Some(77),
        sender: ":1.5".into(),
        unit: "user@1000.service".into(),
        origin: Origin::Cli,
        client: "backstep 0.1.0".into(),
    };
    let summary = Summary {
        id: id(1),
        kind: Kind::Install,
        status: Status::CREATED,
        description: "a \"greeting\", für alle".into(),
        tags: Default::default(),
        actor,
        sequence: 0,
        priority: 0,
        reverts: None,
        retries: None,
        reverted_by: None,
        created: at(0),
        queued: None,
        started: None,
        finished: None,
        duration_us: None,
        plan_summary: String::new(),
        items_done: 0,
        items_total: 0,
        error: None,
    };
    let events = events(vec![Event::Created]);
    Record {
        summary,
        request_digest: Digest([5; 32]),
        plan_digest: None,
        sources: Default::default(),
        items: vec![],
        steps: vec![],
        events,
    }
}

fn item(state: ItemState, now: &str) -> ItemRecord {
    ItemRecord {
        package: "hello:amd64".into(),
        manager: "apt",
        action: PlanAction::Install,
        from: None,
        to: Some("2.10-3".into()),
        now: now.into(),
        state,
    }
}

fn step(kind: StepKind, state: StepState) -> StepRecord {
    StepRecord { kind, attempt: 1, state, started: Some(at(4)), finished: Some(at(5)), error: None, text: "as planned".into() }
}

fn ended(mut record: Record, state: TransactionState) -> Record {
    let summary = &mut record.summary;
    summary.status = status(state, 1, state != TransactionState::Completed);
    (summary.queued, summary.started, summary.finished) = (Some(at(2)), Some(at(3)), Some(at(9)));
    (summary.sequence, summary.duration_us) = (12, Some(6));
    (summary.items_total, summary.plan_summary) = (1, "1 to install (hello)".into());
    record.plan_digest = Some(Digest([6; 32]));
    record
}

fn begun() -> Vec<Event> {
    let action = || "org.backstep1.install".to_owned();
    vec![
        Event::Created,
        Event::Prepared { digest: Digest([6; 32]) },
        Event::Queued { action: action() },
        Event::Started { attempt: 1 },
        Event::StepStarted { step: StepKind::Apply, direction: Direction::Forward },
        Event::ItemChanged { package: "hello:amd64".into(), before: "not-installed".into(), after: "installed 2.10-3".into() },
    ]
}

fn completed() -> Record {
    let mut record = ended(created(), TransactionState::Completed);
    record.summary.items_done = 1;
    record.summary.reverted_by = Some(id(3));
    record.summary.tags = Tags::new(&["ticket:4711", "env=prod"]).expect("tags");
    record.items = vec![item(ItemState::Done, "installed 2.10-3")];
    record.steps = StepKind::ALL.iter().map(|kind| step(*kind, StepState::Completed)).collect();
    let end = Event::StepEnded { step: StepKind::Apply, state: StepState::Completed, code: None, text: "as planned".into() };
    record.events = events(begun().into_iter().chain([end, Event::Completed]).collect());
    record.sources = Sources {
        request: b"{\"kind\":\"install\"}".to_vec(),
        plan: Some(b"{\"items\":[]}".to_vec()),
        scope: None,
        world_after: Some(Digest([7; 32])),
        journal: vec![(1, 30)],
    };
    record
}

fn rolled_back() -> Record {
    let mut record = ended(created(), TransactionState::RolledBack);
    let failure = Failure::new(ErrorCode::ScriptFailed, "postinst of hello failed with status 1");
    record.summary.kind = Kind::Rollback;
    (record.summary.reverts, record.summary.retries) = (Some(id(2)), Some(id(4)));
    record.summary.error = Some(failure.clone());
    record.items = vec![item(ItemState::Undone, "not-installed")];
    record.steps = vec![
        step(StepKind::Secure, StepState::Undone),
        StepRecord { error: Some(failure.clone()), ..step(StepKind::Apply, StepState::Undone) },
        StepRecord { started: None, finished: None, attempt: 0, text: String::new(), ..step(StepKind::Check, StepState::Pending) },
    ];
    let turned = Event::UndoStarted { code: failure.code, text: failure.text };
    record.events = events(begun().into_iter().chain([turned, Event::UndoFinished { differences: 0 }]).collect());
    record
}

fn all() -> [(&'static str, Record, &'static str); 3] {
    [
        ("created", created(), include_str!("golden/created.json")),
        ("completed", completed(), include_str!("golden/completed.json")),
        ("rolled-back", rolled_back(), include_str!("golden/rolled-back.json")),
    ]
}

fn schema() -> Value {
    serde_json::from_str(SCHEMA).expect("the schema is JSON")
}

#[test]
fn documents_are_the_golden_files() {
    for (name, record, golden) in all() {
        let found = document(&record, "0123456789abcdef0123456789abcdef");
        assert_eq!(found, golden, "golden/{name}.json; the document is now:\n{found}");
    }
}

#[test]
fn documents_follow_the_schema() {
    let schema = schema();
    jsonschema::meta::validate(&schema).expect("a schema");
    let validator = jsonschema::validator_for(&schema).expect("schema");
    for (name, record, _) in all() {
        let value = serde_json::from_str(&document(&record, "0123456789abcdef0123456789abcdef")).expect("json");
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
    }
    // Every event in its form.
    let mut record = completed();
    record.events = events(Event::samples());
    let value = serde_json::from_str(&document(&record, "0123456789abcdef0123456789abcdef")).expect("json");
    assert!(validator.is_valid(&value));
}

#[test]
fn the_schema_refuses_what_is_no_document() {
    let validator = jsonschema::validator_for(&schema()).expect("schema");
    let good: Value = serde_json::from_str(&document(&completed(), "0123456789abcdef0123456789abcdef")).expect("json");
    for key in good.as_object().expect("object").keys() {
        let mut bad = good.clone();
        bad.as_object_mut().expect("object").remove(key);
        assert!(!validator.is_valid(&bad), "{key} may be missing");
    }
    let changes = [
        ("/version", json!(2)),
        ("/kind", json!("explode")),
        ("/state", json!("lost")),
        ("/id", json!("x")),
        ("/created/boot", json!("x")),
        ("/items/0/action", json!("explode")),
        ("/items/0/manager", json!("pip")),
        ("/steps/0/state", json!("lost")),
        ("/events/0/event", json!("lost")),
        ("/events/0/hash", json!("00")),
        ("/request_digest", json!(null)),
    ];
    for (pointer, value) in changes {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).expect(pointer) = value;
        assert!(!validator.is_valid(&bad), "{pointer}");
    }
}

#[test]
fn the_schema_lists_the_core_s_names() {
    fn names<T: ToString>(all: &[T]) -> BTreeSet<String> {
        all.iter().map(ToString::to_string).collect()
    }
    let schema = schema();
    let events: Vec<&str> = Event::samples().iter().map(Event::name).collect();
    let expected = [
        ("kind", names(Kind::ALL)),
        ("state", names(TransactionState::ALL)),
        ("status", names(TrackingStatus::ALL)),
        ("origin", names(Origin::ALL)),
        ("action", names(PlanAction::ALL)),
        ("item_state", names(ItemState::ALL)),
        ("step", names(StepKind::ALL)),
        ("step_state", names(StepState::ALL)),
        ("direction", names(Direction::ALL)),
        ("code", names(ErrorCode::ALL)),
        ("event_name", names(&events)),
    ];
    for (name, names) in expected {
        let list = schema["$defs"][name]["enum"].as_array().unwrap_or_else(|| panic!("$defs/{name}"));
        let found: BTreeSet<String> = list.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        assert_eq!(found, names, "{name}");
    }
}
