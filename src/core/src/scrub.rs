//! Secrets in texts: found by how they are written, and taken out before anything is stored.
//!
//! A guard against accidents, not against somebody who hides a secret. Invariants: scrubbing twice is scrubbing once; masking
//! keeps every other byte at its place. Absent on purpose: guesses from randomness alone, which would eat versions and digests.

mod keyed;
mod shapes;
mod words;

use std::borrow::Cow;
use std::ops::Range;

/// What stands in a secret's place.
pub const SECRET: &str = "[secret]";

/// The text without its secrets.
#[must_use]
pub fn scrub(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let (mut seeker, mut kept, mut start) = (Seeker::default(), 0, 0);
    for line in text.split_inclusive('\n') {
        for range in seeker.secrets(line.as_bytes()) {
            let (from, to) = (start + range.start, start + range.end);
            // A secret begins and ends beside ASCII or an end of the line, and so between characters.
            out.push_str(&text[kept..from]);
            out.push_str(SECRET);
            kept = to;
        }
        start += line.len();
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[kept..]);
    Cow::Owned(out)
}

/// Lines of a private key at most: one without an end must not take everything after it along.
const KEY_LINES: u32 = 400;

/// Finds secrets line by line, in bytes as programs write them; a private key has many lines.
#[derive(Debug, Default)]
pub struct Seeker {
    /// Lines that a key may still have.
    in_key: u32,
}

impl Seeker {
    /// Where the secrets of this line are, in order, apart from each other. A line may end with a line feed.
    pub fn secrets(&mut self, line: &[u8]) -> Vec<Range<usize>> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut found = self.private_key(line);
        if found.is_empty() {
            keyed::find(line, &mut found);
            words::find(line, &mut found);
            shapes::find(line, &mut found);
        }
        found.retain(|range| !range.is_empty() && !line[range.start..].starts_with(SECRET.as_bytes()));
        merged(found)
    }

    fn private_key(&mut self, line: &[u8]) -> Vec<Range<usize>> {
        let has = |word: &[u8]| line.windows(word.len()).any(|part| part == word);
        let begins = has(b"-----BEGIN ") && (has(b"PRIVATE KEY") || has(b"OPENSSH PRIVATE"));
        if begins {
            self.in_key = KEY_LINES;
        }
        if self.in_key == 0 {
            return Vec::new();
        }
        self.in_key = if has(b"-----END ") { 0 } else { self.in_key - 1 };
        std::iter::once(0..line.len()).collect()
    }
}

/// Writes `*` over the secrets of a line; nothing moves.
pub fn mask(seeker: &mut Seeker, line: &mut [u8]) -> bool {
    let secrets = seeker.secrets(line);
    for range in &secrets {
        line[range.clone()].fill(b'*');
    }
    !secrets.is_empty()
}

fn merged(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| range.start);
    let mut out: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match out.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            Some(_) | None => out.push(range),
        }
    }
    out
}

#[cfg(test)]
mod tests;
