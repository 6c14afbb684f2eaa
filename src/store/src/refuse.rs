//! Refusals: calls that were turned away, one row for one or for a counted number of them.

use backstep_core::Stamp;
use backstep_core::actor::Actor;
use backstep_core::refusal::{Refusal, RefusalFilter, RefusalRecord};
use rusqlite::types::Value;
use rusqlite::{Row, params, params_from_iter};

use crate::columns::{failure, integer, parsed, parsed_option, stamp};
use crate::error::StoreError;
use crate::generation::{Generation, Opening};
use crate::open::Store;
use crate::summary_row::actor;

const DEFAULT_LIMIT: u32 = 50;

/// One refusal, or several that are told together, as they enter the record.
#[derive(Debug, Clone, Copy)]
pub struct NewRefusal<'a> {
    /// The last of them.
    pub refusal: &'a Refusal,
    /// How many.
    pub count: u64,
    /// When the first one was.
    pub at: Stamp,
    /// When the last one was.
    pub until: Stamp,
}

impl Store {
    /// Records that somebody was turned away, in a generation of its own.
    pub fn refuse(&mut self, new: &NewRefusal<'_>) -> Result<(), StoreError> {
        let opening = Opening::New { comment: "turned away", actor: &new.refusal.actor };
        let generation = Generation::begin(self, &opening, new.until)?;
        insert(&generation, new)?;
        generation.commit()
    }

    /// Refusals, newest first.
    pub fn refusals(&self, filter: &RefusalFilter) -> Result<Vec<RefusalRecord>, StoreError> {
        let (sql, values) = query(filter);
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(record(row)?);
        }
        Ok(found)
    }
}

fn insert(generation: &Generation<'_>, new: &NewRefusal<'_>) -> Result<(), StoreError> {
    let refusal = new.refusal;
    let Actor { uid, user, loginuid, pid, sender, unit, origin, client } = &refusal.actor;
    generation.conn().execute(
        "INSERT INTO refusals (generation, count, method, transaction_id, uid, user, loginuid, pid, sender, unit, origin, client, program,
             error_code, error_text, at_us, at_monotonic_us, at_boot, until_us, until_monotonic_us, until_boot)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)",
        params![
            generation.key(),
            i64::try_from(new.count).unwrap_or(i64::MAX),
            refusal.method.as_str(),
            refusal.transaction.map(|id| id.to_string()),
            uid,
            user,
            loginuid,
            pid,
            sender,
            unit,
            origin.as_str(),
            client,
            refusal.program,
            refusal.failure.code.as_str(),
            refusal.failure.text,
            new.at.utc_us,
            new.at.monotonic_us,
            new.at.boot.0,
            new.until.utc_us,
            new.until.monotonic_us,
            new.until.boot.0,
        ],
    )?;
    Ok(())
}

/// The query of a filter. The key bounds every list, as in the lists of transactions.
pub(crate) fn query(filter: &RefusalFilter) -> (String, Vec<Value>) {
    let before = filter.before.map_or(i64::MAX, |number| i64::try_from(number).unwrap_or(i64::MAX));
    let mut conditions = vec!["key < ?"];
    let mut values = vec![Value::Integer(before)];
    if let Some(uid) = filter.uid {
        conditions.push("uid = ?");
        values.push(Value::Integer(uid.into()));
    }
    if let Some(code) = filter.code {
        conditions.push("error_code = ?");
        values.push(Value::Text(code.as_str().to_owned()));
    }
    values.push(Value::Integer(if filter.limit == 0 { DEFAULT_LIMIT } else { filter.limit }.into()));
    (format!("SELECT * FROM refusals WHERE {} ORDER BY key DESC LIMIT ?", conditions.join(" AND ")), values)
}

fn record(row: &Row<'_>) -> Result<RefusalRecord, StoreError> {
    Ok(RefusalRecord {
        number: integer(row, "key")?,
        at: stamp(row, "at")?,
        until: stamp(row, "until")?,
        count: integer(row, "count")?,
        method: parsed(row, "method")?,
        actor: actor(row)?,
        program: row.get("program")?,
        transaction: parsed_option(row, "transaction_id")?,
        failure: failure(row)?.ok_or_else(|| StoreError::corrupt("a refusal without a code"))?,
    })
}
