//! The store as the engine's ledger, and what is done about a full or failing disk.
//!
//! Invariants: after an error of the device nothing more is written: what a failed sync left on the disk is not known,
//! and to try it again could succeed without meaning anything. On a full disk the reserve is given up for what was
//! begun, never for something new.

use std::path::{Path, PathBuf};

use anyhow::Context;
use backstep_core::actor::Actor;
use backstep_core::backoff::{Backoff, NewBackoff};
use backstep_core::ignore::{Ignore, IgnoreRecord, Said};
use backstep_core::record::{Filter, Record, Summary};
use backstep_core::record_archive::{Moved, RecordArchive};
use backstep_core::redaction::{Mode, Redacted, Redaction};
use backstep_core::refusal::{RefusalFilter, RefusalRecord};
use backstep_core::{Digest, ErrorCode, Failure, Plan, Stamp, Status, TransactionId};
use backstep_engine::ports::{Adoption, Append, Entered, Ledger, NewTransaction, Refused};
use backstep_spool::Spool;
use backstep_store::{Created, Document, Run, Store, StoreError};
use backstep_wire::texts;

use crate::attempts::Attempts;
use crate::rebuild::{self, Remains};
use crate::reserve::Reserve;

/// The store.
pub struct StoreLedger {
    store: Store,
    path: PathBuf,
    reserve: Reserve,
    broken: bool,
}

impl StoreLedger {
    /// Opens the record of this run of the daemon, making, migrating or writing it again as needed. The state is locked.
    pub fn open(state_dir: &Path, attempts: &Attempts, host_id: &str, at: Stamp) -> anyhow::Result<Self> {
        let run = Run { id: uuid::Uuid::now_v7().to_string(), version: env!("CARGO_PKG_VERSION").to_owned(), pid: std::process::id(), at };
        let spool_dir = state_dir.join("spool");
        let spool = Spool::open(&spool_dir).with_context(|| format!("cannot open {}", spool_dir.display()))?;
        let store = Remains { state_dir, spool: &spool, attempts, host_id, run: &run }.open()?;
        Ok(Self { store, path: rebuild::store_path(state_dir), reserve: Reserve::of(state_dir), broken: false })
    }

    /// Whether it is only read.
    #[must_use]
    pub const fn is_read_only(&self) -> bool {
        self.store.is_newer()
    }

    /// What everybody is told of the record.
    #[must_use]
    pub fn warnings(&self, now: Stamp) -> Vec<String> {
        rebuild::warnings(&self.store, now)
    }

    /// Writes, once.
    fn write<T>(&mut self, write: impl FnOnce(&mut Store) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.broken {
            return Err(StoreError::Stopped);
        }
        let written = write(&mut self.store);
        self.broken = matches!(written, Err(StoreError::Device(_) | StoreError::Corrupt { .. }));
        self.look_at(&written);
        written
    }

    /// Writes of something that was begun: on a full disk again, in the space of the reserve. A write that found no
    /// space has written nothing.
    fn write_on<T>(&mut self, mut write: impl FnMut(&mut Store) -> Result<T, StoreError>) -> Result<T, Failure> {
        match self.write(&mut write) {
            Err(StoreError::Full(_)) if self.reserve.give_up() => said(self.write(write)),
            written => said(written),
        }
    }

    /// Damage that is seen is remembered for the next start.
    fn look_at<T>(&self, result: &Result<T, StoreError>) {
        if let Err(error @ StoreError::Corrupt { .. }) = result {
            rebuild::suspect(&self.path, error);
        }
    }

    fn told<T>(&self, result: Result<T, StoreError>) -> Result<T, Failure> {
        self.look_at(&result);
        said(result)
    }

    fn has_reserve(&self) -> Result<(), Failure> {
        self.reserve.keep().map_err(|error| {
            let text = format!("cannot keep the reserve for the record: {error}; nothing new is taken until there is space");
            Failure::new(ErrorCode::DiskFull, text)
        })
    }
}

impl Ledger for StoreLedger {
    fn enter(&mut self, new: &NewTransaction) -> Result<Entered, Failure> {
        self.has_reserve()?;
        said(self.write(|store| store.create(&entering(new)))).map(entered)
    }

    fn freeze(&mut self, plan: &Plan, bytes: &[u8], digest: Digest, at: Stamp) -> Result<Status, Failure> {
        self.write_on(|store| store.freeze_plan(plan.transaction, plan, bytes, digest, at))
    }

    fn adopt(&mut self, adoption: &Adoption) -> Result<Entered, Failure> {
        let adoption = backstep_store::Adoption {
            new: entering(&adoption.new),
            plan: &adoption.plan,
            plan_bytes: &adoption.plan_bytes,
            plan_digest: adoption.plan_digest,
            events: &adoption.events,
            journal_seq: adoption.journal_seq,
            world_after: adoption.world_after,
        };
        self.write_on(|store| store.adopt(&adoption)).map(entered)
    }

    fn append(&mut self, append: &Append) -> Result<Status, Failure> {
        let append = backstep_store::Append {
            id: append.id,
            attempt: append.attempt,
            events: &append.events,
            at: append.at,
            journal_seq: append.journal_seq,
            world_after: append.world_after,
        };
        self.write_on(|store| store.append(&append))
    }

    fn record(&self, id: TransactionId) -> Result<Option<Record>, Failure> {
        self.told(self.store.record(id))
    }

    fn summary(&self, id: TransactionId) -> Result<Option<Summary>, Failure> {
        self.told(self.store.summary(id))
    }

    fn unfinished(&self) -> Result<Vec<Summary>, Failure> {
        self.told(self.store.unfinished())
    }

    fn request_bytes(&self, id: TransactionId) -> Result<Option<Vec<u8>>, Failure> {
        self.told(self.store.request_bytes(id))
    }

    fn plan_bytes(&self, id: TransactionId) -> Result<Option<Vec<u8>>, Failure> {
        self.told(self.store.plan_bytes(id))
    }

    fn journal_position(&self, id: TransactionId, attempt: u32) -> Result<u64, Failure> {
        self.told(self.store.journal_position(id, attempt))
    }

    fn world_after(&self, id: TransactionId) -> Result<Option<Digest>, Failure> {
        self.told(self.store.world_after(id))
    }

    fn list(&self, filter: &Filter) -> Result<Vec<Summary>, Failure> {
        self.told(self.store.list(filter))
    }

    fn find(&self, text: &str) -> Result<Vec<TransactionId>, Failure> {
        self.told(self.store.find(text))
    }

    fn last_undoable(&self) -> Result<Option<TransactionId>, Failure> {
        self.told(self.store.last_completed())
    }

    fn changed_since(&self, id: TransactionId) -> Result<Vec<TransactionId>, Failure> {
        self.told(self.store.changed_since(id))
    }

    fn first_since(&self, at_us: i64) -> Result<Option<TransactionId>, Failure> {
        self.told(self.store.first_since(at_us))
    }

    fn last_failed(&self) -> Result<Option<TransactionId>, Failure> {
        self.told(self.store.last_failed())
    }

    fn refuse(&mut self, refused: &Refused) -> Result<(), Failure> {
        let Refused { refusal, count, at, until } = refused;
        let new = backstep_store::NewRefusal { refusal, count: *count, at: *at, until: *until };
        said(self.write(|store| store.refuse(&new)))
    }

    fn is_broken(&self) -> bool {
        self.broken
    }

    fn refusals(&self, filter: &RefusalFilter) -> Result<Vec<RefusalRecord>, Failure> {
        self.told(self.store.refusals(filter))
    }

    fn ignore(&mut self, ignore: &Said<Ignore>) -> Result<u64, Failure> {
        said(self.store.ignore(ignore))
    }

    fn unignore(&mut self, number: &Said<u64>) -> Result<bool, Failure> {
        said(self.store.unignore(number))
    }

    fn ignores(&self) -> Result<Vec<IgnoreRecord>, Failure> {
        self.told(self.store.ignores())
    }

    fn all_ignores(&self, limit: u32) -> Result<Vec<IgnoreRecord>, Failure> {
        self.told(self.store.all_ignores(limit))
    }

    fn back_off(&mut self, backoff: &Said<NewBackoff>) -> Result<u64, Failure> {
        said(self.store.back_off(backoff))
    }

    fn clear_backoffs(&mut self, numbers: &Said<Vec<u64>>) -> Result<u32, Failure> {
        said(self.store.clear_backoffs(numbers))
    }

    fn begin_backoffs_anew(&mut self, numbers: &[u64], actor: &Actor, at: Stamp) -> Result<(), Failure> {
        said(self.store.begin_backoffs_anew(numbers, actor, at))
    }

    fn backoffs(&self) -> Result<Vec<Backoff>, Failure> {
        self.told(self.store.backoffs())
    }

    fn all_backoffs(&self, limit: u32) -> Result<Vec<Backoff>, Failure> {
        self.told(self.store.all_backoffs(limit))
    }

    fn redact(&mut self, redaction: &Said<Redaction>) -> Result<Redacted, Failure> {
        let same = |document: Document, before: &[u8], after: &[u8]| match document {
            Document::Request => texts::same_request(before, after),
            Document::Plan => texts::same_plan(before, after),
        };
        let redacted = said(self.write(|store| store.redact(redaction, &same)))?;
        if redaction.what.mode == Mode::Do {
            let error = |error| format!("the text is out of the record, but not out of its copy, which cannot be removed: {error}");
            rebuild::drop_copy(&self.path).map_err(|source| Failure::new(ErrorCode::StoreFailed, error(source)))?;
        }
        Ok(redacted)
    }

    fn move_to(&mut self, said_of: &Said<RecordArchive>) -> Result<Moved, Failure> {
        said(self.write(|store| store.move_to(said_of)))
    }

    fn configure(&mut self, configuration: &Said<String>) -> Result<(), Failure> {
        said(self.write(|store| store.configure(configuration)))
    }

    fn configuration(&self) -> Result<String, Failure> {
        self.told(self.store.configuration())
    }

    fn shrink(&mut self) -> Result<(), Failure> {
        said(self.write(|store| store.shrink()))
    }
}

fn entering(new: &NewTransaction) -> backstep_store::NewTransaction<'_> {
    backstep_store::NewTransaction {
        id: new.id,
        kind: new.kind,
        request_bytes: &new.request_bytes,
        request_digest: new.request_digest,
        description: &new.description,
        tags: new.tags.as_slice(),
        comment: &new.description,
        actor: &new.actor,
        at: new.at,
        priority: new.priority,
        reverts: new.reverts,
        scope: new.scope,
        retries: new.retries,
    }
}

const fn entered(created: Created) -> Entered {
    match created {
        Created::New => Entered::New,
        Created::Existing => Entered::AlreadyThere,
    }
}

/// The store's errors know their code.
fn said<T>(result: Result<T, StoreError>) -> Result<T, Failure> {
    result.map_err(|error| Failure::from(&error))
}
