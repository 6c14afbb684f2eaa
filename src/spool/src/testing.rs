//! A record for tests.

use backstep_core::actor::{Actor, Origin};
use backstep_core::record::{EventRecord, Record, Summary};
use backstep_core::{BootId, Digest, Event, Kind, Stamp, Status, TransactionState};

pub(crate) fn sample() -> Record {
    let at = Stamp { utc_us: 1, monotonic_us: 2, boot: BootId([3; 16]) };
    let actor = Actor {
        uid: 0,
        user: "root".into(),
        loginuid: None,
        pid: None,
        sender: String::new(),
        unit: String::new(),
        origin: Origin::Daemon,
        client: String::new(),
    };
    let summary = Summary {
        id: "01936b2e-7c1a-7d3e-9f10-0123456789ab".parse().expect("id"),
        kind: Kind::Install,
        status: Status::CREATED,
        description: String::new(),
        tags: Default::default(),
        actor,
        sequence: 0,
        priority: 0,
        reverts: None,
        retries: None,
        reverted_by: None,
        created: at,
        queued: None,
        started: None,
        finished: None,
        duration_us: None,
        plan_summary: String::new(),
        items_done: 0,
        items_total: 0,
        error: None,
    };
    let events = vec![EventRecord { seq: 1, at, attempt: None, event: Event::Created, hash: Digest([4; 32]) }];
    Record {
        summary,
        request_digest: Digest([5; 32]),
        plan_digest: None,
        sources: Default::default(),
        items: vec![],
        steps: vec![],
        events,
    }
}

pub(crate) fn in_state(mut record: Record, state: TransactionState) -> Record {
    record.summary.status.state = state;
    record
}
