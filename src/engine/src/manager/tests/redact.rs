//! A text is taken out with a reason, and the mirror is told.

use super::*;

#[test]
fn a_redaction_says_why_and_reaches_the_mirror() {
    let mut world = World::new();
    let named = Request { description: "for Ana Otto".into(), ..request() };
    let id = world.manager.create(&named, actor(0), None).expect("create").id;
    let redact = |world: &mut World, comment: &str, mode| {
        let redaction = Redaction::new("Ana Otto".into(), mode).expect("a text");
        world.manager.redact(redaction, comment.into(), actor(0)).map(|redacted| redacted.transactions).map_err(|failure| failure.code)
    };
    for comment in ["", "  ", "because of Ana Otto", "a\nb"] {
        assert_eq!(redact(&mut world, comment, Mode::Do), Err(ErrorCode::RequestMalformed), "{comment:?}");
    }
    let mirrored = |world: &World| world.mirror.written.lock().expect("lock").len();
    let before = mirrored(&world);
    assert_eq!((redact(&mut world, "she asked", Mode::Try), mirrored(&world)), (Ok(vec![id]), before));
    assert_eq!((redact(&mut world, "she asked", Mode::Do), mirrored(&world)), (Ok(vec![id]), before + 1));
}
