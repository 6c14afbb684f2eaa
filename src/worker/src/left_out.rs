//! What a capture or a picture left out, in words for the record.

use backstep_capture::LeftOut;
use backstep_core::count;

/// How many paths are named in words.
const NAMED: usize = 5;

/// What is not in undo material; none when all is.
pub(crate) fn of_capture(left_out: &[LeftOut]) -> Option<String> {
    let named = named(left_out)?;
    Some(format!("not in the undo material, because somebody who is not root made it so that it cannot be looked at: {named}"))
}

/// What is not in the picture of the whole system; none when all is.
pub(crate) fn of_picture(left_out: &[LeftOut]) -> Option<String> {
    named(left_out).map(|named| format!("not in the picture of the whole system, because it cannot be looked at: {named}"))
}

/// What is not in the record of files; none when all is.
pub(crate) fn of_files(left_out: &[LeftOut]) -> Option<String> {
    named(left_out).map(|named| format!("not looked at any more, because it cannot be: {named}"))
}

/// Paths with the reasons, some of them only counted.
fn named(left_out: &[LeftOut]) -> Option<String> {
    (!left_out.is_empty()).then(|| count::named(left_out, NAMED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_paths_are_named_and_the_others_counted() {
        let all: Vec<LeftOut> = (0..7).map(|number| LeftOut { path: format!("/etc/{number}").into(), why: "no".to_owned() }).collect();
        assert_eq!(of_capture(&[]), None);
        assert_eq!(named(&all[..1]).as_deref(), Some("/etc/0 (no)"));
        let text = of_capture(&all).expect("text");
        assert!(text.ends_with("/etc/3 (no), /etc/4 (no) and 2 more"), "{text}");
    }
}
