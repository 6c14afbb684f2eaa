//! What is asked of the record as a whole.

use backstep_core::history::GenerationFilter;
use backstep_core::{Direction, ErrorCode, Event, Kind, PlanAction, PlanItem, Reason, StepKind, StepState};

use super::{Fixture, id, item};
use crate::Reader;

/// A completed transaction with these items.
fn change(f: &mut Fixture, n: u32, kind: Kind, items: Vec<PlanItem>) {
    f.create(n, kind, None).expect("create");
    f.freeze(n, items).expect("freeze");
    f.append(n, &[Event::Queued { action: "x".into() }, Event::Started { attempt: 1 }, Event::Completed]).expect("complete");
}

fn dependency(item: PlanItem) -> PlanItem {
    PlanItem { reason: Reason::Dependency, ..item }
}

#[test]
fn a_package_is_traced_to_what_brought_it() {
    let mut f = Fixture::new();
    let jq = || item("jq:amd64", PlanAction::Install, None, Some("1"));
    change(&mut f, 1, Kind::Install, vec![jq(), dependency(item("lib:amd64", PlanAction::Install, None, Some("1")))]);
    change(&mut f, 2, Kind::Upgrade, vec![item("lib:amd64", PlanAction::Upgrade, Some("1"), Some("2"))]);
    change(&mut f, 3, Kind::Hold, vec![item("lib:amd64", PlanAction::Hold, Some("2"), Some("2"))]);
    change(&mut f, 4, Kind::Update, vec![item("old:i386", PlanAction::Upgrade, Some("1"), Some("2"))]);
    change(&mut f, 5, Kind::Remove, vec![item("jq:amd64", PlanAction::Remove, Some("1"), None)]);
    // Undone, though not without traces: it did not happen to this package.
    f.started(6, Kind::Install, None);
    let undo = Event::UndoStarted { code: ErrorCode::ScriptFailed, text: "x".into() };
    f.append(6, &[undo, Event::UndoFinished { differences: 1 }]).expect("undo");
    let reader = Reader::open(&f.path).expect("open");
    let ask = |name: &str| reader.provenance(&name.parse().expect("name"), None).expect("read");
    let lib = ask("lib").remove(0);
    assert_eq!((lib.arch.as_str(), lib.last.summary.id, lib.last.to.as_deref()), ("amd64", id(2), Some("2")));
    let brought = lib.brought.expect("brought");
    assert_eq!((brought.summary.id, brought.reason), (id(1), Reason::Dependency));
    assert_eq!(brought.requested, ["jq"]);
    let jq = ask("jq").remove(0);
    assert_eq!((jq.last.summary.id, jq.last.action, jq.brought), (id(5), PlanAction::Remove, None));
    let old = ask("old").remove(0);
    assert_eq!((old.arch.as_str(), old.last.summary.id, old.brought), ("i386", id(4), None), "it was there before the record");
    assert!(ask("hello").is_empty());
    assert!(reader.provenance(&"lib".parse().expect("name"), Some(&"i386".parse().expect("arch"))).expect("read").is_empty());
}

#[test]
fn generations_are_listed_with_what_they_were_for() {
    let mut f = Fixture::new();
    f.completed(1, Kind::Install, None);
    f.create(2, Kind::Remove, None).expect("create");
    f.completed(3, Kind::Rollback, Some(id(1)));
    let reader = Reader::open(&f.path).expect("open");
    let list = |filter: GenerationFilter| -> Vec<_> {
        reader.generations(filter).expect("read").into_iter().map(|found| (found.number, found.transaction.map(|t| t.id))).collect()
    };
    let all = GenerationFilter::default();
    assert_eq!(list(all), [(3, Some(id(3))), (2, Some(id(2))), (1, Some(id(1)))]);
    assert_eq!(list(GenerationFilter { system: true, ..all }), [(3, Some(id(3))), (1, Some(id(1)))]);
    assert_eq!(list(GenerationFilter { before: Some(3), limit: 1, ..all }), [(2, Some(id(2)))]);
    assert_eq!(list(GenerationFilter { before: Some(u64::MAX), limit: 1, ..all }), [(3, Some(id(3)))]);
    let first = reader.generation(1).expect("read").expect("there");
    assert_eq!((first.comment.as_str(), first.user.as_str(), first.version.as_str()), ("a comment", "ana", "0.1.0"));
    assert_eq!(first.transaction.expect("transaction").reverted_by, Some(id(3)));
    assert_eq!(reader.generation(9).expect("read"), None);
    assert_eq!((reader.generation_owner(1).expect("read"), reader.generation_owner(9).expect("read")), (Some(1000), None));
    let changes = reader.row_changes(1, 0, 1000).expect("read");
    assert_eq!(u64::try_from(changes.len()).expect("count"), first.changes);
    assert_eq!((changes[0].table.as_str(), changes[0].action.as_str()), ("runs", "insert"));
    let rest = reader.row_changes(1, changes[1].number, 2).expect("read");
    assert_eq!(rest, changes[2..4]);
}

#[test]
fn the_step_that_takes_longest_is_first() {
    let mut f = Fixture::new();
    for (n, pause) in [(1, 10_000), (2, 70_000), (3, 20_000)] {
        f.started(n, Kind::Install, None);
        for (step, pause) in [(StepKind::Fetch, 0), (StepKind::Apply, pause)] {
            f.append(n, &[Event::StepStarted { step, direction: Direction::Forward }]).expect("begin");
            f.now += pause;
            let code = (n == 3 && step == StepKind::Apply).then_some(ErrorCode::ScriptFailed);
            let state = if code.is_some() { StepState::Failed } else { StepState::Completed };
            f.append(n, &[Event::StepEnded { step, state, code, text: "x".into() }]).expect("end");
        }
        let end = if n == 3 { Event::UndoStarted { code: ErrorCode::ScriptFailed, text: "x".into() } } else { Event::Completed };
        f.append(n, &[end]).expect("end");
    }
    f.append(3, &[Event::UndoFinished { differences: 0 }]).expect("undo");
    let reader = Reader::open(&f.path).expect("open");
    let found = reader.step_statistics(0).expect("read");
    let apply = &found[0];
    assert_eq!((apply.step, apply.count, apply.failed, apply.slowest), (StepKind::Apply, 3, 1, Some(id(2))));
    assert_eq!((apply.p50_us, apply.p95_us, apply.max_us), (21_000, 71_000, 71_000));
    assert_eq!((apply.total_us, apply.mean_us), (103_000, 34_333));
    assert_eq!((found[1].step, found[1].count, found[1].p50_us), (StepKind::Fetch, 3, 1_000));
    assert!(reader.step_statistics(i64::MAX).expect("read").is_empty());
    let kinds = reader.statistics(0).expect("read");
    assert_eq!((kinds[0].count, kinds[0].completed, kinds[0].failed), (3, 2, 1));
}

#[test]
fn a_verification_tells_how_far_it_is_and_stops_when_told() {
    let mut f = Fixture::new();
    f.started(1, Kind::Install, None);
    let note = Event::Noted { code: None, text: "x".into() };
    f.append(1, &vec![note; 20_000]).expect("append");
    let reader = Reader::open(&f.path).expect("open");
    let mut told = Vec::new();
    let verified = reader.verify(|done, total| {
        told.push((done, total));
        true
    });
    let verified = verified.expect("whole");
    assert_eq!((verified.events, told), (20_004, vec![(10_000, 20_004), (20_000, 20_004)]));
    let events = reader.export(20_003, 5).expect("export");
    assert_eq!((events.len(), events[0].seq, events[0].hash.as_str()), (1, 20_004, verified.hash.to_string().as_str()));
    assert_eq!((events[0].user.as_str(), events[0].event.as_str(), events[0].attempt), ("ana", "noted", Some(1)));
    assert_eq!(reader.verify(|_, _| false).expect("whole").events, 10_000);
}
