//! Tests of the manager over fakes: the ledger is a list of events, everything else is counted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use backstep_core::access::Permission;
use backstep_core::actor::{Actor, Origin};
use backstep_core::backoff::{Backoff, NewBackoff};
use backstep_core::ignore::{Ignore, IgnoreRecord, Said};
use backstep_core::record::{EventRecord, Filter, Record as Row, Summary};
use backstep_core::record_archive::{Moved, RecordArchive};
use backstep_core::redaction::{Mode, Redacted, Redaction};
use backstep_core::refusal::{RefusalFilter, RefusalRecord};
use backstep_core::sources::{OtherSources, Sources};
use backstep_core::{
    Archive, ArchiveSource, BootId, Digest, Direction, ErrorCode, Event, Failure, ItemAction, Kind, LocalArchive, Method, Options, Plan,
    PlanAction, PlanItem, Reason, Request, RequestItem, Stamp, Status, StepKind, StepState, TransactionId, TransactionState, UndoQuality,
};
use backstep_wire::foreign::{Foreign, Process};
use backstep_wire::journal::{Line, Record};

use super::{Adopted, CancelOutcome, Found, Launch, Manager, Noted, Verdict};
use crate::notice::Notice;
use crate::ports::{Adoption, Append, Clock, Entered, Identities, Ledger, Mirror, NewTransaction, Refused};

mod backoffs;
mod configure;
mod ignores;
mod interleavings;
mod redact;

#[derive(Clone)]
struct Stored {
    new: NewTransaction,
    plan: Option<(Vec<u8>, Digest)>,
    events: Vec<Event>,
    status: Status,
    journal: BTreeMap<u32, u64>,
    world: Option<Digest>,
    sequence: i64,
    error: Option<Failure>,
}

#[derive(Default)]
struct Inner {
    rows: BTreeMap<TransactionId, Stored>,
    queued: i64,
    refused: Vec<Refused>,
    ignores: Vec<IgnoreRecord>,
    backoffs: Vec<Backoff>,
    configurations: Vec<Said<String>>,
}

#[derive(Clone, Default)]
struct FakeLedger(Arc<Mutex<Inner>>);

impl FakeLedger {
    fn with<R>(&self, look: impl FnOnce(&mut Inner) -> R) -> R {
        look(&mut self.0.lock().expect("no test panics under the lock"))
    }

    fn row(&self, id: TransactionId) -> Result<Stored, Failure> {
        self.with(|inner| inner.rows.get(&id).cloned()).ok_or_else(|| Failure::new(ErrorCode::TransactionUnknown, "unknown"))
    }

    fn events(&self, id: TransactionId) -> Vec<&'static str> {
        self.row(id).expect("known").events.iter().map(Event::name).collect()
    }
}

fn summary(row: &Stored, all: &BTreeMap<TransactionId, Stored>) -> Summary {
    let reverted_by = all
        .values()
        .find(|other| other.new.reverts == Some(row.new.id) && other.status.state == TransactionState::Completed)
        .map(|other| other.new.id);
    Summary {
        id: row.new.id,
        kind: row.new.kind,
        status: row.status,
        description: row.new.description.clone(),
        tags: row.new.tags.clone(),
        actor: row.new.actor.clone(),
        sequence: row.sequence,
        priority: row.new.priority,
        reverts: row.new.reverts,
        retries: row.new.retries,
        reverted_by,
        created: row.new.at,
        queued: None,
        started: None,
        finished: None,
        duration_us: None,
        plan_summary: String::new(),
        items_done: 0,
        items_total: 0,
        error: row.error.clone(),
    }
}

impl Ledger for FakeLedger {
    fn enter(&mut self, new: &NewTransaction) -> Result<Entered, Failure> {
        self.with(|inner| match inner.rows.get(&new.id) {
            Some(row) if row.new.request_digest == new.request_digest => Ok(Entered::AlreadyThere),
            Some(_) => Err(Failure::new(ErrorCode::RequestDuplicate, "other request")),
            None => {
                let row = Stored {
                    new: new.clone(),
                    plan: None,
                    events: vec![Event::Created],
                    status: Status::CREATED,
                    journal: BTreeMap::new(),
                    world: None,
                    sequence: 0,
                    error: None,
                };
                inner.rows.insert(new.id, row);
                Ok(Entered::New)
            }
        })
    }

    fn freeze(&mut self, plan: &Plan, bytes: &[u8], digest: Digest, at: Stamp) -> Result<Status, Failure> {
        let events = vec![Event::Prepared { digest }];
        let status = self.append(&Append { id: plan.transaction, attempt: None, events, at, journal_seq: None, world_after: None })?;
        self.with(|inner| inner.rows.get_mut(&plan.transaction).map(|row| row.plan = Some((bytes.to_vec(), digest))));
        Ok(status)
    }

    fn adopt(&mut self, adoption: &Adoption) -> Result<Entered, Failure> {
        let entered = self.enter(&adoption.new)?;
        if entered == Entered::AlreadyThere {
            return Ok(entered);
        }
        self.freeze(&adoption.plan, &adoption.plan_bytes, adoption.plan_digest, adoption.new.at)?;
        let (events, at) = (adoption.events.iter().map(|(event, _)| event.clone()).collect(), adoption.new.at);
        let (journal_seq, world_after) = (Some(adoption.journal_seq), adoption.world_after);
        self.append(&Append { id: adoption.new.id, attempt: Some(1), events, at, journal_seq, world_after })?;
        Ok(entered)
    }

    fn append(&mut self, append: &Append) -> Result<Status, Failure> {
        let mut row = self.row(append.id)?;
        for event in &append.events {
            row.status = row.status.after(event).map_err(|error| Failure::new(ErrorCode::TransactionState, error.to_string()))?;
            if let Event::Queued { .. } = event {
                row.sequence = self.with(|inner| {
                    inner.queued += 1;
                    inner.queued
                });
            }
            if let Event::Failed { code, text } | Event::UndoStarted { code, text } | Event::AttentionNeeded { code, text } = event {
                row.error = Some(Failure::new(*code, text.clone()));
            }
            if let Event::Interrupted { text } = event {
                row.error = Some(Failure::new(ErrorCode::WorkerLost, text.clone()));
            }
            row.events.push(event.clone());
        }
        if let (Some(attempt), Some(seq)) = (append.attempt, append.journal_seq) {
            row.journal.insert(attempt, seq);
        }
        row.world = append.world_after.or(row.world);
        let status = row.status;
        self.with(|inner| inner.rows.insert(append.id, row));
        Ok(status)
    }

    fn record(&self, id: TransactionId) -> Result<Option<Row>, Failure> {
        let Ok(row) = self.row(id) else { return Ok(None) };
        let event = |(n, event): (usize, &Event)| EventRecord {
            seq: n as i64,
            at: row.new.at,
            attempt: None,
            event: event.clone(),
            hash: Digest([0; 32]),
        };
        Ok(Some(Row {
            summary: self.with(|inner| summary(&row, &inner.rows)),
            request_digest: row.new.request_digest,
            plan_digest: row.plan.as_ref().map(|plan| plan.1),
            sources: Default::default(),
            items: Vec::new(),
            steps: Vec::new(),
            events: row.events.iter().enumerate().map(event).collect(),
        }))
    }

    fn summary(&self, id: TransactionId) -> Result<Option<Summary>, Failure> {
        Ok(self.with(|inner| inner.rows.get(&id).map(|row| summary(row, &inner.rows))))
    }

    fn unfinished(&self) -> Result<Vec<Summary>, Failure> {
        Ok(self.with(|inner| inner.rows.values().filter(|row| !row.status.state.is_final()).map(|row| summary(row, &inner.rows)).collect()))
    }

    fn request_bytes(&self, id: TransactionId) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.row(id).ok().map(|row| row.new.request_bytes))
    }

    fn plan_bytes(&self, id: TransactionId) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.row(id).ok().and_then(|row| row.plan).map(|plan| plan.0))
    }

    fn journal_position(&self, id: TransactionId, attempt: u32) -> Result<u64, Failure> {
        Ok(self.row(id)?.journal.get(&attempt).copied().unwrap_or(0))
    }

    fn world_after(&self, id: TransactionId) -> Result<Option<Digest>, Failure> {
        Ok(self.row(id)?.world)
    }

    fn list(&self, _filter: &Filter) -> Result<Vec<Summary>, Failure> {
        Ok(self.with(|inner| inner.rows.values().map(|row| summary(row, &inner.rows)).collect()))
    }

    fn find(&self, text: &str) -> Result<Vec<TransactionId>, Failure> {
        Ok(self.with(|inner| inner.rows.keys().copied().filter(|id| id.to_string().ends_with(text)).collect()))
    }

    fn last_undoable(&self) -> Result<Option<TransactionId>, Failure> {
        let completed = |row: &&Stored| row.status.state == TransactionState::Completed;
        Ok(self.with(|inner| inner.rows.values().filter(completed).map(|row| row.new.id).max()))
    }

    fn changed_since(&self, id: TransactionId) -> Result<Vec<TransactionId>, Failure> {
        let changed = |row: &&Stored| row.status.state == TransactionState::Completed && row.new.id > id;
        Ok(self.with(|inner| inner.rows.values().rev().filter(changed).map(|row| row.new.id).collect()))
    }

    fn first_since(&self, _at_us: i64) -> Result<Option<TransactionId>, Failure> {
        Ok(self.with(|inner| inner.rows.keys().next().copied()))
    }

    fn last_failed(&self) -> Result<Option<TransactionId>, Failure> {
        Ok(None)
    }

    fn refuse(&mut self, refused: &Refused) -> Result<(), Failure> {
        self.with(|inner| inner.refused.push(refused.clone()));
        Ok(())
    }

    fn refusals(&self, _filter: &RefusalFilter) -> Result<Vec<RefusalRecord>, Failure> {
        Ok(Vec::new())
    }

    fn ignore(&mut self, said: &Said<Ignore>) -> Result<u64, Failure> {
        let Said { what, actor, at, .. } = said.clone();
        self.with(|inner| {
            let number = inner.ignores.len() as u64 + 1;
            inner.ignores.push(IgnoreRecord { number, ignore: what, uid: actor.uid, user: actor.user, added: at, removed: None });
            Ok(number)
        })
    }

    fn unignore(&mut self, said: &Said<u64>) -> Result<bool, Failure> {
        self.with(|inner| {
            let found = inner.ignores.iter_mut().find(|record| record.number == said.what && record.removed.is_none());
            Ok(found.map(|record| record.removed = Some(said.at)).is_some())
        })
    }

    fn ignores(&self) -> Result<Vec<IgnoreRecord>, Failure> {
        self.with(|inner| Ok(inner.ignores.iter().filter(|record| record.removed.is_none()).cloned().collect()))
    }

    fn all_ignores(&self, _limit: u32) -> Result<Vec<IgnoreRecord>, Failure> {
        self.with(|inner| Ok(inner.ignores.iter().rev().cloned().collect()))
    }

    fn back_off(&mut self, said: &Said<NewBackoff>) -> Result<u64, Failure> {
        let Said { what: NewBackoff { subject, process, until_us }, comment, actor, at } = said.clone();
        self.with(|inner| {
            let number = inner.backoffs.len() as u64 + 1;
            let (uid, user) = (actor.uid, actor.user);
            let (failures, cause, transaction, ended) = (0, None, None, None);
            let new = Backoff { number, subject, process, failures, cause, transaction, comment, uid, user, set: at, until_us, ended };
            inner.backoffs.push(new);
            Ok(number)
        })
    }

    fn clear_backoffs(&mut self, said: &Said<Vec<u64>>) -> Result<u32, Failure> {
        self.with(|inner| {
            let live = inner.backoffs.iter_mut().filter(|b| said.what.contains(&b.number) && b.ended.is_none());
            Ok(live.map(|b| b.ended = Some(said.at)).count() as u32)
        })
    }

    fn begin_backoffs_anew(&mut self, _numbers: &[u64], _actor: &Actor, _at: Stamp) -> Result<(), Failure> {
        Ok(())
    }

    fn backoffs(&self) -> Result<Vec<Backoff>, Failure> {
        self.with(|inner| Ok(inner.backoffs.iter().filter(|b| b.ended.is_none()).cloned().collect()))
    }

    fn all_backoffs(&self, _limit: u32) -> Result<Vec<Backoff>, Failure> {
        self.with(|inner| Ok(inner.backoffs.clone()))
    }

    fn redact(&mut self, said: &Said<Redaction>) -> Result<Redacted, Failure> {
        self.with(|inner| {
            let holds = |row: &&mut Stored| row.new.description.contains(said.what.text());
            let found: Vec<&mut Stored> = inner.rows.values_mut().filter(holds).collect();
            let transactions = found.iter().map(|row| row.new.id).collect();
            if said.what.mode == Mode::Do {
                found.into_iter().for_each(|row| row.new.description = row.new.description.replace(said.what.text(), "[redacted 1]"));
            }
            Ok(Redacted { number: 1, places: Vec::new(), transactions })
        })
    }
    fn move_to(&mut self, _: &Said<RecordArchive>) -> Result<Moved, Failure> {
        Ok(Moved::Outdated)
    }
    fn shrink(&mut self) -> Result<(), Failure> {
        Ok(())
    }
    fn configure(&mut self, said: &Said<String>) -> Result<(), Failure> {
        self.with(|inner| inner.configurations.push(said.clone()));
        Ok(())
    }
    fn configuration(&self) -> Result<String, Failure> {
        self.with(|inner| Ok(inner.configurations.last().map(|said| said.what.clone()).unwrap_or_default()))
    }
}

#[derive(Clone, Default)]
struct FakeMirror {
    written: Arc<Mutex<Vec<(TransactionId, TransactionState)>>>,
    broken: Arc<Mutex<bool>>,
}

impl Mirror for FakeMirror {
    fn mirror(&mut self, record: &Row) -> Result<(), Failure> {
        if *self.broken.lock().expect("lock") {
            return Err(Failure::new(ErrorCode::DiskFull, "no space"));
        }
        self.written.lock().expect("lock").push((record.summary.id, record.summary.status.state));
        Ok(())
    }

    fn reconcile(&mut self, unfinished: &[TransactionId], ended: &[TransactionId]) -> Result<Vec<TransactionId>, Failure> {
        let last = |id: &TransactionId| self.written.lock().expect("lock").iter().rev().find(|row| row.0 == *id).map(|row| row.1);
        let behind = |id: &&TransactionId| last(id).is_none_or(|state| ended.contains(id) && !state.is_final());
        Ok(unfinished.iter().chain(ended).filter(behind).copied().collect())
    }
}

#[derive(Clone, Default)]
struct FakeClock(Arc<Mutex<i64>>);

impl FakeClock {
    fn advance(&self, us: i64) {
        *self.0.lock().expect("lock") += us;
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Stamp {
        let now = *self.0.lock().expect("lock");
        Stamp { utc_us: now, monotonic_us: now, boot: BootId([0; 16]) }
    }
}

struct FakeIds(u32);

impl Identities for FakeIds {
    fn next(&mut self) -> TransactionId {
        self.0 += 1;
        format!("01936b2e-7c1a-7d3e-9f10-{:012x}", self.0).parse().expect("an id")
    }
}

struct World {
    manager: Manager,
    ledger: FakeLedger,
    mirror: FakeMirror,
    clock: FakeClock,
}

fn manager_over(ledger: &FakeLedger, mirror: &FakeMirror, clock: &FakeClock) -> Manager {
    let first = u32::try_from(ledger.with(|inner| inner.rows.len())).expect("few");
    Manager::new(Box::new(ledger.clone()), Box::new(mirror.clone()), Box::new(clock.clone()), Box::new(FakeIds(first)))
}

impl World {
    fn new() -> Self {
        let (ledger, mirror, clock) = (FakeLedger::default(), FakeMirror::default(), FakeClock::default());
        Self { manager: manager_over(&ledger, &mirror, &clock), ledger, mirror, clock }
    }

    /// The daemon dies and starts again over the same record.
    fn restart(&mut self, found: Found) {
        self.manager = manager_over(&self.ledger, &self.mirror, &self.clock);
        self.manager.recover(&mut |_| Ok(found.clone())).expect("recover");
    }

    fn state(&self, id: TransactionId) -> TransactionState {
        self.ledger.row(id).expect("known").status.state
    }

    fn create(&mut self) -> TransactionId {
        self.manager.create(&request(), actor(0), None).expect("create").id
    }

    fn prepared(&mut self) -> (TransactionId, Digest) {
        let id = self.create();
        self.plan(id, |_| {});
        (id, self.ledger.row(id).expect("known").plan.expect("planned").1)
    }

    fn plan(&mut self, id: TransactionId, change: impl FnOnce(&mut Plan)) {
        let question = self.manager.question(id).expect("question");
        let mut plan = plan_for(id, question.request_digest, &question.request);
        change(&mut plan);
        self.manager.planned(id, Ok(plan)).expect("planned");
    }

    fn queued(&mut self) -> TransactionId {
        let (id, digest) = self.prepared();
        let ask = self.manager.ask(id, digest).expect("ask");
        self.manager.authorised(&ask).expect("authorised");
        id
    }

    fn launched(&mut self) -> (TransactionId, Launch) {
        let id = self.queued();
        (id, self.manager.next_launch().expect("next").expect("a launch"))
    }
}

fn actor(uid: u32) -> Actor {
    Actor {
        uid,
        user: format!("user{uid}"),
        loginuid: None,
        pid: None,
        sender: ":1.1".into(),
        unit: String::new(),
        origin: Origin::Cli,
        client: String::new(),
    }
}

fn request() -> Request {
    Request {
        kind: Kind::Install,
        description: String::new(),
        tags: Default::default(),
        items: vec![RequestItem { action: ItemAction::Install, name: "hello".parse().expect("name"), arch: None, version: None }],
        archives: Vec::new(),
        reverts: None,
        retries: None,
        options: Options::default(),
    }
}

fn plan_for(id: TransactionId, request_digest: Digest, request: &Request) -> Plan {
    Plan {
        transaction: id,
        kind: request.kind,
        request: request_digest,
        world: Digest([1; 32]),
        method: request.reverts.map_or(Method::Packages, Method::Restore),
        options: request.options.clone(),
        items: vec![PlanItem {
            package: "hello:amd64".parse().expect("id"),
            action: PlanAction::Remove,
            reason: Reason::Requested,
            from: Some("1".parse().expect("version")),
            to: None,
            archive: None,
            installed_delta: 0,
            auto_before: false,
            auto_after: false,
            essential: false,
            leftovers: false,
            undo: UndoQuality::Exact,
        }],
        marks: Vec::new(),
        restores: Vec::new(),
        download_bytes: 0,
        warnings: Vec::new(),
    }
}

fn lines(records: Vec<Record>) -> Vec<Line> {
    records.into_iter().enumerate().map(|(n, record)| Line { seq: n as u64 + 1, utc_us: 0, record }).collect()
}

fn started(step: StepKind, direction: Direction) -> Record {
    Record::StepStarted { step, direction, log_offset: 0 }
}

fn ended(step: StepKind, state: StepState) -> Record {
    Record::StepEnded { step, state, code: None, text: String::new() }
}

#[test]
fn the_same_id_and_request_is_the_same_transaction_and_another_request_is_refused() {
    let mut world = World::new();
    let id = world.create();
    let again = world.manager.create(&request(), actor(0), Some(id)).expect("again");
    assert_eq!((again.id, again.existed), (id, true));
    let other = Request { description: "other".into(), ..request() };
    assert_eq!(world.manager.create(&other, actor(0), Some(id)).expect_err("refused").code, ErrorCode::RequestDuplicate);
}

#[test]
fn only_the_digest_of_the_frozen_plan_can_be_executed() {
    let mut world = World::new();
    let (id, digest) = world.prepared();
    assert_eq!(world.manager.ask(id, Digest([9; 32])).expect_err("refused").code, ErrorCode::PlanMismatch);
    let ask = world.manager.ask(id, digest).expect("ask");
    world.manager.authorised(&ask).expect("authorised");
    assert_eq!(world.manager.authorised(&ask).expect_err("twice").code, ErrorCode::TransactionState);
    let launch = world.manager.next_launch().expect("next").expect("launch");
    assert_eq!(backstep_wire::digest(&launch.plan_bytes), digest);
    assert_eq!(launch.order.plan, digest);
}

/// A request with one local archive, and a plan in which its digest has this source.
fn with_archive(source: ArchiveSource, digest: Digest) -> (World, TransactionId) {
    let mut world = World::new();
    let local = LocalArchive { sha256: Digest([7; 32]), size: 9 };
    let request = Request { items: Vec::new(), archives: vec![local], ..request() };
    let id = world.manager.create(&request, actor(1000), None).expect("created").id;
    let archive = Archive { source, origin: String::new(), file_name: "hello_1_amd64.deb".into(), size: 9, sha256: digest, trusted: true };
    world.plan(id, |plan| {
        plan.items[0].action = PlanAction::Install;
        (plan.items[0].from, plan.items[0].to) = (None, plan.items[0].from.take());
        plan.items[0].archive = Some(archive);
    });
    (world, id)
}

#[test]
fn what_comes_from_a_repository_that_is_not_known_is_said_or_refused_before_anything_is_asked() {
    for (others, state) in [(OtherSources::Warn, TransactionState::Prepared), (OtherSources::Refuse, TransactionState::Failed)] {
        let mut world = World::new();
        let known = Some(vec!["Debian/*".parse().expect("pattern")]);
        world.manager = manager_over(&world.ledger, &world.mirror, &world.clock).with_sources(Sources { known, others });
        let id = world.create();
        world.plan(id, |plan| {
            plan.items[0].action = PlanAction::Install;
            let (origin, file_name) = ("Mine/prod".into(), "hello_1_amd64.deb".into());
            let source = ArchiveSource::Repository;
            plan.items[0].archive = Some(Archive { source, origin, file_name, size: 9, sha256: Digest([7; 32]), trusted: true });
        });
        assert_eq!(world.state(id), state);
        let row = world.ledger.row(id).expect("known");
        let said = match row.plan {
            Some((bytes, _)) => backstep_wire::plan::from_bytes(&bytes).expect("a plan").warnings.join(""),
            None => row.error.expect("a failure").text,
        };
        assert_eq!(said, "no source of this machine: hello from Mine/prod");
    }
}

#[test]
fn a_local_archive_needs_its_own_permission_and_is_named_by_its_digest() {
    let (world, id) = with_archive(ArchiveSource::Local, Digest([7; 32]));
    let digest = world.ledger.row(id).expect("known").plan.expect("planned").1;
    let ask = world.manager.ask(id, digest).expect("ask");
    assert!(ask.permissions.contains(&Permission::InstallLocal));
    assert_eq!(ask.local, format!("hello:amd64 (SHA-256 {})", Digest([7; 32])));
    // The planner, which has read it, says that nothing of it is in the plan.
    let (world, id) = with_archive(ArchiveSource::Repository, Digest([8; 32]));
    let digest = world.ledger.row(id).expect("known").plan.expect("planned").1;
    let ask = world.manager.ask(id, digest).expect("ask");
    assert_eq!(ask.permissions, [Permission::Install, Permission::InstallLocal]);
    assert_eq!(ask.local, format!("SHA-256 {}", Digest([7; 32])));
}

#[test]
fn a_plan_that_calls_a_local_archive_a_repository_s_is_refused() {
    let pairs =
        [(ArchiveSource::Repository, Digest([7; 32])), (ArchiveSource::Kept, Digest([7; 32])), (ArchiveSource::Local, Digest([8; 32]))];
    for (source, digest) in pairs {
        let (world, id) = with_archive(source, digest);
        assert!(world.ledger.row(id).expect("known").plan.is_none(), "{source:?}");
        assert_eq!(world.state(id), TransactionState::Failed);
    }
}

#[test]
fn an_answer_to_another_question_is_refused() {
    for change in [
        (|plan: &mut Plan| plan.kind = Kind::Upgrade) as fn(&mut Plan),
        |plan| plan.request = Digest([7; 32]),
        |plan| plan.options.allow_downgrade = true,
        |plan| plan.items[0].action = PlanAction::Install,
    ] {
        let mut world = World::new();
        let id = world.create();
        world.plan(id, change);
        assert_eq!(world.state(id), TransactionState::Failed);
        assert_eq!(world.ledger.row(id).expect("known").error.expect("error").code, ErrorCode::PlanFailed);
    }
}

#[test]
fn what_cannot_be_undone_needs_the_flag() {
    let mut world = World::new();
    let id = world.create();
    world.plan(id, |plan| plan.items[0].undo = UndoQuality::Impossible("its data goes".into()));
    let digest = world.ledger.row(id).expect("known").plan.expect("plan").1;
    let refused = world.manager.ask(id, digest).expect_err("refused");
    assert_eq!(refused.code, ErrorCode::PlanIrreversible);
    assert!(refused.text.contains("hello"), "{refused}");
}

#[test]
fn a_denial_is_recorded_and_leaves_the_offer_open() {
    let mut world = World::new();
    let (id, digest) = world.prepared();
    let ask = world.manager.ask(id, digest).expect("ask");
    world.manager.denied(&ask, ask.permissions[0], "dismissed").expect("denied");
    assert_eq!(world.state(id), TransactionState::Prepared);
    assert_eq!(world.ledger.events(id), ["created", "prepared", "denied"]);
}

#[test]
fn one_at_a_time_in_order_and_the_second_knows_for_whom_it_waits() {
    let mut world = World::new();
    let (first, launch) = world.launched();
    let second = world.queued();
    assert_eq!(world.manager.next_launch().expect("next"), None);
    let view = world.manager.view(second).expect("view").expect("there");
    assert_eq!(view.queue_position, 1);
    assert!(view.waits_for.contains(&first.to_string()) && view.waits_for.contains("user0"), "{}", view.waits_for);
    let ended = world.manager.follow(launch.order.attempt, &lines(vec![Record::Committed { world: Digest([3; 32]) }])).expect("follow");
    assert!(ended);
    assert_eq!(world.manager.next_launch().expect("next").expect("launch").order.attempt.transaction, second);
}

#[test]
fn journal_lines_count_once_however_often_they_are_read() {
    let mut world = World::new();
    let (id, launch) = world.launched();
    let journal = lines(vec![
        started(StepKind::Fetch, Direction::Forward),
        ended(StepKind::Fetch, StepState::Completed),
        Record::Committed { world: Digest([3; 32]) },
    ]);
    world.manager.follow(launch.order.attempt, &journal[..2]).expect("follow");
    world.restart(Found { alive: true, prepared: true, lines: journal });
    assert_eq!(world.ledger.events(id), ["created", "prepared", "queued", "started", "step-started", "step-ended", "completed"]);
    assert_eq!(world.ledger.row(id).expect("known").world, Some(Digest([3; 32])));
}

#[test]
fn a_failure_undoes_and_its_differences_decide_how_it_ends() {
    for (differences, expected) in
        [(Vec::new(), TransactionState::RolledBack), (vec!["/etc/x".to_owned()], TransactionState::PartiallyRolledBack)]
    {
        let mut world = World::new();
        let (id, launch) = world.launched();
        let journal = lines(vec![
            started(StepKind::Apply, Direction::Forward),
            ended(StepKind::Apply, StepState::Failed),
            Record::UndoStarted { code: ErrorCode::ScriptFailed, text: "postinst".into() },
            started(StepKind::Apply, Direction::Undo),
            ended(StepKind::Apply, StepState::Undone),
            Record::Aborted { differences: differences.clone() },
        ]);
        assert!(world.manager.follow(launch.order.attempt, &journal).expect("follow"));
        assert_eq!(world.state(id), expected);
        assert_eq!(world.manager.view(id).expect("view").expect("there").differences, differences);
        let finished = Notice::Finished { id, state: expected, code: Some(ErrorCode::ScriptFailed) };
        assert!(world.manager.take_notices().contains(&finished));
    }
}

#[test]
fn cancel_is_immediate_before_and_an_undo_during_and_too_late_after() {
    let mut world = World::new();
    let waiting = world.queued();
    assert_eq!(world.manager.cancel(waiting, 0).expect("cancel"), CancelOutcome::Cancelled);
    let (id, launch) = world.launched();
    assert_eq!(world.manager.cancel(id, 0).expect("cancel"), CancelOutcome::WillRollBack(launch.order.attempt));
    assert_eq!(world.state(id), TransactionState::Cancelling);
    let undone =
        lines(vec![Record::UndoStarted { code: ErrorCode::Cancelled, text: String::new() }, Record::Aborted { differences: Vec::new() }]);
    world.manager.follow(launch.order.attempt, &undone).expect("follow");
    assert_eq!(world.state(id), TransactionState::Cancelled);
    let (committing, launch) = world.launched();
    world.manager.follow(launch.order.attempt, &lines(vec![started(StepKind::Commit, Direction::Forward)])).expect("follow");
    assert_eq!(world.manager.cancel(committing, 0).expect("cancel"), CancelOutcome::TooLate);
    assert!(world.manager.view(committing).expect("view").expect("there").point_of_no_return);
}

#[test]
fn a_lost_worker_is_undone_by_another_and_three_are_enough() {
    let mut world = World::new();
    let (id, launch) = world.launched();
    let captured = lines(vec![Record::Captured { paths: 1, bytes: 1 }]);
    world.manager.follow(launch.order.attempt, &captured).expect("follow");
    world.manager.worker_gone(launch.order.attempt).expect("gone");
    for number in 2..=3 {
        let again = world.manager.next_launch().expect("next").expect("launch");
        assert_eq!((again.order.attempt.number, again.order.direction), (number, Direction::Undo));
        assert_eq!(again.order.restore.map(|attempt| attempt.number), Some(1));
        world.manager.worker_gone(again.order.attempt).expect("gone");
    }
    assert_eq!(world.state(id), TransactionState::NeedsAttention);
    assert_eq!(world.manager.next_launch().expect("next"), None);
}

#[test]
fn nothing_starts_beside_a_living_worker_after_a_restart() {
    let mut world = World::new();
    let (id, launch) = world.launched();
    world.restart(Found { alive: true, prepared: true, lines: Vec::new() });
    assert_eq!(world.manager.running(), Some(launch.order.attempt));
    assert_eq!(world.manager.next_launch().expect("next"), None);
    assert_eq!(world.state(id), TransactionState::Executing);
    world.restart(Found { prepared: true, lines: lines(vec![Record::Captured { paths: 1, bytes: 1 }]), ..Found::default() });
    assert_eq!(world.manager.next_launch().expect("next").expect("launch").order.direction, Direction::Undo);
}

#[test]
fn after_a_restart_it_is_known_where_the_worker_is() {
    let mut world = World::new();
    let (id, launch) = world.launched();
    let journal = lines(vec![
        started(StepKind::Secure, Direction::Forward),
        ended(StepKind::Secure, StepState::Completed),
        started(StepKind::Apply, Direction::Forward),
    ]);
    world.manager.follow(launch.order.attempt, &journal).expect("follow");
    let before = world.manager.view(id).expect("view").expect("there").progress;
    world.restart(Found { alive: true, prepared: true, lines: journal });
    assert_eq!(world.manager.running_step(), Some((StepKind::Apply, Direction::Forward)));
    let after = world.manager.view(id).expect("view").expect("there").progress;
    assert_eq!((after.permille, after.what), (before.permille, before.what));
}

#[test]
fn the_queue_is_closed_while_a_person_is_waited_for_and_opens_with_the_verdict() {
    let mut world = World::new();
    let (id, launch) = world.launched();
    let queued = world.queued();
    let stuck = lines(vec![Record::Stuck { code: ErrorCode::ScriptFailed, text: "left as it is".into() }]);
    world.manager.follow(launch.order.attempt, &stuck).expect("follow");
    assert_eq!(world.manager.next_launch().expect("next"), None);
    let view = world.manager.view(queued).expect("view").expect("there");
    assert!(view.waits_for.contains(&id.to_string()) && view.waits_for.ends_with("needs a decision"), "{}", view.waits_for);
    let (other, digest) = world.prepared();
    let closed = world.manager.ask(other, digest).expect_err("closed");
    assert!(closed.code == ErrorCode::QueueClosed && closed.text.contains("needs-attention"), "{closed}");
    let failed = world.manager.last_failed().expect_err("not decided");
    assert!(failed.code == ErrorCode::TransactionState && failed.text.contains(&id.to_string()), "{failed}");
    assert_eq!(world.manager.decide(other, Verdict::Accept).expect_err("not stuck").code, ErrorCode::TransactionState);
    world.manager.decide(id, Verdict::Undo).expect("undo");
    assert_eq!(world.manager.next_launch().expect("next").expect("launch").order.direction, Direction::Undo);
}

#[test]
fn a_worker_that_cannot_be_started_has_changed_nothing() {
    let mut world = World::new();
    let (id, launch) = world.launched();
    world.manager.launch_failed(launch.order.attempt, "no such unit").expect("recorded");
    assert_eq!(world.state(id), TransactionState::RolledBack);
    assert_eq!(world.manager.running(), None);
}

#[test]
fn an_empty_plan_completes_without_a_worker() {
    let mut world = World::new();
    let id = world.create();
    world.plan(id, |plan| plan.items.clear());
    let digest = world.ledger.row(id).expect("known").plan.expect("plan").1;
    let ask = world.manager.ask(id, digest).expect("ask");
    world.manager.authorised(&ask).expect("authorised");
    assert_eq!(world.manager.next_launch().expect("next"), None);
    assert_eq!(world.state(id), TransactionState::Completed);
}

#[test]
fn offers_end_after_their_time_and_work_does_not() {
    let mut world = World::new();
    let (offer, _) = world.prepared();
    let queued = world.queued();
    world.clock.advance(super::OFFER_US + 1);
    assert_eq!(world.manager.expire().expect("expire"), 1);
    assert_eq!((world.state(offer), world.state(queued)), (TransactionState::Expired, TransactionState::Queued));
}

#[test]
fn one_user_cannot_fill_the_queue() {
    let mut world = World::new();
    for _ in 0..backstep_core::limits::Limits::default().open_per_user {
        world.create();
    }
    assert_eq!(world.manager.create(&request(), actor(0), None).expect_err("full").code, ErrorCode::QueueFull);
    assert!(world.manager.create(&request(), actor(1000), None).is_ok());
}

#[test]
fn only_what_changed_something_and_was_not_undone_can_be_rolled_back() {
    let mut world = World::new();
    let (id, launch) = world.launched();
    let rollback = |target| Request { kind: Kind::Rollback, items: Vec::new(), reverts: Some(target), ..request() };
    assert_eq!(world.manager.create(&rollback(id), actor(0), None).expect_err("runs").code, ErrorCode::TransactionState);
    world.manager.follow(launch.order.attempt, &lines(vec![Record::Committed { world: Digest([3; 32]) }])).expect("follow");
    let undo = world.manager.create(&rollback(id), actor(0), None).expect("create").id;
    let question = world.manager.question(undo).expect("question");
    assert_eq!(question.revert.expect("revert").world_after, Some(Digest([3; 32])));
    world.plan(undo, |_| {});
    let digest = world.ledger.row(undo).expect("known").plan.expect("plan").1;
    let ask = world.manager.ask(undo, digest).expect("ask");
    world.manager.authorised(&ask).expect("authorised");
    let launch = world.manager.next_launch().expect("next").expect("launch");
    assert_eq!(launch.order.restore.map(|attempt| attempt.transaction), Some(id));
    world.manager.follow(launch.order.attempt, &lines(vec![Record::Committed { world: Digest([4; 32]) }])).expect("follow");
    assert_eq!(world.manager.create(&rollback(id), actor(0), None).expect_err("done").code, ErrorCode::UndoNothing);
    let again = world.manager.create(&rollback(id), actor(0), Some(undo)).expect("a client that asks again after a crash");
    assert!(again.existed);
    let told = world.mirror.written.lock().expect("lock").clone();
    let [.., target, last] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((target.0, last.0), (id, undo), "what is undone says by whom, before it is said who undid it");
    let redo = world.manager.create(&rollback(undo), actor(0), None);
    assert!(redo.is_ok(), "a rollback can be rolled back");
}

#[test]
fn a_rollback_of_several_restores_exactly_those_that_came_later() {
    let mut world = World::new();
    let mut done = || {
        let (id, launch) = world.launched();
        world.manager.follow(launch.order.attempt, &lines(vec![Record::Committed { world: Digest([3; 32]) }])).expect("follow");
        id
    };
    let [first, second, third] = [done(), done(), done()];
    let mut asked = Request { kind: Kind::Rollback, items: Vec::new(), reverts: Some(first), ..request() };
    asked.options.undo_later = true;
    let mut planned = |restores: Vec<TransactionId>| {
        let id = world.manager.create(&asked, actor(0), None).expect("create").id;
        let question = world.manager.question(id).expect("question");
        let later: Vec<TransactionId> = question.later.iter().map(|revert| revert.plan.transaction).collect();
        assert_eq!((later, question.revert.map(|revert| revert.plan.transaction)), (vec![third, second], Some(first)));
        world.plan(id, |plan| plan.restores = restores);
        (id, world.ledger.row(id).expect("known"))
    };
    for other in [vec![], vec![second, third], vec![third, second, first]] {
        assert_eq!(planned(other).1.error.expect("refused").code, ErrorCode::PlanFailed);
    }
    let (id, row) = planned(vec![third, second]);
    let ask = world.manager.ask(id, row.plan.expect("plan").1).expect("ask");
    world.manager.authorised(&ask).expect("authorised");
    let order = world.manager.next_launch().expect("next").expect("launch").order;
    let transactions: Vec<TransactionId> = order.later.iter().chain(&order.restore).map(|attempt| attempt.transaction).collect();
    assert_eq!(transactions, [third, second, first]);
}

#[test]
fn a_mirror_that_lags_fails_nothing_and_catches_up() {
    let mut world = World::new();
    *world.mirror.broken.lock().expect("lock") = true;
    let (first, _) = world.prepared();
    assert!(world.manager.lagging().contains_key(&first));
    *world.mirror.broken.lock().expect("lock") = false;
    let (second, _) = world.prepared();
    assert!(world.manager.lagging().is_empty());
    let written = world.mirror.written.lock().expect("lock").clone();
    assert!(written.contains(&(first, TransactionState::Prepared)) && written.contains(&(second, TransactionState::Prepared)));
}

#[test]
fn what_a_crash_kept_from_the_mirror_is_written_at_the_next_start() {
    let mut world = World::new();
    let (id, launch) = world.launched();
    *world.mirror.broken.lock().expect("lock") = true;
    world.manager.follow(launch.order.attempt, &lines(vec![Record::Committed { world: Digest([3; 32]) }])).expect("follow");
    *world.mirror.broken.lock().expect("lock") = false;
    let before = world.mirror.written.lock().expect("lock").clone();
    world.restart(Found::default());
    world.manager.mirror_again().expect("mirror");
    let after = world.mirror.written.lock().expect("lock").clone();
    assert_eq!(after[before.len()..], [(id, TransactionState::Completed)]);
    world.manager.mirror_again().expect("again");
    assert_eq!(*world.mirror.written.lock().expect("lock"), after, "a start in peace writes nothing");
}

#[test]
fn a_retry_is_a_new_transaction_with_the_same_request() {
    let mut world = World::new();
    let id = world.create();
    assert_eq!(world.manager.request_for_retry(id).expect_err("still open").code, ErrorCode::TransactionState);
    world.manager.fail(id, ErrorCode::FetchFailed, "no network").expect("fail");
    let request = world.manager.request_for_retry(id).expect("retry");
    let again = world.manager.create(&request, actor(0), None).expect("create").id;
    assert_eq!(world.ledger.row(again).expect("known").new.retries, Some(id));
    assert_eq!(world.state(id), TransactionState::Failed);
}

#[test]
fn a_worker_that_never_wrote_a_line_has_changed_nothing() {
    let mut world = World::new();
    let (id, launch) = world.launched();
    world.manager.worker_gone(launch.order.attempt).expect("gone");
    assert_eq!(world.state(id), TransactionState::RolledBack);
    let (crashed, _) = world.launched();
    world.restart(Found::default());
    assert_eq!((world.state(crashed), world.manager.next_launch().expect("next")), (TransactionState::RolledBack, None));
}

#[test]
fn an_undo_that_was_recorded_and_not_launched_costs_no_attempt() {
    let mut world = World::new();
    let (id, launch) = world.launched();
    world.manager.follow(launch.order.attempt, &lines(vec![Record::Captured { paths: 1, bytes: 1 }])).expect("follow");
    world.manager.worker_gone(launch.order.attempt).expect("gone");
    for _ in 0..5 {
        world.restart(Found::default());
    }
    let again = world.manager.next_launch().expect("next").expect("launch");
    assert_eq!((again.order.attempt.transaction, again.order.attempt.number), (id, 2));
}

#[test]
fn what_cannot_be_read_waits_for_a_person_and_the_rest_is_served() {
    let mut world = World::new();
    let (id, _) = world.launched();
    world.manager = manager_over(&world.ledger, &world.mirror, &world.clock);
    world.manager.recover(&mut |_| Err(Failure::new(ErrorCode::StoreFailed, "the journal is torn"))).expect("recover");
    assert_eq!(world.state(id), TransactionState::NeedsAttention);
}

#[test]
fn an_old_plan_cannot_be_executed() {
    let mut world = World::new();
    let (id, digest) = world.prepared();
    world.clock.advance(super::OFFER_US + 1);
    assert_eq!(world.manager.ask(id, digest).expect_err("too old").code, ErrorCode::Expired);
}

fn refusal(uid: u32) -> backstep_core::refusal::Refusal {
    let failure = Failure::new(ErrorCode::AuthDenied, "no");
    backstep_core::refusal::Refusal::new(backstep_core::doors::Method::Execute, actor(uid), "", None, &failure)
}

#[test]
fn a_flood_of_refusals_is_a_few_rows_and_a_number() {
    let mut world = World::new();
    for _ in 0..500 {
        world.manager.refuse(refusal(1000)).expect("refuse");
        world.clock.advance(1_000);
    }
    assert_eq!(world.manager.refuse(refusal(1001)).expect("refuse"), Noted::Written);
    let counts = |world: &World| world.ledger.with(|inner| inner.refused.iter().map(|row| row.count).collect::<Vec<_>>());
    assert_eq!(counts(&world), [1; 11]);
    let due = world.manager.refusals_due_in_us().expect("something is held back");
    world.clock.advance(i64::try_from(due).expect("soon"));
    world.manager.settle_refusals(false).expect("settle");
    assert_eq!((counts(&world).last(), world.manager.refusals_due_in_us()), (Some(&490), None));
    let row = world.ledger.with(|inner| inner.refused.last().cloned()).expect("row");
    assert_eq!((row.at.utc_us, row.until.utc_us), (10_000, 499_000));
}

#[test]
fn denials_of_one_transaction_do_not_grow_its_record_without_end() {
    let mut world = World::new();
    let (id, digest) = world.prepared();
    let ask = world.manager.ask(id, digest).expect("ask");
    for _ in 0..200 {
        world.manager.denied(&ask, ask.permissions[0], "no").expect("denied");
    }
    let denials = world.ledger.events(id).iter().filter(|event| **event == "denied").count();
    assert_eq!(denials, backstep_core::limits::MAX_DENIALS);
}

/// A run of apt with an upgrade of hello, and its plan's bytes.
fn foreign() -> (Foreign, Vec<u8>) {
    let id = "01936b2e-7c1a-7d3e-9f10-00000000f0f0".parse().expect("id");
    let request = request();
    let digest = backstep_wire::digest(&backstep_wire::request::to_bytes(&request));
    let plan = plan_for(id, digest, &request);
    let bytes = backstep_wire::plan::to_bytes(&plan);
    let begun = Stamp { utc_us: 1_000, monotonic_us: 500, boot: BootId([3; 16]) };
    let actor = Actor { origin: Origin::Apt, ..actor(1000) };
    let process = Process { pid: 7, started: 9 };
    (Foreign { request, actor, begun, process, plan, words: BTreeMap::new(), mark: String::new(), terminal: 0 }, bytes)
}

fn journal(records: Vec<Record>) -> Vec<Line> {
    records.into_iter().zip(1..).map(|(record, seq)| Line { seq, utc_us: 1_000 + seq as i64, record }).collect()
}

fn apply_started() -> Record {
    Record::StepStarted { step: StepKind::Apply, direction: Direction::Forward, log_offset: 0 }
}

fn commit(state: StepState) -> Record {
    Record::StepEnded { step: StepKind::Commit, state, code: None, text: String::new() }
}

const SECURED: Record = Record::Captured { paths: 1, bytes: 2 };
const WORLD: Digest = Digest([6; 32]);

fn adopted(world: &mut World, records: Vec<Record>) -> (TransactionId, Adopted) {
    let (run, plan) = foreign();
    let adopted = world.manager.adopt(&run, plan, &journal(records)).expect("adopt");
    (run.id(), adopted)
}

#[test]
fn a_run_of_apt_is_a_transaction_once_it_has_ended() {
    let mut world = World::new();
    let going_on = vec![SECURED, apply_started()];
    let ended = [going_on.clone(), vec![commit(StepState::Completed), Record::Committed { world: WORLD }]].concat();
    assert_eq!(adopted(&mut world, going_on).1, Adopted::NotEnded);
    assert!(world.ledger.with(|inner| inner.rows.is_empty()), "what goes on is not on record");
    let (id, first) = adopted(&mut world, ended.clone());
    assert_eq!((first, world.state(id)), (Adopted::New, TransactionState::Completed));
    let events = world.ledger.events(id);
    assert_eq!(events, ["created", "prepared", "queued", "started", "noted", "step-started", "step-ended", "completed"]);
    let row = world.ledger.row(id).expect("known");
    assert_eq!((row.world, row.new.actor.origin, row.journal[&1]), (Some(WORLD), Origin::Apt, 4));
    assert_eq!(adopted(&mut world, ended).1, Adopted::Known);
    assert_eq!(world.ledger.events(id).len(), events.len(), "it counts once");
    assert!(world.manager.next_launch().expect("next").is_none(), "nothing is executed");
    assert_eq!(world.mirror.written.lock().expect("lock").as_slice(), [(id, TransactionState::Completed)]);
    assert_eq!(world.manager.last_undoable(), Ok(id));
}

#[test]
fn a_failed_run_of_apt_stays_as_it_is_and_blocks_nobody() {
    let mut world = World::new();
    let left = Record::Left { world: WORLD, code: ErrorCode::DpkgFailed, text: "half".into() };
    let (id, _) = adopted(&mut world, vec![SECURED, apply_started(), commit(StepState::Completed), left]);
    assert_eq!(world.state(id), TransactionState::PartiallyRolledBack);
    let row = world.ledger.row(id).expect("known");
    assert_eq!((row.world, row.error), (Some(WORLD), Some(Failure::new(ErrorCode::DpkgFailed, "half"))));
    world.launched();
    let rollback = Request { kind: Kind::Rollback, items: Vec::new(), reverts: Some(id), ..request() };
    assert!(world.manager.create(&rollback, actor(0), None).is_ok(), "it can be undone");
}

#[test]
fn a_run_of_apt_that_changed_nothing_failed_before_it_began() {
    for (records, code) in [
        (vec![SECURED, apply_started()], ErrorCode::Cancelled),
        (vec![Record::UndoStarted { code: ErrorCode::DiskFull, text: "no space".into() }], ErrorCode::DiskFull),
    ] {
        let mut world = World::new();
        let (id, _) = adopted(&mut world, [records, vec![Record::Aborted { differences: Vec::new() }]].concat());
        assert_eq!(world.state(id), TransactionState::Failed);
        assert_eq!(world.ledger.row(id).expect("known").error.map(|error| error.code), Some(code));
        assert_eq!(world.ledger.events(id), ["created", "prepared", "queued", "failed"]);
    }
}

#[test]
fn files_can_only_be_put_back_with_undo_material_and_the_state_after() {
    let ended = |secured: bool, state| {
        let first = if secured { vec![SECURED] } else { Vec::new() };
        [first, vec![apply_started(), commit(state), Record::Committed { world: WORLD }]].concat()
    };
    for (records, kept) in [
        (ended(true, StepState::Completed), Some(WORLD)),
        (ended(false, StepState::Completed), None),
        (ended(true, StepState::Failed), None),
    ] {
        let mut world = World::new();
        let (id, _) = adopted(&mut world, records);
        assert_eq!((world.state(id), world.ledger.row(id).expect("known").world), (TransactionState::Completed, kept));
    }
}
