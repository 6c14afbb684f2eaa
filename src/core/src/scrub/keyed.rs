//! Values that are said to be secret by the name before them: `password=…`, `"token": …`, `Authorization: …`.

use std::ops::Range;

/// Names that are secret wherever they end another name.
const ENDINGS: &[&str] = &[
    "password",
    "passwort",
    "passphrase",
    "secret",
    "secretkey",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "authkey",
    "signingkey",
    "encryptionkey",
    "credential",
    "credentials",
    "signature",
    "sessionid",
    "connectionstring",
];
/// Short ones, which must be a whole part of a name between `_`, `-` and `.`, the last.
const PARTS: &[&str] = &["pass", "passwd", "pwd", "sig", "psk", "pin", "otp", "auth"];
/// Header fields whose whole value is secret.
const HEADERS: &[&str] = &["authorization", "proxyauthorization", "cookie", "setcookie", "wwwauthenticate", "xauthkey"];
/// What follows a package's name and a colon.
const ARCHITECTURES: &[&[u8]] = &[
    b"amd64",
    b"arm64",
    b"armel",
    b"armhf",
    b"i386",
    b"mips64el",
    b"ppc64el",
    b"riscv64",
    b"s390x",
    b"loong64",
    b"all",
    b"any",
    b"native",
];

pub(super) fn find(line: &[u8], found: &mut Vec<Range<usize>>) {
    let mut at = 0;
    while at < line.len() {
        if !is_name(line[at]) {
            at += 1;
            continue;
        }
        let end = end_of(line, at, is_name);
        if let Some(value) = value_of(line, at..end) {
            at = value.end.max(end);
            found.push(value);
        } else {
            at = end;
        }
    }
}

fn value_of(line: &[u8], name: Range<usize>) -> Option<Range<usize>> {
    let plain = plain(&line[name.clone()]);
    let header = HEADERS.contains(&plain.as_str());
    if !header && !is_secret(&line[name.clone()], &plain) {
        return None;
    }
    let start = separated(line, name.end)?;
    let value = if header { rest(line, name.start, start) } else { one(line, start) };
    (!is_package(&line[name], &line[value.clone()], line.get(value.start.wrapping_sub(1)))).then_some(value)
}

/// Letters and digits of a name, small.
fn plain(name: &[u8]) -> String {
    name.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(|byte| char::from(byte.to_ascii_lowercase())).collect()
}

fn is_secret(name: &[u8], plain: &str) -> bool {
    let part = name.rsplit(|byte| b"_-.".contains(byte)).next().unwrap_or_default().to_ascii_lowercase();
    ENDINGS.iter().any(|ending| plain.ends_with(ending)) || PARTS.iter().any(|known| known.as_bytes() == part)
}

/// Where the value begins after `:`, `=`, `=>`, `>` or the word `is` or `was`; a quote before the separator belongs to the name.
fn separated(line: &[u8], at: usize) -> Option<usize> {
    let rest = &line[at..];
    let unquoted = rest.strip_prefix(b"\"").or_else(|| rest.strip_prefix(b"'")).unwrap_or(rest);
    let trimmed = unquoted.trim_ascii_start();
    let after = [&b"=>"[..], b":=", b"=", b":"].iter().find_map(|separator| trimmed.strip_prefix(*separator));
    let after = after.or_else(|| unquoted.strip_prefix(b">"));
    let after = after.or_else(|| [&b" is "[..], b" was "].iter().find_map(|word| unquoted.strip_prefix(*word)))?;
    Some(line.len() - after.trim_ascii_start().len())
}

/// To the end of the quotes, or of the word.
fn one(line: &[u8], start: usize) -> Range<usize> {
    match line.get(start) {
        Some(quote @ (b'"' | b'\'' | b'`')) => start + 1..end_of(line, start + 1, |byte| byte != *quote),
        Some(_) | None => start..end_of(line, start, |byte| !byte.is_ascii_whitespace() && !b"&;,<>\"'`)}]".contains(&byte)),
    }
}

/// To the end of the line, or of the quotes that the header or its value stands in.
fn rest(line: &[u8], name: usize, start: usize) -> Range<usize> {
    let quote = |at: usize| line.get(at).filter(|byte| b"\"'".contains(byte)).copied();
    let around = name.checked_sub(1).and_then(quote);
    let (start, end) = match (quote(start), around) {
        (Some(quote), _) => (start + 1, Some(quote)),
        (None, around) => (start, around),
    };
    start..end_of(line, start, |byte| Some(byte) != end)
}

/// `passwd:amd64` and `passwd=1:4.13+dfsg1-1` are a package.
fn is_package(name: &[u8], value: &[u8], before: Option<&u8>) -> bool {
    let architecture = value.trim_ascii_end();
    let version = value.first().is_some_and(u8::is_ascii_digit)
        && value.iter().any(|byte| b".-:".contains(byte))
        && value.iter().all(|byte| byte.is_ascii_alphanumeric() || b".:+~-".contains(byte));
    (before == Some(&b':') && ARCHITECTURES.contains(&architecture)) || (matches!(name, b"passwd" | b"pass") && version)
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)
}

fn end_of(line: &[u8], start: usize, belongs: impl Fn(u8) -> bool) -> usize {
    line[start..].iter().position(|byte| !belongs(*byte)).map_or(line.len(), |length| start + length)
}
