//! A transaction's row as a list shows it.

use backstep_core::TransactionId;
use backstep_core::actor::Actor;
use backstep_core::record::Summary;
use rusqlite::{Connection, Row};

use crate::columns::{failure, integer, integer_option, parsed, parsed_option, stamp, stamp_option};
use crate::error::StoreError;
use crate::find;
use crate::project_transaction::status;

/// What every query that answers summaries selects of a transaction `t` and its plan `p`. The plan's bytes are not read.
pub(crate) const COLUMNS: &str = "t.*, coalesce(p.summary, '') AS plan_summary, coalesce(p.items, 0) AS items_total,
    (SELECT count(*) FROM items i WHERE i.transaction_key = t.key AND i.state = 'done') AS items_done";

/// Where they come from, when nothing else leads.
pub(crate) const FROM: &str = "FROM transactions t LEFT JOIN plans p ON p.transaction_key = t.key";

/// One row of a query that selects [`COLUMNS`].
pub(crate) fn summary(conn: &Connection, row: &Row<'_>) -> Result<Summary, StoreError> {
    let id: TransactionId = parsed(row, "id")?;
    Ok(Summary {
        id,
        kind: parsed(row, "kind")?,
        status: status(row)?,
        description: row.get("description")?,
        actor: actor(row)?,
        sequence: row.get::<_, Option<i64>>("sequence")?.unwrap_or(0),
        priority: integer(row, "priority")?,
        reverts: parsed_option(row, "reverts")?,
        retries: parsed_option(row, "retries")?,
        reverted_by: find::reverted_by(conn, id)?,
        created: stamp(row, "created")?,
        queued: stamp_option(row, "queued")?,
        started: stamp_option(row, "started")?,
        finished: stamp_option(row, "finished")?,
        duration_us: row.get("duration_us")?,
        plan_summary: row.get("plan_summary")?,
        items_done: integer(row, "items_done")?,
        items_total: integer(row, "items_total")?,
        error: failure(row)?,
    })
}

pub(crate) fn actor(row: &Row<'_>) -> Result<Actor, StoreError> {
    Ok(Actor {
        uid: integer(row, "uid")?,
        user: row.get("user")?,
        loginuid: integer_option(row, "loginuid")?,
        pid: integer_option(row, "pid")?,
        sender: row.get("sender")?,
        unit: row.get("unit")?,
        origin: parsed(row, "origin")?,
        client: row.get("client")?,
    })
}
