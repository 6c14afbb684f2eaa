//! The store as the engine's ledger.

use std::path::Path;

use anyhow::Context;
use backstep_core::record::{Filter, KindStatistics, Record, Summary};
use backstep_core::refusal::{RefusalFilter, RefusalRecord};
use backstep_core::{Digest, Failure, Plan, Stamp, Status, TransactionId};
use backstep_engine::ports::{Adoption, Append, Entered, Ledger, NewTransaction, Refused};
use backstep_store::{Created, Run, Store, StoreError};

/// The store.
pub struct StoreLedger {
    store: Store,
}

impl StoreLedger {
    /// Opens the record of this run of the daemon, making or migrating it as needed.
    pub fn open(path: &Path, at: Stamp) -> anyhow::Result<Self> {
        let run = Run { id: uuid::Uuid::now_v7().to_string(), version: env!("CARGO_PKG_VERSION").to_owned(), pid: std::process::id(), at };
        let store = Store::open(path, &run).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { store })
    }
}

impl Ledger for StoreLedger {
    fn enter(&mut self, new: &NewTransaction) -> Result<Entered, Failure> {
        said(self.store.create(&entering(new))).map(entered)
    }

    fn freeze(&mut self, plan: &Plan, bytes: &[u8], digest: Digest, at: Stamp) -> Result<Status, Failure> {
        said(self.store.freeze_plan(plan.transaction, plan, bytes, digest, at))
    }

    fn adopt(&mut self, adoption: &Adoption) -> Result<Entered, Failure> {
        let adopted = said(self.store.adopt(&backstep_store::Adoption {
            new: entering(&adoption.new),
            plan: &adoption.plan,
            plan_bytes: &adoption.plan_bytes,
            plan_digest: adoption.plan_digest,
            events: &adoption.events,
            journal_seq: adoption.journal_seq,
            world_after: adoption.world_after,
        }))?;
        Ok(entered(adopted))
    }

    fn append(&mut self, append: &Append) -> Result<Status, Failure> {
        said(self.store.append(&backstep_store::Append {
            id: append.id,
            attempt: append.attempt,
            events: &append.events,
            at: append.at,
            journal_seq: append.journal_seq,
            world_after: append.world_after,
        }))
    }

    fn record(&self, id: TransactionId) -> Result<Option<Record>, Failure> {
        said(self.store.record(id))
    }

    fn summary(&self, id: TransactionId) -> Result<Option<Summary>, Failure> {
        said(self.store.summary(id))
    }

    fn unfinished(&self) -> Result<Vec<Summary>, Failure> {
        said(self.store.unfinished())
    }

    fn request_bytes(&self, id: TransactionId) -> Result<Option<Vec<u8>>, Failure> {
        said(self.store.request_bytes(id))
    }

    fn plan_bytes(&self, id: TransactionId) -> Result<Option<Vec<u8>>, Failure> {
        said(self.store.plan_bytes(id))
    }

    fn journal_position(&self, id: TransactionId, attempt: u32) -> Result<u64, Failure> {
        said(self.store.journal_position(id, attempt))
    }

    fn world_after(&self, id: TransactionId) -> Result<Option<Digest>, Failure> {
        said(self.store.world_after(id))
    }

    fn list(&self, filter: &Filter) -> Result<Vec<Summary>, Failure> {
        said(self.store.list(filter))
    }

    fn find(&self, text: &str) -> Result<Vec<TransactionId>, Failure> {
        said(self.store.find(text))
    }

    fn statistics(&self, since_us: i64) -> Result<Vec<KindStatistics>, Failure> {
        said(self.store.statistics(since_us))
    }

    fn last_undoable(&self) -> Result<Option<TransactionId>, Failure> {
        said(self.store.last_completed())
    }

    fn changed_since(&self, id: TransactionId) -> Result<Vec<TransactionId>, Failure> {
        said(self.store.changed_since(id))
    }

    fn first_since(&self, at_us: i64) -> Result<Option<TransactionId>, Failure> {
        said(self.store.first_since(at_us))
    }

    fn last_failed(&self) -> Result<Option<TransactionId>, Failure> {
        said(self.store.last_failed())
    }

    fn refuse(&mut self, refused: &Refused) -> Result<(), Failure> {
        let Refused { refusal, count, at, until } = refused;
        said(self.store.refuse(&backstep_store::NewRefusal { refusal, count: *count, at: *at, until: *until }))
    }

    fn refusals(&self, filter: &RefusalFilter) -> Result<Vec<RefusalRecord>, Failure> {
        said(self.store.refusals(filter))
    }
}

fn entering(new: &NewTransaction) -> backstep_store::NewTransaction<'_> {
    backstep_store::NewTransaction {
        id: new.id,
        kind: new.kind,
        request_bytes: &new.request_bytes,
        request_digest: new.request_digest,
        description: &new.description,
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
