//! Old transactions in files of their own: what can be read of them stays, what holds of them stays, and no moment is without them.

use std::fs;
use std::path::PathBuf;

use backstep_core::ignore::Said;
use backstep_core::record::{Filter, Record, Summary};
use backstep_core::record_archive::{Cut, Moved, RecordArchive};
use backstep_core::refusal::Refusal;
use backstep_core::{ErrorCode, Event, Kind, Scope};

use super::refusals_kept::refusal;
use super::{Fixture, actor, id, request, stamp};
use crate::chain::digest_of;
use crate::{Created, ExportedEvent, NewRefusal, NewTransaction, Reader, Store, StoreError, Until, VerifyError};

const ALL: Cut = Cut { before_us: i64::MAX, keep: 1, most: 100 };

fn said(f: &mut Fixture, what: RecordArchive) -> Said<RecordArchive> {
    Said { what, comment: "old".to_owned(), actor: actor(), at: f.at() }
}

fn write(f: &Fixture, cut: Cut) -> Option<RecordArchive> {
    Reader::open(&f.path).expect("open").write_archive(cut).expect("write")
}

fn move_all(f: &mut Fixture, cut: Cut) -> Option<RecordArchive> {
    let archive = write(f, cut)?;
    let said = said(f, archive.clone());
    assert_eq!(f.store.move_to(&said).expect("move"), Moved::Moved);
    Some(archive)
}

/// An archive in a record whose transactions have not ended: one is made for it.
pub(crate) fn something(f: &mut Fixture) {
    let listed = "INSERT INTO archives VALUES (1, 1, 'record-1.db', zeroblob(32), 1, 1, 1, 1, zeroblob(32), 1, 1, 'a', 'b')";
    let raw = f.raw();
    raw.execute_batch(&format!("BEGIN; UPDATE gate SET generation = 1, run = 1, at_us = 1; {listed}; UPDATE gate SET generation = NULL, run = NULL, at_us = NULL; COMMIT"))
        .expect("listed");
}

fn folder(f: &Fixture) -> PathBuf {
    f.path.with_file_name("record-archive")
}

/// Everything that a reader can see of transactions.
#[derive(Debug, PartialEq)]
struct Seen {
    lists: Vec<Vec<Summary>>,
    records: Vec<Option<Record>>,
    events: Vec<ExportedEvent>,
    found: Vec<Vec<backstep_core::TransactionId>>,
    provenance: Vec<backstep_core::history::Provenance>,
    changes: Vec<backstep_core::history::RowChange>,
    sources: Vec<[Option<Vec<u8>>; 2]>,
}

fn seen(f: &Fixture, count: u32) -> Seen {
    let reader = Reader::open(&f.path).expect("open");
    let filters = [
        Filter::default(),
        Filter { limit: 2, ..Filter::default() },
        Filter { before: Some(id(3)), ..Filter::default() },
        Filter { before: Some(id(4)), limit: 2, ..Filter::default() },
        Filter { package: Some("hello".into()), ..Filter::default() },
        Filter { kind: Some(Kind::Remove), ..Filter::default() },
        Filter { tag: Some(super::tag("env=test")), limit: 4, ..Filter::default() },
        Filter { tag: Some(super::tag("env=prod")), ..Filter::default() },
        Filter { text: Some("why".into()), limit: 3, ..Filter::default() },
        Filter { since_us: Some(stamp(4_000).utc_us), until_us: Some(stamp(13_000).utc_us), ..Filter::default() },
        Filter { unfinished: true, ..Filter::default() },
    ];
    let mut events = Vec::new();
    loop {
        let more = reader.export(events.last().map_or(0, |event: &ExportedEvent| event.seq.unsigned_abs()), 3).expect("export");
        if more.is_empty() {
            break;
        }
        events.extend(more);
    }
    let ids = || (1..=count).map(id);
    let mut lists: Vec<_> = filters.iter().map(|filter| f.store.list(filter).expect("list")).collect();
    let mut records: Vec<_> = ids().map(|id| f.store.record(id).expect("record")).collect();
    // What is read from another file has the same facts.
    lists.iter_mut().for_each(|list| list.sort_by_key(|summary| std::cmp::Reverse(summary.id)));
    records.iter_mut().flatten().for_each(|record| record.events.iter_mut().for_each(|_| {}));
    Seen {
        lists,
        records,
        events,
        found: ids().map(|id| f.store.find(&id.to_string()[28..]).expect("find")).collect(),
        provenance: reader.provenance(&"hello".parse().expect("name"), None).expect("provenance"),
        changes: (1..=u64::from(count)).flat_map(|generation| reader.row_changes(generation, 0, 500).expect("changes")).collect(),
        sources: ids().map(|id| [f.store.request_bytes(id).expect("request"), f.store.plan_bytes(id).expect("plan")]).collect(),
    }
}

fn turned_away(f: &mut Fixture, n: u32) -> Result<(), StoreError> {
    let refusal = Refusal { transaction: Some(id(n)), ..refusal(1000, ErrorCode::AuthDenied) };
    let at = f.at();
    f.store.refuse(&NewRefusal { refusal: &refusal, count: 1, at, until: at })
}

fn years(count: u32) -> Fixture {
    let mut f = Fixture::new();
    for n in 1..=count {
        f.completed(n, if n == 2 { Kind::Remove } else { Kind::Install }, None);
    }
    f
}

#[test]
fn what_moved_is_read_as_before_and_the_chain_goes_on() {
    let mut f = years(6);
    turned_away(&mut f, 1).expect("from what is there");
    let (before, verified) = (seen(&f, 6), Reader::open(&f.path).expect("open").verify(|_, _| true).expect("whole"));
    let archive = move_all(&mut f, Cut { most: 3, ..ALL }).expect("three of them");
    assert_eq!((archive.transactions, archive.events.0), (3, 1));
    assert_eq!([f.count("transactions"), f.count("items"), f.count("requests")], [3; 3]);
    let after = seen(&f, 6);
    assert_eq!(after, before);
    let again = Reader::open(&f.path).expect("open").verify(|_, _| true).expect("whole");
    assert_eq!(again, verified, "nothing of the chain is another");
    assert_eq!(f.store.verify_chain().expect("the rest"), verified.events);
    turned_away(&mut f, 2).expect("from what was there");
    turned_away(&mut f, 77).expect_err("from what never was");
    assert_eq!(f.count("refusals"), 2);
    // It is gone on with, and once more.
    f.completed(7, Kind::Install, None);
    let next = move_all(&mut f, ALL).expect("three more");
    assert_eq!((next.transactions, next.events.0), (3, archive.events.1 + 1));
    assert!(seen(&f, 6).records == before.records && seen(&f, 6).events.starts_with(&before.events));
    assert!(move_all(&mut f, ALL).is_none(), "the newest stays");
    let reader = Reader::open(&f.path).expect("open");
    assert_eq!(reader.verify(|_, _| true).expect("whole").events, verified.events + 5);
    f.store.shrink().expect("shrink");
    // It opens as any other, and an archive is a record, too.
    let store = Store::open(&f.path, &super::run(2)).expect("open");
    assert_eq!(store.verify_chain().expect("whole"), verified.events + 5);
    let old = Reader::open(&folder(&f).join(next.file)).expect("open");
    assert_eq!(old.verify_file(|_, _| true).expect("whole").hash, next.last_hash);
    old.check().expect("whole");
}

#[test]
fn what_something_newer_refers_to_stays() {
    let mut f = years(3);
    f.scope = Scope::One;
    f.completed(4, Kind::Rollback, Some(id(2)));
    f.completed(5, Kind::Install, None);
    assert_eq!(write(&f, ALL).map(|archive| archive.transactions), Some(4), "a rollback goes with what it undid");
    assert_eq!(write(&f, Cut { keep: 2, ..ALL }).map(|archive| archive.transactions), Some(1), "or neither goes");
    assert_eq!(write(&f, Cut { keep: 5, ..ALL }), None);
    let second_begins = stamp(4_500).utc_us;
    assert_eq!(write(&f, Cut { before_us: second_begins, ..ALL }).map(|archive| archive.transactions), Some(1), "what was over by then");
    // Two side by side, and one that has not ended.
    let mut f = years(1);
    f.started(2, Kind::Install, None);
    f.completed(3, Kind::Install, None);
    f.append(2, &[Event::Completed]).expect("complete");
    f.completed(4, Kind::Install, None);
    assert_eq!(write(&f, Cut { keep: 2, ..ALL }).map(|archive| archive.transactions), Some(1));
    assert_eq!(write(&f, ALL).map(|archive| archive.transactions), Some(3));
    f.started(5, Kind::Install, None);
    f.completed(6, Kind::Install, None);
    assert_eq!(write(&f, ALL).map(|archive| archive.transactions), Some(4));
}

#[test]
fn a_crash_before_the_move_leaves_all_in_the_record() {
    let mut f = years(5);
    let before = seen(&f, 5);
    // Killed while it was written, and after it was.
    fs::create_dir(folder(&f)).expect("folder");
    for name in [".part", ".part-wal"] {
        fs::write(folder(&f).join(name), "half").expect("write");
    }
    let archive = write(&f, ALL).expect("written");
    assert_eq!((seen(&f, 5), f.count("archives")), (before, 0));
    assert_eq!(write(&f, ALL).expect("written again").events, archive.events);
    assert_eq!(fs::read_dir(folder(&f)).expect("list").count(), 1, "no part is left");
    // A commit that does not happen lets nothing go.
    let said = said(&mut f, archive.clone());
    let failed: Result<(), StoreError> = f.store.batch(|store| {
        assert_eq!(store.move_to(&said)?, Moved::Moved);
        Err(StoreError::Stopped)
    });
    assert!(matches!(failed, Err(StoreError::Stopped)));
    assert_eq!([f.count("transactions"), f.count("archives")], [5, 0]);
    // What is there under its name and is something else stays.
    fs::write(folder(&f).join(&archive.file), "something else").expect("write");
    let refused = Reader::open(&f.path).expect("open").write_archive(ALL);
    assert!(matches!(refused, Err(VerifyError::Store(StoreError::File { .. }))), "{refused:?}");
    assert_eq!(fs::read(folder(&f).join(&archive.file)).expect("read"), b"something else");
}

#[test]
fn what_changed_since_it_was_written_does_not_leave() {
    let mut f = years(3);
    let archive = write(&f, ALL).expect("written");
    super::redact::redact_user(&mut f);
    let said = said(&mut f, archive);
    assert_eq!(f.store.move_to(&said).expect("told"), Moved::Outdated);
    assert_eq!([f.count("transactions"), f.count("archives")], [3, 0]);
}

#[test]
fn an_archive_that_is_another_or_gone_is_seen() {
    let mut f = years(3);
    let archive = move_all(&mut f, ALL).expect("moved");
    let (path, aside) = (folder(&f).join(&archive.file), f.path.with_extension("aside"));
    let broken = |f: &Fixture| match Reader::open(&f.path).expect("open").verify(|_, _| true) {
        Err(VerifyError::Broken(broken)) => broken.what,
        other => panic!("{other:?}"),
    };
    let bytes = fs::read(&path).expect("read");
    rusqlite::Connection::open(&path).and_then(|raw| raw.pragma_update(None, "user_version", 99)).expect("a byte");
    assert_eq!(broken(&f), "the file of its archive was changed");
    fs::rename(&path, aside).expect("away");
    assert_eq!(broken(&f), "its archive is not there");
    let error = f.store.summary(id(1)).expect_err("it cannot be read");
    assert!(error.to_string().contains("record-archive") && !error.is_damage(), "{error}");
    assert!(f.store.summary(id(3)).expect("read").is_some(), "what is here is");
    assert_eq!(f.store.list(&Filter { limit: 1, ..Filter::default() }).expect("list").len(), 1);
    fs::write(&path, bytes).expect("back");
    Reader::open(&f.path).expect("open").verify(|_, _| true).expect("whole");
}

#[test]
fn an_archive_of_another_record_is_seen_also_when_it_is_listed() {
    let moved = |now| {
        let mut f = Fixture::new();
        f.now = now;
        (1..=4).for_each(|n| f.completed(n, Kind::Install, None));
        let archives = [1, 1].map(|most| move_all(&mut f, Cut { most, ..ALL }).expect("moved"));
        (f, archives)
    };
    let ((f, ours), (other, theirs)) = (moved(1), moved(77));
    let listed = |f: &Fixture, ours: &RecordArchive, file: PathBuf| {
        let bytes = fs::read(file).expect("read");
        fs::write(folder(f).join(&ours.file), &bytes).expect("write");
        let raw = f.raw();
        super::drop_triggers(&raw);
        raw.execute("UPDATE archives SET digest = ?1 WHERE file = ?2", rusqlite::params![digest_of(&bytes).0, ours.file]).expect("list");
        match Reader::open(&f.path).expect("open").verify(|_, _| true) {
            Err(VerifyError::Broken(broken)) => broken.what,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(listed(&f, &ours[1], folder(&f).join(&ours[0].file)), "its archive goes on from another one");
    assert_eq!(listed(&f, &ours[0], folder(&other).join(&theirs[0].file)), "its archive ends with another event");
}

/// Makes an archive one of the schema before there were tags, as a program of that time would have written it.
fn before_tags(f: &Fixture, archive: &RecordArchive) {
    let path = folder(f).join(&archive.file);
    let raw = rusqlite::Connection::open(&path).expect("open");
    raw.pragma_update(None, "foreign_keys", false).expect("pragma");
    raw.execute_batch("DROP TABLE tags; PRAGMA user_version = 7; VACUUM").expect("an older schema");
    raw.close().expect("close");
    let (bytes, raw) = (fs::read(&path).expect("read"), f.raw());
    super::drop_triggers(&raw);
    raw.execute("UPDATE archives SET digest = ?1 WHERE file = ?2", rusqlite::params![digest_of(&bytes).0, archive.file]).expect("list");
}

#[test]
fn an_archive_of_an_earlier_schema_is_read_as_it_was_written() {
    let mut f = Fixture::new();
    f.tags.clear();
    (1..=3).for_each(|n| f.completed(n, Kind::Install, None));
    f.tags = vec![super::tag("env=test")];
    f.completed(4, Kind::Install, None);
    let (before, verified) = (seen(&f, 4), Reader::open(&f.path).expect("open").verify(|_, _| true).expect("whole"));
    let archive = move_all(&mut f, ALL).expect("moved");
    before_tags(&f, &archive);
    assert_eq!(seen(&f, 4), before);
    assert_eq!(Reader::open(&f.path).expect("open").verify(|_, _| true).expect("whole"), verified);
    let written = fs::read(folder(&f).join(&archive.file)).expect("read");
    assert_eq!(
        digest_of(&written),
        Reader::open(&f.path).map(|reader| crate::archive::oldest_first(&reader.conn)).expect("open").expect("list")[0].digest
    );
}

#[test]
fn an_archive_that_a_crash_left_before_there_were_tags_is_written_again() {
    let mut f = Fixture::new();
    f.tags.clear();
    (1..=3).for_each(|n| f.completed(n, Kind::Install, None));
    let archive = write(&f, ALL).expect("written");
    before_tags(&f, &archive);
    assert_eq!(write(&f, ALL).expect("written again").last_hash, archive.last_hash);
    Reader::open(&folder(&f).join(&archive.file)).expect("of this schema");
}

#[test]
fn nothing_else_leaves_the_record() {
    let mut f = years(4);
    move_all(&mut f, Cut { most: 2, ..ALL }).expect("moved");
    let raw = f.raw();
    for (gate, what) in [
        ("generation = NULL, moves = 1", "nothing is open"),
        ("generation = 1, run = 1, at_us = 1, moves = NULL", "nothing moves"),
        ("generation = 1, run = 1, at_us = 1, moves = 1", "another generation listed it"),
        ("generation = (SELECT generation FROM archives), run = 1, at_us = 1, moves = 1", "it is newer"),
    ] {
        for table in ["changes", "events", "attempts", "steps", "items", "plans", "requests", "tags", "transactions"] {
            raw.execute_batch(&format!("BEGIN; UPDATE gate SET {gate}")).expect("gate");
            let refused = raw.execute(&format!("DELETE FROM {table}"), []);
            raw.execute_batch("ROLLBACK").expect("rollback");
            assert!(refused.is_err_and(|error| error.to_string().contains("never deleted")), "{table}: {what}");
        }
    }
}

#[test]
fn what_is_archived_is_known_and_not_undone() {
    let mut f = years(3);
    let retold = f.store.record(id(1)).expect("read").expect("there");
    move_all(&mut f, ALL).expect("moved");
    assert_eq!(f.create(1, Kind::Install, None).expect("the same"), Created::Existing);
    let (actor, at) = (actor(), f.at());
    let other = NewTransaction {
        id: id(1),
        kind: Kind::Install,
        request_bytes: b"another",
        request_digest: digest_of(b"another"),
        description: "",
        tags: &[],
        comment: "",
        actor: &actor,
        at,
        priority: 0,
        reverts: None,
        scope: None,
        retries: None,
    };
    assert!(matches!(f.store.create(&other), Err(StoreError::Duplicate(_))));
    let refused = f.create(9, Kind::Rollback, Some(id(1))).expect_err("refused");
    assert!(matches!(refused, StoreError::Archived(archived) if archived == id(1)) && refused.code() == ErrorCode::TransactionState);
    assert!(matches!(f.create(9, Kind::Rollback, Some(id(77))), Err(StoreError::Unknown(_))));
    // A document of it is not taken for a lost transaction.
    let request = request(id(1));
    let new = NewTransaction { request_bytes: &request, request_digest: digest_of(&request), at: retold.summary.created, ..other };
    let history = crate::History { new, plan: None, events: &retold.events[..1], world_after: None, journal: &[] };
    assert_eq!(f.store.retell(&history).expect("told"), crate::Retold::Known);
    assert_eq!(f.count("transactions"), 1);
}

#[test]
fn copies_go_on_from_the_archive() {
    let mut f = years(1);
    turned_away(&mut f, 1).expect("refuse");
    (2..=3).for_each(|n| f.completed(n, Kind::Install, None));
    let archive = move_all(&mut f, Cut { most: 1, ..ALL }).expect("moved");
    let (copy, then, never) = (f.path.with_extension("copy"), f.path.with_extension("then"), f.path.with_extension("never"));
    let reader = Reader::open(&f.path).expect("open");
    reader.back_up(&copy).expect("copy");
    let whole = reader.verify(|_, _| true).expect("whole");
    assert_eq!(Reader::open(&copy).expect("open").verify(|_, _| true).expect("beside it").hash, whole.hash);
    let event = archive.events.1.unsigned_abs() + 5;
    assert_eq!(reader.back_up_until(Until::Event(event), &then).expect("then"), event);
    let made = Reader::open(&then).expect("open");
    assert_eq!(made.conn.query_row("SELECT count(*) FROM refusals", [], |row| row.get::<_, i64>(0)).expect("count"), 1);
    assert_eq!((made.verify(|_, _| true).expect("whole").events, made.items(id(1)).expect("read").len()), (event, 1));
    let gone = reader.back_up_until(Until::Event(event - 6), &never);
    assert!(matches!(gone, Err(StoreError::MomentArchived)), "{gone:?}");
}
