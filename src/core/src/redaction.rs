//! Texts taken out of the record: a person's name, a secret that no rule knew.
//!
//! Purpose: what a redaction takes and answers. Where the text stood there is [`mark`] afterwards, with the number of the
//! change-set that says who took it out, when and why. Absent on purpose: taking out what was done; only texts for people go.

use crate::{ErrorCode, Failure, TransactionId};

/// Fewer characters stand in too many places by chance.
const SHORTEST: usize = 4;
/// Bytes; a private key fits.
const LONGEST: usize = 8 << 10;

/// What is to be taken out.
#[derive(Clone, PartialEq, Eq)]
pub struct Redaction {
    text: String,
    /// Whether it is done or only tried.
    pub mode: Mode,
}

/// Nobody finds the text in a log of ours.
impl std::fmt::Debug for Redaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redaction").field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// Whether something is done or only tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is written: what would be done is said.
    Try,
    /// For good.
    Do,
}

/// What was taken out, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redacted {
    /// The change-set's number.
    pub number: u64,
    /// Where it stood: table and column, and in how many rows.
    pub places: Vec<(String, u64)>,
    /// The transactions that it was about, in the order of the record.
    pub transactions: Vec<TransactionId>,
}

impl Redaction {
    /// Takes a text of a length that makes sense.
    pub fn new(text: String, mode: Mode) -> Result<Self, Failure> {
        let malformed = |why: &str| Err(Failure::new(ErrorCode::RequestMalformed, why));
        if text.chars().count() < SHORTEST {
            return malformed("a text of less than 4 characters is in too many places");
        }
        if text.len() > LONGEST || text.contains('\0') {
            return malformed("a text has 8192 bytes at most, none of them 0");
        }
        if mark(1_234_567_890).contains(&text) {
            return malformed("the text is part of the mark that would take its place");
        }
        Ok(Self { text, mode })
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// What stands where a text was taken out.
#[must_use]
pub fn mark(number: u64) -> String {
    format!("[redacted {number}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_neither_too_short_nor_its_own_mark() {
        let new = |text: &str| Redaction::new(text.to_owned(), Mode::Do).map_err(|failure| failure.code);
        assert_eq!(new("Ana M.").map(|r| r.text().to_owned()), Ok("Ana M.".to_owned()));
        for text in ["", "Ana", "redacted", "[redacted 1", "a\0bcd", "x".repeat(9_000).as_str()] {
            assert_eq!(new(text), Err(ErrorCode::RequestMalformed), "{text}");
        }
        assert!(!format!("{:?}", new("hunter22")).contains("hunter22"));
    }
}
