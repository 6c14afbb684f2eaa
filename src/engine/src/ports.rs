//! What the manager needs of the world, as traits. Fakes of them serve the manager's unit tests.

use backstep_core::actor::Actor;
use backstep_core::backoff::{Backoff, NewBackoff};
use backstep_core::ignore::{Ignore, IgnoreRecord, Said};
use backstep_core::record::{Filter, Record, Summary};
use backstep_core::record_archive::{Moved, RecordArchive};
use backstep_core::redaction::{Redacted, Redaction};
use backstep_core::refusal::{Refusal, RefusalFilter, RefusalRecord};
use backstep_core::{Digest, Event, Failure, Kind, Plan, Scope, Stamp, Status, Tags, TransactionId};

/// A transaction as it enters the record.
#[derive(Debug, Clone)]
pub struct NewTransaction {
    /// Identity and idempotency key.
    pub id: TransactionId,
    /// What for.
    pub kind: Kind,
    /// The request's document, stored verbatim.
    pub request_bytes: Vec<u8>,
    /// Its SHA-256.
    pub request_digest: Digest,
    /// Why, in the caller's words; also the comment of the record's change-set.
    pub description: String,
    /// Words by which it is found again.
    pub tags: Tags,
    /// Who.
    pub actor: Actor,
    /// When.
    pub at: Stamp,
    /// Order in the queue.
    pub priority: i32,
    /// The transaction to undo.
    pub reverts: Option<TransactionId>,
    /// How much of that is undone.
    pub scope: Option<Scope>,
    /// The transaction it repeats.
    pub retries: Option<TransactionId>,
}

/// How a request entered the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entered {
    /// It is new.
    New,
    /// The same request was there under the same id.
    AlreadyThere,
}

/// Events of one transaction that are recorded together or not at all.
#[derive(Debug, Clone)]
pub struct Append {
    /// Which transaction.
    pub id: TransactionId,
    /// The attempt they belong to.
    pub attempt: Option<u32>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// When.
    pub at: Stamp,
    /// The last journal line these events stand for.
    pub journal_seq: Option<u64>,
    /// With `completed` or `accepted`: the digest of dpkg's and apt's state after the change.
    pub world_after: Option<Digest>,
}

/// A change that was made without us, from its request to its end.
#[derive(Debug, Clone)]
pub struct Adoption {
    /// Its request.
    pub new: NewTransaction,
    /// What was done.
    pub plan: Plan,
    /// The plan's document, stored verbatim.
    pub plan_bytes: Vec<u8>,
    /// Its SHA-256.
    pub plan_digest: Digest,
    /// What happened after `prepared`, each with its time.
    pub events: Vec<(Event, Stamp)>,
    /// The last line of its journal.
    pub journal_seq: u64,
    /// The digest of dpkg's and apt's state after it, when files can be put back from there.
    pub world_after: Option<Digest>,
}

/// Calls that were turned away and are told in one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The last of them.
    pub refusal: Refusal,
    /// How many.
    pub count: u64,
    /// When the first one was.
    pub at: Stamp,
    /// When the last one was.
    pub until: Stamp,
}

/// The durable record. Every write is one commit; an error means that nothing was written.
pub trait Ledger {
    /// Takes a request. The same id with another request is [`backstep_core::ErrorCode::RequestDuplicate`].
    fn enter(&mut self, new: &NewTransaction) -> Result<Entered, Failure>;
    /// Freezes a plan: the bytes, its items and steps, and the event `prepared`.
    fn freeze(&mut self, plan: &Plan, bytes: &[u8], digest: Digest, at: Stamp) -> Result<Status, Failure>;
    /// Takes a change that was made without us, in one commit. The same id with another request is
    /// [`backstep_core::ErrorCode::RequestDuplicate`].
    fn adopt(&mut self, adoption: &Adoption) -> Result<Entered, Failure>;
    /// Appends events; refuses what the state machine refuses.
    fn append(&mut self, append: &Append) -> Result<Status, Failure>;
    /// A transaction with everything.
    fn record(&self, id: TransactionId) -> Result<Option<Record>, Failure>;
    /// A transaction's row.
    fn summary(&self, id: TransactionId) -> Result<Option<Summary>, Failure>;
    /// Everything that has not ended, oldest first.
    fn unfinished(&self) -> Result<Vec<Summary>, Failure>;
    /// The request's bytes.
    fn request_bytes(&self, id: TransactionId) -> Result<Option<Vec<u8>>, Failure>;
    /// The frozen plan's bytes.
    fn plan_bytes(&self, id: TransactionId) -> Result<Option<Vec<u8>>, Failure>;
    /// The last journal line of an attempt that is in the record; 0 for none.
    fn journal_position(&self, id: TransactionId, attempt: u32) -> Result<u64, Failure>;
    /// The digest recorded with `completed` or `accepted`.
    fn world_after(&self, id: TransactionId) -> Result<Option<Digest>, Failure>;
    /// Transactions, newest first.
    fn list(&self, filter: &Filter) -> Result<Vec<Summary>, Failure>;
    /// The transactions whose id is this, or ends in these at least four hexadecimal digits; two at most.
    fn find(&self, text: &str) -> Result<Vec<TransactionId>, Failure>;
    /// The newest transaction that can be undone.
    fn last_undoable(&self) -> Result<Option<TransactionId>, Failure>;
    /// What changed the system after this one began, rollbacks included, the newest first.
    fn changed_since(&self, id: TransactionId) -> Result<Vec<TransactionId>, Failure>;
    /// The first transaction that began at this time (microseconds since 1970, UTC) or later and changed the system.
    fn first_since(&self, at_us: i64) -> Result<Option<TransactionId>, Failure>;
    /// The newest transaction that failed and left something to undo.
    fn last_failed(&self) -> Result<Option<TransactionId>, Failure>;
    /// Takes calls that were turned away into the record, in one row.
    fn refuse(&mut self, refused: &Refused) -> Result<(), Failure>;
    /// Whether the device failed: what is on it is not known then, nothing more is written, and whoever goes on has to
    /// read everything anew.
    fn is_broken(&self) -> bool {
        false
    }
    /// Calls that were turned away, newest first.
    fn refusals(&self, filter: &RefusalFilter) -> Result<Vec<RefusalRecord>, Failure>;
    /// Takes an ignore; one that says the same of the same ends with it. Answers its number.
    fn ignore(&mut self, said: &Said<Ignore>) -> Result<u64, Failure>;
    /// Takes an ignore back; `false` when there is none with that number, or not any more.
    fn unignore(&mut self, said: &Said<u64>) -> Result<bool, Failure>;
    /// The ignores that nobody took back, in their order; those that are over by themselves are among them.
    fn ignores(&self) -> Result<Vec<IgnoreRecord>, Failure>;
    /// Every ignore there ever was, newest first.
    fn all_ignores(&self, limit: u32) -> Result<Vec<IgnoreRecord>, Failure>;
    /// Has work left alone; what is set for the same ends with it. Answers its number. Failures and successes of
    /// transactions set and end back-offs with their events.
    fn back_off(&mut self, said: &Said<NewBackoff>) -> Result<u64, Failure>;
    /// Ends these back-offs; answers how many had not ended.
    fn clear_backoffs(&mut self, said: &Said<Vec<u64>>) -> Result<u32, Failure>;
    /// Counts these back-offs anew from this time.
    fn begin_backoffs_anew(&mut self, numbers: &[u64], actor: &Actor, at: Stamp) -> Result<(), Failure>;
    /// The back-offs that were not ended, in their order; those that are over by themselves are among them.
    fn backoffs(&self) -> Result<Vec<Backoff>, Failure>;
    /// Every back-off there ever was, newest first.
    fn all_backoffs(&self, limit: u32) -> Result<Vec<Backoff>, Failure>;
    /// Takes what the configuration says now.
    fn configure(&mut self, said: &Said<String>) -> Result<(), Failure>;
    /// What it said last; empty when it never said anything.
    fn configuration(&self) -> Result<String, Failure>;
    /// Takes a text out, or says what that would be. Refuses what would make a request or a plan say something else, and what is in
    /// a transaction that has not ended.
    fn redact(&mut self, said: &Said<Redaction>) -> Result<Redacted, Failure>;
    /// Lists an archive that was written of the oldest transactions, and lets them go.
    fn move_to(&mut self, said: &Said<RecordArchive>) -> Result<Moved, Failure>;
    /// Gives the space of what has left back.
    fn shrink(&mut self) -> Result<(), Failure>;
}

/// The mirror of the record for people and programs that read files.
pub trait Mirror {
    /// Writes a transaction's document.
    fn mirror(&mut self, record: &Record) -> Result<(), Failure>;
    /// Puts in order what a crash left, given everything that has not ended and what ended last; answers whose
    /// documents are to be written again.
    fn reconcile(&mut self, unfinished: &[TransactionId], ended: &[TransactionId]) -> Result<Vec<TransactionId>, Failure>;
}

/// Time.
pub trait Clock {
    /// Now.
    fn now(&self) -> Stamp;
}

/// New identities.
pub trait Identities {
    /// A new id, later than all before.
    fn next(&mut self) -> TransactionId;
}
