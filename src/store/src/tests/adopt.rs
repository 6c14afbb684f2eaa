//! Changes that others made, taken in as a whole.

use backstep_core::actor::{Actor, Origin};
use backstep_core::{Digest, ErrorCode, Event, Kind, PlanAction, Stamp, TransactionState};

use super::{Fixture, actor, digest_of, drop_triggers, id, item, plan, request, stamp};
use crate::{Adoption, Created, NewTransaction, StoreError, VerifyError};

fn adopt(f: &mut Fixture, n: u32, events: &[(Event, Stamp)], world: Option<Digest>) -> Result<Created, StoreError> {
    let bytes = request(id(n));
    let by_apt = Actor { origin: Origin::Apt, ..actor() };
    let new = NewTransaction {
        id: id(n),
        kind: Kind::Install,
        request_bytes: &bytes,
        request_digest: digest_of(&bytes),
        description: "apt-get install hello",
        tags: &[],
        comment: "apt-get install hello",
        actor: &by_apt,
        at: stamp(10),
        priority: 0,
        reverts: None,
        scope: None,
        retries: None,
    };
    let plan = plan(id(n), vec![item("hello:amd64", PlanAction::Install, None, Some("2"))]);
    let (plan_bytes, plan_digest) = (b"plan".as_slice(), digest_of(b"plan"));
    f.store.adopt(&Adoption { new, plan: &plan, plan_bytes, plan_digest, events, journal_seq: 7, world_after: world })
}

fn history(last: &[Event]) -> Vec<(Event, Stamp)> {
    let first = [Event::Queued { action: "apt".into() }, Event::Started { attempt: 1 }];
    first.iter().chain(last).zip(20..).map(|(event, us)| (event.clone(), stamp(us))).collect()
}

#[test]
fn a_change_made_by_others_enters_as_a_whole_in_one_generation() {
    let mut f = Fixture::new();
    let changed = Event::ItemChanged { package: "hello:amd64".into(), before: "not-installed".into(), after: "installed 2".into() };
    let events = history(&[changed, Event::Completed]);
    assert_eq!(adopt(&mut f, 1, &events, Some(Digest([8; 32]))).expect("adopt"), Created::New);
    let record = f.store.record(id(1)).expect("read").expect("known");
    let summary = &record.summary;
    assert_eq!((summary.status.state, summary.actor.origin, summary.items_done), (TransactionState::Completed, Origin::Apt, 1));
    assert_eq!((summary.created, summary.started, summary.finished), (stamp(10), Some(stamp(21)), Some(stamp(23))));
    assert_eq!(record.events.iter().map(|event| event.attempt).collect::<Vec<_>>(), [None, None, None, Some(1), Some(1), Some(1)]);
    assert_eq!((f.count("generations"), f.store.journal_position(id(1), 1).expect("position")), (1, 7));
    assert_eq!(f.store.world_after(id(1)).expect("world"), Some(Digest([8; 32])));
    assert_eq!(f.store.verify_chain().expect("verified"), 6);
    assert_eq!(adopt(&mut f, 1, &events, None).expect("again"), Created::Existing);
    assert_eq!(f.count("events"), 6);
}

#[test]
fn a_change_that_was_left_has_its_world_and_its_evidence() {
    let mut f = Fixture::new();
    let left = [Event::AttentionNeeded { code: ErrorCode::DpkgFailed, text: "half".into() }, Event::Accepted];
    adopt(&mut f, 1, &history(&left), Some(Digest([8; 32]))).expect("adopt");
    assert_eq!(f.store.world_after(id(1)).expect("world"), Some(Digest([8; 32])));
    assert_eq!(f.store.last_failed().expect("last"), Some(id(1)));
    f.store.verify_chain().expect("verified");
    f.started(2, Kind::Install, None);
    f.append(2, &left).expect("a person accepts, and no world is known");
    assert_eq!(f.store.verify_chain().expect("verified"), f.count("events") as u64);
}

#[test]
fn a_change_whose_history_is_impossible_leaves_no_trace() {
    let mut f = Fixture::new();
    let impossible = history(&[Event::Completed, Event::Expired]);
    assert!(matches!(adopt(&mut f, 1, &impossible, None), Err(StoreError::Illegal(_))));
    assert_eq!([f.count("transactions"), f.count("generations"), f.count("events")], [0; 3]);
}

#[test]
fn the_world_of_a_change_that_was_left_is_vouched_for() {
    let mut f = Fixture::new();
    let left = [Event::AttentionNeeded { code: ErrorCode::DpkgFailed, text: "half".into() }, Event::Accepted];
    adopt(&mut f, 1, &history(&left), Some(Digest([8; 32]))).expect("adopt");
    let raw = f.raw();
    drop_triggers(&raw);
    assert_eq!(raw.execute("UPDATE transactions SET world_after = zeroblob(32)", []).expect("change"), 1);
    assert!(matches!(f.store.verify_chain(), Err(VerifyError::Broken(error)) if error.what.contains("world")));
}
