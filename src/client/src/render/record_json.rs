//! JSON of what is asked of the record as a whole. The rules are those of [`super::json`].

use backstep_bus::files::{BlameRow, ContentsRow, UndoMaterial};
use backstep_bus::record::{ChangeRow, GenerationRow, InventoryRow, OriginRow, StepStatisticsRow};
use serde_json::{Map, Value, json};

use crate::render::json::object;

/// A row of `why`; what is unknown is absent.
pub(crate) fn origin_row(row: &OriginRow) -> Value {
    known(object!(
        row,
        package,
        arch,
        role,
        installed,
        hidden,
        transaction,
        kind,
        action,
        reason,
        from,
        to,
        requested,
        at,
        uid,
        user,
        origin,
        client,
        description
    ))
}

/// A row of `diff`; what is unknown is absent.
pub(crate) fn contents_row(row: &ContentsRow) -> Value {
    known(object!(row, path, before, after, before_text, after_text, withheld))
}

/// A row of `blame`; what is unknown is absent.
pub(crate) fn blame_row(row: &BlameRow) -> Value {
    known(object!(
        row,
        transaction,
        kind,
        state,
        at,
        uid,
        user,
        origin,
        description,
        reverts,
        reverted_by,
        path,
        change,
        moved_from,
        by_others,
        package,
        action,
        from,
        to
    ))
}

/// The undo material of `status`; what is unknown is absent.
pub(crate) fn undo_material(found: &UndoMaterial) -> Value {
    known(object!(
        found,
        transactions,
        bytes,
        pinned,
        pinned_bytes,
        oldest,
        archives,
        archive_bytes,
        limit_transactions,
        limit_days,
        limit_bytes,
        limit_archive_bytes
    ))
}

/// A row of `timeline` and `generation list`; what is unknown is absent.
pub(crate) fn generation_row(row: &GenerationRow) -> Value {
    known(object!(
        row,
        number,
        opened,
        comment,
        uid,
        user,
        origin,
        version,
        changes,
        transaction,
        kind,
        state,
        finished,
        duration,
        summary,
        items_done,
        items_total,
        reverts,
        reverted_by
    ))
}

/// A row of `inventory`; what is unknown is absent.
pub(crate) fn inventory_row(row: &InventoryRow) -> Value {
    known(object!(row, package, arch, version, state, by, hidden, from, at, uid, user, transaction, description))
}

/// A row that was written; its fields as JSON, or as they came when they are none.
pub(crate) fn change_row(row: &ChangeRow) -> Value {
    let fields: Value = serde_json::from_str(&row.fields).unwrap_or_else(|_| json!(row.fields));
    let mut map = object!(row, number, at, table, row, action);
    map.insert("fields".to_owned(), fields);
    Value::Object(map)
}

/// A row of the steps of `stats`.
pub(crate) fn step_statistics_row(row: &StepStatisticsRow) -> Value {
    known(object!(row, step, title, count, failed, total_us, mean_us, p50_us, p95_us, max_us, slowest))
}

fn known(mut map: Map<String, Value>) -> Value {
    map.retain(|_, value| !value.is_null());
    Value::Object(map)
}
