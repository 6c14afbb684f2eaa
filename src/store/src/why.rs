//! Where a package comes from: the change that made it as it is, and the one that brought it.

use backstep_core::history::{ItemChange, Provenance};
use backstep_core::{Architecture, PackageName};
use rusqlite::{Connection, Row, params};

use crate::columns::parsed;
use crate::error::StoreError;
use crate::reader::Reader;
use crate::summary_row::{COLUMNS, summary};

impl Reader {
    /// For each architecture of that name in the record, or for this one: what happened to it last and what brought
    /// it. Marks count as nothing; what was undone did not happen, and an undo of what was completed is a change.
    pub fn provenance(&self, name: &PackageName, arch: Option<&Architecture>) -> Result<Vec<Provenance>, StoreError> {
        let mut found = provenance(&self.conn, name, arch)?;
        // What happened last may lie in the record, and what brought it in an archive.
        for archive in self.archives()? {
            if arch.is_some() && found.iter().all(is_whole) && !found.is_empty() {
                break;
            }
            for older in provenance(archive, name, arch)? {
                match found.iter_mut().find(|known| known.arch == older.arch) {
                    None => found.push(older),
                    Some(known) if !is_whole(known) && older.last.to.is_some() => known.brought = older.brought,
                    Some(_) => {}
                }
            }
        }
        found.sort_by(|one, other| one.arch.cmp(&other.arch));
        Ok(found)
    }
}

/// Whether nothing older adds to it.
fn is_whole(found: &Provenance) -> bool {
    found.brought.is_some() || found.last.to.is_none()
}

fn provenance(conn: &Connection, name: &PackageName, arch: Option<&Architecture>) -> Result<Vec<Provenance>, StoreError> {
    let archs = match arch {
        Some(arch) => vec![arch.as_str().to_owned()],
        None => archs_of(conn, name.as_str())?,
    };
    let found = archs.into_iter().map(|arch| of_arch(conn, name.as_str(), arch));
    found.filter_map(Result::transpose).collect()
}

pub(crate) const ARCHS: &str = "SELECT DISTINCT arch FROM items WHERE name = ?1 ORDER BY arch";
pub(crate) const REQUESTED: &str = "SELECT name FROM items WHERE transaction_key = ?1 AND reason = 'requested' ORDER BY position LIMIT 10";

/// The changes of a package that were done, newest first; read on only as far as they are asked for.
pub(crate) fn changes_sql() -> String {
    format!(
        "SELECT {COLUMNS}, c.action AS c_action, c.reason AS c_reason, c.from_version AS c_from, c.to_version AS c_to
         FROM items c CROSS JOIN transactions t ON t.key = c.transaction_key LEFT JOIN plans p ON p.transaction_key = t.key
         WHERE c.name = ?1 AND c.arch = ?2 AND c.state = 'done' AND c.action NOT IN ('hold', 'unhold')
             AND +t.state IN ('completed', 'partially-rolled-back')
         ORDER BY c.transaction_key DESC"
    )
}

fn archs_of(conn: &Connection, name: &str) -> Result<Vec<String>, StoreError> {
    let mut statement = conn.prepare_cached(ARCHS)?;
    let rows = statement.query_map([name], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn of_arch(conn: &Connection, name: &str, arch: String) -> Result<Option<Provenance>, StoreError> {
    let mut statement = conn.prepare_cached(&changes_sql())?;
    let mut rows = statement.query(params![name, arch])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let last = change(conn, row)?;
    if last.to.is_none() {
        return Ok(Some(Provenance { arch, last, brought: None }));
    }
    let mut brought = last.from.is_none().then(|| last.clone());
    while brought.is_none() {
        let Some(row) = rows.next()? else { break };
        // Gone in between without our doing: what brought it this time is not in the record.
        if row.get::<_, Option<String>>("c_to")?.is_none() {
            break;
        }
        if row.get::<_, Option<String>>("c_from")?.is_none() {
            brought = Some(change(conn, row)?);
        }
    }
    Ok(Some(Provenance { arch, last, brought }))
}

fn change(conn: &Connection, row: &Row<'_>) -> Result<ItemChange, StoreError> {
    let mut statement = conn.prepare_cached(REQUESTED)?;
    let requested = statement.query_map([row.get::<_, i64>("key")?], |row| row.get(0))?;
    Ok(ItemChange {
        action: parsed(row, "c_action")?,
        reason: parsed(row, "c_reason")?,
        from: row.get("c_from")?,
        to: row.get("c_to")?,
        requested: requested.collect::<Result<_, _>>()?,
        summary: summary(conn, row)?,
    })
}
