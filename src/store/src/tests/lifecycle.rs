//! A transaction from its request to its end, as it is read back.

use backstep_core::actor::Origin;
use backstep_core::record::{Filter, ItemState};
use backstep_core::replay::replay;
use backstep_core::{Digest, Direction, ErrorCode, Event, Kind, Scope, StepKind, StepState, TransactionState};

use super::{Fixture, actor, digest_of, drop_triggers, ended, id, plan, request, stamp};
use crate::{Append, Created, OpenCounts, StoreError, VerifyError};

fn item_changed(after: &str) -> Event {
    Event::ItemChanged { package: "hello:amd64".into(), before: "x".into(), after: after.into() }
}

fn undo_started() -> Event {
    Event::UndoStarted { code: ErrorCode::ScriptFailed, text: "postinst of hello failed".into() }
}

#[test]
fn no_secret_of_fifty_kinds_is_in_the_file() {
    use backstep_core::planted::PLANTED;
    let mut f = Fixture::new();
    f.started(1, Kind::Install, None);
    let texts = PLANTED.iter().map(|planted| Event::Noted { code: None, text: planted.text.to_owned() });
    f.append(1, &texts.collect::<Vec<_>>()).expect("append");
    let step = Event::StepStarted { step: StepKind::Apply, direction: Direction::Forward };
    let all: String = PLANTED.iter().map(|planted| format!("{}\n", planted.text)).collect();
    let ended =
        Event::StepEnded { step: StepKind::Apply, state: StepState::Failed, code: Some(ErrorCode::ScriptFailed), text: all.clone() };
    f.append(1, &[step, ended, Event::UndoStarted { code: ErrorCode::ScriptFailed, text: all }]).expect("fail");
    f.store.verify_chain().expect("whole");
    let Fixture { store, path, _folder, .. } = f;
    store.close().expect("close");
    let bytes = std::fs::read(&path).expect("read");
    let holds = |secret: &str| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
    assert!(holds("[secret]"));
    for planted in PLANTED {
        assert!(!holds(planted.secret), "{}", planted.kind);
    }
}

#[test]
fn a_request_is_taken_once() {
    let mut f = Fixture::new();
    assert_eq!(f.create(1, Kind::Install, None).expect("new"), Created::New);
    let counts = (f.count("generations"), f.count("events"), f.count("changes"));
    assert_eq!(f.create(1, Kind::Install, None).expect("again"), Created::Existing);
    assert_eq!((f.count("generations"), f.count("events"), f.count("changes")), counts, "an empty generation leaves no trace");
    let (actor, other) = (actor(), b"other".to_vec());
    let new = crate::NewTransaction {
        id: id(1),
        kind: Kind::Install,
        request_bytes: &other,
        request_digest: digest_of(&other),
        description: "",
        tags: &[],
        comment: "",
        actor: &actor,
        at: stamp(5),
        priority: 0,
        reverts: None,
        scope: None,
        retries: None,
    };
    assert!(matches!(f.store.create(&new), Err(StoreError::Duplicate(found)) if found == id(1)));
    let lying = crate::NewTransaction { id: id(2), request_digest: Digest([1; 32]), ..new };
    assert!(matches!(f.store.create(&lying), Err(StoreError::Mismatch { what: "request" })));
    let lost = crate::NewTransaction { id: id(2), reverts: Some(id(9)), scope: Some(Scope::One), ..new };
    assert!(matches!(f.store.create(&lost), Err(StoreError::Unknown(found)) if found == id(9)));
    assert_eq!(f.store.request_bytes(id(1)).expect("read"), Some(request(id(1))));
    assert_eq!(f.store.request_bytes(id(2)).expect("read"), None);
}

#[test]
fn a_completed_transaction_is_read_back_whole() {
    let mut f = Fixture::new();
    f.started(1, Kind::Install, None);
    f.append(1, &[Event::StepStarted { step: StepKind::Apply, direction: Direction::Forward }]).expect("step");
    f.append(1, &[item_changed("half-installed 2")]).expect("item");
    assert_eq!(f.store.record(id(1)).expect("read").expect("there").items[0].state, ItemState::Half);
    f.append(1, &[item_changed("installed 2"), ended(StepKind::Apply, StepState::Completed)]).expect("item");
    f.append(1, &[Event::Completed]).expect("complete");
    let record = f.store.record(id(1)).expect("read").expect("there");
    let summary = &record.summary;
    assert_eq!((summary.actor.clone(), summary.kind, summary.sequence), (actor(), Kind::Install, 1));
    assert_eq!((summary.items_done, summary.items_total, summary.plan_summary.as_str()), (1, 1, "1 to install (hello)"));
    assert_eq!(summary.duration_us, Some(4_000));
    assert_eq!(record.request_digest, digest_of(&request(id(1))));
    assert_eq!(record.plan_digest, Some(digest_of(b"plan of 1")));
    assert_eq!(f.store.plan_bytes(id(1)).expect("read"), Some(b"plan of 1".to_vec()));
    assert_eq!((record.items[0].now.as_str(), record.items[0].state, record.items[0].manager), ("installed 2", ItemState::Done, "apt"));
    let apply = &record.steps[2];
    assert_eq!((apply.kind, apply.state, apply.attempt, apply.text.as_str()), (StepKind::Apply, StepState::Completed, 1, "text"));
    assert!(apply.started.is_some() && apply.finished.is_some());
    assert_eq!(record.steps.len(), StepKind::ALL.len());
    assert_eq!(replay(record.events.iter().map(|event| &event.event)), Ok(summary.status));
    assert_eq!(f.store.world_after(id(1)).expect("read"), Some(Digest([8; 32])));
    assert_eq!(f.store.verify_chain().expect("whole"), u64::try_from(record.events.len()).expect("count"));
    let attempt: (String, i64) =
        f.store.conn.query_row("SELECT result, success FROM attempts", [], |row| Ok((row.get(0)?, row.get(1)?))).expect("attempt");
    assert_eq!(attempt, ("completed".to_owned(), 1));
}

#[test]
fn a_failed_transaction_says_why_and_how_far_its_undo_came() {
    let mut f = Fixture::new();
    f.started(1, Kind::Install, None);
    let failed = Event::StepEnded {
        step: StepKind::Apply,
        state: StepState::Failed,
        code: Some(ErrorCode::ScriptFailed),
        text: "postinst of hello failed".into(),
    };
    let begin = |direction| Event::StepStarted { step: StepKind::Apply, direction };
    f.append(1, &[begin(Direction::Forward), item_changed("half-configured 2"), failed, undo_started()]).expect("fail");
    f.append(1, &[begin(Direction::Undo)]).expect("undo");
    assert_eq!(f.store.record(id(1)).expect("read").expect("there").steps[2].state, StepState::Running);
    f.append(1, &[item_changed("not-installed"), ended(StepKind::Apply, StepState::Undone)]).expect("undone");
    f.append(1, &[Event::UndoFinished { differences: 0 }]).expect("end");
    let record = f.store.record(id(1)).expect("read").expect("there");
    assert_eq!(record.summary.status.state, TransactionState::RolledBack);
    let error = record.summary.error.expect("error");
    assert_eq!((error.code, error.text.as_str()), (ErrorCode::ScriptFailed, "postinst of hello failed"));
    assert_eq!((record.items[0].state, record.steps[2].state), (ItemState::Undone, StepState::Undone));
    assert_eq!(record.steps[2].error.as_ref().map(|error| error.code), Some(ErrorCode::ScriptFailed));
    assert_eq!(f.store.last_failed().expect("read"), None, "a clean undo leaves nothing to undo");
}

#[test]
fn an_interrupted_attempt_is_followed_by_another() {
    let mut f = Fixture::new();
    f.started(1, Kind::Install, None);
    f.append(1, &[Event::StepStarted { step: StepKind::Secure, direction: Direction::Forward }]).expect("step");
    f.append(1, &[Event::Interrupted { text: "gone".into() }]).expect("interrupted");
    assert_eq!(f.store.record(id(1)).expect("read").expect("there").steps[1].state, StepState::Unknown);
    let resumed = |attempt| Event::Resumed { attempt, direction: Direction::Undo, reason: "captured".into() };
    assert!(matches!(f.append(1, &[resumed(7)]), Err(StoreError::AttemptNumber { expected: 2, found: 7 })));
    f.append(1, &[resumed(2)]).expect("resumed");
    f.append(1, &[Event::UndoFinished { differences: 3 }]).expect("end");
    let mut statement = f.store.conn.prepare("SELECT result, success, direction FROM attempts ORDER BY number").expect("sql");
    let rows: Vec<(String, i64, String)> =
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("rows").collect::<Result<_, _>>().expect("row");
    let expected = [("interrupted", 0, "forward"), ("partly-undone", 0, "undo")];
    assert_eq!(rows, expected.map(|(result, success, direction)| (result.to_owned(), success, direction.to_owned())));
    drop(statement);
    assert_eq!(f.store.last_failed().expect("read"), Some(id(1)));
}

#[test]
fn an_interrupted_undo_keeps_its_reason() {
    let mut f = Fixture::new();
    f.started(1, Kind::Install, None);
    let gone = || Event::Interrupted { text: "gone".into() };
    f.append(1, &[undo_started(), gone()]).expect("interrupted");
    let resumed = Event::Resumed { attempt: 2, direction: Direction::Undo, reason: "captured".into() };
    f.append(1, &[resumed, gone()]).expect("interrupted again");
    let summary = f.store.record(id(1)).expect("read").expect("there").summary;
    assert_eq!(summary.error.map(|error| error.code), Some(ErrorCode::ScriptFailed));
}

#[test]
fn an_illegal_event_writes_nothing_of_its_call() {
    let mut f = Fixture::new();
    f.create(1, Kind::Install, None).expect("create");
    let before = (f.count("events"), f.count("changes"));
    let events = [Event::CancelRequested { uid: 1 }, Event::Completed];
    assert!(matches!(f.append(1, &events), Err(StoreError::Illegal(_))));
    assert!(matches!(f.append(1, &[Event::Prepared { digest: Digest([1; 32]) }]), Err(StoreError::PreparedWithoutPlan)));
    let world = Append { id: id(1), attempt: None, events: &[], at: stamp(9), journal_seq: None, world_after: Some(Digest([1; 32])) };
    assert!(matches!(f.store.append(&world), Err(StoreError::WorldWithoutCompleted)));
    assert!(matches!(f.append(2, &[Event::Expired]), Err(StoreError::Unknown(_))));
    assert_eq!((f.count("events"), f.count("changes")), before);
    let summary = f.store.summary(id(1)).expect("read").expect("there");
    assert_eq!(summary.status.state, TransactionState::Created);
}

#[test]
fn a_plan_is_frozen_once_and_only_its_own() {
    let mut f = Fixture::new();
    f.create(1, Kind::Install, None).expect("create");
    let digest = digest_of(b"bytes");
    let at = stamp(7);
    assert!(matches!(f.store.freeze_plan(id(1), &plan(id(1), vec![]), b"other", digest, at), Err(StoreError::Mismatch { what: "plan" })));
    assert!(matches!(f.store.freeze_plan(id(1), &plan(id(2), vec![]), b"bytes", digest, at), Err(StoreError::Mismatch { .. })));
    let foreign = backstep_core::Plan { request: Digest([3; 32]), ..plan(id(1), vec![]) };
    assert!(matches!(f.store.freeze_plan(id(1), &foreign, b"bytes", digest, at), Err(StoreError::Mismatch { .. })));
    f.freeze(1, vec![]).expect("freeze");
    assert!(matches!(f.freeze(1, vec![]), Err(StoreError::Illegal(_))));
}

#[test]
fn a_journal_is_taken_in_once() {
    let mut f = Fixture::new();
    f.started(1, Kind::Install, None);
    let noted = [Event::Noted { code: None, text: "x".into() }];
    let append = |events, journal_seq, attempt| Append { id: id(1), attempt, events, at: stamp(5_000), journal_seq, world_after: None };
    assert_eq!(f.store.journal_position(id(1), 1).expect("read"), 0);
    f.store.append(&append(&noted, Some(3), Some(1))).expect("append");
    assert_eq!(f.store.journal_position(id(1), 1).expect("read"), 3);
    for old in [2, 3] {
        let found = f.store.append(&append(&noted, Some(old), Some(1)));
        assert!(matches!(found, Err(StoreError::JournalRepeated { recorded: 3, .. })), "{found:?}");
    }
    let changes = f.count("changes");
    f.store.append(&append(&[], Some(3), Some(1))).expect("nothing new");
    assert_eq!(f.count("changes"), changes);
    f.store.append(&append(&[], Some(9), Some(1))).expect("progress only");
    assert_eq!(f.store.journal_position(id(1), 1).expect("read"), 9);
    for attempt in [None, Some(2)] {
        assert!(matches!(f.store.append(&append(&noted, Some(10), attempt)), Err(StoreError::UnknownAttempt { .. })));
    }
    assert_eq!(f.store.record(id(1)).expect("read").expect("there").events.len(), 5);
}

#[test]
fn undo_and_redo_take_turns() {
    let mut f = Fixture::new();
    let reverted_by = |f: &Fixture, n| f.store.summary(id(n)).expect("read").expect("there").reverted_by;
    assert_eq!(f.store.last_completed().expect("read"), None);
    f.completed(1, Kind::Install, None);
    f.completed(2, Kind::Install, None);
    assert_eq!(f.store.last_completed().expect("read"), Some(id(2)));
    f.completed(3, Kind::Rollback, Some(id(2)));
    assert_eq!((reverted_by(&f, 2), f.store.last_completed().expect("read")), (Some(id(3)), Some(id(3))));
    f.completed(4, Kind::Rollback, Some(id(3)));
    assert_eq!((reverted_by(&f, 2), reverted_by(&f, 3)), (None, Some(id(4))));
    assert_eq!(f.store.last_completed().expect("read"), Some(id(4)));
    f.started(5, Kind::Rollback, Some(id(1)));
    assert_eq!(reverted_by(&f, 1), None, "a rollback counts when it is completed");
}

#[test]
fn a_rollback_undoes_all_later_ones_or_only_a_part() {
    let mut f = Fixture::new();
    let reverted_by = |f: &Fixture, n| f.store.summary(id(n)).expect("read").expect("there").reverted_by;
    for n in 1..=3 {
        f.completed(n, Kind::Install, None);
    }
    f.completed(4, Kind::Rollback, Some(id(3)));
    assert_eq!(f.store.changed_since(id(2)).expect("read"), [id(4), id(3)]);
    f.scope = Scope::Later;
    f.completed(5, Kind::Rollback, Some(id(2)));
    assert_eq!([1, 2, 3, 4].map(|n| reverted_by(&f, n)), [None, Some(id(5)), Some(id(5)), Some(id(5))]);
    f.scope = Scope::One;
    f.completed(6, Kind::Rollback, Some(id(5)));
    assert_eq!([2, 3, 4, 5].map(|n| reverted_by(&f, n)), [None, Some(id(4)), None, Some(id(6))], "as before 5 ran");
    f.scope = Scope::Part;
    f.completed(7, Kind::Rollback, Some(id(1)));
    assert_eq!((reverted_by(&f, 1), f.store.last_completed().expect("read")), (None, Some(id(7))));
    let began = |n| f.store.summary(id(n)).expect("read").expect("there").started.expect("began").utc_us;
    assert_eq!(f.store.first_since(began(3)).expect("read"), Some(id(3)));
    assert_eq!(f.store.first_since(began(3) + 1).expect("read"), Some(id(4)));
    assert_eq!(f.store.first_since(began(7) + 1).expect("read"), None);
}

#[test]
fn lists_narrow_by_time_origin_and_text() {
    let mut f = Fixture::new();
    for n in 1..=4 {
        f.create(n, Kind::Install, None).expect("create");
    }
    let list = |filter: &Filter| -> Vec<_> { f.store.list(filter).expect("list").into_iter().map(|summary| summary.id).collect() };
    let base = Filter::default();
    let [second, fourth] = [2, 4].map(|n| f.store.summary(id(n)).expect("read").expect("there").created.utc_us);
    let span = Filter { since_us: Some(second), until_us: Some(fourth), ..base.clone() };
    assert_eq!(list(&span), [id(3), id(2)]);
    assert_eq!(list(&Filter { before: Some(id(3)), ..span.clone() }), [id(2)]);
    assert_eq!(list(&Filter { package: Some("none".into()), ..span.clone() }), []);
    assert_eq!(list(&Filter { origin: Some(Origin::Cli), limit: 1, ..base.clone() }), [id(4)]);
    assert_eq!(list(&Filter { origin: Some(Origin::Timer), ..base.clone() }), []);
    // Every description is "why".
    let text = |text: &str| Filter { text: Some(text.into()), ..base.clone() };
    assert_eq!(list(&Filter { limit: 2, before: Some(id(4)), ..text("WHY") }), [id(3), id(2)]);
    assert_eq!(list(&Filter { since_us: Some(fourth), ..text("why") }), [id(4)]);
    for other in ["whom", "w* OR why", "\"why", "description : why"] {
        assert_eq!(list(&text(other)), [], "{other}");
    }
}

#[test]
fn tags_are_read_back_and_lists_narrow_by_them() {
    let mut f = Fixture::new();
    let given = [vec!["b", "a:1"], vec![], vec!["b"], vec!["b.c"], vec!["b"]];
    for (n, tags) in (1..).zip(&given) {
        f.tags = tags.iter().map(|text| super::tag(text)).collect();
        f.completed(n, if n == 3 { Kind::Remove } else { Kind::Install }, None);
    }
    let read = |n: u32| f.store.summary(id(n)).expect("read").expect("there").tags.texts();
    assert_eq!((read(1), read(2), read(4)), (vec!["a:1".to_owned(), "b".to_owned()], vec![], vec!["b.c".to_owned()]));
    assert_eq!(f.store.record(id(1)).expect("read").expect("there").summary.tags.texts(), read(1));
    let list = |filter: &Filter| -> Vec<_> { f.store.list(filter).expect("list").into_iter().map(|summary| summary.id).collect() };
    let tagged = |text: &str| Filter { tag: Some(super::tag(text)), ..Filter::default() };
    assert_eq!(list(&tagged("b")), [id(5), id(3), id(1)]);
    assert_eq!((list(&tagged("a:1")), list(&tagged("a"))), (vec![id(1)], vec![]));
    assert_eq!(list(&Filter { limit: 1, before: Some(id(5)), ..tagged("b") }), [id(3)]);
    assert_eq!(list(&Filter { kind: Some(Kind::Install), ..tagged("b") }), [id(5), id(1)]);
    let third = f.store.summary(id(3)).expect("read").expect("there").created.utc_us;
    assert_eq!(list(&Filter { since_us: Some(third), ..tagged("b") }), [id(5), id(3)]);
    for more in [Filter { package: Some("hello".into()), ..tagged("b") }, Filter { text: Some("why".into()), ..tagged("b") }] {
        assert_eq!(list(&more), [id(5), id(3), id(1)]);
    }
    assert_eq!(list(&Filter { package: Some("none".into()), ..tagged("b") }), []);
}

#[test]
fn lists_narrow_and_page() {
    let mut f = Fixture::new();
    f.completed(1, Kind::Install, None);
    f.started(2, Kind::Remove, None);
    f.create(3, Kind::Upgrade, None).expect("create");
    let list = |filter: &Filter| -> Vec<_> { f.store.list(filter).expect("list").into_iter().map(|summary| summary.id).collect() };
    let base = Filter::default();
    assert_eq!(list(&base), [id(3), id(2), id(1)]);
    assert_eq!(list(&Filter { limit: 1, before: Some(id(3)), ..base.clone() }), [id(2)]);
    assert_eq!(list(&Filter { kind: Some(Kind::Remove), ..base.clone() }), [id(2)]);
    assert_eq!(list(&Filter { state: Some(TransactionState::Completed), ..base.clone() }), [id(1)]);
    assert_eq!(list(&Filter { unfinished: true, ..base.clone() }), [id(3), id(2)]);
    assert_eq!(list(&Filter { package: Some("hello".into()), ..base.clone() }), [id(2), id(1)]);
    assert_eq!(list(&Filter { package: Some("hello' OR 1".into()), ..base.clone() }), []);
    assert_eq!(list(&Filter { uid: Some(0), ..base.clone() }), []);
    assert!(matches!(f.store.list(&Filter { before: Some(id(99)), ..base }), Err(StoreError::Unknown(_))));
    let unfinished: Vec<_> = f.store.unfinished().expect("list").into_iter().map(|summary| summary.id).collect();
    assert_eq!(unfinished, [id(2), id(3)]);
    assert_eq!(f.store.open_counts(1000).expect("counts"), OpenCounts { of_uid: 1, all: 1 });
    assert_eq!(f.store.open_counts(0).expect("counts"), OpenCounts { of_uid: 0, all: 1 });
}

#[test]
fn an_id_is_found_by_its_end() {
    let mut f = Fixture::new();
    for n in [0xabcd, 0x1_abcd, 0x2_abcd] {
        f.create(n, Kind::Install, None).expect("create");
    }
    let find = |tail: &str| f.store.find(tail).expect("find");
    assert_eq!(find(&id(0x1_abcd).to_string()), [id(0x1_abcd)]);
    assert_eq!(find("1abcd"), [id(0x1_abcd)]);
    assert_eq!(find("1ABCD"), [id(0x1_abcd)]);
    assert_eq!(find("9f10-00000001abcd"), [id(0x1_abcd)]);
    assert_eq!(find("abcd").len(), 2);
    for none in ["bcd", "", "9abcd", "%bcd", "xbcd", &id(7).to_string()] {
        assert_eq!(find(none), [], "{none}");
    }
}

#[test]
fn statistics_count_by_kind() {
    let mut f = Fixture::new();
    f.completed(1, Kind::Install, None);
    f.completed(2, Kind::Install, None);
    f.started(3, Kind::Install, None);
    f.create(4, Kind::Remove, None).expect("create");
    let all = crate::Reader::open(&f.path).expect("open").statistics(0).expect("statistics");
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].kind, all[0].count, all[0].completed, all[0].in_progress), (Kind::Install, 2, 2, 1));
    assert_eq!((all[0].mean_us, all[0].p50_us, all[0].p95_us), (1_000, 1_000, 1_000));
    let later = crate::Reader::open(&f.path).expect("open").statistics(i64::MAX).expect("statistics");
    assert_eq!((later[0].count, later[0].p95_us), (0, 0));
}

#[test]
fn every_row_names_its_generation_and_run() {
    let mut f = Fixture::new();
    assert_eq!(f.count("runs"), 0, "a run that only reads leaves no trace");
    f.completed(1, Kind::Install, None);
    let (comment, user, origin, runs): (String, String, String, i64) = f
        .store
        .conn
        .query_row("SELECT comment, user, origin, (SELECT count(*) FROM runs) FROM generations", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .expect("one generation");
    assert_eq!((comment.as_str(), user.as_str(), origin.as_str(), runs), ("a comment", "ana", "cli", 1));
    let fields: String = f
        .store
        .conn
        .query_row(
            "SELECT fields FROM changes WHERE table_name = 'transactions' AND action = 'update' AND fields ->> '$.state[1]' = 'completed'",
            [],
            |row| row.get(0),
        )
        .expect("the change of state is in the journal");
    assert!(fields.contains(r#""state":["executing","completed"]"#), "{fields}");
    let path = f.path.clone();
    f.store.close().expect("close");
    let mut store = crate::Store::open(&path, &super::run(2)).expect("open");
    let noted = [Event::CancelRequested { uid: 0 }];
    assert!(
        store.append(&Append { id: id(1), attempt: None, events: &noted, at: stamp(0), journal_seq: None, world_after: None }).is_err()
    );
    let runs: i64 = store.conn.query_row("SELECT count(*) FROM runs", [], |row| row.get(0)).expect("count");
    assert_eq!(runs, 1, "what is rolled back takes the run's row with it");
}

/// What someone with root and time can do: take the triggers away first.
#[test]
fn the_chain_shows_every_change_of_history() {
    let changes = [
        ("UPDATE events SET text = 'other' WHERE event = 'noted'", "hash"),
        ("UPDATE events SET at_us = at_us + 1 WHERE seq = 2", "hash"),
        ("UPDATE events SET attempt = 3 WHERE seq = 4", "hash"),
        ("UPDATE events SET run = run + 1 WHERE seq = 4", "hash"),
        ("UPDATE events SET transaction_key = 77 WHERE seq = 4", "hash"),
        ("DELETE FROM events WHERE seq = 3", "missing"),
        ("UPDATE requests SET bytes = x'00'", "request"),
        ("UPDATE transactions SET request_digest = zeroblob(32)", "request"),
        ("UPDATE plans SET bytes = x'00'", "plan"),
        ("UPDATE plans SET digest = zeroblob(32)", "plan"),
        ("DELETE FROM plans", "plan"),
        ("UPDATE transactions SET world_after = zeroblob(32)", "world"),
    ];
    for (sql, what) in changes {
        let mut f = Fixture::new();
        f.started(1, Kind::Install, None);
        f.append(1, &[Event::Noted { code: None, text: "x".into() }, Event::Completed]).expect("append");
        assert_eq!(f.store.verify_chain().expect("whole"), 6);
        let raw = f.raw();
        drop_triggers(&raw);
        assert_eq!(raw.execute(sql, []).expect("change"), 1, "{sql}");
        match f.store.verify_chain() {
            Err(VerifyError::Broken(error)) => assert!(error.what.contains(what), "{sql}: {error}"),
            other => panic!("{sql}: {other:?}"),
        }
    }
}
