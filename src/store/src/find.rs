//! Finding transactions: by the end of an id, by what undid them, the last that can be undone.

use backstep_core::TransactionId;
use rusqlite::{Connection, OptionalExtension};

use crate::columns::parsed;
use crate::create::reversed_digits;
use crate::error::StoreError;
use crate::open::Store;
use crate::project_transaction::key_of;

/// Shorter ends of ids are no names.
const SHORTEST_TAIL: usize = 4;

impl Store {
    /// The transactions a person may mean: the one with this id, or those whose id ends with these hexadecimal
    /// digits (at least four; hyphens are left out). At most two, which is enough to know that a tail is not
    /// unique.
    pub fn find(&self, tail: &str) -> Result<Vec<TransactionId>, StoreError> {
        if let Ok(id) = tail.parse::<TransactionId>() {
            return Ok(key_of(&self.conn, id)?.map(|_| id).into_iter().collect());
        }
        let digits = reversed_digits(&tail.to_ascii_lowercase());
        let fits = (SHORTEST_TAIL..=32).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
        if fits { ids(&self.conn, BY_TAIL, [&digits, &format!("{digits}g")]) } else { Ok(Vec::new()) }
    }

    /// What `rollback --last` undoes: the newest completed transaction, rollbacks included, that no completed
    /// rollback has undone. Asked after a rollback it therefore answers that rollback: undoing it is a redo.
    pub fn last_completed(&self) -> Result<Option<TransactionId>, StoreError> {
        newest_not_reverted(&self.conn, COMPLETED)
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
pub(crate) const NEWEST_ROLLBACK: &str = "SELECT id FROM transactions WHERE reverts = ?1 AND state = 'completed' ORDER BY key DESC LIMIT 1";

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

/// The completed transaction that undid this one, unless it was undone itself.
///
/// A rollback of a rollback brings the first change back; so the newest rollback counts when the line of
/// newest rollbacks that begins with it has an odd length.
pub(crate) fn reverted_by(conn: &Connection, id: TransactionId) -> Result<Option<TransactionId>, StoreError> {
    let Some(first) = newest_rollback(conn, id)? else {
        return Ok(None);
    };
    let (mut last, mut length) = (first, 1_u32);
    while let Some(next) = newest_rollback(conn, last)? {
        (last, length) = (next, length + 1);
    }
    Ok((length % 2 == 1).then_some(first))
}

fn newest_rollback(conn: &Connection, id: TransactionId) -> Result<Option<TransactionId>, StoreError> {
    let mut statement = conn.prepare_cached(NEWEST_ROLLBACK)?;
    let text: Option<String> = statement.query_row([id.to_string()], |row| row.get(0)).optional()?;
    text.map(|text| text.parse().map_err(|error| StoreError::corrupt(format!("column id: {error}")))).transpose()
}
