//! A transaction's document in the spool: whatever the texts in the record are, it is one JSON document that says them.

use backstep_core::actor::{Actor, Origin};
use backstep_core::record::{EventRecord, Record, Summary};
use backstep_core::{BootId, Digest, ErrorCode, Event, Failure, Kind, Stamp, Status};
use serde_json::Value;

/// The bytes' lines as the texts that callers, packages and scripts bring into a record.
pub(crate) fn document(bytes: &[u8]) {
    let text = crate::text(bytes).into_owned();
    let record = record(&text);
    let document = backstep_spool::document(&record, &text);
    let read: Value = serde_json::from_str(&document).expect("a document is JSON");
    assert_eq!((read["description"].as_str(), read["host"].as_str()), (Some(text.as_str()), Some(text.as_str())));
    assert_eq!(read["actor"]["client"].as_str(), Some(text.as_str()));
    assert_eq!(read["error"]["text"].as_str(), Some(text.as_str()));
    let controls = document.chars().filter(|c| c.is_control() && *c != '\n' && *c != '\u{7f}' && !('\u{80}'..='\u{9f}').contains(c));
    assert_eq!(controls.count(), 0, "control characters are escaped");
}

fn record(text: &str) -> Record {
    let at = Stamp { utc_us: 1, monotonic_us: 2, boot: BootId([3; 16]) };
    let actor = Actor {
        uid: 1000,
        user: text.to_owned(),
        loginuid: None,
        pid: Some(1),
        sender: text.to_owned(),
        unit: text.to_owned(),
        origin: Origin::Dbus,
        client: text.to_owned(),
    };
    let summary = Summary {
        id: "01936b2e-7c1a-7d3e-9f10-0123456789ab".parse().expect("an id"),
        kind: Kind::Install,
        status: Status::CREATED,
        description: text.to_owned(),
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
        plan_summary: text.to_owned(),
        items_done: 0,
        items_total: 0,
        error: Some(Failure::new(ErrorCode::ScriptFailed, text.to_owned())),
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
