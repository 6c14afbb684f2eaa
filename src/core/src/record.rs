//! A transaction as it is read back: what the store answers, the spool mirrors and the bus shows.

use crate::actor::{Actor, Origin};
use crate::event::Event;
use crate::id::{Digest, Stamp, TransactionId};
use crate::plan::PlanAction;
use crate::request::Kind;
use crate::request::Scope;
use crate::state::Status;
use crate::tag::{Tag, Tags};
use crate::{Failure, StepKind, StepState, TransactionState};

/// One row of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Identity.
    pub id: TransactionId,
    /// What for.
    pub kind: Kind,
    /// The fold of its events.
    pub status: Status,
    /// Why, in the caller's words.
    pub description: String,
    /// Words by which it is found again.
    pub tags: Tags,
    /// Who.
    pub actor: Actor,
    /// Order of authorisation; 0 before it. Source of the queue's order.
    pub sequence: i64,
    /// Higher runs first.
    pub priority: i32,
    /// The transaction it undoes.
    pub reverts: Option<TransactionId>,
    /// The transaction it repeats.
    pub retries: Option<TransactionId>,
    /// The completed transaction that undid it.
    pub reverted_by: Option<TransactionId>,
    /// Requested at.
    pub created: Stamp,
    /// Authorised at.
    pub queued: Option<Stamp>,
    /// First attempt began at.
    pub started: Option<Stamp>,
    /// Ended at.
    pub finished: Option<Stamp>,
    /// Microseconds from start to end: monotonic within one boot, else by the real-time clock.
    pub duration_us: Option<i64>,
    /// The plan in one line; empty before there is one.
    pub plan_summary: String,
    /// Items that have their planned state, of all.
    pub items_done: u32,
    /// Items of the plan.
    pub items_total: u32,
    /// The error it ended with, or the one that made it turn round.
    pub error: Option<Failure>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRecord {
    /// Which.
    pub kind: StepKind,
    /// The attempt that touched it last.
    pub attempt: u32,
    /// How far it is.
    pub state: StepState,
    /// Began at.
    pub started: Option<Stamp>,
    /// Ended at (the forward run).
    pub finished: Option<Stamp>,
    /// The error it ended with.
    pub error: Option<Failure>,
    /// For people: what was done.
    pub text: String,
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemRecord {
    /// `name:arch`.
    pub package: String,
    /// The manager that owns it; always `apt` so far.
    pub manager: &'static str,
    /// What happens.
    pub action: PlanAction,
    /// The version before.
    pub from: Option<String>,
    /// The version planned.
    pub to: Option<String>,
    /// dpkg's status and version as last recorded; empty before anything was.
    pub now: String,
    /// `pending`, `done` or `undone`.
    pub state: ItemState,
}

closed_enum! {
    /// How far a package is.
    pub enum ItemState("item state") {
        /// Not touched.
        Pending = "pending",
        /// Between two states.
        Half = "half",
        /// As planned.
        Done = "done",
        /// As before again.
        Undone = "undone",
    }
}

/// One recorded event with its row's facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRecord {
    /// Its number in the whole record.
    pub seq: i64,
    /// When.
    pub at: Stamp,
    /// The attempt it belongs to; `None` outside attempts.
    pub attempt: Option<u32>,
    /// What.
    pub event: Event,
    /// The hash that chains it to all events before.
    pub hash: Digest,
}

/// What a transaction's events do not say: with them and this the whole of it can be recorded again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources {
    /// The request's bytes.
    pub request: Vec<u8>,
    /// The plan's bytes; `None` before there is one.
    pub plan: Option<Vec<u8>>,
    /// How much of another transaction is undone.
    pub scope: Option<Scope>,
    /// The digest of dpkg's and apt's state as the change left it.
    pub world_after: Option<Digest>,
    /// The last line of each attempt's journal that is on record, by the attempt's number.
    pub journal: Vec<(u32, u64)>,
}

/// A transaction with everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The row.
    pub summary: Summary,
    /// SHA-256 of the request's bytes.
    pub request_digest: Digest,
    /// SHA-256 of the plan's bytes; `None` before there is one.
    pub plan_digest: Option<Digest>,
    /// What the events do not say.
    pub sources: Sources,
    /// The packages, in the plan's order.
    pub items: Vec<ItemRecord>,
    /// The steps, in order.
    pub steps: Vec<StepRecord>,
    /// What happened, in order.
    pub events: Vec<EventRecord>,
}

/// Which transactions to list, newest first. Every field narrows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Of this kind.
    pub kind: Option<Kind>,
    /// In this state.
    pub state: Option<TransactionState>,
    /// Not ended.
    pub unfinished: bool,
    /// Touching this package, by name without architecture.
    pub package: Option<String>,
    /// Asked by this user.
    pub uid: Option<u32>,
    /// With this tag.
    pub tag: Option<Tag>,
    /// Through this door.
    pub origin: Option<Origin>,
    /// Requested at or after this time, microseconds since 1970 in UTC.
    pub since_us: Option<i64>,
    /// Requested before this time, microseconds since 1970 in UTC.
    pub until_us: Option<i64>,
    /// With these characters in the description, whatever their case. At least [`crate::limits::MIN_TEXT`].
    pub text: Option<String>,
    /// Requested before this one: for pages.
    pub before: Option<TransactionId>,
    /// At most so many; 0 means 50.
    pub limit: u32,
}

/// How one kind of transaction fared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindStatistics {
    /// The kind.
    pub kind: Kind,
    /// Transactions that ended.
    pub count: u64,
    /// Of these, completed.
    pub completed: u64,
    /// Of these, failed; the rest was cancelled.
    pub failed: u64,
    /// Running now.
    pub in_progress: u64,
    /// Mean duration, microseconds.
    pub mean_us: i64,
    /// Median duration, microseconds.
    pub p50_us: i64,
    /// 95th percentile of the duration, microseconds.
    pub p95_us: i64,
}
