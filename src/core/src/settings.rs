//! What the configuration says, as the record keeps it: `section.key = value`, a line each, in their order.

use std::collections::BTreeMap;

use crate::count::named;
use crate::limits::MAX_TEXT;
use crate::scrub::scrub;

/// The most bytes that are kept.
pub const MOST: usize = 65_536;
/// Differences that are named.
const NAMED: usize = 5;

/// The text of what is set. Secrets are taken out, and what is beyond [`MOST`] is left away, by whole lines.
#[must_use]
pub fn text<'a>(settings: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (key, value) in settings {
        let line = format!("{key} = {value}\n");
        let line = scrub(&line);
        if text.len() + line.len() > MOST {
            break;
        }
        text.push_str(&line);
    }
    text
}

/// What is different, for people; empty when nothing is.
#[must_use]
pub fn differences(before: &str, after: &str) -> String {
    let (old, new) = (lines(before), lines(after));
    let set = new.iter().filter(|(key, value)| old.get(*key) != Some(*value)).map(|(key, value)| match old.get(key) {
        Some(was) => format!("{key} = {value} (was {was})"),
        None => format!("{key} = {value}"),
    });
    let gone = old.iter().filter(|(key, _)| !new.contains_key(*key)).map(|(key, was)| format!("{key} as built in (was {was})"));
    shortened(named(&set.chain(gone).collect::<Vec<_>>(), NAMED))
}

fn shortened(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        while text.len() + '…'.len_utf8() > MAX_TEXT {
            text.pop();
        }
        text.push('…');
    }
    text
}

fn lines(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once(" = ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_name_what_is_set_anew_otherwise_and_no_more() {
        let before = text([("daemon.idle-exit", "5"), ("undo.changes", "50"), ("undo.days", "9")]);
        let after = text([("daemon.idle-exit", "5"), ("record.archive-days", "730"), ("undo.changes", "20")]);
        assert_eq!(differences(&before, &after), "record.archive-days = 730, undo.changes = 20 (was 50), undo.days as built in (was 9)");
        assert_eq!(differences(&after, &after), "");
        assert_eq!(differences("", &text([("a.b", "1 = 2")])), "a.b = 1 = 2");
    }

    #[test]
    fn many_or_long_differences_are_a_comment_still() {
        let keys: Vec<String> = (0..9).map(|n| format!("limits.k{n}")).collect();
        let told = differences("", &text(keys.iter().map(|key| (key.as_str(), "1"))));
        assert!(told.ends_with("limits.k4 = 1 and 4 more"), "{told}");
        let long = "\u{e4}".repeat(MAX_TEXT);
        let told = differences("", &text([("a.b", long.as_str())]));
        assert!(told.len() <= MAX_TEXT && told.ends_with('…'), "{}", told.len());
    }

    #[test]
    fn what_is_kept_is_bounded_by_lines_and_has_no_secret() {
        let long = "x".repeat(MOST - 20);
        assert_eq!(text([("a.b", "1"), ("a.c", long.as_str()), ("a.d", "2")]).lines().count(), 2);
        assert!(!text([("a.b", "\"https://ana:hunter2@example.org/\"")]).contains("hunter2"));
    }
}
