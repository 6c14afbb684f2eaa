//! The protocol, explored as a whole; and with one rule broken at a time, to see that the model sees it.

use backstep_torture::model::{Fault, explore};

#[test]
fn every_promise_is_kept_with_a_crash_at_any_action() {
    for crashes in 0..=2 {
        let explored = explore(crashes, Fault::default());
        println!("{crashes} crashes: {} states, {} ends", explored.states, explored.ends);
        assert!(explored.broken.is_none(), "{crashes} crashes: {:#?}", explored.broken);
        assert!(explored.ends > 0);
    }
}

#[test]
fn a_protocol_that_takes_no_order_back_is_seen() {
    let broken = explore(2, Fault { no_revoke: true }).broken;
    assert!(broken.is_some());
}
