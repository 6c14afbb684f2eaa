//! Failures back work off, success and people let it go on, and how it went stays on record.

use backstep_core::backoff::{Backoff, NewBackoff};
use backstep_core::{ErrorCode, Event, Kind, PlanAction, Reason, StepKind};

use super::ignores::said;
use super::{Fixture, actor, item, stamp};

const HOUR: i64 = 3_600_000_000;

pub(crate) fn asked(subject: &str, process: &str, until: i64) -> NewBackoff {
    let until_us = stamp(until).utc_us;
    NewBackoff { subject: subject.parse().expect("subject"), process: process.parse().expect("process"), until_us }
}

/// A transaction over hello, and lib as a dependency, that begins and fails.
pub(crate) fn fails(f: &mut Fixture, n: u32, kind: Kind, code: ErrorCode, half: Option<&str>) {
    f.create(n, kind, None).expect("create");
    let mut items =
        vec![item("hello:amd64", PlanAction::Install, None, Some("2")), item("lib:amd64", PlanAction::Install, None, Some("2"))];
    items[1].reason = Reason::Dependency;
    if kind == Kind::Upgrade {
        items[0].reason = Reason::Upgrade;
    }
    f.freeze(n, items).expect("freeze");
    f.append(n, &[Event::Queued { action: "x".into() }, Event::Started { attempt: 1 }]).expect("start");
    let begin = |direction| Event::StepStarted { step: StepKind::Apply, direction };
    f.append(n, &[begin(backstep_core::Direction::Forward)]).expect("begin");
    if let Some(package) = half {
        let change = Event::ItemChanged { package: package.into(), before: String::new(), after: "half-configured 2".into() };
        f.append(n, &[change]).expect("half");
    }
    f.append(n, &[Event::UndoStarted { code, text: "it failed".into() }, Event::UndoFinished { differences: 0 }]).expect("undo");
}

fn told(backoffs: &[Backoff]) -> Vec<String> {
    backoffs.iter().map(|b| format!("{} {} {}", b.subject, b.process, b.failures)).collect()
}

fn history(f: &Fixture) -> Vec<String> {
    let mut statement =
        f.store.conn.prepare("SELECT subject || ' ' || process || ' ' || event FROM work_history ORDER BY key").expect("sql");
    statement.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("row")
}

#[test]
fn failures_in_a_row_count_and_success_ends_them() {
    let mut f = Fixture::new();
    fails(&mut f, 1, Kind::Install, ErrorCode::ScriptFailed, None);
    let first = f.store.backoffs().expect("list");
    assert_eq!(told(&first), ["hello install 1"]);
    let cause = first[0].cause.clone().expect("cause");
    assert_eq!((cause.code, cause.text.as_str()), (ErrorCode::ScriptFailed, "it failed"));
    let whole = first[0].until_us - first[0].set.utc_us;
    assert!((HOUR * 9 / 5..=HOUR * 11 / 5).contains(&whole), "something was undone, so twice an hour: {whole}");
    fails(&mut f, 2, Kind::Install, ErrorCode::DiskFull, None);
    assert_eq!(told(&f.store.backoffs().expect("list")), ["hello install 2"]);
    f.completed(3, Kind::Install, None);
    assert_eq!(f.store.backoffs().expect("list"), []);
    fails(&mut f, 4, Kind::Install, ErrorCode::ScriptFailed, None);
    assert_eq!(told(&f.store.backoffs().expect("list")), ["hello install 1"]);
    assert_eq!(told(&f.store.all_backoffs(9).expect("all")), ["hello install 1", "hello install 2", "hello install 1"]);
}

#[test]
fn the_half_done_package_is_to_blame_and_its_success_counts_whatever_the_kind() {
    let mut f = Fixture::new();
    fails(&mut f, 1, Kind::Upgrade, ErrorCode::ScriptFailed, Some("hello:amd64"));
    fails(&mut f, 2, Kind::Upgrade, ErrorCode::FetchFailed, None);
    assert_eq!(told(&f.store.backoffs().expect("list")), ["hello upgrade 1", "* upgrade 1"]);
    f.completed(3, Kind::Install, None);
    assert_eq!(told(&f.store.backoffs().expect("list")), ["* upgrade 1"], "hello is well again, upgrades are not known to be");
    f.completed(4, Kind::Upgrade, None);
    assert_eq!(f.store.backoffs().expect("list"), []);
}

#[test]
fn what_somebody_stopped_backs_nothing_off() {
    let mut f = Fixture::new();
    fails(&mut f, 1, Kind::Install, ErrorCode::LockBusy, None);
    assert_eq!(f.store.backoffs().expect("list"), []);
    assert_eq!(history(&f), ["hello install started", "hello install failed"]);
}

#[test]
fn people_set_and_clear_and_a_failure_does_not_shorten() {
    let mut f = Fixture::new();
    let now = f.at().monotonic_us;
    assert_eq!(f.store.back_off(&said(asked("hello", "install", 900 * HOUR), now)).expect("set"), 1);
    fails(&mut f, 1, Kind::Install, ErrorCode::ScriptFailed, None);
    let live = f.store.backoffs().expect("list");
    assert_eq!((told(&live), live[0].until_us), (vec!["hello install 1".to_owned()], stamp(900 * HOUR).utc_us));
    let now = f.at().monotonic_us;
    f.store.back_off(&said(asked("*", "*", 2 * HOUR), now)).expect("set");
    f.completed(2, Kind::Install, None);
    assert_eq!(told(&f.store.backoffs().expect("list")), ["* * 0"], "what a person set ends with its time or a person");
    let now = f.at().monotonic_us;
    assert_eq!(f.store.clear_backoffs(&said(vec![1, 2, 3, 77], now)).expect("clear"), 1);
    assert_eq!(f.store.backoffs().expect("list"), []);
}

#[test]
fn a_back_off_counts_anew_when_the_clock_was_set_back() {
    let mut f = Fixture::new();
    fails(&mut f, 1, Kind::Install, ErrorCode::ScriptFailed, None);
    let before = f.store.backoffs().expect("list").remove(0);
    let at = backstep_core::Stamp { boot: backstep_core::BootId([7; 16]), ..stamp(-5 * HOUR) };
    f.store.begin_backoffs_anew(&[before.number], &actor(), at).expect("anew");
    let after = f.store.backoffs().expect("list").remove(0);
    assert_eq!((after.failures, after.set, after.remaining_us(at)), (1, at, before.until_us - before.set.utc_us));
}

#[test]
fn how_work_went_stays() {
    let mut f = Fixture::new();
    f.completed(1, Kind::Install, None);
    fails(&mut f, 2, Kind::Upgrade, ErrorCode::ScriptFailed, None);
    let expected = ["hello install started", "hello install finished", "* upgrade started", "* upgrade failed"];
    assert_eq!(history(&f), expected);
    let runs: i64 = f.store.conn.query_row("SELECT count(*) FROM work_history WHERE run = 1", [], |row| row.get(0)).expect("count");
    assert_eq!(runs, 4, "each line names the daemon's run");
}
