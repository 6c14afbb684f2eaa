//! Finding transactions: by the end of an id, by what undid them, the last that can be undone.

use backstep_core::TransactionId;
use rusqlite::Connection;

use crate::archive;
use crate::columns::parsed;
use crate::create::{recorded_digest, reversed_digits};
use crate::error::StoreError;
use crate::open::Store;

/// Shorter ends of ids are no names.
const SHORTEST_TAIL: usize = 4;

impl Store {
    /// The transactions a person may mean: the one with this id, or those whose id ends with these hexadecimal
    /// digits (at least four; hyphens are left out). At most two, which is enough to know that a tail is not
    /// unique.
    pub fn find(&self, tail: &str) -> Result<Vec<TransactionId>, StoreError> {
        if let Ok(id) = tail.parse::<TransactionId>() {
            return Ok(recorded_digest(&self.conn, id)?.map(|_| id).into_iter().collect());
        }
        let digits = reversed_digits(&tail.to_ascii_lowercase());
        let fits = (SHORTEST_TAIL..=32).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
        if !fits {
            return Ok(Vec::new());
        }
        let found = |conn: &Connection| ids(conn, BY_TAIL, [&digits, &format!("{digits}g")]);
        match found(&self.conn)? {
            // What a tail means does not change because an archive has one, too.
            none if none.is_empty() => {
                Ok(archive::first(&self.conn, |archive| Ok(Some(found(archive)?).filter(|ids| !ids.is_empty())))?.unwrap_or_default())
            }
            here => Ok(here),
        }
    }

    /// What `rollback --last` undoes: the newest completed transaction, rollbacks included, that no completed
    /// rollback has undone. Asked after a rollback it therefore answers that rollback: undoing it is a redo.
    pub fn last_completed(&self) -> Result<Option<TransactionId>, StoreError> {
        newest_not_reverted(&self.conn, COMPLETED)
    }

    /// What changed the system after this one began, rollbacks included, the newest first.
    pub fn changed_since(&self, id: TransactionId) -> Result<Vec<TransactionId>, StoreError> {
        let mut found = ordered(&self.conn, CHANGED_SINCE, [id.to_string()])?;
        found.sort_unstable_by_key(|(at, _)| std::cmp::Reverse(*at));
        Ok(found.into_iter().map(|(_, id)| id).collect())
    }

    /// The first transaction that began at this time (microseconds since 1970 in UTC) or later and changed the system.
    pub fn first_since(&self, at_us: i64) -> Result<Option<TransactionId>, StoreError> {
        Ok(ordered(&self.conn, BEGAN_SINCE, [at_us])?.into_iter().min_by_key(|(at, _)| *at).map(|(_, id)| id))
    }

    /// What `rollback --last-failed` undoes: the newest transaction that failed and left changes
    /// (partially rolled back) and that no completed rollback has undone. Those in state `failed`
    /// ended before anything was changed.
    pub fn last_failed(&self) -> Result<Option<TransactionId>, StoreError> {
        newest_not_reverted(&self.conn, FAILED_WITH_CHANGES)
    }
}

/// The digits backwards begin with the tail's; `g` is the first character after the hexadecimal digits.
pub(crate) const BY_TAIL: &str = "SELECT id FROM transactions WHERE reversed >= ?1 AND reversed < ?2 LIMIT 2";
pub(crate) const COMPLETED: &str = "SELECT id FROM transactions WHERE state = 'completed' ORDER BY key DESC";
pub(crate) const FAILED_WITH_CHANGES: &str = "SELECT id FROM transactions WHERE state = 'partially-rolled-back' ORDER BY key DESC";
/// What undid this one as a whole.
pub(crate) const ROLLBACKS: &str = "SELECT id, key FROM transactions WHERE reverts = ?1 AND scope <> 'part' AND state = 'completed'";
/// What undid everything from some earlier one on, and ran after this one. One runs at a time, so their beginnings are
/// their order.
pub(crate) const ROLLBACKS_BEYOND: &str = "SELECT r.id, r.key FROM transactions r JOIN transactions t ON t.id = r.reverts
    JOIN transactions x ON x.id = ?1
    WHERE r.scope = 'later' AND r.state = 'completed' AND t.started_us < x.started_us AND x.started_us < r.started_us";
/// What changed the system after this one began, and was not undone by itself.
pub(crate) const CHANGED_SINCE: &str = "SELECT id, started_us FROM transactions
    WHERE state IN ('completed', 'partially-rolled-back') AND undoing = 0 AND started_us > (SELECT started_us FROM transactions WHERE id = ?1)";
/// What began at a time or later and changed the system.
pub(crate) const BEGAN_SINCE: &str = "SELECT id, started_us FROM transactions
    WHERE state IN ('completed', 'partially-rolled-back') AND undoing = 0 AND started_us >= ?1";

fn ids<P: rusqlite::Params>(conn: &Connection, sql: &str, params: P) -> Result<Vec<TransactionId>, StoreError> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(parsed(row, "id")?);
    }
    Ok(found)
}

/// Reads on only as far as the newest ones are reverted.
fn newest_not_reverted(conn: &Connection, sql: &str) -> Result<Option<TransactionId>, StoreError> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id = parsed(row, "id")?;
        if reverted_by(conn, id)?.is_none() {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// The completed transaction that undid this one and was not undone itself, the newest of them.
///
/// A rollback of a rollback brings the first change back. Each rollback is newer than what it undid, so this ends.
pub(crate) fn reverted_by(conn: &Connection, id: TransactionId) -> Result<Option<TransactionId>, StoreError> {
    for rollback in rollbacks(conn, id)? {
        if reverted_by(conn, rollback)?.is_none() {
            return Ok(Some(rollback));
        }
    }
    Ok(None)
}

/// The completed rollbacks that covered this one as a whole, the newest first.
fn rollbacks(conn: &Connection, id: TransactionId) -> Result<Vec<TransactionId>, StoreError> {
    let mut found = [ordered(conn, ROLLBACKS, [id.to_string()])?, ordered(conn, ROLLBACKS_BEYOND, [id.to_string()])?].concat();
    found.sort_unstable_by_key(|(key, _)| std::cmp::Reverse(*key));
    Ok(found.into_iter().map(|(_, id)| id).collect())
}

/// Rows of an id and a number to sort by.
fn ordered<P: rusqlite::Params>(conn: &Connection, sql: &str, params: P) -> Result<Vec<(i64, TransactionId)>, StoreError> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((row.get(1)?, parsed(row, "id")?));
    }
    Ok(found)
}
