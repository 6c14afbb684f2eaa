//! The document of a transaction. Its schema is docs/schema/transaction.schema.json.
//!
//! Invariant: within a version fields are only added; equal records have equal documents. Every field of the
//! transaction, its items and steps is there, null when empty; an event has only the fields it needs.

use backstep_core::actor::Actor;
use backstep_core::record::{EventRecord, ItemRecord, Record, Sources, StepRecord, Summary};
use backstep_core::{EventFields, Failure, Scope, Stamp, TransactionId, TransactionState};
use serde::Serialize;

/// What a document says it is.
pub const FORMAT: &str = "org.backstep.transaction";
/// The version of the documents written here.
pub const VERSION: u32 = 1;

#[derive(Serialize)]
pub(crate) struct Document<'a> {
    format: &'static str,
    version: u32,
    host: &'a str,
    id: String,
    kind: &'static str,
    state: &'static str,
    status: &'static str,
    success: Option<bool>,
    cancel_requested: bool,
    undoing: bool,
    attempts: u32,
    description: &'a str,
    tags: Vec<String>,
    priority: i32,
    sequence: Option<i64>,
    actor: DocumentActor<'a>,
    reverts: Option<String>,
    retries: Option<String>,
    reverted_by: Option<String>,
    created: Time,
    queued: Option<Time>,
    started: Option<Time>,
    finished: Option<Time>,
    duration_us: Option<i64>,
    request_digest: String,
    plan_digest: Option<String>,
    plan_summary: &'a str,
    items_done: u32,
    items_total: u32,
    error: Option<DocumentError<'a>>,
    items: Vec<Item<'a>>,
    steps: Vec<Step<'a>>,
    events: Vec<DocumentEvent>,
    sources: DocumentSources<'a>,
}

#[derive(Serialize)]
struct DocumentActor<'a> {
    uid: u32,
    user: &'a str,
    loginuid: Option<u32>,
    pid: Option<u32>,
    sender: &'a str,
    unit: &'a str,
    origin: &'static str,
    client: &'a str,
}

#[derive(Serialize)]
struct Time {
    utc_us: i64,
    monotonic_us: i64,
    boot: String,
}

#[derive(Serialize)]
struct DocumentError<'a> {
    code: &'static str,
    text: &'a str,
    hint: &'static str,
}

#[derive(Serialize)]
struct Item<'a> {
    package: &'a str,
    manager: &'static str,
    action: &'static str,
    from: Option<&'a str>,
    to: Option<&'a str>,
    now: &'a str,
    state: &'static str,
}

#[derive(Serialize)]
struct Step<'a> {
    kind: &'static str,
    title: &'static str,
    state: &'static str,
    attempt: u32,
    started: Option<Time>,
    finished: Option<Time>,
    error: Option<DocumentError<'a>>,
    text: &'a str,
}

#[derive(Serialize)]
struct DocumentEvent {
    seq: i64,
    at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    event: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<i64>,
    hash: String,
}

/// What the rest of a document does not say: with it a lost record is written again.
#[derive(Serialize)]
struct DocumentSources<'a> {
    /// Verbatim: their digests are over these bytes.
    request: Option<&'a str>,
    plan: Option<&'a str>,
    scope: Option<&'static str>,
    world_after: Option<String>,
    journal: Vec<Position>,
}

#[derive(Serialize)]
struct Position {
    attempt: u32,
    seq: u64,
}

impl<'a> DocumentSources<'a> {
    fn new(sources: &'a Sources) -> Self {
        let Sources { request, plan, scope, world_after, journal } = sources;
        Self {
            request: std::str::from_utf8(request).ok(),
            plan: plan.as_deref().and_then(|plan| std::str::from_utf8(plan).ok()),
            scope: scope.map(Scope::as_str),
            world_after: world_after.map(|digest| digest.to_string()),
            journal: journal.iter().map(|(attempt, seq)| Position { attempt: *attempt, seq: *seq }).collect(),
        }
    }
}

/// The document of a transaction: indented JSON with a newline at its end.
#[must_use]
pub fn document(record: &Record, host_id: &str) -> String {
    // Serialising our own structs cannot fail: they have string keys and no failing impls.
    let text = serde_json::to_string_pretty(&Document::new(record, host_id)).expect("plain structs with string keys always serialise");
    text + "\n"
}

impl<'a> Document<'a> {
    pub(crate) fn new(record: &'a Record, host: &'a str) -> Self {
        let Record { summary, request_digest, plan_digest, sources, items, steps, events } = record;
        let Summary { id, kind, status, description, tags, actor, sequence, priority, reverts, retries, reverted_by, .. } = summary;
        Self {
            format: FORMAT,
            version: VERSION,
            host,
            id: id.to_string(),
            kind: kind.as_str(),
            state: status.state.as_str(),
            status: status.state.tracking().as_str(),
            success: status.state.is_final().then_some(status.state == TransactionState::Completed),
            cancel_requested: status.cancel_requested,
            undoing: status.undoing,
            attempts: status.attempts,
            description,
            tags: tags.texts(),
            priority: *priority,
            sequence: (*sequence > 0).then_some(*sequence),
            actor: DocumentActor::new(actor),
            reverts: text(*reverts),
            retries: text(*retries),
            reverted_by: text(*reverted_by),
            created: Time::new(summary.created),
            queued: summary.queued.map(Time::new),
            started: summary.started.map(Time::new),
            finished: summary.finished.map(Time::new),
            duration_us: summary.duration_us,
            request_digest: request_digest.to_string(),
            plan_digest: plan_digest.map(|digest| digest.to_string()),
            plan_summary: &summary.plan_summary,
            items_done: summary.items_done,
            items_total: summary.items_total,
            error: summary.error.as_ref().map(DocumentError::new),
            items: items.iter().map(Item::new).collect(),
            steps: steps.iter().map(Step::new).collect(),
            events: events.iter().map(DocumentEvent::new).collect(),
            sources: DocumentSources::new(sources),
        }
    }
}

fn text(id: Option<TransactionId>) -> Option<String> {
    id.map(|id| id.to_string())
}

impl<'a> DocumentActor<'a> {
    fn new(actor: &'a Actor) -> Self {
        let Actor { uid, user, loginuid, pid, sender, unit, origin, client } = actor;
        Self { uid: *uid, user, loginuid: *loginuid, pid: *pid, sender, unit, origin: origin.as_str(), client }
    }
}

impl Time {
    fn new(stamp: Stamp) -> Self {
        Self { utc_us: stamp.utc_us, monotonic_us: stamp.monotonic_us, boot: stamp.boot.to_string() }
    }
}

impl<'a> DocumentError<'a> {
    fn new(failure: &'a Failure) -> Self {
        Self { code: failure.code.as_str(), text: &failure.text, hint: failure.code.hint() }
    }
}

impl<'a> Item<'a> {
    fn new(item: &'a ItemRecord) -> Self {
        let ItemRecord { package, manager, action, from, to, now, state } = item;
        let (from, to) = (from.as_deref(), to.as_deref());
        Self { package, manager, action: action.as_str(), from, to, now, state: state.as_str() }
    }
}

impl<'a> Step<'a> {
    fn new(step: &'a StepRecord) -> Self {
        let StepRecord { kind, attempt, state, started, finished, error, text } = step;
        Self {
            kind: kind.as_str(),
            title: kind.title(),
            state: state.as_str(),
            attempt: *attempt,
            started: started.map(Time::new),
            finished: finished.map(Time::new),
            error: error.as_ref().map(DocumentError::new),
            text,
        }
    }
}

impl DocumentEvent {
    fn new(record: &EventRecord) -> Self {
        let EventFields { event, step, direction, state, code, subject, text, after, number } = record.event.fields();
        Self {
            seq: record.seq,
            at: Time::new(record.at),
            attempt: record.attempt,
            event,
            step,
            direction,
            state,
            code,
            subject,
            text,
            after,
            number,
            hash: record.hash.to_string(),
        }
    }
}
