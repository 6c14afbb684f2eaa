//! Tests of the store as a whole, and what they share.

mod adopt;
pub(crate) mod archive;
pub(crate) mod ignores;
mod lifecycle;
mod migrations;
mod opening;
mod queries;
mod random;
mod redact;
mod refusals;
pub(crate) mod refusals_kept;
mod report;
mod vocabulary;
pub(crate) mod work;

use std::path::PathBuf;

use backstep_core::actor::{Actor, Origin};
use backstep_core::{
    BootId, Digest, Event, Kind, Method, Options, Plan, PlanAction, PlanItem, Reason, Scope, Stamp, Status, StepKind, StepState, Tag,
    TransactionId, UndoQuality,
};

use crate::chain::digest_of;
use crate::{Append, Created, NewTransaction, Run, Store, StoreError};

pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) path: PathBuf,
    pub(crate) now: i64,
    /// How much the next rollbacks undo.
    pub(crate) scope: Scope,
    /// What the next transactions are found by.
    pub(crate) tags: Vec<Tag>,
    _folder: tempfile::TempDir,
}

pub(crate) fn run(n: u8) -> Run {
    Run { id: format!("01936b2e-7c1a-7d3e-9f10-aaaaaaaaaa{n:02x}"), version: "0.1.0".into(), pid: 42, at: stamp(1) }
}

pub(crate) fn stamp(us: i64) -> Stamp {
    Stamp { utc_us: 1_700_000_000_000_000 + us, monotonic_us: us, boot: BootId([9; 16]) }
}

pub(crate) fn id(n: u32) -> TransactionId {
    format!("01936b2e-7c1a-7d3e-9f10-0000{n:08x}").parse().expect("id")
}

pub(crate) fn actor() -> Actor {
    Actor {
        uid: 1000,
        user: "ana".into(),
        loginuid: Some(1000),
        pid: Some(77),
        sender: ":1.5".into(),
        unit: "user@1000.service".into(),
        origin: Origin::Cli,
        client: "backstep 0.1.0".into(),
    }
}

pub(crate) fn item(package: &str, action: PlanAction, from: Option<&str>, to: Option<&str>) -> PlanItem {
    PlanItem {
        package: package.parse().expect("package"),
        action,
        reason: Reason::Requested,
        from: from.map(|version| version.parse().expect("version")),
        to: to.map(|version| version.parse().expect("version")),
        archive: None,
        installed_delta: 0,
        auto_before: false,
        auto_after: false,
        essential: false,
        leftovers: false,
        undo: UndoQuality::BestEffort("a database".into()),
    }
}

pub(crate) fn plan(id: TransactionId, items: Vec<PlanItem>) -> Plan {
    Plan {
        transaction: id,
        kind: Kind::Install,
        request: digest_of(&request(id)),
        world: Digest([2; 32]),
        method: Method::Packages,
        options: Options::default(),
        items,
        marks: Vec::new(),
        restores: Vec::new(),
        download_bytes: 0,
        warnings: Vec::new(),
    }
}

pub(crate) fn tag(text: &str) -> Tag {
    text.parse().expect("a tag")
}

/// What transactions of a fixture are found by.
pub(crate) fn tags() -> Vec<String> {
    vec!["env=test".to_owned(), "ticket:4711".to_owned()]
}

pub(crate) fn request(id: TransactionId) -> Vec<u8> {
    format!("request of {id}").into_bytes()
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("store.db");
        Self {
            store: Store::open(&path, &run(1)).expect("open"),
            path,
            now: 1,
            scope: Scope::One,
            tags: tags().iter().map(|text| tag(text)).collect(),
            _folder: folder,
        }
    }

    pub(crate) fn at(&mut self) -> Stamp {
        self.now += 1_000;
        stamp(self.now)
    }

    /// A second connection, as the sqlite3 tool makes one: no pragma of ours is set.
    pub(crate) fn raw(&self) -> rusqlite::Connection {
        let conn = rusqlite::Connection::open(&self.path).expect("open");
        conn.pragma_update(None, "foreign_keys", false).expect("pragma");
        conn
    }

    pub(crate) fn create(&mut self, n: u32, kind: Kind, reverts: Option<TransactionId>) -> Result<Created, StoreError> {
        let bytes = request(id(n));
        let (actor, at) = (actor(), self.at());
        let new = NewTransaction {
            id: id(n),
            kind,
            request_bytes: &bytes,
            request_digest: digest_of(&bytes),
            description: "why",
            tags: &self.tags,
            comment: "a comment",
            actor: &actor,
            at,
            priority: 0,
            reverts,
            scope: reverts.map(|_| self.scope),
            retries: None,
        };
        self.store.create(&new)
    }

    pub(crate) fn freeze(&mut self, n: u32, items: Vec<PlanItem>) -> Result<Status, StoreError> {
        let bytes = format!("plan of {n}").into_bytes();
        let at = self.at();
        self.store.freeze_plan(id(n), &plan(id(n), items), &bytes, digest_of(&bytes), at)
    }

    pub(crate) fn append(&mut self, n: u32, events: &[Event]) -> Result<Status, StoreError> {
        let attempt = self.store.summary(id(n)).expect("summary").map(|summary| summary.status.attempts).filter(|attempts| *attempts > 0);
        let at = self.at();
        let world_after = events.contains(&Event::Completed).then_some(Digest([8; 32]));
        self.store.append(&Append { id: id(n), attempt, events, at, journal_seq: None, world_after })
    }

    /// A transaction that has begun, with one item: hello goes from nothing to version 2.
    pub(crate) fn started(&mut self, n: u32, kind: Kind, reverts: Option<TransactionId>) {
        assert_eq!(self.create(n, kind, reverts).expect("create"), Created::New);
        self.freeze(n, vec![item("hello:amd64", PlanAction::Install, None, Some("2"))]).expect("freeze");
        let granted = Event::Queued { action: "org.backstep1.install".into() };
        self.append(n, &[granted, Event::Started { attempt: 1 }]).expect("start");
    }

    pub(crate) fn completed(&mut self, n: u32, kind: Kind, reverts: Option<TransactionId>) {
        self.started(n, kind, reverts);
        self.append(n, &[Event::Completed]).expect("complete");
    }

    pub(crate) fn count(&self, table: &str) -> i64 {
        self.store.conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect("count")
    }
}

pub(crate) fn rebuild() -> crate::Rebuild {
    crate::Rebuild {
        cause: crate::Cause::Damaged,
        found: "x".repeat(600),
        kept: "store.db.damaged-1".into(),
        base: String::new(),
        recorded: 3,
        continued: 2,
        stopped: 1,
        refused: 0,
        lost: "y".into(),
        at: stamp(9),
    }
}

pub(crate) fn ended(step: StepKind, state: StepState) -> Event {
    Event::StepEnded { step, state, code: None, text: "text".into() }
}

/// Takes the schema's guards away, so that what they refuse can be done to the record.
pub(crate) fn drop_triggers(raw: &rusqlite::Connection) {
    let mut statement = raw.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").expect("sql");
    let names: Vec<String> = statement.query_map([], |row| row.get(0)).expect("names").collect::<Result<_, _>>().expect("name");
    for name in names {
        raw.execute_batch(&format!("DROP TRIGGER {name}")).expect("drop");
    }
}
