//! Random legal histories: what is stored is the fold of what is stored.

use backstep_core::replay::replay;
use backstep_core::{Direction, Event, Kind, Status};
use proptest::prelude::*;

use super::{Fixture, id, item};
use backstep_core::PlanAction;

/// The samples, with the attempt's number that must come next.
fn candidates(status: Status) -> Vec<Event> {
    let next = status.attempts + 1;
    Event::samples()
        .into_iter()
        .filter(|event| !matches!(event, Event::Created | Event::Redacted { .. }))
        .map(|event| match event {
            Event::Started { .. } => Event::Started { attempt: next },
            Event::Resumed { direction, reason, .. } => Event::Resumed { attempt: next, direction, reason },
            other => other,
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn stored_status_is_the_replay_of_stored_events(choices in proptest::collection::vec(any::<prop::sample::Index>(), 0..40)) {
        let mut f = Fixture::new();
        f.create(1, Kind::Install, None).expect("create");
        let mut status = Status::CREATED;
        let mut batch: Vec<Event> = Vec::new();
        for choice in choices {
            let legal: Vec<Event> = candidates(status).into_iter().filter(|event| status.after(event).is_ok()).collect();
            if legal.is_empty() {
                break;
            }
            let event = choice.get(&legal).clone();
            let next = status.after(&event).expect("legal");
            if matches!(event, Event::Prepared { .. }) {
                if !batch.is_empty() {
                    f.append(1, &batch).expect("append");
                    batch.clear();
                }
                f.freeze(1, vec![item("hello:amd64", PlanAction::Install, None, Some("2.10-3"))]).expect("freeze");
            } else {
                batch.push(event);
                // Batches of up to three, as a journal is read.
                if batch.len() == 3 || next.state.is_final() {
                    prop_assert_eq!(f.append(1, &batch).expect("append"), next);
                    batch.clear();
                }
            }
            status = next;
        }
        if !batch.is_empty() {
            f.append(1, &batch).expect("append");
        }
        let record = f.store.record(id(1)).expect("read").expect("there");
        prop_assert_eq!(replay(record.events.iter().map(|event| &event.event)), Ok(status));
        prop_assert_eq!(record.summary.status, status);
        prop_assert_eq!(record.summary.finished.is_some(), status.state.is_final());
        prop_assert_eq!(f.store.verify_chain().expect("whole"), record.events.len() as u64);
        let attempts = record.events.iter().filter(|event| matches!(event.event, Event::Started { .. } | Event::Resumed { .. })).count();
        prop_assert_eq!(f.count("attempts"), attempts as i64);
        let turns = |event: &Event| matches!(event, Event::UndoStarted { .. } | Event::Resumed { direction: Direction::Undo, .. });
        let undone = record.events.iter().any(|event| turns(&event.event));
        prop_assert_eq!(record.summary.status.undoing, undone);
    }
}
