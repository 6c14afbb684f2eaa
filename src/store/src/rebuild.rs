//! Writing a record again from what was left of it, and saying what is lost.
//!
//! Invariants: what is on record stays as it is; a history only goes on where it agrees with what is there; every event
//! goes through the state machine as it did when it was new. The chain of hashes is a new one: the events' numbers and
//! hashes are those of this record, their times are their own.

use backstep_core::actor::Actor;
use backstep_core::record::EventRecord;
use backstep_core::{Digest, Event, Plan, Stamp, TransactionId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::append::{Writer, has_world};
use crate::chain::digest_of;
use crate::columns::{parsed, stamp};
use crate::create::{self, NewTransaction, recorded_digest};
use crate::error::StoreError;
use crate::event_row;
use crate::generation::{Generation, Opening};
use crate::open::Store;
use crate::reader::Reader;
use crate::{project_attempts, project_transaction};

/// A transaction as somebody else kept it, from its request to the last event that was kept.
#[derive(Debug, Clone)]
pub struct History<'a> {
    /// Its request.
    pub new: NewTransaction<'a>,
    /// The plan and its document; `None` before there was one.
    pub plan: Option<(&'a Plan, &'a [u8])>,
    /// What happened, from `created` on. Numbers and hashes are those of another record and count for nothing.
    pub events: &'a [EventRecord],
    /// The digest of dpkg's and apt's state as the change left it.
    pub world_after: Option<Digest>,
    /// The last journal line of each attempt that is among the events.
    pub journal: &'a [(u32, u64)],
}

/// What a history was to the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retold {
    /// It was not there, and is now.
    Recorded,
    /// It was there, and has more events now.
    Continued,
    /// All of it was there.
    Known,
    /// The record tells it otherwise, and goes on to.
    Differs,
}

/// Why a record is written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The file is not whole.
    Damaged,
    /// There is no file, or an empty one.
    Lost,
    /// The file lacks what was recorded after it.
    Behind,
}

impl Cause {
    /// Its name in the record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Lost => "lost",
            Self::Behind => "behind",
        }
    }
}

impl std::str::FromStr for Cause {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Damaged, Self::Lost, Self::Behind];
        all.into_iter().find(|cause| cause.as_str() == text).ok_or_else(|| format!("unknown cause {text:?}"))
    }
}

/// One rebuild, for the record and for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuild {
    /// Why.
    pub cause: Cause,
    /// What was found, in words.
    pub found: String,
    /// The name under which the damaged file is kept; empty when there was none.
    pub kept: String,
    /// The copy of the record that was gone on from; empty when there was none.
    pub base: String,
    /// Transactions recorded again.
    pub recorded: u64,
    /// Transactions whose history was gone on with.
    pub continued: u64,
    /// Transactions that had not ended and were stopped.
    pub stopped: u64,
    /// Documents that could not be taken.
    pub refused: u64,
    /// What is lost, in words.
    pub lost: String,
    /// When.
    pub at: Stamp,
}

impl Store {
    /// Takes a history into the record, or what of it is not there yet, in one commit.
    ///
    /// Errors: it does not fit its digests, the state machine, or what it refers to; nothing of it is written.
    pub fn retell(&mut self, history: &History<'_>) -> Result<Retold, StoreError> {
        check(history)?;
        let id = history.new.id;
        let known = match recorded_digest(&self.conn, id)? {
            None => return self.retell_new(history),
            Some(digest) if digest != history.new.request_digest => return Ok(Retold::Differs),
            // What is in an archive has ended and stays as it is.
            Some(_) if project_transaction::key_of(&self.conn, id)?.is_none() => return Ok(Retold::Known),
            Some(_) => event_row::of_transaction(&self.conn, project_transaction::read(&self.conn, id)?.key)?,
        };
        let told = |event: &EventRecord| (event.event.clone(), event.at, event.attempt);
        if known.iter().zip(history.events).any(|(known, other)| told(known) != told(other)) {
            return Ok(Retold::Differs);
        }
        if history.events.len() <= known.len() {
            return Ok(Retold::Known);
        }
        let row = project_transaction::read(&self.conn, id)?;
        let generation = Generation::begin(self, &Opening::Again(row.generation), history.events[known.len()].at)?;
        let writer = Writer { generation, row, attempt: None, at: history.new.at, touched: true };
        writer.retell(history, known.len()).map(|()| Retold::Continued)
    }

    fn retell_new(&mut self, history: &History<'_>) -> Result<Retold, StoreError> {
        let new = &history.new;
        let generation = Generation::begin(self, &Opening::New { comment: new.comment, actor: new.actor }, new.at)?;
        create::insert(&generation, new)?;
        let row = project_transaction::read(generation.conn(), new.id)?;
        let writer = Writer { generation, row, attempt: None, at: new.at, touched: true };
        writer.retell(history, 1).map(|()| Retold::Recorded)
    }

    /// Says that this record was written again.
    pub fn record_rebuild(&mut self, rebuild: &Rebuild, actor: &Actor) -> Result<(), StoreError> {
        let Rebuild { cause, found, kept, base, recorded, continued, stopped, refused, lost, at } = rebuild;
        let cut = |text: &str, most: usize| text.chars().take(most).collect::<String>();
        let generation = Generation::begin(self, &Opening::New { comment: "the record was written again", actor }, *at)?;
        let number = |count: &u64| i64::try_from(*count).unwrap_or(i64::MAX);
        generation.conn().execute(
            "INSERT INTO rebuilds (generation, cause, found, kept, base, recorded, continued, stopped, refused, lost, at_us,
                 at_monotonic_us, at_boot)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            params![
                generation.key(),
                cause.as_str(),
                cut(found, 500),
                cut(kept, 200),
                cut(base, 200),
                number(recorded),
                number(continued),
                number(stopped),
                number(refused),
                cut(lost, 1000),
                at.utc_us,
                at.monotonic_us,
                at.boot.0
            ],
        )?;
        generation.commit()
    }

    /// Every rebuild, the first one first.
    pub fn rebuilds(&self) -> Result<Vec<Rebuild>, StoreError> {
        read(&self.conn)
    }

    /// The newest event's number and hash; `None` in an empty record.
    pub fn last_event(&self) -> Result<Option<(i64, Digest)>, StoreError> {
        let last = |row: &Row<'_>| Ok((row.get(0)?, Digest(row.get(1)?)));
        Ok(self.conn.prepare_cached(event_row::LAST)?.query_row([], last).optional()?)
    }

    /// Whether the event with this number is there and has this hash: then all up to it were those that it stands for.
    pub fn holds(&self, seq: i64, hash: Digest) -> Result<bool, StoreError> {
        let found: Option<[u8; 32]> = self.conn.prepare_cached(HASH)?.query_row([seq], |row| row.get(0)).optional()?;
        Ok(found == Some(hash.0))
    }
}

impl Reader {
    /// As [`Store::rebuilds`].
    pub fn rebuilds(&self) -> Result<Vec<Rebuild>, StoreError> {
        read(&self.conn)
    }
}

pub(crate) const HASH: &str = "SELECT hash FROM events WHERE seq = ?1";

fn read(conn: &Connection) -> Result<Vec<Rebuild>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT * FROM rebuilds ORDER BY key")?;
    let mut rows = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let number = |column: &str| row.get::<_, i64>(column).map(i64::unsigned_abs);
        all.push(Rebuild {
            cause: parsed(row, "cause")?,
            found: row.get("found")?,
            kept: row.get("kept")?,
            base: row.get("base")?,
            recorded: number("recorded")?,
            continued: number("continued")?,
            stopped: number("stopped")?,
            refused: number("refused")?,
            lost: row.get("lost")?,
            at: stamp(row, "at")?,
        });
    }
    Ok(all)
}

fn check(history: &History<'_>) -> Result<(), StoreError> {
    let new = &history.new;
    let begins = history.events.first().is_some_and(|first| first.event == Event::Created && first.at == new.at);
    if !begins || digest_of(new.request_bytes) != new.request_digest {
        return Err(StoreError::Mismatch { what: "request" });
    }
    let of: Option<TransactionId> = history.plan.map(|(plan, _)| plan.transaction);
    let request = history.plan.map(|(plan, _)| plan.request);
    if of.is_some_and(|of| of != new.id) || request.is_some_and(|request| request != new.request_digest) {
        return Err(StoreError::Mismatch { what: "plan" });
    }
    Ok(())
}

impl Writer<'_> {
    fn retell(mut self, history: &History<'_>, known: usize) -> Result<(), StoreError> {
        for EventRecord { event, at, attempt, .. } in &history.events[known..] {
            (self.at, self.attempt) = (*at, *attempt);
            match event {
                Event::Prepared { digest } => self.retell_plan(history, *digest)?,
                event => self.record(event, history.world_after.filter(|_| has_world(event)))?,
            }
        }
        for (attempt, seq) in history.journal {
            project_attempts::set_position(self.generation.conn(), self.row.key, *attempt, *seq)?;
        }
        self.finish().map(drop)
    }

    fn retell_plan(&mut self, history: &History<'_>, digest: Digest) -> Result<(), StoreError> {
        match history.plan {
            Some((plan, bytes)) if digest_of(bytes) == digest => self.freeze(plan, bytes, digest),
            Some(_) | None => Err(StoreError::Mismatch { what: "plan" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use backstep_core::{Kind, PlanAction, TransactionState};

    use super::*;
    use crate::tests::{Fixture, actor, id, item, plan, request};

    /// What is kept of a transaction of the fixture, taken in by another record.
    fn retell(from: &Fixture, n: u32, upto: usize, to: &mut Store) -> Result<Retold, StoreError> {
        let record = from.store.record(id(n)).expect("read").expect("there");
        let plan = plan(id(n), vec![item("hello:amd64", PlanAction::Install, None, Some("2"))]);
        let summary = &record.summary;
        let new = NewTransaction {
            id: summary.id,
            kind: summary.kind,
            request_bytes: &record.sources.request,
            request_digest: record.request_digest,
            description: &summary.description,
            tags: summary.tags.as_slice(),
            comment: &summary.description,
            actor: &summary.actor,
            at: summary.created,
            priority: summary.priority,
            reverts: summary.reverts,
            scope: record.sources.scope,
            retries: summary.retries,
        };
        let (world_after, journal) = (record.sources.world_after, &record.sources.journal);
        let plan = record.sources.plan.as_deref().map(|bytes| (&plan, bytes));
        to.retell(&History { new, plan, events: &record.events[..upto.min(record.events.len())], world_after, journal })
    }

    #[test]
    fn a_record_written_again_tells_the_same_with_a_whole_chain() {
        let mut f = Fixture::new();
        f.completed(1, Kind::Install, None);
        f.completed(2, Kind::Rollback, Some(id(1)));
        f.started(3, Kind::Install, None);
        let mut other = Fixture::new();
        for n in [2, 1, 2, 3] {
            let retold = retell(&f, n, usize::MAX, &mut other.store);
            // What undoes something is not taken before what it undoes.
            assert!(retold.is_ok() || n == 2 && other.count("transactions") == 0, "{n}: {retold:?}");
        }
        for n in 1..=3 {
            let strip = |f: &Fixture| {
                let mut record = f.store.record(id(n)).expect("read").expect("there");
                record.events.iter_mut().for_each(|event| (event.seq, event.hash) = (0, Digest([0; 32])));
                record
            };
            assert_eq!(strip(&other), strip(&f), "{n}");
        }
        assert_eq!(other.store.verify_chain().expect("whole"), f.store.verify_chain().expect("whole"));
        assert_eq!(other.store.last_event().expect("last").map(|last| last.0), Some(other.count("events")));
    }

    #[test]
    fn a_history_goes_on_only_where_it_agrees() {
        let mut f = Fixture::new();
        f.completed(1, Kind::Install, None);
        let mut other = Fixture::new();
        assert_eq!(retell(&f, 1, 2, &mut other.store).expect("begun"), Retold::Recorded);
        assert_eq!(retell(&f, 1, usize::MAX, &mut other.store).expect("gone on"), Retold::Continued);
        assert_eq!(retell(&f, 1, usize::MAX, &mut other.store).expect("again"), Retold::Known);
        assert_eq!(retell(&f, 1, 3, &mut other.store).expect("less"), Retold::Known);
        let state = other.store.summary(id(1)).expect("read").expect("there").status.state;
        assert_eq!(state, TransactionState::Completed);
        let mut third = Fixture::new();
        third.now = 77;
        third.completed(1, Kind::Install, None);
        assert_eq!(retell(&f, 1, usize::MAX, &mut third.store).expect("read"), Retold::Differs);
    }

    #[test]
    fn bytes_of_other_digests_and_events_that_cannot_follow_are_refused() {
        let mut f = Fixture::new();
        f.completed(1, Kind::Install, None);
        let record = f.store.record(id(1)).expect("read").expect("there");
        let (bytes, actor) = (request(id(1)), actor());
        let new = |request_bytes: &'static [u8]| NewTransaction {
            id: id(1),
            kind: Kind::Install,
            request_bytes,
            request_digest: record.request_digest,
            description: "",
            tags: &[],
            comment: "",
            actor: &actor,
            at: record.summary.created,
            priority: 0,
            reverts: None,
            scope: None,
            retries: None,
        };
        let mut other = Fixture::new();
        let bytes: &'static [u8] = Box::leak(bytes.into_boxed_slice());
        let history = |new, events| History { new, plan: None, events, world_after: None, journal: &[] };
        assert!(matches!(other.store.retell(&history(new(b"x"), &record.events)), Err(StoreError::Mismatch { what: "request" })));
        assert!(matches!(other.store.retell(&history(new(bytes), &record.events)), Err(StoreError::Mismatch { what: "plan" })));
        assert!(other.store.retell(&history(new(bytes), &record.events[1..])).is_err());
        let skipped = [record.events[0].clone(), record.events[3].clone()];
        assert!(matches!(other.store.retell(&history(new(bytes), &skipped)), Err(StoreError::Illegal(_))));
        assert_eq!([other.count("transactions"), other.count("events")], [0; 2]);
    }

    #[test]
    fn a_rebuild_is_on_record_for_good_and_the_head_is_known() {
        let mut f = Fixture::new();
        f.completed(1, Kind::Install, None);
        let (seq, hash) = f.store.last_event().expect("read").expect("there");
        assert!(f.store.holds(seq, hash).expect("read") && !f.store.holds(seq + 1, hash).expect("read"));
        assert!(!f.store.holds(seq - 1, hash).expect("read"));
        let rebuild = crate::tests::rebuild();
        f.store.record_rebuild(&rebuild, &actor()).expect("record");
        let expected = Rebuild { found: "x".repeat(500), ..rebuild };
        assert_eq!(f.store.rebuilds().expect("read"), Reader::open(&f.path).expect("open").rebuilds().expect("read"));
        assert_eq!(f.store.rebuilds().expect("read"), [expected]);
        for sql in [
            "DELETE FROM rebuilds",
            "UPDATE rebuilds SET lost = ''",
            "INSERT INTO rebuilds SELECT 2, generation, cause, found, kept, base, 0, 0, 0, 0, '', 1, 1, at_boot FROM rebuilds",
        ] {
            assert!(f.raw().execute(sql, []).expect_err(sql).to_string().contains("refused"), "{sql}");
        }
    }
}
