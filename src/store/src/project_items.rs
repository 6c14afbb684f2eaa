//! Items: rows are made with the plan, events move them. How far one is follows from dpkg's words and the plan.

use backstep_core::record::{ItemRecord, ItemState};
use backstep_core::recovery::{PackageFact, Standing, classify};
use backstep_core::{Event, PackageId, Plan, PlanAction, PlanItem, Status, UndoQuality};
use rusqlite::{Connection, Row, params};

use crate::columns::{parsed, parsed_option};
use crate::error::StoreError;

/// Makes a row for every item of a plan, all pending.
pub(crate) fn insert(conn: &Connection, transaction_key: i64, plan: &Plan) -> Result<(), StoreError> {
    let mut statement = conn.prepare_cached(
        "INSERT INTO items (transaction_key, position, name, arch, manager, action, reason, from_version, to_version, undo, undo_why,
             now, state)
         VALUES (?1, ?2, ?3, ?4, 'apt', ?5, ?6, ?7, ?8, ?9, ?10, '', ?11)",
    )?;
    for (position, item) in (0_i64..).zip(&plan.items) {
        statement.execute(params![
            transaction_key,
            position,
            item.package.name.as_str(),
            item.package.arch.as_str(),
            item.action.as_str(),
            item.reason.as_str(),
            item.from.as_ref().map(|version| version.as_str()),
            item.to.as_ref().map(|version| version.as_str()),
            item.undo.as_str(),
            item.undo.why(),
            ItemState::Pending.as_str(),
        ])?;
    }
    Ok(())
}

/// Writes what an event changed; `status` is the one after it.
pub(crate) fn project(conn: &Connection, transaction_key: i64, event: &Event, status: Status) -> Result<(), StoreError> {
    match event {
        Event::ItemChanged { package, after, .. } => change(conn, transaction_key, package, after, status.undoing),
        // The check step compared every item with the plan.
        Event::Completed => settle(conn, transaction_key, "state <> 'done'", ItemState::Done),
        // The undo compared everything with before; what was not touched stays pending.
        Event::UndoFinished { differences: 0 } => settle(conn, transaction_key, "state IN ('half', 'done')", ItemState::Undone),
        Event::Created
        | Event::Prepared { .. }
        | Event::Denied { .. }
        | Event::Queued { .. }
        | Event::Started { .. }
        | Event::StepStarted { .. }
        | Event::StepEnded { .. }
        | Event::Noted { .. }
        | Event::CancelRequested { .. }
        | Event::Failed { .. }
        | Event::Expired
        | Event::UndoStarted { .. }
        | Event::UndoFinished { .. }
        | Event::Interrupted { .. }
        | Event::Resumed { .. }
        | Event::AttentionNeeded { .. }
        | Event::Accepted
        | Event::Redacted { .. } => Ok(()),
    }
}

fn settle(conn: &Connection, key: i64, which: &'static str, state: ItemState) -> Result<(), StoreError> {
    conn.prepare_cached(&format!("UPDATE items SET state = ?2 WHERE transaction_key = ?1 AND {which}"))?
        .execute(params![key, state.as_str()])?;
    Ok(())
}

pub(crate) const BY_NAME: &str = "SELECT * FROM items WHERE name = ?1 AND transaction_key = ?2";

/// A package outside the plan (a trigger's work, for example) has its event and no item.
fn change(conn: &Connection, key: i64, package: &str, after: &str, undoing: bool) -> Result<(), StoreError> {
    let Some((position, item)) = find(conn, key, package)? else {
        return Ok(());
    };
    let state = state_of(&item, after, undoing);
    conn.prepare_cached("UPDATE items SET now = ?3, state = ?4 WHERE transaction_key = ?1 AND position = ?2")?.execute(params![
        key,
        position,
        after,
        state.as_str()
    ])?;
    Ok(())
}

/// The item of a package by `name:arch`; when the architecture is another one (it may change with the version)
/// and the name is unique in the plan, by name.
fn find(conn: &Connection, key: i64, package: &str) -> Result<Option<(i64, PlanItem)>, StoreError> {
    let (name, arch) = package.split_once(':').unwrap_or((package, ""));
    let mut statement = conn.prepare_cached(BY_NAME)?;
    let mut rows = statement.query(params![name, key])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((row.get("position")?, plan_item(row)?));
    }
    let exact = found.iter().position(|(_, item): &(i64, PlanItem)| item.package.arch.as_str() == arch);
    Ok(match (exact, found.len()) {
        (Some(place), _) => Some(found.swap_remove(place)),
        (None, 1) => found.pop(),
        (None, _) => None,
    })
}

/// The item as far as [`classify`] looks at it: package, action and versions.
fn plan_item(row: &Row<'_>) -> Result<PlanItem, StoreError> {
    Ok(PlanItem {
        package: PackageId { name: parsed(row, "name")?, arch: parsed(row, "arch")? },
        action: parsed(row, "action")?,
        reason: parsed(row, "reason")?,
        from: parsed_option(row, "from_version")?,
        to: parsed_option(row, "to_version")?,
        archive: None,
        installed_delta: 0,
        auto_before: false,
        auto_after: false,
        essential: false,
        leftovers: false,
        undo: UndoQuality::Exact,
    })
}

/// How far an item is when dpkg says `after` of it.
fn state_of(item: &PlanItem, after: &str, undoing: bool) -> ItemState {
    let same_at_both_ends = match item.action {
        PlanAction::Reinstall | PlanAction::Hold | PlanAction::Unhold => true,
        PlanAction::Install | PlanAction::Upgrade | PlanAction::Downgrade | PlanAction::Remove | PlanAction::Purge => false,
    };
    match classify(item, &fact(after)) {
        Standing::Half => ItemState::Half,
        Standing::Target if undoing && same_at_both_ends => ItemState::Undone,
        Standing::Target => ItemState::Done,
        Standing::Before if undoing => ItemState::Undone,
        Standing::Before => ItemState::Pending,
    }
}

/// Reads `status version`, for example `installed 2.10-3` or `not-installed`.
fn fact(words: &str) -> PackageFact {
    let (status, version) = words.split_once(' ').unwrap_or((words, ""));
    PackageFact {
        version: if status == "not-installed" { None } else { version.parse().ok() },
        settled: status == "installed",
        config_files: status == "config-files",
    }
}

pub(crate) const OF_TRANSACTION: &str = "SELECT * FROM items WHERE transaction_key = ?1 ORDER BY position";

/// The items of a transaction, in the plan's order.
pub(crate) fn of_transaction(conn: &Connection, transaction_key: i64) -> Result<Vec<ItemRecord>, StoreError> {
    let mut statement = conn.prepare_cached(OF_TRANSACTION)?;
    let mut rows = statement.query([transaction_key])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(ItemRecord {
            package: format!("{}:{}", row.get::<_, String>("name")?, row.get::<_, String>("arch")?),
            manager: "apt",
            action: parsed(row, "action")?,
            from: row.get("from_version")?,
            to: row.get("to_version")?,
            now: row.get("now")?,
            state: parsed(row, "state")?,
        });
    }
    Ok(items)
}
