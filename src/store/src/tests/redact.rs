//! A text taken out: gone from every byte, with a chain that still verifies, and with nothing else that can change.

use backstep_core::ignore::Said;
use backstep_core::record::Filter;
use backstep_core::redaction::{Mode, Redacted, Redaction};
use backstep_core::{Direction, ErrorCode, Event, Kind, Plan, PlanAction, StepKind, StepState};
use rusqlite::Connection;

use super::ignores::{ignore, said};
use super::{Fixture, actor, drop_triggers, id, stamp};
use crate::chain::digest_of;
use crate::{Document, NewTransaction, Reader, StoreError, Until, Verified};

const SECRET: &str = "Ana \"M\" Otto";

/// A request with a description is that one with any other.
fn same(document: Document, before: &[u8], after: &[u8]) -> bool {
    let rest = |bytes: &[u8]| String::from_utf8_lossy(bytes).split_once("why").map(|(rest, _)| rest.to_owned());
    document == Document::Plan || rest(before) == rest(after)
}

fn redact(f: &mut Fixture, text: &str, mode: Mode) -> Result<Redacted, StoreError> {
    let what = Redaction::new(text.to_owned(), mode).expect("a text");
    let at = f.at();
    f.store.redact(&Said { what, comment: "she asked for it".to_owned(), actor: actor(), at }, &same)
}

/// A redaction in a record that has an ignore of hello.
pub(crate) fn something(f: &mut Fixture) {
    redact(f, "user@1000", Mode::Try).expect_err("of what has not ended");
    let mut ignored = ignore("other");
    ignored.comment = SECRET.to_owned();
    f.store.ignore(&said(ignored, 9)).expect("ignore");
    assert!(!redact(f, SECRET, Mode::Do).expect("redact").places.is_empty());
}

fn request(n: u32) -> Vec<u8> {
    format!("{{\"id\":{n},\"asks\":\"installation\",\"why\":\"for Ana \\\"M\\\" Otto\"}}").into_bytes()
}

/// A transaction whose texts name somebody: in the request, the comment, an event, a step and the error.
fn named(f: &mut Fixture, n: u32) {
    let description = format!("for {SECRET}");
    let bytes = request(n);
    let (actor, at) = (actor(), f.at());
    f.store
        .create(&NewTransaction {
            id: id(n),
            kind: Kind::Install,
            request_bytes: &bytes,
            request_digest: digest_of(&bytes),
            description: &description,
            tags: &[],
            comment: &description,
            actor: &actor,
            at,
            priority: 0,
            reverts: None,
            scope: None,
            retries: None,
        })
        .expect("create");
}

fn ended(f: &mut Fixture, n: u32) {
    let items = vec![super::item("hello:amd64", PlanAction::Install, None, Some("2"))];
    let planned = Plan { request: digest_of(&request(n)), ..super::plan(id(n), items) };
    let at = f.at();
    f.store.freeze_plan(id(n), &planned, b"the plan", digest_of(b"the plan"), at).expect("freeze");
    f.append(n, &[Event::Queued { action: "a".into() }, Event::Started { attempt: 1 }]).expect("start");
    let text = format!("no home for {SECRET}");
    let begun = Event::StepStarted { step: StepKind::Apply, direction: Direction::Forward };
    let failed =
        Event::StepEnded { step: StepKind::Apply, state: StepState::Failed, code: Some(ErrorCode::ScriptFailed), text: text.clone() };
    f.append(n, &[begun, failed, Event::UndoStarted { code: ErrorCode::ScriptFailed, text }]).expect("fail");
    f.append(n, &[Event::UndoFinished { differences: 0 }]).expect("end");
}

fn filled() -> Fixture {
    let mut f = Fixture::new();
    named(&mut f, 1);
    ended(&mut f, 1);
    let mut ignored = ignore("hello");
    ignored.comment = format!("{SECRET} wants that");
    f.store.ignore(&said(ignored, 9)).expect("ignore");
    f.store.configure(&crate::configurations::tests::said(&format!("metrics.textfile = \"/srv/{SECRET}.prom\""), 10)).expect("configure");
    f.completed(2, Kind::Install, None);
    f
}

fn files_have(f: &Fixture, text: &str) -> bool {
    let escaped = text.replace('"', "\\\"");
    ["", "-wal", "-shm"].iter().any(|suffix| {
        let bytes = std::fs::read(format!("{}{suffix}", f.path.display())).unwrap_or_default();
        [text, &escaped].iter().any(|text| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
    })
}

fn hashes(conn: &Connection) -> Vec<[u8; 32]> {
    let mut statement = conn.prepare("SELECT hash FROM events ORDER BY seq").expect("sql");
    statement.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("row")
}

fn verified(f: &Fixture) -> Result<Verified, crate::VerifyError> {
    Reader::open(&f.path).expect("open").verify(|_, _| true)
}

#[test]
fn a_text_is_gone_from_every_byte_and_the_chain_is_whole() {
    let mut f = filled();
    let (before, events) = (hashes(&f.store.conn), f.count("events"));
    assert!(files_have(&f, SECRET));
    let tried = redact(&mut f, SECRET, Mode::Try).expect("try");
    assert!(files_have(&f, SECRET) && f.count("events") == events && f.count("redacted") == 0, "nothing was written");
    let done = redact(&mut f, SECRET, Mode::Do).expect("redact");
    assert_eq!((&done.places, &done.transactions), (&tried.places, &vec![id(1)]));
    let places: Vec<&str> = done.places.iter().map(|(place, _)| place.as_str()).collect();
    for place in [
        "generations.comment",
        "transactions.description",
        "transactions.error_text",
        "requests.bytes",
        "events.text",
        "steps.error_text",
        "ignores.comment",
        "configurations.text",
        "changes.fields",
    ] {
        assert!(places.contains(&place), "{place}: {places:?}");
    }
    assert!(!files_have(&f, SECRET), "it is still somewhere");
    let told = verified(&f).expect("whole");
    assert_eq!((told.events, told.unvouched), (events.unsigned_abs() + 1, 0));
    assert_eq!(told.redacted, 3, "the request and two events");
    assert_eq!(hashes(&f.store.conn)[..before.len()], before, "whoever has the old hash finds it");
    // What is left says so, by number, and that number says who and why.
    let record = f.store.record(id(1)).expect("read").expect("there");
    assert_eq!(record.summary.description, format!("for [redacted {}]", done.number));
    assert!(matches!(&record.events.last().expect("events").event, Event::Redacted { text, .. } if text == "she asked for it"));
    let generation = Reader::open(&f.path).expect("open").generation(done.number).expect("read").expect("there");
    assert_eq!((generation.comment.as_str(), generation.uid), ("she asked for it", 1000));
    let found = |text: &str| f.store.list(&Filter { text: Some(text.to_owned()), ..Filter::default() }).expect("list").len();
    assert_eq!((found("Otto"), found("redacted")), (0, 1));
    // It can be gone on with, and a text that is nowhere is no change.
    assert!(redact(&mut f, SECRET, Mode::Do).expect("again").places.is_empty());
    f.completed(3, Kind::Install, None);
    assert!(verified(&f).is_ok());
}

#[test]
fn what_was_redacted_can_be_redacted_again() {
    let mut f = filled();
    redact(&mut f, "no home", Mode::Do).expect("once");
    redact(&mut f, SECRET, Mode::Do).expect("twice");
    assert!(verified(&f).is_ok_and(|told| told.redacted == 3));
    assert!(!files_have(&f, "no home") && !files_have(&f, SECRET));
}

#[test]
fn only_texts_of_what_has_ended_are_taken_out() {
    let mut f = filled();
    let events = f.count("events");
    // Part of a request: what was asked for.
    assert!(matches!(redact(&mut f, "installation", Mode::Do), Err(StoreError::NotOnlyText { table: "requests" })));
    named(&mut f, 3);
    let refused = redact(&mut f, SECRET, Mode::Do).expect_err("it has not ended");
    assert!(matches!(refused, StoreError::NotEnded(open) if open == id(3)), "{refused}");
    assert!(matches!(f.append(1, &[Event::Redacted { places: 1, text: String::new() }]), Err(StoreError::RedactedWithoutRedaction)));
    assert!(f.count("events") == events + 1 && f.count("redacted") == 0 && files_have(&f, SECRET));
    assert!(verified(&f).is_ok_and(|told| told.redacted == 0));
}

/// With the gate open as a redaction opens it, for whoever has the sqlite3 tool.
#[test]
fn a_redaction_by_hand_replaces_that_text_and_does_nothing_else() {
    let f = filled();
    let raw = f.raw();
    let open = "UPDATE gate SET generation = 1, run = 1, at_us = 1, redacts = 'Otto', redacts_json = 'Otto', mark = '[redacted 1]';";
    let attempt = |before: &str, sql: &str| {
        raw.execute_batch("BEGIN").expect("begin");
        raw.execute_batch(before).expect("before");
        let result = raw.execute_batch(sql);
        raw.execute_batch("ROLLBACK").expect("rollback");
        result
    };
    let columns = [
        ("events", "text"),
        ("generations", "comment"),
        ("transactions", "description"),
        ("ignores", "comment"),
        ("configurations", "text"),
    ];
    for (table, column) in columns {
        let honest = format!("UPDATE {table} SET {column} = replace({column}, 'Otto', '[redacted 1]')");
        assert!(attempt(open, &honest).is_ok(), "{honest}: {:?}", attempt(open, &honest));
        for other in ["'x'", &format!("replace({column}, 'Otto', '')"), &format!("{column} || 'x'"), "NULL"] {
            let sql = format!("UPDATE {table} SET {column} = {other} WHERE {column} LIKE '%Otto%'");
            assert!(attempt(open, &sql).is_err(), "{sql}");
        }
        let closed = attempt("UPDATE gate SET generation = 1, run = 1, at_us = 1;", &honest);
        assert!(closed.is_err_and(|error| error.to_string().contains("refused: ")), "{honest}");
        let without = open.replace("generation = 1, run = 1, at_us = 1,", "");
        assert!(attempt(&without, &honest).is_err(), "no change-set says who");
    }
    for sql in [
        "UPDATE events SET state = 'completed' WHERE state = 'failed'",
        "UPDATE events SET hash = zeroblob(32)",
        "UPDATE events SET subject = 'x'",
        "UPDATE generations SET uid = 0",
        "UPDATE transactions SET uid = 0 WHERE finished_us IS NOT NULL",
        "UPDATE transactions SET updated_us = 1 WHERE finished_us IS NOT NULL",
        "UPDATE requests SET bytes = CAST('x' AS BLOB)",
        "UPDATE plans SET summary = 'x'",
        "UPDATE changes SET fields = '{}'",
        "DELETE FROM events",
    ] {
        assert!(attempt(open, sql).is_err(), "{sql}");
    }
}

#[test]
fn what_a_redaction_left_does_not_change_unnoticed() {
    let cases = [
        ("UPDATE events SET text = replace(text, 'no home', 'a home')", "its hash is another one"),
        ("UPDATE events SET state = 'completed' WHERE state = 'failed'", "its hash is another one"),
        ("UPDATE requests SET bytes = CAST(replace(CAST(bytes AS TEXT), 'for', 'not for') AS BLOB)", "its request was changed"),
        ("DELETE FROM redacted WHERE table_name = 'events'", "its hash is another one"),
        ("DELETE FROM redacted WHERE table_name = 'transactions'", "what it redacted was changed"),
        ("UPDATE redacted SET digest = zeroblob(32) WHERE table_name = 'steps'", "what it redacted was changed"),
        ("UPDATE redacted SET event = 9 WHERE table_name = 'events'", "its hash is another one"),
    ];
    for (sql, what) in cases {
        let mut f = filled();
        redact(&mut f, SECRET, Mode::Do).expect("redact");
        let raw = f.raw();
        drop_triggers(&raw);
        raw.execute_batch(sql).expect(sql);
        let Err(crate::VerifyError::Broken(broken)) = verified(&f) else { panic!("{sql}: unnoticed") };
        assert_eq!(broken.what, what, "{sql}");
    }
}

#[test]
fn a_record_of_a_moment_before_a_redaction_verifies_without_the_text() {
    let mut f = filled();
    let last = f.count("events").unsigned_abs();
    redact(&mut f, SECRET, Mode::Do).expect("redact");
    let reader = Reader::open(&f.path).expect("open");
    let (then, all) = (f.path.with_extension("then"), f.path.with_extension("all"));
    reader.back_up_until(Until::Event(last), &then).expect("then");
    let told = Reader::open(&then).expect("open").verify(|_, _| true).expect("whole");
    assert_eq!((told.events, told.redacted, told.unvouched), (last, 3, 3), "it says that its own events do not vouch for it");
    reader.back_up_until(Until::Time(stamp(1 << 40).utc_us), &all).expect("all");
    let told = Reader::open(&all).expect("open").verify(|_, _| true).expect("whole");
    assert_eq!((told.events, told.redacted, told.unvouched), (last + 1, 3, 0));
    f.path = then;
    assert!(!files_have(&f, SECRET));
}

/// The first transactions lose the name of who asked.
pub(crate) fn redact_user(f: &mut Fixture) {
    assert!(!redact(f, "user@1000", Mode::Do).expect("redact").places.is_empty());
}
