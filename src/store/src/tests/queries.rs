//! No listed query reads a whole table.

use backstep_core::actor::Origin;
use backstep_core::record::Filter;
use backstep_core::refusal::RefusalFilter;
use backstep_core::{ErrorCode, Kind, TransactionState};
use rusqlite::Connection;

use super::Fixture;
use crate::list_query::Place;
use crate::{archive, backoffs, export, generations, measures, package_statistics, risks, step_statistics, verify, why, work};
use crate::{
    configurations, create, event_row, find, ignores, list, list_query, project_attempts, project_items, project_steps,
    project_transaction, read, refuse, statistics,
};

fn plan_of(conn: &Connection, sql: &str) -> Vec<String> {
    let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect(sql);
    // Parameters stay null: the plan does not depend on them.
    let mut rows = statement.raw_query();
    let mut lines = Vec::new();
    while let Some(row) = rows.next().expect("row") {
        lines.push(row.get::<_, String>("detail").expect("detail"));
    }
    lines
}

fn filters() -> Vec<Filter> {
    let mut filters = vec![Filter::default()];
    let narrow: [fn(&mut Filter); 10] = [
        |f| f.kind = Some(Kind::Install),
        |f| f.state = Some(TransactionState::Completed),
        |f| f.uid = Some(1),
        |f| f.package = Some("hello".into()),
        |f| f.unfinished = true,
        |f| f.origin = Some(Origin::Cli),
        |f| f.since_us = Some(1),
        |f| f.until_us = Some(9),
        |f| f.text = Some("why".into()),
        |f| f.tag = Some(super::tag("env=prod")),
    ];
    for field in narrow {
        let more: Vec<Filter> = filters
            .iter()
            .cloned()
            .map(|mut filter| {
                field(&mut filter);
                filter
            })
            .collect();
        filters.extend(more);
    }
    filters
}

fn all() -> Vec<String> {
    let constant = [
        archive::LATE_EVENTS,
        archive::REVERTED,
        archive::RETRIED,
        create::DIGEST,
        event_row::LAST,
        event_row::OF_TRANSACTION,
        export::EVENTS,
        measures::LAST_END,
        verify::EVENTS,
        verify::SUBJECT,
        verify::REQUEST,
        verify::PLAN,
        verify::TOTAL,
        configurations::LAST,
        ignores::ALL,
        ignores::LIVE,
        backoffs::ALL,
        backoffs::LIVE,
        work::FACTS,
        work::HALVES,
        work::ITEMS,
        work::LIVE_PAIR,
        work::REQUESTED,
        work::SET_BY_FAILURES,
        generations::CHANGES,
        generations::OWNER,
        step_statistics::STEPS,
        package_statistics::PACKAGES,
        risks::TRIED,
        why::ARCHS,
        why::REQUESTED,
        find::BY_TAIL,
        find::COMPLETED,
        find::FAILED_WITH_CHANGES,
        find::ROLLBACKS,
        find::ROLLBACKS_BEYOND,
        find::CHANGED_SINCE,
        find::BEGAN_SINCE,
        list::OPEN_COUNTS,
        list::PLACE,
        project_attempts::POSITION,
        project_items::BY_NAME,
        project_items::OF_TRANSACTION,
        project_steps::OF_TRANSACTION,
        project_transaction::KEY,
        project_transaction::LAST_SEQUENCE,
        project_transaction::ROW,
        read::PLAN_BYTES,
        read::REQUEST_BYTES,
        read::WORLD_AFTER,
        statistics::ENDED,
        statistics::IN_PROGRESS,
    ];
    let built = [
        list::unfinished_sql(),
        read::record_sql(),
        read::summary_sql(),
        generations::list_sql(),
        generations::one_sql(),
        generations::system_sql(),
        why::changes_sql(),
    ];
    let lists = filters().into_iter().map(|filter| list_query::query(&filter, Place::TOP).0);
    let refusals = [None, Some(1)].into_iter().flat_map(|uid| {
        [None, Some(ErrorCode::AuthDenied)].map(|code| refuse::query(&RefusalFilter { uid, code, before: Some(9), limit: 1 }).0)
    });
    constant.into_iter().map(str::to_owned).chain(built).chain(lists).chain(refusals).collect()
}

/// A virtual table with a plan of its own is searched, whatever the word is.
fn scans(line: &str) -> bool {
    line.starts_with("SCAN") && !line.contains(":M1")
}

#[test]
fn no_listed_query_scans_a_table() {
    let f = Fixture::new();
    assert_eq!(filters().len(), 1024);
    for sql in all() {
        let plan = plan_of(&f.store.conn, &sql);
        assert!(!plan.is_empty());
        assert!(plan.iter().all(|line| !scans(line)), "{sql}\n{plan:#?}");
    }
    // The test can fail: this one does scan.
    assert!(plan_of(&f.store.conn, "SELECT * FROM transactions WHERE client = 'x'").iter().any(|line| line.starts_with("SCAN")));
}

#[test]
fn the_required_indexes_are_used() {
    let f = Fixture::new();
    let expected = [
        ("SELECT * FROM transactions WHERE id = 'x'", "sqlite_autoindex_transactions_1"),
        ("SELECT * FROM transactions WHERE state = 'x'", "transactions_by_state"),
        ("SELECT * FROM transactions WHERE status = 'x'", "transactions_by_status"),
        ("SELECT * FROM transactions WHERE kind = 'x'", "transactions_by_kind"),
        ("SELECT * FROM transactions WHERE created_us > 5", "transactions_by_time"),
        ("SELECT * FROM items WHERE name = 'x'", "items_by_name"),
        ("SELECT * FROM items WHERE name = 'x' AND arch = 'y'", "items_by_package"),
        ("SELECT * FROM transactions WHERE kind = 'x' AND state = 'y'", "transactions_by_kind_and_state"),
        (statistics::ENDED, "transactions_by_kind_and_end (kind=? AND finished_us>?)"),
        (statistics::IN_PROGRESS, "transactions_by_status (status=?)"),
        (measures::LAST_END, "transactions_by_kind_and_end (kind=?)"),
        (step_statistics::STEPS, "transactions_by_kind_and_end (kind=? AND finished_us>?)"),
        (risks::TRIED, "items_by_name (name=?)"),
        (find::ROLLBACKS, "transactions_by_reverts"),
        (find::ROLLBACKS_BEYOND, "transactions_by_scope"),
        (find::CHANGED_SINCE, "transactions_by_state"),
    ];
    let lists = [
        (Filter { since_us: Some(1), kind: Some(Kind::Install), ..Filter::default() }, "transactions_by_time"),
        (Filter { until_us: Some(1), uid: Some(1), ..Filter::default() }, "transactions_by_time"),
        (Filter { origin: Some(Origin::Timer), ..Filter::default() }, "transactions_by_origin"),
        (Filter { text: Some("why".into()), since_us: Some(1), ..Filter::default() }, "VIRTUAL TABLE INDEX"),
        (Filter { package: Some("hello".into()), since_us: Some(1), ..Filter::default() }, "items_by_name (name=? AND transaction_key<?)"),
        (Filter { tag: Some(super::tag("a")), since_us: Some(1), ..Filter::default() }, "tags_by_name (name=? AND transaction_key<?)"),
    ];
    let lists: Vec<(String, &str)> = lists.into_iter().map(|(filter, index)| (list_query::query(&filter, Place::TOP).0, index)).collect();
    for (sql, index) in expected.into_iter().chain(lists.iter().map(|(sql, index)| (sql.as_str(), *index))) {
        let plan = plan_of(&f.store.conn, sql);
        assert!(plan.iter().any(|line| line.contains(index)), "{sql}\n{plan:#?}");
    }
}

#[test]
fn a_list_is_read_in_its_order_and_never_sorted() {
    let f = Fixture::new();
    let lists = filters().into_iter().filter(|filter| !filter.unfinished || filter.package.is_some() || filter.tag.is_some());
    let lists = lists.map(|filter| list_query::query(&filter, Place::TOP).0);
    for sql in lists.chain([
        generations::list_sql(),
        generations::system_sql(),
        why::changes_sql(),
        generations::CHANGES.to_owned(),
        risks::TRIED.to_owned(),
    ]) {
        let plan = plan_of(&f.store.conn, &sql);
        assert!(plan.iter().all(|line| !line.contains("TEMP B-TREE")), "{sql}\n{plan:#?}");
    }
}

#[test]
fn another_value_has_no_statement_prepared_again() {
    let mut f = Fixture::new();
    f.completed(1, Kind::Install, None);
    for conn in [&f.store.conn, &crate::Reader::open(&f.path).expect("open").conn] {
        let (sql, _) = list_query::query(&Filter::default(), Place::TOP);
        let mut statement = conn.prepare(&sql).expect("sql");
        for limit in 1..4 {
            let mut rows = statement.query([i64::MAX, limit]).expect("bound");
            assert!(rows.next().expect("read").is_some());
        }
        assert_eq!(statement.get_status(rusqlite::StatementStatus::RePrepare), 0);
    }
}
