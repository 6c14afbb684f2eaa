//! The closed lists of the schema are those of the core. A migration is needed when a test here fails: the schema
//! of a released version does not change.

use std::collections::BTreeSet;

use backstep_core::actor::Origin;
use backstep_core::ignore::SourceKind;
use backstep_core::limits::MAX_TAG;
use backstep_core::record::ItemState;
use backstep_core::state::TRANSITIONS;
use backstep_core::{Direction, ErrorCode, Event, Kind, PlanAction, Reason, StepKind, StepState, Tag, TransactionState};

use super::Fixture;

/// The quoted names of `column IN (…)` in a table's definition.
fn checked(f: &Fixture, table: &str, column: &str) -> BTreeSet<String> {
    let sql: String = f.store.conn.query_row("SELECT sql FROM sqlite_schema WHERE name = ?1", [table], |row| row.get(0)).expect("table");
    let start = sql.find(&format!("CHECK ({column} IN (")).unwrap_or_else(|| panic!("{table}.{column} has no CHECK"));
    let list = &sql[start..start + sql[start..].find("))").expect("end")];
    list.split('\'').skip(1).step_by(2).map(str::to_owned).collect()
}

fn names<T: ToString>(all: &[T]) -> BTreeSet<String> {
    all.iter().map(ToString::to_string).collect()
}

#[test]
fn every_check_lists_the_core_s_names() {
    let f = Fixture::new();
    let events: BTreeSet<String> = Event::samples().iter().map(|event| event.name().to_owned()).collect();
    let undo = ["exact", "best-effort", "impossible"];
    let expected = [
        ("transactions", "kind", names(Kind::ALL)),
        ("transactions", "state", names(TransactionState::ALL)),
        ("transactions", "origin", names(Origin::ALL)),
        ("generations", "origin", names(Origin::ALL)),
        ("refusals", "origin", names(Origin::ALL)),
        ("ignores", "source_kind", names(SourceKind::ALL)),
        ("work_history", "process", names(Kind::ALL)),
        ("work_backoff", "process", names(Kind::ALL).into_iter().chain(["*".to_owned()]).collect()),
        ("items", "action", names(PlanAction::ALL)),
        ("items", "reason", names(Reason::ALL)),
        ("items", "state", names(ItemState::ALL)),
        ("items", "undo", names(&undo)),
        ("steps", "kind", names(StepKind::ALL)),
        ("steps", "state", names(StepState::ALL)),
        ("attempts", "direction", names(Direction::ALL)),
        ("events", "event", events),
        ("events", "step", names(StepKind::ALL)),
        ("events", "direction", names(Direction::ALL)),
        ("events", "state", names(StepState::ALL)),
    ];
    for (table, column, names) in expected {
        assert_eq!(checked(&f, table, column), names, "{table}.{column}");
    }
}

#[test]
fn the_schema_takes_the_core_s_tags() {
    let f = Fixture::new();
    let raw = f.raw();
    super::drop_triggers(&raw);
    let takes = |text: &str| {
        let taken = raw.execute("INSERT INTO tags VALUES (9, ?1)", [text]);
        assert!(taken.is_ok() || taken.as_ref().is_err_and(|error| error.to_string().contains("CHECK")), "{text:?}: {taken:?}");
        taken.is_ok()
    };
    let signs = ('\u{1}'..'\u{100}').flat_map(|sign| [format!("{sign}x"), format!("x{sign}"), format!("x{sign}x")]);
    let lengths = [0, 1, MAX_TAG, MAX_TAG + 1].map(|length| "y".repeat(length));
    for text in signs.chain(lengths).collect::<BTreeSet<_>>() {
        assert_eq!(takes(&text), text.parse::<Tag>().is_ok(), "{text:?}");
    }
}

#[test]
fn transitions_are_those_of_the_state_machine() {
    let f = Fixture::new();
    let mut statement = f.store.conn.prepare("SELECT before, after FROM transitions").expect("sql");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
    let found: BTreeSet<(String, String)> = rows.collect::<Result<_, _>>().expect("row");
    let expected = TRANSITIONS.iter().map(|(before, after)| (before.to_string(), after.to_string())).collect();
    assert_eq!(found, expected);
}

#[test]
fn error_codes_are_those_of_the_core() {
    let f = Fixture::new();
    let mut statement = f.store.conn.prepare("SELECT code FROM error_codes").expect("sql");
    let found: BTreeSet<String> = statement.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("row");
    assert_eq!(found, names(ErrorCode::ALL));
}

#[test]
fn the_tracking_status_is_the_core_s_view_of_every_state() {
    let f = Fixture::new();
    let sql: String =
        f.store.conn.query_row("SELECT sql FROM sqlite_schema WHERE name = 'transactions'", [], |row| row.get(0)).expect("table");
    let case = &sql[sql.find("CASE").expect("case")..sql.find("END").expect("end") + 3];
    for state in TransactionState::ALL {
        let found: String =
            f.store.conn.query_row(&format!("SELECT {case} FROM (SELECT ?1 AS state)"), [state.as_str()], |row| row.get(0)).expect("case");
        assert_eq!(found, state.tracking().as_str(), "{state}");
    }
}
