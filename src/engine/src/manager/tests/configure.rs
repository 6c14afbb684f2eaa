//! The configuration through the manager.

use super::*;

#[test]
fn only_a_configuration_that_says_something_else_is_recorded() {
    let mut world = World::new();
    let mut take = |text: &str| world.manager.configure(text, actor(0)).expect("configure");
    let taken = ["", "undo.days = 9\n", "undo.days = 9\n", "undo.days = 5\n", ""].map(&mut take);
    assert_eq!(taken, [false, true, false, true, true]);
    let comments: Vec<String> = world.ledger.with(|inner| inner.configurations.iter().map(|said| said.comment.clone()).collect());
    assert_eq!(
        comments,
        ["configuration: undo.days = 9", "configuration: undo.days = 5 (was 9)", "configuration: undo.days as built in (was 5)"]
    );
}
