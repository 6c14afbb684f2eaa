//! A transaction's row as a list shows it.

use backstep_core::actor::Actor;
use backstep_core::record::Summary;
use backstep_core::{Status, Tags, TransactionId};
use rusqlite::{Connection, Row};

use crate::columns::{Values, integer, integer_option, parsed};
use crate::error::StoreError;
use crate::find;

/// What every query that answers summaries selects first, of a transaction `t` and its plan `p`. The plan's bytes are not read. The order
/// is that in which [`summary`] reads. Hardly anything was ever undone, so whether that can be is asked on the way.
pub(crate) const COLUMNS: &str = "t.id, t.kind, t.state, t.cancel_requested, t.attempts, t.undoing, t.description,
    (SELECT group_concat(name, ' ') FROM tags WHERE transaction_key = t.key) AS tags,
    t.uid, t.user, t.loginuid, t.pid, t.sender, t.unit, t.origin, t.client, t.sequence, t.priority, t.reverts, t.retries,
    EXISTS (SELECT 1 FROM transactions r WHERE r.reverts = t.id)
        OR EXISTS (SELECT 1 FROM transactions r WHERE r.scope = 'later' AND r.started_us > t.started_us) AS covered,
    t.created_us, t.created_monotonic_us, t.created_boot, t.queued_us, t.queued_monotonic_us, t.queued_boot,
    t.started_us, t.started_monotonic_us, t.started_boot, t.finished_us, t.finished_monotonic_us, t.finished_boot, t.duration_us,
    coalesce(p.summary, '') AS plan_summary,
    (SELECT count(*) FROM items i WHERE i.transaction_key = t.key AND i.state = 'done') AS items_done,
    coalesce(p.items, 0) AS items_total, t.error_code, t.error_text, t.key";

/// Where they come from, when nothing else leads.
pub(crate) const FROM: &str = "FROM transactions t LEFT JOIN plans p ON p.transaction_key = t.key";

/// One row of a query that selects [`COLUMNS`] first.
pub(crate) fn summary(conn: &Connection, row: &Row<'_>) -> Result<Summary, StoreError> {
    let mut values = Values::new(row);
    let id: TransactionId = values.parsed()?;
    Ok(Summary {
        id,
        kind: values.parsed()?,
        status: Status { state: values.parsed()?, cancel_requested: values.get()?, attempts: values.integer()?, undoing: values.get()? },
        description: values.get()?,
        tags: tags_next(&mut values)?,
        actor: actor_next(&mut values)?,
        sequence: values.get::<Option<i64>>()?.unwrap_or(0),
        priority: values.integer()?,
        reverts: values.parsed_option()?,
        retries: values.parsed_option()?,
        reverted_by: if values.get()? { find::reverted_by(conn, id)? } else { None },
        created: values.stamp()?,
        queued: values.stamp_option()?,
        started: values.stamp_option()?,
        finished: values.stamp_option()?,
        duration_us: values.get()?,
        plan_summary: values.get()?,
        items_done: values.integer()?,
        items_total: values.integer()?,
        error: values.failure()?,
    })
}

/// No tag has a space.
fn tags_next(values: &mut Values<'_, '_>) -> Result<Tags, StoreError> {
    let text = values.get::<Option<String>>()?.unwrap_or_default();
    let names: Vec<&str> = text.split_whitespace().collect();
    Tags::new(&names).map_err(|error| StoreError::corrupt(format!("column tags: {error}")))
}

fn actor_next(values: &mut Values<'_, '_>) -> Result<Actor, StoreError> {
    Ok(Actor {
        uid: values.integer()?,
        user: values.get()?,
        loginuid: values.integer_option()?,
        pid: values.integer_option()?,
        sender: values.get()?,
        unit: values.get()?,
        origin: values.parsed()?,
        client: values.get()?,
    })
}

/// Who asked, of a row that names the columns.
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
