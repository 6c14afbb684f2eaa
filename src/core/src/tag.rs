//! Tags of a transaction: short words by which a caller finds it again, a ticket's or an environment's for example.
//!
//! Invariants: a tag stands in a table, an address or a shell as it is; it has no space, so that several are one line; tags are a set,
//! so that their order says nothing. Absent on purpose: meaning. Nothing is decided by a tag.

use std::fmt;
use std::str::FromStr;

use crate::limits::{MAX_TAG, MAX_TAGS};
use crate::{ErrorCode, Failure};

/// One tag, for example `ticket:4711` or `env=prod`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

impl Tag {
    /// The text as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = Failure;
    /// Refuses what is too long as `request.too-large`, and every other text that is no tag as `request.malformed`.
    fn from_str(text: &str) -> Result<Self, Failure> {
        if text.len() > MAX_TAG {
            return Err(Failure::new(ErrorCode::RequestTooLarge, format!("a tag of {} bytes, {MAX_TAG} at most", text.len())));
        }
        if is_tag(text) {
            return Ok(Self(text.to_owned()));
        }
        let rules = "it has lower-case letters, digits and ._:=/+-@, and begins with a letter or a digit";
        Err(Failure::new(ErrorCode::RequestMalformed, format!("{text:?} is no tag: {rules}")))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn is_tag(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.bytes().next().is_some_and(is_plain) && text.bytes().all(|b| is_plain(b) || b"._:=/+-@".contains(&b))
}

/// The tags of one transaction, in the order of the alphabet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tags(Vec<Tag>);

impl Tags {
    /// Takes some texts. Refuses more than [`MAX_TAGS`] as `request.too-large`, and one that is named twice or is no tag as
    /// [`Tag`] does.
    pub fn new<T: AsRef<str>>(texts: &[T]) -> Result<Self, Failure> {
        if texts.len() > MAX_TAGS {
            return Err(Failure::new(ErrorCode::RequestTooLarge, format!("{} tags in one request, {MAX_TAGS} at most", texts.len())));
        }
        let mut tags = texts.iter().map(|text| text.as_ref().parse()).collect::<Result<Vec<Tag>, _>>()?;
        tags.sort_unstable();
        match tags.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(Failure::new(ErrorCode::RequestMalformed, format!("the tag {} is named twice", pair[0]))),
            None => Ok(Self(tags)),
        }
    }

    /// Each of them.
    #[must_use]
    pub fn as_slice(&self) -> &[Tag] {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As they travel.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(Tag::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::arguments;

    fn code(texts: &[&str]) -> ErrorCode {
        Tags::new(texts).expect_err("refused").code
    }

    #[test]
    fn what_people_call_their_work_is_taken() {
        let longest = "x".repeat(MAX_TAG);
        for text in ["ticket:4711", "env=prod", "2026-11/nightly", "ana@example.org", "a", "0", "c++", "a.b_c-d", longest.as_str()] {
            assert_eq!(text.parse::<Tag>().map(|tag| tag.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_is_no_tag_is_refused_with_its_rules() {
        for text in ["", "-y", "--tag", ".x", "@x", "Env=prod", "a b", "a,b", "a\n", "\u{e4}", "a#b", "a*", "a'b", "a\u{1b}[31m"] {
            let failure = text.parse::<Tag>().expect_err(text);
            assert_eq!(failure.code, ErrorCode::RequestMalformed, "{text:?}");
            assert!(failure.text.contains("begins with a letter or a digit") && !failure.text.contains('\u{1b}'), "{}", failure.text);
        }
        let failure = "x".repeat(MAX_TAG + 1).parse::<Tag>().expect_err("too long");
        assert_eq!((failure.code, failure.text.as_str()), (ErrorCode::RequestTooLarge, "a tag of 65 bytes, 64 at most"));
    }

    #[test]
    fn no_hostile_text_is_a_tag_that_something_else_reads() {
        let taken: Vec<Tag> = arguments().into_iter().filter_map(|text| text.parse().ok()).collect();
        assert!(taken.len() > 100, "{}", taken.len());
        for tag in taken {
            assert!(tag.as_str().bytes().all(|b| b.is_ascii_graphic() && !b"\"'\\`$;&|<>(){}[]*?!~^#%,".contains(&b)), "{tag}");
            assert!(tag.as_str().starts_with(|c: char| c.is_ascii_alphanumeric()), "{tag}");
        }
    }

    #[test]
    fn tags_are_a_set_of_a_few() {
        assert_eq!(Tags::new(&["env=prod", "a"]), Tags::new(&["a", "env=prod"]));
        assert_eq!(Tags::new(&["b", "a"]).expect("tags").texts(), ["a", "b"]);
        assert!(Tags::new::<&str>(&[]).expect("none").is_empty());
        assert_eq!(code(&["b", "a", "b"]), ErrorCode::RequestMalformed);
        assert_eq!(code(&["a", ""]), ErrorCode::RequestMalformed);
        let many: Vec<String> = (0..=MAX_TAGS).map(|n| format!("t{n}")).collect();
        assert_eq!(Tags::new(&many).expect_err("too many").code, ErrorCode::RequestTooLarge);
        assert_eq!(Tags::new(&many[1..]).expect("as many as may be").as_slice().len(), MAX_TAGS);
    }
}
