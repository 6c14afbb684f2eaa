//! A corpus of hostile arguments and mutations, for the tests of every crate that reads what others write.
//!
//! Invariant: the same texts in the same order on every machine. Absent on purpose: what a right reader answers; each
//! test brings a judge of its own.

/// What apt, dpkg, a shell, a terminal or a file system could read as more than a name.
const PARTS: &[&str] = &[
    "-",
    "--",
    "-o",
    "-y",
    "--purge",
    "-oDPkg::Pre-Invoke::=id",
    "-oDir::Etc=/tmp",
    "--option=APT::x",
    "-t=sid",
    "-c=/tmp/x",
    "+",
    "_",
    "=",
    "=1",
    "=1.0-",
    "/",
    "./",
    "../",
    "../../etc/passwd",
    "/etc/passwd",
    "./x.deb",
    "x.deb",
    "/dev/stdin",
    "file:///etc/passwd",
    "*",
    "?",
    "[a-z]",
    "^",
    "$",
    "^a.*$",
    "~n",
    "~nbash",
    "?name(x)",
    "?any",
    "!x",
    "a|b",
    "a&b",
    "(x)",
    "{a,b}",
    ";",
    ";id",
    "&&id",
    "|id",
    "`id`",
    "$(id)",
    "${IFS}",
    "$HOME",
    "<x",
    ">x",
    "2>&1",
    "'",
    "\"",
    "\\",
    "\\n",
    "%s",
    "%n",
    "%00",
    "\u{0}",
    "\u{1}",
    "\u{7}",
    "\u{8}",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\u{b}",
    "\u{c}",
    "\u{1b}",
    "\u{1b}[31m",
    "\u{1b}]0;x\u{7}",
    "\u{7f}",
    "\u{80}",
    "\u{9b}31m",
    "\u{a0}",
    "\u{ad}",
    "\u{200b}",
    "\u{200e}",
    "\u{202e}",
    "\u{2028}",
    "\u{2066}",
    "\u{feff}",
    "\u{fffd}",
    "\u{ffff}",
    "\u{10ffff}",
    "ä",
    "а",
    "ｌ",
    "ß",
    "İ",
    "e\u{301}",
    "😀",
    " ",
    "  ",
    "#",
    "#x",
    "//x",
    ",",
    ".",
    "..",
    "...",
    ":",
    "::",
    ":amd64",
    ":any",
    ":all",
    "amd64",
    "0",
    "1",
    "a",
    "A",
    "aa",
    "Aa",
    "a0",
    "hello",
    "HELLO",
    "linux-image",
    "g++",
    "libstdc++6",
    "0ad",
    "1:",
    ":1",
    "1:1",
    "1:1:1",
    "01:1",
    "4294967296:1",
    "99999999999:1",
    "-1:1",
    "1-1",
    "1-",
    "-1",
    "1--1",
    "1~",
    "~1",
    "1~~",
    "1+",
    "1+b1",
    "1.0+nmu1",
    "1.0~rc1-1",
    "1_1",
    "1/1",
    "1 1",
    "x-1",
    "1.",
    ".1",
    "last",
    "last-failed",
    "null",
    "true",
    "NaN",
    "{}",
    "[]",
    "install",
    "remove",
    "purge",
    "upgrade",
    "01936b2e-7c1a-7d3e-9f10-0123456789ab",
    "01936b2e-7c1a-4d3e-9f10-0123456789ab",
    "01936B2E-7C1A-7D3E-9F10-0123456789AB",
    "00000000-0000-0000-0000-000000000000",
    "{01936b2e-7c1a-7d3e-9f10-0123456789ab}",
    "01936b2e7c1a7d3e9f100123456789ab",
    "org.backstep1.install",
];

/// At least six thousand texts: each part alone, twice, around a good name and between two, and long ones.
#[must_use]
pub fn arguments() -> Vec<String> {
    let mut texts: Vec<String> = vec![String::new()];
    for part in PARTS {
        texts.push((*part).to_owned());
        for good in ["hello", "g++", "0ad", "libc6", "2.10-3", "1:2.36-9+deb12u14"] {
            texts.extend([format!("{part}{good}"), format!("{good}{part}"), format!("{good}{part}{good}"), format!("{good}:{part}")]);
            texts.extend([format!("{good}={part}"), format!("{good}:amd64{part}")]);
        }
        texts.push(part.repeat(2));
    }
    for length in [1, 2, 3, 199, 200, 201, 255, 256, 257, 4095, 4096, 65_536] {
        for c in ["a", "0", "-", "+", ".", "~", ":", "\n", "ä", "\u{1b}"] {
            texts.push(c.repeat(length));
            texts.push(format!("a{}", c.repeat(length - 1)));
        }
    }
    texts.extend((0..=0x17f).filter_map(char::from_u32).flat_map(|c| [format!("{c}a"), format!("a{c}"), format!("a{c}a")]));
    texts
}

/// A small generator: the same numbers from the same seed on every machine.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// A generator of its own for each seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below the limit, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % limit
    }

    /// One of these.
    pub fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

const SPLICES: &[&[u8]] = &[
    b"\0",
    b"\n",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b",",
    b":",
    b"null",
    b"-1",
    b"18446744073709551616",
    b"1e400",
    b"0.1",
    b"\"\\u0000\"",
    b"\"\\ud800\"",
    b"true",
    b"{\"version\":2}",
    b"\\",
    b"../../etc/passwd",
    b"\x1b[31m",
    b"$(id)",
    b" ",
    b"\r\n",
];

/// A valid document, damaged: what the seed says, once to four times.
#[must_use]
pub fn mutation(valid: &[u8], seed: u64) -> Vec<u8> {
    let mut chance = Chance::new(seed);
    let mut bytes = valid.to_vec();
    for _ in 0..=chance.below(4) {
        mutate(&mut bytes, &mut chance);
    }
    bytes
}

fn mutate(bytes: &mut Vec<u8>, chance: &mut Chance) {
    let at = chance.below(bytes.len() + 1);
    let to = (at + 1 + chance.below(16)).min(bytes.len());
    match chance.below(9) {
        0 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
        1 if at < bytes.len() => bytes[at] = u8::try_from(chance.below(256)).unwrap_or(0),
        2 => bytes.truncate(at),
        3 if at < to => drop(bytes.drain(at..to)),
        4 if at < to => {
            let piece = bytes[at..to].to_vec();
            bytes.splice(at..at, piece);
        }
        5 => drop(bytes.splice(at..at, chance.of::<&[u8]>(SPLICES).iter().copied())),
        6 if at < to => drop(bytes.splice(at..to, chance.of::<&[u8]>(SPLICES).iter().copied())),
        7 => drop(bytes.splice(at..at, b"[".repeat(1 + chance.below(2000)))),
        _ => bytes.extend_from_slice(chance.of::<&[u8]>(SPLICES)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Architecture, PackageName, TransactionId, Version};

    /// The grammar once more, by other means than the parser's.
    fn is_name(text: &str) -> bool {
        const FIRST: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
        (2..=200).contains(&text.len()) && text.chars().enumerate().all(|(n, c)| FIRST.contains(c) || (n > 0 && "+-.".contains(c)))
    }

    #[test]
    fn the_corpus_is_large_and_what_is_taken_is_a_plain_name() {
        let all = arguments();
        assert!(all.len() >= 6_000, "{}", all.len());
        let mut taken = 0;
        for text in &all {
            assert_eq!(text.parse::<PackageName>().is_ok(), is_name(text), "{text:?}");
            if let Ok(name) = text.parse::<PackageName>() {
                assert_eq!(name.as_str(), text);
                taken += 1;
            }
            if let Ok(version) = text.parse::<Version>() {
                let plain = |c: char| c.is_ascii_alphanumeric() || ".+~:-".contains(c);
                assert!(
                    version.as_str() == text && text.chars().all(plain) && text.starts_with(|c: char| c.is_ascii_alphanumeric()),
                    "{text:?}"
                );
                assert!(!text.ends_with(['-', '+']) && text.len() <= 200, "{text:?}");
            }
            if let Ok(arch) = text.parse::<Architecture>() {
                assert!(
                    arch.as_str() == text && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
                    "{text:?}"
                );
            }
            if let Ok(id) = text.parse::<TransactionId>() {
                assert_eq!(id.to_string(), *text);
            }
        }
        assert!((100..all.len() / 3).contains(&taken), "{taken} of {}", all.len());
    }

    #[test]
    fn a_seed_is_one_mutation() {
        let valid = b"{\"version\":1}";
        assert_eq!(mutation(valid, 7), mutation(valid, 7));
        let different = (0..1000).filter(|seed| mutation(valid, *seed) != valid).count();
        assert!(different > 900, "{different}");
    }
}
