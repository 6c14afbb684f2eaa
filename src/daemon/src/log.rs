//! The daemon's log: structured fields and stable message ids in the journal, plain lines elsewhere.
//!
//! `journalctl MESSAGE_ID=…` finds every event of a sort, `journalctl TRANSACTION=…` everything of a transaction.

use backstep_core::refusal::Refusal;
use backstep_core::{AttemptId, ErrorCode, TransactionId, TransactionState};
use backstep_store::Rebuild;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::attempts::Keep;

/// A transaction's state changed.
pub const STATE: &str = "5d0d1c2f7a6b4e3c9f1b6f0a2c7d8e01";
/// A transaction ended.
pub const FINISHED: &str = "5d0d1c2f7a6b4e3c9f1b6f0a2c7d8e02";
/// A call was turned away.
pub const DENIED: &str = "5d0d1c2f7a6b4e3c9f1b6f0a2c7d8e03";
/// A transaction needs a person.
pub const ATTENTION: &str = "5d0d1c2f7a6b4e3c9f1b6f0a2c7d8e04";
/// The daemon started.
pub const STARTED: &str = "5d0d1c2f7a6b4e3c9f1b6f0a2c7d8e05";
/// Somebody decided how long undo material is kept.
pub const KEPT: &str = "5d0d1c2f7a6b4e3c9f1b6f0a2c7d8e06";

/// The record was written again.
pub const REBUILT: &str = "5d0d1c2f7a6b4e3c9f1b6f0a2c7d8e07";
/// The record is of a newer version.
pub const NEWER: &str = "5d0d1c2f7a6b4e3c9f1b6f0a2c7d8e08";
/// The record is damaged.
pub const DAMAGED: &str = "5d0d1c2f7a6b4e3c9f1b6f0a2c7d8e09";

/// A question to the record took long.
pub const SLOW: &str = "5d0d1c2f7a6b4e3c9f1b6f0a2c7d8e0a";
/// The record is large.
pub const LARGE: &str = "5d0d1c2f7a6b4e3c9f1b6f0a2c7d8e0b";
/// A worker runs for long.
pub const LONG: &str = "5d0d1c2f7a6b4e3c9f1b6f0a2c7d8e0c";

/// Sends the log to the journal when the standard error stream goes there, else to that stream.
pub fn init() -> anyhow::Result<()> {
    let registry = tracing_subscriber::registry().with(tracing_subscriber::filter::LevelFilter::INFO);
    if to_journal() {
        registry.with(tracing_journald::layer()?.with_field_prefix(None).with_syslog_identifier("backstepd".into())).try_init()?;
    } else {
        registry.with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false)).try_init()?;
    }
    Ok(())
}

/// systemd names the device and inode of the stream it connected to the journal.
#[allow(clippy::disallowed_methods)] // JOURNAL_STREAM is systemd's interface, and only chooses where log lines go.
fn to_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    let ours = nix::sys::stat::fstat(std::io::stderr()).map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino));
    ours.is_ok_and(|ours| ours == named)
}

/// A transaction's state changed.
pub fn state(id: TransactionId, state: TransactionState) {
    tracing::info!(MESSAGE_ID = STATE, TRANSACTION = %id, STATE = %state, "transaction {id} is {state}");
}

/// A transaction ended or needs a person.
pub fn finished(id: TransactionId, state: TransactionState, code: Option<ErrorCode>) {
    let code = code.map_or("", ErrorCode::as_str);
    if state == TransactionState::NeedsAttention {
        tracing::error!(MESSAGE_ID = ATTENTION, TRANSACTION = %id, CODE = code, "transaction {id} needs a decision: backstep show {id}, then backstep repair {id} --undo or --accept");
    } else {
        let why = if code.is_empty() { String::new() } else { format!(": {code}") };
        tracing::info!(MESSAGE_ID = FINISHED, TRANSACTION = %id, STATE = %state, CODE = code, "transaction {id} ended as {state}{why}");
    }
}

/// A call was turned away.
pub fn refused(refusal: &Refusal) {
    let id = refusal.transaction.map(|id| id.to_string()).unwrap_or_default();
    let (uid, method, code) = (refusal.actor.uid, refusal.method, refusal.failure.code);
    tracing::warn!(MESSAGE_ID = DENIED, TRANSACTION = id, CALLER_UID = uid, METHOD = %method, CODE = %code, "turned away uid {uid} at {method}: {}", refusal.failure);
}

/// A question to the record took longer than the threshold.
pub fn slow_question(question: &str, milliseconds: u128) {
    let took = u64::try_from(milliseconds).unwrap_or(u64::MAX);
    tracing::warn!(MESSAGE_ID = SLOW, QUESTION = question, MILLISECONDS = took, "a question to the record took {took} ms: {question}");
}

/// The record is larger than the threshold.
pub fn large_record(mebibytes: u64) {
    tracing::warn!(
        MESSAGE_ID = LARGE,
        MEBIBYTES = mebibytes,
        "the record has {mebibytes} MiB: backstep archive moves old transactions out of it"
    );
}

/// A worker runs for longer than the threshold.
pub fn long_attempt(attempt: AttemptId, minutes: u32) {
    tracing::warn!(MESSAGE_ID = LONG, TRANSACTION = %attempt.transaction, MINUTES = minutes, "the worker of {attempt} has been running for {minutes} minutes");
}

/// Somebody decided how long undo material is kept.
pub fn kept(id: TransactionId, keep: Keep, uid: u32) {
    let done = match keep {
        Keep::Always => "pinned",
        Keep::WithinLimits => "unpinned",
    };
    tracing::info!(MESSAGE_ID = KEPT, TRANSACTION = %id, CALLER_UID = uid, "undo material of {id} {done} by uid {uid}");
}

/// The record was written again.
pub fn rebuilt(rebuild: &Rebuild) {
    let Rebuild { cause, found, kept, base, recorded, continued, stopped, refused, lost, .. } = rebuild;
    let cause = cause.as_str();
    tracing::error!(
        MESSAGE_ID = REBUILT,
        CAUSE = cause,
        "the record was {cause} ({found}) and was written again from {base:?} and the spool: {recorded} transactions recorded, {continued} \
         gone on with, {stopped} stopped, {refused} documents refused; the damaged file is {kept:?}; lost: {lost}"
    );
}

/// The record is only read.
pub fn newer(found: i64, known: i64) {
    tracing::error!(MESSAGE_ID = NEWER, "the record has schema {found}, this version knows {known}: it is read, and nothing is changed");
}

/// Damage was seen while the record was in use.
pub fn damaged(what: &str) {
    tracing::error!(MESSAGE_ID = DAMAGED, "the record is damaged ({what}); the next start looks at all of it before anybody is served");
}

/// The daemon serves.
pub fn started(version: &str) {
    tracing::info!(MESSAGE_ID = STARTED, "backstepd {version} serves");
}
