//! Secrets that are known by their own shape: the names before the `@` of an address, tokens with a well-known
//! beginning, hashes of passwords.

use std::ops::Range;

/// How tokens begin, and how long they are at least.
const TOKENS: &[(&[u8], usize)] = &[
    (b"ghp_", 20),
    (b"gho_", 20),
    (b"ghu_", 20),
    (b"ghs_", 20),
    (b"ghr_", 20),
    (b"github_pat_", 22),
    (b"glpat-", 16),
    (b"gldt-", 16),
    (b"xoxb-", 16),
    (b"xoxp-", 16),
    (b"xoxa-", 16),
    (b"xoxs-", 16),
    (b"xapp-", 16),
    (b"AKIA", 20),
    (b"ASIA", 20),
    (b"AIza", 30),
    (b"sk_live_", 16),
    (b"sk_test_", 16),
    (b"rk_live_", 16),
    (b"whsec_", 16),
    (b"sk-", 24),
    (b"SG.", 30),
    (b"npm_", 20),
    (b"pypi-", 20),
    (b"dop_v1_", 20),
    (b"hvs.", 16),
    (b"hf_", 20),
    (b"shpat_", 20),
    (b"dckr_pat_", 16),
    (b"tskey-", 16),
    (b"AGE-SECRET-KEY-", 20),
    (b"ya29.", 20),
    (b"lin_api_", 16),
    (b"ATATT3", 20),
    (b"PMAK-", 20),
    (b"EAACEdEose0cBA", 20),
];
const CRYPTS: &[&[u8]] = &[b"$1$", b"$2a$", b"$2b$", b"$2y$", b"$5$", b"$6$", b"$7$", b"$y$", b"$argon2", b"$apr1$"];

pub(super) fn find(line: &[u8], found: &mut Vec<Range<usize>>) {
    addresses(line, found);
    tokens(line, found);
    hashes(line, found);
}

/// What stands before the `@` of `scheme://name:secret@host`. A lone short name is none: `ssh://git@host`.
fn addresses(line: &[u8], found: &mut Vec<Range<usize>>) {
    for at in places(line, b"://") {
        let start = at + 3;
        let end = end_of(line, start, |byte| !byte.is_ascii_whitespace() && !b"/?#\"'<>`,".contains(&byte));
        let Some(length) = line[start..end].iter().rposition(|byte| *byte == b'@') else { continue };
        let names = start..start + length;
        if line[names.clone()].contains(&b':') || names.len() >= 16 {
            found.push(names);
        }
    }
}

fn tokens(line: &[u8], found: &mut Vec<Range<usize>>) {
    let mut at = 0;
    while at < line.len() {
        let end = end_of(line, at, |byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        if is_token(&line[at..end]) {
            found.push(at..end);
        }
        at = end + 1;
    }
}

fn is_token(word: &[u8]) -> bool {
    let known = TOKENS.iter().any(|(start, length)| word.starts_with(start) && word.len() >= *length);
    // Header, claims and signature of a signed token.
    let signed = word.starts_with(b"eyJ") && word.len() >= 30 && word.iter().filter(|byte| **byte == b'.').count() == 2;
    known || signed
}

fn hashes(line: &[u8], found: &mut Vec<Range<usize>>) {
    for start in CRYPTS.iter().flat_map(|crypt| places(line, crypt)) {
        let end = end_of(line, start, |byte| byte.is_ascii_alphanumeric() || b"$./=,+".contains(&byte));
        if end - start >= 20 {
            found.push(start..end);
        }
    }
}

fn places(line: &[u8], part: &[u8]) -> Vec<usize> {
    let all = line.windows(part.len()).enumerate();
    all.filter(|(_, window)| *window == part).map(|(at, _)| at).collect()
}

fn end_of(line: &[u8], start: usize, belongs: impl Fn(u8) -> bool) -> usize {
    line[start..].iter().position(|byte| !belongs(*byte)).map_or(line.len(), |length| start + length)
}
