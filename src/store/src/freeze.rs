//! Freezing a plan: its bytes, items and steps, once and for all.

use backstep_core::{Digest, Event, Plan, Stamp, Status, TransactionId};
use rusqlite::params;

use crate::append::Writer;
use crate::chain::digest_of;
use crate::error::StoreError;
use crate::generation::{Generation, Opening};
use crate::open::Store;
use crate::{project_items, project_steps, project_transaction};

impl Store {
    /// Stores a plan verbatim with its items and steps and records `prepared`, in one commit.
    ///
    /// The plan must be made for this transaction and its request, and `digest` must be that of `bytes`.
    pub fn freeze_plan(&mut self, id: TransactionId, plan: &Plan, bytes: &[u8], digest: Digest, at: Stamp) -> Result<Status, StoreError> {
        let row = project_transaction::read(&self.conn, id)?;
        if digest_of(bytes) != digest || plan.transaction != id || plan.request != row.request_digest {
            return Err(StoreError::Mismatch { what: "plan" });
        }
        // Refused before its rows are: the error names the state, not a row.
        row.status.after(&Event::Prepared { digest })?;
        let generation = Generation::begin(self, &Opening::Again(row.generation), at)?;
        let mut writer = Writer { generation, row, attempt: None, at, touched: true };
        writer.freeze(plan, bytes, digest)?;
        writer.finish()
    }
}

impl Writer<'_> {
    /// Stores a plan with its items and steps, and records `prepared`.
    pub(crate) fn freeze(&mut self, plan: &Plan, bytes: &[u8], digest: Digest) -> Result<(), StoreError> {
        let (conn, key) = (self.generation.conn(), self.row.key);
        let items = i64::try_from(plan.items.len()).unwrap_or(i64::MAX);
        conn.prepare_cached("INSERT INTO plans (transaction_key, digest, summary, items, bytes) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![key, digest.0, plan.summary(), items, bytes])?;
        project_items::insert(conn, key, plan)?;
        project_steps::insert(conn, key)?;
        self.record(&Event::Prepared { digest }, Some(digest))
    }
}
