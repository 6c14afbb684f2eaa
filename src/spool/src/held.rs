//! Reading documents back, to write a lost record again.
//!
//! Invariant: a document is taken as a whole or not at all; what does not fit its own digests or the state machine is
//! refused by the record, not mended here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use backstep_core::actor::Actor;
use backstep_core::record::{EventRecord, Sources};
use backstep_core::{Digest, Event, EventFields, Kind, Stamp, Tags, TransactionId};
use serde::Deserialize;

use crate::directories::{Place, Spool};
use crate::document::{FORMAT, VERSION};
use crate::error::SpoolError;
use crate::reconcile::{entries, identity};

/// What a document says of a transaction: enough to record it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Identity.
    pub id: TransactionId,
    /// What for.
    pub kind: Kind,
    /// Why, in the caller's words.
    pub description: String,
    /// Words by which it is found again.
    pub tags: Tags,
    /// Who.
    pub actor: Actor,
    /// Order in the queue.
    pub priority: i32,
    /// The transaction it undoes.
    pub reverts: Option<TransactionId>,
    /// The transaction it repeats.
    pub retries: Option<TransactionId>,
    /// Requested at.
    pub created: Stamp,
    /// SHA-256 of the request's bytes.
    pub request_digest: Digest,
    /// What the events do not say.
    pub sources: Sources,
    /// What happened, in order.
    pub events: Vec<EventRecord>,
}

/// A file in the place of a document that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read {}: {why}", path.display())]
pub struct Unreadable {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

impl Spool {
    /// Every transaction that there is a document of, once, in no order; the ended one counts where a crash left two.
    pub fn documents(&self) -> Result<Vec<TransactionId>, SpoolError> {
        let mut found = BTreeMap::new();
        for place in [Place::Inflight, Place::Done] {
            for entry in entries(&self.directory(place))? {
                found.extend(identity(&entry.file_name()).map(|id| (id, place)));
            }
        }
        Ok(found.into_keys().collect())
    }

    /// Moves a transaction's documents to `invalid/`, where they stay. Repeatable.
    pub fn reject(&self, id: TransactionId) -> Result<(), SpoolError> {
        for place in [Place::Inflight, Place::Done] {
            let from = self.file(place, id);
            if !from.exists() {
                continue;
            }
            let numbered = |n: u32| self.directory(Place::Invalid).join(format!("{id}.json.{n}"));
            let free = std::iter::once(self.file(Place::Invalid, id)).chain((1..).map(numbered)).find(|path| !path.exists());
            let to = free.unwrap_or_else(|| self.file(Place::Invalid, id));
            std::fs::rename(&from, &to).map_err(|source| SpoolError::new(&to, source))?;
            crate::directories::sync_directory(&self.directory(Place::Invalid))?;
        }
        Ok(())
    }

    /// Reads a transaction's document: the final one, else the one in flight.
    pub fn read(&self, id: TransactionId) -> Result<Held, Unreadable> {
        let place = if self.is_done(id) { Place::Done } else { Place::Inflight };
        let path = self.file(place, id);
        let error = |why: String| Unreadable { path: path.clone(), why };
        let bytes = read_private(&path).map_err(|source| error(source.to_string()))?;
        let held = from_bytes(&bytes).map_err(error)?;
        if held.id == id { Ok(held) } else { Err(error("it is of another transaction".to_owned())) }
    }
}

fn read_private(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    let mut bytes = Vec::new();
    let flags = nix::fcntl::OFlag::O_NOFOLLOW.bits();
    std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a document. The error says what is wrong with it.
pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Held, String> {
    let read: Read = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if (read.format.as_str(), read.version) != (FORMAT, VERSION) {
        return Err(format!("it is {} {}", read.format, read.version));
    }
    Ok(Held {
        id: parsed(&read.id)?,
        kind: parsed(&read.kind)?,
        description: read.description,
        tags: Tags::new(&read.tags).map_err(|error| error.to_string())?,
        actor: read.actor.into_core()?,
        priority: read.priority,
        reverts: optional(read.reverts.as_deref())?,
        retries: optional(read.retries.as_deref())?,
        created: read.created.into_core()?,
        request_digest: parsed(&read.request_digest)?,
        sources: read.sources.into_core()?,
        events: read.events.into_iter().map(ReadEvent::into_core).collect::<Result<_, _>>()?,
    })
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn optional<T: std::str::FromStr<Err: std::fmt::Display>>(text: Option<&str>) -> Result<Option<T>, String> {
    text.map(parsed).transpose()
}

#[derive(Deserialize)]
struct Read {
    format: String,
    version: u32,
    id: String,
    kind: String,
    description: String,
    /// Documents of earlier versions have none.
    #[serde(default)]
    tags: Vec<String>,
    priority: i32,
    actor: ReadActor,
    reverts: Option<String>,
    retries: Option<String>,
    created: ReadTime,
    request_digest: String,
    events: Vec<ReadEvent>,
    sources: ReadSources,
}

#[derive(Deserialize)]
struct ReadActor {
    uid: u32,
    user: String,
    loginuid: Option<u32>,
    pid: Option<u32>,
    sender: String,
    unit: String,
    origin: String,
    client: String,
}

impl ReadActor {
    fn into_core(self) -> Result<Actor, String> {
        let Self { uid, user, loginuid, pid, sender, unit, origin, client } = self;
        Ok(Actor { uid, user, loginuid, pid, sender, unit, origin: parsed(&origin)?, client })
    }
}

#[derive(Deserialize)]
struct ReadTime {
    utc_us: i64,
    monotonic_us: i64,
    boot: String,
}

impl ReadTime {
    fn into_core(self) -> Result<Stamp, String> {
        Ok(Stamp { utc_us: self.utc_us, monotonic_us: self.monotonic_us, boot: parsed(&self.boot)? })
    }
}

#[derive(Deserialize)]
struct ReadSources {
    request: Option<String>,
    plan: Option<String>,
    scope: Option<String>,
    world_after: Option<String>,
    journal: Vec<ReadPosition>,
}

#[derive(Deserialize)]
struct ReadPosition {
    attempt: u32,
    seq: u64,
}

impl ReadSources {
    fn into_core(self) -> Result<Sources, String> {
        Ok(Sources {
            request: self.request.ok_or("its request is not in it")?.into_bytes(),
            plan: self.plan.map(String::into_bytes),
            scope: optional(self.scope.as_deref())?,
            world_after: optional(self.world_after.as_deref())?,
            journal: self.journal.into_iter().map(|at| (at.attempt, at.seq)).collect(),
        })
    }
}

#[derive(Deserialize)]
struct ReadEvent {
    seq: i64,
    at: ReadTime,
    attempt: Option<u32>,
    event: String,
    step: Option<String>,
    direction: Option<String>,
    state: Option<String>,
    code: Option<String>,
    subject: Option<String>,
    text: Option<String>,
    after: Option<String>,
    number: Option<i64>,
    hash: String,
}

impl ReadEvent {
    fn into_core(self) -> Result<EventRecord, String> {
        let Self { seq, at, attempt, event, step, direction, state, code, subject, text, after, number, hash } = self;
        let fields = EventFields { event, step, direction, state, code, subject, text, after, number };
        let event = Event::from_fields(&fields).map_err(|error| error.to_string())?;
        Ok(EventRecord { seq, at: at.into_core()?, attempt, event, hash: parsed(&hash)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{in_state, sample};
    use backstep_core::record::Record;
    use backstep_core::{Scope, TransactionState};

    fn full() -> Record {
        let mut record = in_state(sample(), TransactionState::Completed);
        let at = record.events[0].at;
        let event = |(seq, event): (usize, Event)| EventRecord {
            seq: seq as i64 + 1,
            at,
            attempt: (seq > 2).then_some(1),
            event,
            hash: Digest([seq as u8; 32]),
        };
        record.events = Event::samples().into_iter().enumerate().map(event).collect();
        record.summary.tags = Tags::new(&["env=prod", "ticket:4711"]).expect("tags");
        record.sources = Sources {
            request: b"{\"a\": \"\\u0000\"}".to_vec(),
            plan: Some("{\"ü\":1}\n".as_bytes().to_vec()),
            scope: Some(Scope::One),
            world_after: Some(Digest([9; 32])),
            journal: vec![(1, 40), (2, 7)],
        };
        record
    }

    #[test]
    fn what_was_mirrored_is_read_back_with_every_event_and_every_byte() {
        let folder = tempfile::tempdir().expect("folder");
        let spool = Spool::open(folder.path()).expect("open");
        let record = full();
        spool.mirror(&record, "host").expect("mirror");
        let held = spool.read(record.summary.id).expect("read");
        assert_eq!((&held.events, &held.sources, &held.tags), (&record.events, &record.sources, &record.summary.tags));
        let Record { summary, request_digest, .. } = record;
        assert_eq!((held.id, held.kind, held.actor, held.created), (summary.id, summary.kind, summary.actor, summary.created));
        assert_eq!((held.request_digest, held.priority, held.reverts), (request_digest, 0, None));
        assert_eq!(spool.documents().expect("list"), [summary.id]);
        assert_eq!(spool.head().expect("head").map(|head| head.seq), held.events.last().map(|event| event.seq));
    }

    #[test]
    fn a_document_from_before_there_were_tags_has_none() {
        let text = crate::document(&full(), "host");
        let mut old: serde_json::Value = serde_json::from_str(&text).expect("a document");
        assert!(old.as_object_mut().expect("an object").remove("tags").is_some());
        assert_eq!(from_bytes(&serde_json::to_vec(&old).expect("bytes")).expect("read").tags, Tags::default());
        let odd = text.replace("\"env=prod\"", "\"--env\"");
        assert!(from_bytes(odd.as_bytes()).expect_err("no tag").contains("is no tag"));
    }

    #[test]
    fn what_is_no_document_or_another_s_is_refused_with_its_path() {
        let folder = tempfile::tempdir().expect("folder");
        let spool = Spool::open(folder.path()).expect("open");
        let record = full();
        let text = crate::document(&record, "host");
        let id = record.summary.id;
        for bad in [
            text[..text.len() / 2].to_owned(),
            text.replace("\"version\": 1", "\"version\": 2"),
            text.replace(&id.to_string(), "x"),
            String::new(),
        ] {
            std::fs::write(spool.file(Place::Done, id), bad).expect("write");
            assert_eq!(spool.read(id).expect_err("refused").path, spool.file(Place::Done, id));
        }
        let other = "01936b2e-7c1a-7d3e-9f10-0000000000ff";
        std::fs::write(spool.file(Place::Done, other.parse().expect("id")), text).expect("write");
        assert!(spool.read(other.parse().expect("id")).expect_err("another's").why.contains("another transaction"));
    }
}
