//! JSON for programs. Shapes are part of the interface: keys are the daemon's, in its spelling with `_`; keys
//! are added, never changed or taken away. Times are microseconds since 1970 in UTC, 0 or absent is not yet.

use backstep_bus::record::RiskRow;
use backstep_bus::{ListRow, PlanRow, StatisticsRow, StepRow, TransactionProperties};
use serde_json::{Map, Value, json};

use crate::render::risk;

macro_rules! object {
    ($source:expr, $($field:ident),+ $(,)?) => {{
        let mut map = Map::new();
        $(map.insert(stringify!($field).to_owned(), json!($source.$field));)+
        map
    }};
}
pub(crate) use object;

/// A transaction: all its properties.
pub(crate) fn transaction(p: &TransactionProperties) -> Value {
    let mut map = object!(
        p,
        id,
        kind,
        state,
        status,
        description,
        tags,
        user,
        uid,
        origin,
        client,
        reverts,
        retries,
        reverted_by,
        attempts,
        queue_position,
        permille,
        created_at,
        queued_at,
        started_at,
        finished_at,
        duration,
        plan_digest,
        plan_summary,
        plan_warnings,
        method,
        download_bytes,
        installed_delta,
        irreversible,
        phase,
        current_package,
        remaining_seconds,
        cancellable,
        point_of_no_return,
        error_code,
        error_text,
        differences,
        waits_for,
        actions,
        pinned,
    );
    map.insert("plan".to_owned(), p.plan.iter().map(plan_row).collect());
    map.insert("steps".to_owned(), p.steps.iter().map(step_row).collect());
    Value::Object(map)
}

/// A transaction that is only planned: all its properties, and how such changes ended before.
pub(crate) fn planned(p: &TransactionProperties, risks: &[RiskRow]) -> Value {
    let mut value = transaction(p);
    value["risks"] = risks.iter().map(risk::json).collect();
    value
}

/// A line of `watch`: what changes while a transaction runs.
pub(crate) fn sight(p: &TransactionProperties) -> Value {
    Value::Object(object!(
        p,
        id,
        state,
        status,
        permille,
        phase,
        current_package,
        remaining_seconds,
        queue_position,
        waits_for,
        error_code,
        error_text
    ))
}

fn plan_row(row: &PlanRow) -> Value {
    Value::Object(object!(row, package, arch, action, reason, from, to, size, installed_delta, undo, undo_why, origin, auto, essential))
}

fn step_row(row: &StepRow) -> Value {
    Value::Object(object!(row, kind, title, state, attempt, started, finished, error_code, text))
}

/// A row of a list; what is unknown is absent.
pub(crate) fn list_row(row: &ListRow) -> Value {
    let mut map = object!(
        row,
        id,
        kind,
        state,
        status,
        description,
        tags,
        uid,
        user,
        origin,
        created,
        started,
        finished,
        duration,
        summary,
        items_done,
        items_total,
        error_code,
        error_text,
        reverts,
        reverted_by
    );
    map.retain(|_, value| !value.is_null());
    Value::Object(map)
}

/// A row of `stats`.
pub(crate) fn statistics_row(row: &StatisticsRow) -> Value {
    Value::Object(object!(row, kind, count, completed, failed, in_progress, mean_us, p50_us, p95_us))
}

/// An error that is no transaction's end.
pub(crate) fn error(code: &str, text: &str, hint: Option<&str>, exit: u8) -> Value {
    json!({"error": {"code": code, "text": text, "hint": hint, "exit": exit}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_has_every_property() {
        let value = transaction(&TransactionProperties::default());
        assert_eq!(value.as_object().expect("object").len(), 41);
        assert_eq!(list_row(&ListRow { id: "x".into(), ..ListRow::default() }).as_object().expect("object").len(), 7);
        let tags = vec!["env=prod".to_owned()];
        assert_eq!(transaction(&TransactionProperties { tags: tags.clone(), ..Default::default() })["tags"], json!(["env=prod"]));
        assert_eq!(list_row(&ListRow { tags: Some(tags), ..ListRow::default() })["tags"], json!(["env=prod"]));
    }
}
