//! Every kind of damage, and what stands after it.

use std::collections::BTreeMap;
use std::fs;

use backstep_core::ignore::{Ignore, Said};
use backstep_core::record::{Filter, Record};
use backstep_core::{
    BootId, Digest, Direction, Kind, Method, Options, Plan, PlanAction, PlanItem, Reason, Request, RequestItem, StepKind, Tags,
    TransactionId, UndoQuality,
};
use backstep_store::NewTransaction;
use backstep_wire::journal;

use super::*;

struct Place {
    dir: tempfile::TempDir,
    spool: Spool,
    attempts: Attempts,
    run: Run,
}

fn stamp(us: i64) -> Stamp {
    Stamp { utc_us: 1_700_000_000_000_000 + us, monotonic_us: us, boot: BootId([9; 16]) }
}

fn id(n: u32) -> TransactionId {
    format!("01936b2e-7c1a-7d3e-9f10-0000{n:08x}").parse().expect("id")
}

/// How far a transaction of the fixture comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Upto {
    Created,
    Prepared,
    Queued,
    Begun,
    Completed,
}

impl Place {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("folder");
        Self::at(dir)
    }

    fn at(dir: tempfile::TempDir) -> Self {
        let spool = Spool::open(&dir.path().join("spool")).expect("spool");
        let attempts = Attempts::open(dir.path()).expect("attempts");
        let run = Run { id: "01936b2e-7c1a-7d3e-9f10-aaaaaaaaaaaa".into(), version: "1".into(), pid: 1, at: stamp(9_000_000) };
        Self { dir, spool, attempts, run }
    }

    fn path(&self) -> PathBuf {
        store_path(self.dir.path())
    }

    fn open(&self) -> Store {
        let run = &Run { id: uuid::Uuid::now_v7().to_string(), ..self.run.clone() };
        let (state_dir, spool, attempts) = (self.dir.path(), &self.spool, &self.attempts);
        Remains { state_dir, spool, attempts, host_id: "host", run }.open().expect("open")
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.dir.path())
            .expect("list")
            .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn kept(&self) -> Vec<String> {
        self.names().into_iter().filter(|name| name.contains("damaged")).collect()
    }

    fn add(&self, store: &mut Store, n: u32, upto: Upto) {
        self.add_of(store, n, upto, None);
    }

    fn add_of(&self, store: &mut Store, n: u32, upto: Upto, reverts: Option<TransactionId>) {
        let request = request(reverts);
        let bytes = backstep_wire::request::to_bytes(&request);
        let (at, actor) = (stamp(i64::from(n) * 1000), ourselves());
        let new = NewTransaction {
            id: id(n),
            kind: request.kind,
            request_bytes: &bytes,
            request_digest: backstep_wire::digest(&bytes),
            description: "why",
            tags: request.tags.as_slice(),
            comment: "why",
            actor: &actor,
            at,
            priority: 3,
            reverts,
            scope: request.scope(),
            retries: None,
        };
        store.create(&new).expect("create");
        let plan = plan(n, backstep_wire::digest(&bytes));
        let plan_bytes = backstep_wire::plan::to_bytes(&plan);
        if upto >= Upto::Prepared {
            store.freeze_plan(id(n), &plan, &plan_bytes, backstep_wire::digest(&plan_bytes), at).expect("freeze");
        }
        let append = |store: &mut Store, attempt, events: &[Event], journal_seq, world_after| {
            store.append(&Append { id: id(n), attempt, events, at, journal_seq, world_after }).expect("append");
        };
        if upto >= Upto::Queued {
            append(store, None, &[Event::Queued { action: "org.backstep1.install".into() }], None, None);
        }
        if upto >= Upto::Begun {
            append(store, None, &[Event::Started { attempt: 1 }], None, None);
            let begun = Event::StepStarted { step: StepKind::Fetch, direction: Direction::Forward };
            append(store, Some(1), &[begun], Some(4), None);
        }
        if upto == Upto::Completed {
            append(store, Some(1), &[Event::Completed], Some(9), Some(Digest([8; 32])));
        }
        self.mirror(store, n);
    }

    fn mirror(&self, store: &Store, n: u32) {
        self.spool.mirror(&store.record(id(n)).expect("read").expect("there"), "host").expect("mirror");
    }

    fn ignore(&self, store: &mut Store) {
        let what = Ignore { pattern: "hello".parse().expect("pattern"), source: None, comment: "later".into(), until_us: None };
        store.ignore(&Said { what, comment: "later".into(), actor: ourselves(), at: stamp(1) }).expect("ignore");
    }

    /// Three that completed, one of them an undo, and what was done meanwhile.
    fn filled() -> (Self, BTreeMap<TransactionId, Record>) {
        static FIRST: std::sync::OnceLock<(Place, BTreeMap<TransactionId, Record>)> = std::sync::OnceLock::new();
        let (first, told) = FIRST.get_or_init(Self::fill);
        let place = Self::new();
        for folder in ["", "spool", "spool/done"] {
            for entry in fs::read_dir(first.dir.path().join(folder)).expect("list") {
                let from = entry.expect("entry").path();
                if from.is_file() {
                    fs::copy(&from, place.dir.path().join(folder).join(from.file_name().expect("name"))).expect("copy");
                }
            }
        }
        (place, told.clone())
    }

    fn fill() -> (Self, BTreeMap<TransactionId, Record>) {
        let place = Self::new();
        let mut store = place.open();
        place.add(&mut store, 1, Upto::Completed);
        place.ignore(&mut store);
        place.add(&mut store, 2, Upto::Completed);
        place.add_of(&mut store, 3, Upto::Completed, Some(id(1)));
        place.mirror(&store, 1);
        let told = told(&store);
        store.close().expect("close");
        (place, told)
    }
}

fn request(reverts: Option<TransactionId>) -> Request {
    let item = RequestItem {
        action: backstep_core::request::ItemAction::Install,
        name: "hello".parse().expect("name"),
        arch: None,
        version: None,
    };
    Request {
        kind: if reverts.is_some() { Kind::Rollback } else { Kind::Install },
        description: "why".to_owned(),
        tags: Tags::new(&["env=prod", "ticket:4711"]).expect("tags"),
        items: if reverts.is_some() { Vec::new() } else { vec![item] },
        archives: Vec::new(),
        reverts,
        retries: None,
        options: Options::default(),
    }
}

fn plan(n: u32, request: Digest) -> Plan {
    let item = PlanItem {
        package: "hello:amd64".parse().expect("package"),
        action: PlanAction::Install,
        reason: Reason::Requested,
        from: None,
        to: Some("2".parse().expect("version")),
        archive: None,
        installed_delta: 0,
        auto_before: false,
        auto_after: false,
        essential: false,
        leftovers: false,
        undo: UndoQuality::Exact,
    };
    Plan {
        transaction: id(n),
        kind: Kind::Install,
        request,
        world: Digest([2; 32]),
        method: Method::Packages,
        options: Options::default(),
        items: vec![item],
        marks: Vec::new(),
        restores: Vec::new(),
        download_bytes: 0,
        warnings: Vec::new(),
    }
}

/// Everything that a record tells, but for the chain's own numbers and hashes.
fn told(store: &Store) -> BTreeMap<TransactionId, Record> {
    let all = store.list(&Filter { limit: u32::MAX, ..Filter::default() }).expect("list");
    let record = |id| {
        let mut record = store.record(id).expect("read").expect("there");
        record.summary.sequence = 0;
        record.events.iter_mut().for_each(|event| (event.seq, event.hash) = (0, Digest([0; 32])));
        record
    };
    all.into_iter().map(|summary| (summary.id, record(summary.id))).collect()
}

/// The whole after a damage: the same is told, the chain is whole, the mirror agrees, and the next start finds nothing.
fn assert_stands(place: &Place, store: Store, before: &BTreeMap<TransactionId, Record>, what: &str) -> Rebuild {
    assert_eq!(&told(&store), before, "{what}");
    store.check().expect(what);
    store.verify_chain().expect(what);
    for id in before.keys() {
        let record = store.record(*id).expect("read").expect("there");
        let text = fs::read_to_string(place.dir.path().join(format!("spool/done/{id}.json"))).expect(what);
        assert_eq!(text, backstep_spool::document(&record, "host"), "{what}");
    }
    let rebuilds = store.rebuilds().expect("read");
    store.close().expect("close");
    let kept = place.kept();
    let again = place.open();
    assert_eq!(again.rebuilds().expect("read").len(), rebuilds.len(), "{what}: it was not rebuilt again");
    assert_eq!(place.kept(), kept, "{what}");
    rebuilds.last().expect(what).clone()
}

#[test]
fn a_clean_start_changes_no_byte() {
    let (place, before) = Place::filled();
    let files = || {
        let mut found = BTreeMap::new();
        let mut look = vec![place.dir.path().to_path_buf()];
        while let Some(path) = look.pop() {
            if path.is_dir() {
                look.extend(fs::read_dir(&path).expect("list").map(|entry| entry.expect("entry").path()));
            } else {
                found.insert(path.clone(), (fs::read(&path).expect("read"), fs::metadata(&path).expect("file").modified().expect("time")));
            }
        }
        found
    };
    let first = files();
    let store = place.open();
    assert_eq!(told(&store), before);
    assert!(store.rebuilds().expect("read").is_empty());
    store.close().expect("close");
    assert!(files() == first, "a file changed");
}

#[test]
fn a_damaged_or_lost_file_is_moved_aside_and_written_again_from_the_spool() {
    type Damage = fn(&Path);
    let cases: [(&str, Cause, Damage); 9] = [
        ("garbage", Cause::Damaged, |path| fs::write(path, vec![b'x'; 9000]).expect("write")),
        ("a short garbage", Cause::Damaged, |path| fs::write(path, b"hello").expect("write")),
        ("another database", Cause::Damaged, |path| {
            let mut bytes = fs::read(path).expect("read");
            bytes[68..72].fill(7);
            fs::write(path, bytes).expect("write");
        }),
        ("the header", Cause::Damaged, |path| {
            let mut bytes = fs::read(path).expect("read");
            bytes[0..100].fill(0);
            fs::write(path, bytes).expect("write");
        }),
        ("half of it", Cause::Damaged, |path| {
            let bytes = fs::read(path).expect("read");
            fs::write(path, &bytes[..bytes.len() / 2]).expect("write");
        }),
        ("one byte short", Cause::Damaged, |path| {
            let bytes = fs::read(path).expect("read");
            fs::write(path, &bytes[..bytes.len() - 4096]).expect("write");
        }),
        ("pages of zeros", Cause::Damaged, |path| {
            let mut bytes = fs::read(path).expect("read");
            let middle = bytes.len() / 2 / 4096 * 4096;
            bytes[middle..middle + 8192].fill(0);
            fs::write(path, bytes).expect("write");
        }),
        ("nothing in it", Cause::Lost, |path| fs::write(path, b"").expect("write")),
        ("no file", Cause::Lost, |path| fs::remove_file(path).expect("remove")),
    ];
    for (what, cause, damage) in cases {
        let (place, before) = Place::filled();
        damage(&place.path());
        let damaged = fs::read(place.path()).ok();
        let rebuild = assert_stands(&place, place.open(), &before, what);
        assert_eq!((rebuild.cause, rebuild.recorded, rebuild.refused, rebuild.stopped), (cause, 3, 0, 0), "{what}");
        assert!(rebuild.lost.contains("ignores") && rebuild.base.is_empty(), "{what}: {rebuild:?}");
        let kept = place.kept();
        assert_eq!(kept.first().map(|name| fs::read(place.dir.path().join(name)).expect("kept")), damaged, "{what}");
        assert_eq!(kept.first().cloned().unwrap_or_default(), rebuild.kept, "{what}");
    }
}

/// Flips one bit at each of many places. Whatever it hits: the daemon starts, and nothing is told that is not so without
/// the chain saying it.
#[test]
fn single_bits_that_flip_are_noticed_or_change_nothing_that_the_chain_vouches_for() {
    let (source, before) = Place::filled();
    let whole = fs::read(source.path()).expect("read");
    let places = (0..100).step_by(3).chain((100..whole.len()).step_by(whole.len() / 60));
    let (mut rebuilt, mut harmless, mut newer) = (0, 0, 0);
    for (n, at) in places.enumerate() {
        let (place, _) = Place::filled();
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (n % 8);
        fs::write(place.path(), &bytes).expect("write");
        let store = place.open();
        if store.is_newer() {
            assert!((60..64).contains(&at), "{at}");
            newer += 1;
        } else if store.rebuilds().expect("read").is_empty() {
            // The tree is whole. A byte of a text or a number may be another: that is for the chain to say.
            assert!(told(&store) == before || store.verify_chain().is_err() || is_outside_the_chain(&store, &before), "{at}");
            harmless += 1;
        } else {
            assert_stands(&place, store, &before, &format!("bit at {at}"));
            rebuilt += 1;
        }
    }
    assert!(rebuilt > 15 && harmless > 0 && newer > 0, "{rebuilt} rebuilt, {harmless} harmless, {newer} newer");
}

/// Texts beside the events that nothing vouches for: they can be compared with the events.
fn is_outside_the_chain(store: &Store, before: &BTreeMap<TransactionId, Record>) -> bool {
    let now = told(store);
    now.len() == before.len()
        && now.iter().all(|(id, record)| record.events == before[id].events && record.sources.request == before[id].sources.request)
}

#[test]
fn a_log_that_is_gone_is_noticed_whatever_of_it_was_in_the_file() {
    let place = Place::new();
    let mut store = place.open();
    place.add(&mut store, 1, Upto::Completed);
    let early = fs::read(place.path()).expect("read");
    store.close().expect("close");
    let middle = fs::read(place.path()).expect("read");
    let mut store = place.open();
    place.add(&mut store, 2, Upto::Completed);
    place.add(&mut store, 3, Upto::Completed);
    let (before, late) = (told(&store), fs::read(place.path()).expect("read"));
    drop(store);
    for (what, bytes) in [("nothing", early), ("the first", middle), ("some", late)] {
        for name in ["store.db-wal", "store.db-shm"] {
            fs::remove_file(place.dir.path().join(name)).unwrap_or_default();
        }
        fs::write(place.path(), bytes).expect("write");
        assert_stands(&place, place.open(), &before, what);
    }
}

#[test]
fn half_a_checkpoint_without_its_log_is_damage_and_is_written_again() {
    let (place, before) = Place::filled();
    let old = fs::read(place.path()).expect("read");
    let mut store = place.open();
    for n in 4..40 {
        place.add(&mut store, n, Upto::Completed);
    }
    let all = told(&store);
    store.close().expect("close");
    let new = fs::read(place.path()).expect("read");
    assert!(all.len() > before.len());
    for pages in [1, 3, 20] {
        // The first pages are the new ones, the rest is as it was.
        let mixed: Vec<u8> = new
            .chunks(4096)
            .zip(old.chunks(4096))
            .enumerate()
            .flat_map(|(n, (new, old))| if n < pages { new } else { old }.to_vec())
            .collect();
        fs::write(place.path(), mixed).expect("write");
        assert_stands(&place, place.open(), &all, &format!("{pages} pages"));
    }
}

#[test]
fn an_older_copy_that_somebody_put_there_catches_up_and_says_so() {
    let place = Place::new();
    let mut store = place.open();
    place.add(&mut store, 1, Upto::Completed);
    place.add(&mut store, 2, Upto::Begun);
    store.close().expect("close");
    let older = fs::read(place.path()).expect("read");
    let mut store = place.open();
    let done =
        Append { id: id(2), attempt: Some(1), events: &[Event::Completed], at: stamp(5000), journal_seq: Some(9), world_after: None };
    store.append(&done).expect("append");
    place.mirror(&store, 2);
    place.add(&mut store, 3, Upto::Completed);
    let before = told(&store);
    store.close().expect("close");
    fs::write(place.path(), older).expect("write");
    let rebuild = assert_stands(&place, place.open(), &before, "older");
    assert_eq!((rebuild.cause, rebuild.recorded, rebuild.continued), (Cause::Behind, 1, 1));
    assert!(place.kept().is_empty(), "a whole file is not moved");
}

#[test]
fn the_newest_whole_copy_is_gone_on_from() {
    let (place, _) = Place::filled();
    assert!(keep_copy(&place.path()).expect("copy") && !keep_copy(&place.path()).expect("nothing new"));
    let mut store = place.open();
    place.add(&mut store, 4, Upto::Completed);
    let before = told(&store);
    store.close().expect("close");
    fs::write(place.path(), b"no record").expect("write");
    fs::write(place.dir.path().join("store.db.schema-0009"), b"no copy either").expect("write");
    let store = place.open();
    assert_eq!(store.ignores().expect("read").len(), 1, "what only the copy had");
    let rebuild = assert_stands(&place, store, &before, "copy");
    assert_eq!((rebuild.base.as_str(), rebuild.recorded), ("store.db.copy", 1));
    assert!(rebuild.lost.contains("since "), "{}", rebuild.lost);
}

#[test]
fn what_had_not_ended_is_never_run_by_itself() {
    let place = Place::new();
    let mut store = place.open();
    for (n, upto) in [(1, Upto::Created), (2, Upto::Prepared), (3, Upto::Queued), (4, Upto::Begun), (5, Upto::Begun)] {
        place.add(&mut store, n, upto);
    }
    let attempt = backstep_core::AttemptId { transaction: id(5), number: 1 };
    fs::create_dir_all(place.attempts.folder(attempt)).expect("folder");
    let last = journal::Line { seq: 9, utc_us: 1, record: journal::Record::Committed { world: Digest([3; 32]) } };
    fs::write(place.attempts.folder(attempt).join("attempt.jsonl"), journal::to_line(&last)).expect("journal");
    store.close().expect("close");
    fs::remove_file(place.path()).expect("remove");
    let store = place.open();
    let state = |n| store.summary(id(n)).expect("read").expect("there").status.state;
    use TransactionState as S;
    assert_eq!([1, 2, 3, 4].map(state), [S::Failed, S::Failed, S::Failed, S::NeedsAttention]);
    assert_eq!(state(5), S::Executing, "its worker's last word is taken in by recovery");
    assert_eq!(store.journal_position(id(5), 1).expect("read"), 4, "and no line twice");
    assert_eq!(store.rebuilds().expect("read")[0].stopped, 4);
}

#[test]
fn a_document_that_is_none_is_kept_and_told() {
    let (place, mut before) = Place::filled();
    let document = |n| place.dir.path().join(format!("spool/done/{}.json", id(n)));
    fs::write(document(2), b"{").expect("write");
    fs::remove_file(place.path()).expect("remove");
    before.remove(&id(2));
    let rebuild = assert_stands(&place, place.open(), &before, "document");
    assert_eq!((rebuild.recorded, rebuild.refused), (2, 1));
    assert!(rebuild.lost.contains(&id(2).to_string()), "{}", rebuild.lost);
    assert_eq!(fs::read(place.dir.path().join(format!("spool/invalid/{}.json", id(2)))).expect("kept"), b"{");
}

#[test]
fn a_rebuild_that_is_interrupted_is_begun_again_or_finished() {
    let (place, before) = Place::filled();
    let good = fs::read(place.path()).expect("read");
    let at = |name: &str| place.dir.path().join(name);
    // A draft that was not complete counts for nothing.
    fs::write(at("store.db"), b"no record").expect("write");
    fs::write(at("store.db.rebuilding"), b"half").expect("write");
    assert_stands(&place, place.open(), &before, "draft");
    // A complete one gets the name; the old file and its log go aside, the log never stays beside it.
    for log_is_aside in [false, true] {
        fs::write(at("store.db"), b"no record").expect("write");
        fs::write(at("store.db.rebuilt-77"), &good).expect("write");
        fs::write(at(if log_is_aside { "store.db.damaged-77-wal" } else { "store.db-wal" }), b"log").expect("write");
        let store = place.open();
        assert_eq!(told(&store), before);
        store.close().expect("close");
        assert_eq!(fs::read(at("store.db.damaged-77")).expect("kept"), b"no record");
        assert_eq!(fs::read(at("store.db.damaged-77-wal")).expect("kept"), b"log");
        for name in ["store.db.damaged-77", "store.db.damaged-77-wal"] {
            fs::remove_file(at(name)).expect("remove");
        }
    }
}

#[test]
fn a_newer_record_is_read_and_not_written() {
    let (place, before) = Place::filled();
    let mut bytes = fs::read(place.path()).expect("read");
    bytes[63] = 99;
    fs::write(place.path(), &bytes).expect("write");
    let mut store = place.open();
    assert!(store.is_newer());
    assert_eq!(told(&store), before);
    assert!(!store.list(&Filter { limit: 9, ..Filter::default() }).expect("list").is_empty());
    let append = Append { id: id(1), attempt: None, events: &[], at: stamp(1), journal_seq: None, world_after: None };
    let error = store.append(&append).expect_err("refused");
    assert_eq!((error.code(), store.ignores().expect("read").len()), (ErrorCode::StoreNewer, 1));
    drop(store);
    assert_eq!(fs::read(place.path()).expect("read"), bytes, "not a byte of it is touched");
    assert!(place.kept().is_empty());
}

#[test]
fn a_state_has_one_daemon() {
    let place = Place::new();
    let first = crate::compose::lock_state(place.dir.path()).expect("free");
    let second = crate::compose::lock_state(place.dir.path()).expect_err("held");
    assert!(second.to_string().contains("another backstepd"), "{second}");
    drop(first);
    assert!(crate::compose::lock_state(place.dir.path()).is_ok());
}

#[test]
fn times_are_told_as_dates() {
    let told = [0, 951_782_400, 1_700_000_000, 1_735_689_599, -1].map(|seconds| said_time(seconds * 1_000_000));
    assert_eq!(
        told,
        ["1970-01-01 00:00 UTC", "2000-02-29 00:00 UTC", "2023-11-14 22:13 UTC", "2024-12-31 23:59 UTC", "1969-12-31 23:59 UTC"]
    );
}

#[test]
fn everybody_is_told_of_a_rebuild_for_a_month_and_of_a_newer_record_always() {
    let (place, _) = Place::filled();
    assert!(warnings(&place.open(), stamp(0)).is_empty());
    fs::write(place.path(), b"no record").expect("write");
    let store = place.open();
    let told = warnings(&store, place.run.at);
    assert!(told.len() == 1 && told[0].contains("damaged") && told[0].contains("3 transactions recorded again"), "{told:?}");
    assert!(warnings(&store, stamp(31 * 86_400 * 1_000_000)).is_empty());
    store.close().expect("close");
    let mut bytes = fs::read(place.path()).expect("read");
    bytes[63] = 99;
    fs::write(place.path(), &bytes).expect("write");
    assert!(warnings(&place.open(), stamp(0))[0].contains("newer"));
}
