//! The record at a start: opened when it is whole, written again from what is left when it is damaged, lost or behind.
//!
//! Invariants: nothing is deleted, what was damaged is moved aside; a record is written again beside the old one and takes
//! its place when it is complete and durable; what is lost is said in it; what had not ended is never run by itself; a
//! record of a newer version is read only. Interrupted anywhere, the next start begins it again or finishes it.

mod copies;
mod documents;
mod install;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::Context;
use backstep_core::actor::{Actor, Origin};
use backstep_core::{ErrorCode, Event, Stamp, TransactionState};
use backstep_spool::Spool;
use backstep_store::{Append, Cause, Rebuild, Run, Store, StoreError, due};
use chrono::DateTime;

use crate::attempts::Attempts;
use crate::log;
use documents::Taken;

pub use copies::{drop_copy, keep_copy};

/// The record of a state directory.
#[must_use]
pub fn store_path(state_dir: &Path) -> PathBuf {
    state_dir.join("store.db")
}

/// Has the next start look at all of the record. What cannot be noted is in the log.
pub fn suspect(store: &Path, error: &StoreError) {
    log::damaged(&error.to_string());
    if let Err(error) = due::suspect(store) {
        tracing::error!("cannot note that the record is damaged: {error}");
    }
}

/// What a record is opened or written again from.
pub struct Remains<'a> {
    /// The state directory. It is locked.
    pub state_dir: &'a Path,
    /// The mirror.
    pub spool: &'a Spool,
    /// Attempt folders.
    pub attempts: &'a Attempts,
    /// Whose documents the spool holds.
    pub host_id: &'a str,
    /// This run of the daemon.
    pub run: &'a Run,
}

/// Why the file cannot be gone on with as it is.
struct Trouble {
    cause: Cause,
    found: String,
}

impl Remains<'_> {
    /// Opens the record.
    pub fn open(&self) -> anyhow::Result<Store> {
        let path = store_path(self.state_dir);
        install::finish(&path)?;
        if due::is_suspected(&path) {
            crate::idle::ask_for_time();
        }
        match self.look(&path)? {
            Ok(store) => Ok(store),
            Err(trouble) => self.rebuild(&path, &trouble),
        }
    }

    fn look(&self, path: &Path) -> anyhow::Result<Result<Store, Trouble>> {
        if self.is_lost(path)? {
            return Ok(Err(Trouble { cause: Cause::Lost, found: "there is no record, or an empty file".to_owned() }));
        }
        match Store::open(path, self.run) {
            Ok(store) => self.compare(store),
            Err(StoreError::NewerSchema { found, known }) => {
                log::newer(found, known);
                Ok(Ok(Store::open_newer(path, self.run).with_context(|| format!("cannot open {}", path.display()))?))
            }
            Err(error) if error.is_damage() => Ok(Err(damaged(&error))),
            Err(error) => Err(error).with_context(|| format!("cannot open {}", path.display())),
        }
    }

    /// A new system has no record either; one that had one has documents, a head of them, or copies.
    fn is_lost(&self, path: &Path) -> anyhow::Result<bool> {
        if std::fs::metadata(path).is_ok_and(|file| file.len() > 0) {
            return Ok(false);
        }
        Ok(self.spool.has_head() || !copies::all(path)?.is_empty() || !self.spool.documents()?.is_empty())
    }

    /// Whether the record has what was mirrored. A clean start ends here and has written nothing.
    fn compare(&self, store: Store) -> anyhow::Result<Result<Store, Trouble>> {
        let found = match (self.spool.head()?, self.spool.has_head()) {
            (Some(head), _) if store.holds(head.seq, head.hash)? => return Ok(Ok(store)),
            (Some(head), _) => format!("event {} was mirrored to the spool and is not in the record", head.seq),
            (None, true) => "the spool does not say which event it saw last".to_owned(),
            (None, false) if store.last_event()?.is_some() || self.spool.documents()?.is_empty() => return Ok(Ok(store)),
            (None, false) => "the record is empty, the spool is not".to_owned(),
        };
        // A file without its log can be anything.
        match store.check() {
            Ok(()) => self.catch_up(store, found).map(Ok),
            Err(error) if error.is_damage() => Ok(Err(damaged(&error))),
            Err(error) => Err(error.into()),
        }
    }

    /// The file is whole and lacks what came after it: an older copy was put in its place, or its log was lost.
    fn catch_up(&self, mut store: Store, found: String) -> anyhow::Result<Store> {
        let taken = documents::take(&mut store, self.spool)?;
        if taken.is_news() {
            let trouble = Trouble { cause: Cause::Behind, found };
            self.end(&mut store, &trouble, &taken, &Origins::default())?;
        }
        self.mirror_all(&store)?;
        Ok(store)
    }

    fn rebuild(&self, path: &Path, trouble: &Trouble) -> anyhow::Result<Store> {
        crate::idle::ask_for_time();
        tracing::error!("the record is {}: {}; writing it again", trouble.cause.as_str(), trouble.found);
        let draft = install::Draft::new(path, self.run.at)?;
        let (mut store, base) = copies::begin(path, &draft.path, self.run)?;
        let taken = documents::take(&mut store, self.spool)?;
        let kept = if path.exists() { draft.kept_name() } else { String::new() };
        self.end(&mut store, trouble, &taken, &Origins { kept, base })?;
        store.close()?;
        draft.install(path)?;
        let store = Store::open(path, self.run).context("cannot open the record that was written again")?;
        self.mirror_all(&store)?;
        Ok(store)
    }

    /// Stops what had not ended and says what was done.
    fn end(&self, store: &mut Store, trouble: &Trouble, taken: &Taken, origins: &Origins) -> anyhow::Result<()> {
        let stopped = self.stop(store)?;
        let rebuild = Rebuild {
            cause: trouble.cause,
            found: trouble.found.clone(),
            kept: origins.kept.clone(),
            base: origins.base.clone().map_or_else(String::new, |base| base.0),
            recorded: taken.recorded,
            continued: taken.continued,
            stopped,
            refused: taken.refused.len() as u64,
            lost: lost(trouble.cause, origins, taken),
            at: self.run.at,
        };
        store.record_rebuild(&rebuild, &ourselves())?;
        log::rebuilt(&rebuild);
        Ok(())
    }

    /// What had not ended is not run: what waited ends, what a worker had waits for a person. Only a last word that a
    /// worker left in its journal is still taken in, by recovery.
    fn stop(&self, store: &mut Store) -> anyhow::Result<u64> {
        let mut stopped = 0;
        for summary in store.unfinished()? {
            let status = summary.status;
            let attempt = backstep_core::AttemptId { transaction: summary.id, number: status.attempts };
            let events = stopping(status.state, self.has_last_word(attempt));
            if events.is_empty() {
                continue;
            }
            let attempt = (status.attempts > 0).then_some(status.attempts);
            let append = Append { id: summary.id, attempt, events: &events, at: self.run.at, journal_seq: None, world_after: None };
            store.append(&append)?;
            stopped += 1;
        }
        Ok(stopped)
    }

    fn has_last_word(&self, attempt: backstep_core::AttemptId) -> bool {
        self.attempts.read_journal(attempt, 0).is_ok_and(|(lines, _)| lines.last().is_some_and(|line| line.record.is_last()))
    }

    /// The documents get this record's numbers and hashes. CRASH: without the head the next start compares again, finds
    /// that all of it is known, and mirrors the rest.
    fn mirror_all(&self, store: &Store) -> anyhow::Result<()> {
        for id in self.spool.documents()? {
            if let Some(record) = store.record(id)? {
                self.spool.mirror(&record, self.host_id)?;
            }
        }
        if let Some((seq, hash)) = store.last_event()? {
            self.spool.set_head(backstep_spool::Head { seq, hash })?;
        }
        Ok(())
    }
}

/// Where a record came from that was written again.
#[derive(Default)]
struct Origins {
    kept: String,
    /// The copy and when it was made.
    base: Option<(String, String)>,
}

fn damaged(error: &StoreError) -> Trouble {
    Trouble { cause: Cause::Damaged, found: error.to_string() }
}

/// The events that keep a transaction from being run by itself.
fn stopping(state: TransactionState, has_last_word: bool) -> Vec<Event> {
    let code = ErrorCode::StoreFailed;
    let text = "the record was lost while this was under way and was written again; nothing was decided since".to_owned();
    match state {
        TransactionState::Created | TransactionState::Prepared | TransactionState::Queued => {
            vec![Event::Failed { code, text: "the record was written again, and what waited then is not run: ask for it again".to_owned() }]
        }
        TransactionState::Executing | TransactionState::Cancelling | TransactionState::RollingBack if has_last_word => Vec::new(),
        TransactionState::Executing | TransactionState::Cancelling | TransactionState::RollingBack => {
            vec![Event::Interrupted { text: text.clone() }, Event::AttentionNeeded { code, text }]
        }
        TransactionState::Interrupted => vec![Event::AttentionNeeded { code, text }],
        TransactionState::NeedsAttention
        | TransactionState::Completed
        | TransactionState::RolledBack
        | TransactionState::PartiallyRolledBack
        | TransactionState::Cancelled
        | TransactionState::Failed
        | TransactionState::Expired => Vec::new(),
    }
}

/// In words: what no document and no copy has.
fn lost(cause: Cause, origins: &Origins, taken: &Taken) -> String {
    let since = match (cause, &origins.base) {
        (Cause::Behind, _) => "since that file was written".to_owned(),
        (Cause::Damaged | Cause::Lost, Some((_, at))) => format!("since {at}"),
        (Cause::Damaged | Cause::Lost, None) => "of all time".to_owned(),
    };
    let mut text = format!("ignores, back-offs, calls that were turned away and earlier rebuilds {since}; events that were not mirrored");
    if !taken.refused.is_empty() {
        let first: Vec<&str> = taken.refused.iter().take(3).map(String::as_str).collect();
        text.push_str(&format!("; {} documents, kept in spool/invalid: {}", taken.refused.len(), first.join("; ")));
    }
    text
}

/// The daemon, as the record names who acts.
pub(crate) fn ourselves() -> Actor {
    Actor {
        uid: 0,
        user: "root".to_owned(),
        loginuid: None,
        pid: Some(std::process::id()),
        sender: String::new(),
        unit: "backstepd.service".to_owned(),
        origin: Origin::Daemon,
        client: format!("backstepd {}", env!("CARGO_PKG_VERSION")),
    }
}

/// What everybody is told of the record: that it is only read, or was written again in the last days.
#[must_use]
pub fn warnings(store: &Store, now: Stamp) -> Vec<String> {
    if store.is_newer() {
        return vec!["a newer version of Backstep wrote the record: it is read, and nothing can be changed".to_owned()];
    }
    let rebuilds = store.rebuilds().unwrap_or_else(|error| {
        tracing::error!("cannot read what was lost of the record: {error}");
        Vec::new()
    });
    rebuilds.iter().filter(|rebuild| now.utc_us - rebuild.at.utc_us < TOLD_US).map(warning).collect()
}

/// How long everybody is told of a rebuild; the record keeps it for good.
const TOLD_US: i64 = 30 * 86_400 * 1_000_000;

fn warning(rebuild: &Rebuild) -> String {
    let Rebuild { cause, kept, recorded, continued, stopped, lost, at, .. } = rebuild;
    let kept = if kept.is_empty() { String::new() } else { format!("; the damaged file is kept as {kept}") };
    format!(
        "the record was {} and was written again at {}: {recorded} transactions recorded again, {continued} gone on with, {stopped} stopped; \
         lost: {lost}{kept}",
        cause.as_str(),
        said_time(at.utc_us)
    )
}

/// When something was, for people: the date and the time in UTC.
fn said_time(utc_us: i64) -> String {
    let time = DateTime::from_timestamp_micros(utc_us);
    time.map_or_else(|| format!("{utc_us} µs after 1970"), |time| time.format("%Y-%m-%d %H:%M UTC").to_string())
}
