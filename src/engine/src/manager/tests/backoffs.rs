//! Back-offs through the manager.

use super::*;
use backstep_core::backoff::NewBackoff;

const HOUR: i64 = 3_600_000_000;

fn new(world: &World, subject: &str, process: &str) -> NewBackoff {
    let until_us = world.manager.now().utc_us + HOUR;
    NewBackoff { subject: subject.parse().expect("subject"), process: process.parse().expect("process"), until_us }
}

fn upgrade(world: &mut World, origin: Origin) -> TransactionId {
    let request = Request { kind: Kind::Upgrade, items: Vec::new(), ..request() };
    world.manager.create(&request, Actor { origin, ..actor(0) }, None).expect("create").id
}

#[test]
fn a_timer_s_upgrade_leaves_out_what_is_backed_off_and_the_plan_says_so() {
    let mut world = World::new();
    let jq = new(&world, "jq", "upgrade");
    world.manager.back_off(jq, "it breaks".into(), actor(0)).expect("back off");
    let id = upgrade(&mut world, Origin::Timer);
    let question = world.manager.question(id).expect("question");
    assert_eq!(question.held.expect("not refused").iter().map(ToString::to_string).collect::<Vec<_>>(), ["jq"]);
    world.plan(id, |_| {});
    let (bytes, _) = world.ledger.row(id).expect("known").plan.expect("planned");
    let plan = backstep_wire::plan::from_bytes(&bytes).expect("plan");
    assert!(plan.warnings.iter().any(|text| text.starts_with("left out, because jq is backed off: it breaks")), "{:?}", plan.warnings);
    let by_hand = upgrade(&mut world, Origin::Cli);
    assert_eq!(world.manager.question(by_hand).expect("question").held, Ok(Vec::new()));
    world.clock.advance(HOUR);
    let later = upgrade(&mut world, Origin::Timer);
    assert_eq!(world.manager.question(later).expect("question").held, Ok(Vec::new()));
}

#[test]
fn a_timer_s_upgrade_of_a_backed_off_system_is_refused_with_the_reason() {
    let mut world = World::new();
    let all = new(&world, "*", "*");
    world.manager.back_off(all, "freeze".into(), actor(0)).expect("back off");
    let id = upgrade(&mut world, Origin::Timer);
    let failure = world.manager.question(id).expect("question").held.expect_err("held back");
    assert_eq!(failure.code, ErrorCode::BackoffActive);
    world.manager.planned(id, Err(failure)).expect("recorded");
    assert_eq!(
        (world.state(id), world.ledger.row(id).expect("row").error.expect("error").code),
        (TransactionState::Failed, ErrorCode::BackoffActive)
    );
    let by_hand = upgrade(&mut world, Origin::Cli);
    world.plan(by_hand, |_| {});
    assert_eq!(world.state(by_hand), TransactionState::Prepared);
    assert_eq!(world.manager.clear_backoffs((None, None), String::new(), actor(0)), Ok(1));
    assert_eq!(world.manager.clear_backoffs((None, None), String::new(), actor(0)), Ok(0));
    let after = upgrade(&mut world, Origin::Timer);
    assert_eq!(world.manager.question(after).expect("question").held, Ok(Vec::new()));
}

#[test]
fn a_back_off_by_hand_has_a_reason_and_an_end() {
    let mut world = World::new();
    let good = new(&world, "jq", "*");
    for (until_us, comment) in [(0, "why"), (i64::MAX / 2, "why"), (good.until_us, " "), (good.until_us, "a\nb")] {
        let bad = NewBackoff { until_us, ..good.clone() };
        assert_eq!(world.manager.back_off(bad, comment.into(), actor(0)).expect_err(comment).code, ErrorCode::RequestMalformed);
    }
}
