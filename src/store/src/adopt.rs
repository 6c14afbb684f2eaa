//! Adopting: a change that was made without us enters the record as a whole, when it has ended.

use backstep_core::{Digest, Event, Plan, Stamp, Status, TransactionId};

use crate::append::{Writer, has_world};
use crate::chain::digest_of;
use crate::create::{self, Created, NewTransaction, recorded_digest};
use crate::error::StoreError;
use crate::generation::{Generation, Opening};
use crate::open::Store;
use crate::{project_attempts, project_transaction};

/// A transaction from its request to its end.
#[derive(Debug, Clone)]
pub struct Adoption<'a> {
    /// Its request; `at` is when the change began.
    pub new: NewTransaction<'a>,
    /// What was done.
    pub plan: &'a Plan,
    /// The plan's document, stored verbatim.
    pub plan_bytes: &'a [u8],
    /// Its SHA-256.
    pub plan_digest: Digest,
    /// What happened after `prepared`, each with its time.
    pub events: &'a [(Event, Stamp)],
    /// The last line of the journal of attempt 1; without an attempt it counts for nothing.
    pub journal_seq: u64,
    /// The digest of dpkg's and apt's state as the change left it, when files can be put back from there.
    pub world_after: Option<Digest>,
}

impl Store {
    /// Takes a change with everything, in one generation and one commit.
    ///
    /// Idempotent: an id that is in the record with the same request is [`Created::Existing`] and nothing is written.
    /// Every event goes through the state machine; one that its state does not allow is [`StoreError::Illegal`].
    pub fn adopt(&mut self, adoption: &Adoption<'_>) -> Result<Created, StoreError> {
        let new = &adoption.new;
        check(adoption)?;
        match recorded_digest(&self.conn, new.id)? {
            Some(digest) if digest == new.request_digest => return Ok(Created::Existing),
            Some(_) => return Err(StoreError::Duplicate(new.id)),
            None => {}
        }
        let generation = Generation::begin(self, &Opening::New { comment: new.comment, actor: new.actor }, new.at)?;
        create::insert(&generation, new)?;
        let row = project_transaction::read(generation.conn(), new.id)?;
        let mut writer = Writer { generation, row, attempt: None, at: new.at, touched: true };
        writer.freeze(adoption.plan, adoption.plan_bytes, adoption.plan_digest)?;
        for (event, at) in adoption.events {
            writer.adopt(event, *at, adoption.world_after)?;
        }
        writer.read_up_to(adoption.journal_seq)?;
        writer.finish().map(|_: Status| Created::New)
    }
}

fn check(adoption: &Adoption<'_>) -> Result<(), StoreError> {
    let Adoption { new, plan, plan_bytes, plan_digest, .. } = adoption;
    if digest_of(new.request_bytes) != new.request_digest {
        return Err(StoreError::Mismatch { what: "request" });
    }
    let of: TransactionId = plan.transaction;
    if digest_of(plan_bytes) != *plan_digest || of != new.id || plan.request != new.request_digest {
        return Err(StoreError::Mismatch { what: "plan" });
    }
    Ok(())
}

impl Writer<'_> {
    fn adopt(&mut self, event: &Event, at: Stamp, world: Option<Digest>) -> Result<(), StoreError> {
        self.at = at;
        if matches!(event, Event::Started { .. }) {
            self.attempt = Some(1);
        }
        self.record(event, world.filter(|_| has_world(event)))
    }

    fn read_up_to(&self, seq: u64) -> Result<(), StoreError> {
        match self.attempt {
            Some(attempt) => project_attempts::set_position(self.generation.conn(), self.row.key, attempt, seq),
            None => Ok(()),
        }
    }
}
