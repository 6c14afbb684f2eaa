//! Taking a request into the record.

use backstep_core::actor::Actor;
use backstep_core::{Digest, Event, Kind, Scope, Stamp, Status, Tag, TransactionId};
use rusqlite::{Connection, OptionalExtension, params};

use crate::archive;
use crate::chain::digest_of;
use crate::error::StoreError;
use crate::event_row::{self, NewEvent};
use crate::generation::{Generation, Opening};
use crate::open::Store;

/// A request as it enters the record.
#[derive(Debug, Clone, Copy)]
pub struct NewTransaction<'a> {
    /// Identity and idempotency key.
    pub id: TransactionId,
    /// What for.
    pub kind: Kind,
    /// The request's document, stored verbatim.
    pub request_bytes: &'a [u8],
    /// Its SHA-256.
    pub request_digest: Digest,
    /// Why, in the caller's words.
    pub description: &'a str,
    /// Words by which it is found again: those of the request, each once.
    pub tags: &'a [Tag],
    /// Comment of the generation that the whole transaction is recorded under.
    pub comment: &'a str,
    /// Who.
    pub actor: &'a Actor,
    /// When.
    pub at: Stamp,
    /// Order in the queue.
    pub priority: i32,
    /// The transaction to undo; it must be in the record.
    pub reverts: Option<TransactionId>,
    /// How much of that is undone; present exactly when there is one to undo.
    pub scope: Option<Scope>,
    /// The transaction it repeats; it must be in the record.
    pub retries: Option<TransactionId>,
}

/// How a request entered the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It is new.
    New,
    /// The same request was there under the same id; nothing was written.
    Existing,
}

impl Store {
    /// Takes a request: its bytes, its row and the event `created`, in a new generation and one commit.
    ///
    /// Idempotent: the same id with the same digest is [`Created::Existing`], with another digest
    /// [`StoreError::Duplicate`].
    pub fn create(&mut self, new: &NewTransaction<'_>) -> Result<Created, StoreError> {
        if digest_of(new.request_bytes) != new.request_digest {
            return Err(StoreError::Mismatch { what: "request" });
        }
        match recorded_digest(&self.conn, new.id)? {
            Some(digest) if digest == new.request_digest => return Ok(Created::Existing),
            Some(_) => return Err(StoreError::Duplicate(new.id)),
            None => {}
        }
        for other in [new.reverts, new.retries].into_iter().flatten() {
            refers_to(&self.conn, other)?;
        }
        let generation = Generation::begin(self, &Opening::New { comment: new.comment, actor: new.actor }, new.at)?;
        insert(&generation, new)?;
        generation.commit()?;
        Ok(Created::New)
    }
}

pub(crate) const DIGEST: &str = "SELECT request_digest FROM transactions WHERE id = ?1";

/// The digest of a request that is in the record or in one of its archives.
pub(crate) fn recorded_digest(conn: &Connection, id: TransactionId) -> Result<Option<Digest>, StoreError> {
    match digest_here(conn, id)? {
        None => archive::first_with(conn, id, |archive| digest_here(archive, id)),
        here => Ok(here),
    }
}

fn refers_to(conn: &Connection, other: TransactionId) -> Result<(), StoreError> {
    match (digest_here(conn, other)?, recorded_digest(conn, other)?) {
        (Some(_), _) => Ok(()),
        (None, Some(_)) => Err(StoreError::Archived(other)),
        (None, None) => Err(StoreError::Unknown(other)),
    }
}

fn digest_here(conn: &Connection, id: TransactionId) -> Result<Option<Digest>, StoreError> {
    Ok(conn.prepare_cached(DIGEST)?.query_row([id.to_string()], |row| Ok(Digest(row.get(0)?))).optional()?)
}

pub(crate) fn insert(generation: &Generation<'_>, new: &NewTransaction<'_>) -> Result<(), StoreError> {
    let id = new.id.to_string();
    let key = insert_transaction(generation, new, &id)?;
    insert_tags(generation.conn(), key, new.tags)?;
    let request = "INSERT INTO requests (transaction_key, bytes) VALUES (?1, ?2)";
    generation.conn().prepare_cached(request)?.execute(params![key, new.request_bytes])?;
    let event = NewEvent {
        transaction_key: key,
        transaction: &id,
        attempt: None,
        event: &Event::Created,
        evidence: Some(new.request_digest),
        at: new.at,
    };
    event_row::insert(generation, &event)
}

fn insert_transaction(generation: &Generation<'_>, new: &NewTransaction<'_>, id: &str) -> Result<i64, StoreError> {
    let Actor { uid, user, loginuid, pid, sender, unit, origin, client } = new.actor;
    let mut statement = generation.conn().prepare_cached(
        "INSERT INTO transactions (id, reversed, generation, kind, description, priority, reverts, scope, retries, uid, user, loginuid, pid,
             sender, unit, origin, client, request_digest, created_us, created_monotonic_us, created_boot,
             state, cancel_requested, undoing, attempts, updated_us, updated_monotonic_us, updated_boot)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, 0, 0, 0, ?19, ?20, ?21)",
    )?;
    statement.execute(params![
        id,
        reversed_digits(id),
        generation.key(),
        new.kind.as_str(),
        new.description,
        new.priority,
        new.reverts.map(|id| id.to_string()),
        new.scope.map(Scope::as_str),
        new.retries.map(|id| id.to_string()),
        uid,
        user,
        loginuid,
        pid,
        sender,
        unit,
        origin.as_str(),
        client,
        new.request_digest.0,
        new.at.utc_us,
        new.at.monotonic_us,
        new.at.boot.0,
        Status::CREATED.state.as_str(),
    ])?;
    Ok(generation.conn().last_insert_rowid())
}

/// Before the request: the schema takes none after it.
fn insert_tags(conn: &Connection, key: i64, tags: &[Tag]) -> Result<(), StoreError> {
    for tag in tags {
        conn.prepare_cached("INSERT INTO tags (transaction_key, name) VALUES (?1, ?2)")?.execute(params![key, tag.as_str()])?;
    }
    Ok(())
}

/// The digits of an id, or of the end of one, backwards and without hyphens.
pub(crate) fn reversed_digits(id: &str) -> String {
    id.chars().rev().filter(|c| *c != '-').collect()
}
