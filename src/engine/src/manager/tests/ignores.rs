//! Ignores through the manager.

use super::*;

fn ignore(pattern: &str, until_us: Option<i64>) -> Ignore {
    Ignore { pattern: pattern.parse().expect("pattern"), source: None, comment: "why".into(), until_us }
}

#[test]
fn an_ignore_ends_by_itself_or_when_it_is_taken_back() {
    let mut world = World::new();
    let now = world.manager.now().utc_us;
    let manager = &mut world.manager;
    assert_eq!(manager.ignore(ignore("jq", Some(now)), actor(0)).expect_err("over").code, ErrorCode::RequestMalformed);
    let first = manager.ignore(ignore("jq", Some(now + 1_000_000)), actor(0)).expect("ignore");
    let second = manager.ignore(ignore("nano", None), actor(1000)).expect("ignore");
    let told = manager.preferences().expect("text");
    assert!(told.text.contains("Package: jq\n") && told.text.contains("Package: nano\n"), "{told:?}");
    assert_eq!(told.next_us, Some(now + 1_000_000));
    world.clock.advance(2_000_000);
    let manager = &mut world.manager;
    assert_eq!(manager.live_ignores().expect("list").iter().map(|record| record.number).collect::<Vec<_>>(), [second]);
    let told = manager.preferences().expect("text");
    assert!(!told.text.contains("Package: jq\n") && told.next_us.is_none(), "{told:?}");
    assert_eq!(manager.unignore(first, String::new(), actor(0)).expect_err("over").code, ErrorCode::IgnoreUnknown);
    manager.unignore(second, "enough".into(), actor(0)).expect("remove");
    assert_eq!(manager.unignore(second, String::new(), actor(0)).expect_err("gone").code, ErrorCode::IgnoreUnknown);
    assert_eq!(manager.preferences().expect("text").text, "");
}

#[test]
fn there_are_only_so_many_ignores() {
    let mut world = World::new();
    for n in 0..backstep_core::ignore::MAX_LIVE {
        world.manager.ignore(ignore(&format!("p{n}"), None), actor(0)).expect("ignore");
    }
    assert_eq!(world.manager.ignore(ignore("more", None), actor(0)).expect_err("too many").code, ErrorCode::RequestTooLarge);
}
