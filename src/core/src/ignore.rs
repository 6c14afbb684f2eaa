//! Ignores: versions of packages that nobody is to be offered, for a while or until further notice.
//!
//! Purpose: what an ignore says, and the preferences of apt that it becomes. apt's pins and not dpkg's holds, because a
//! pin knows patterns, versions and suites, also of packages that are not installed, changes nothing of dpkg's, and goes
//! with its file. Invariants: an accepted text is exactly one pattern of apt's preferences, never two, never an
//! expression and never all packages; what is rendered depends on the ignores and the time alone. Absent on purpose:
//! the file, and who writes it.

use std::fmt;
use std::str::FromStr;

use crate::actor::Actor;
use crate::id::Stamp;
use crate::limits::MAX_TEXT;
use crate::package::Architecture;
use crate::{ErrorCode, Failure};

/// Ignores that may be live at a time.
pub const MAX_LIVE: usize = 1_000;
const MAX_LENGTH: usize = 128;

/// Which packages and which of their versions: `NAME[:ARCH][=VERSION]`. Name and version may have `*` and `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    name: String,
    arch: Option<Architecture>,
    version: Option<String>,
}

impl FromStr for Pattern {
    type Err = Failure;
    fn from_str(text: &str) -> Result<Self, Failure> {
        let (package, version) = text.split_once('=').map_or((text, None), |(package, version)| (package, Some(version)));
        let (name, arch) = package.split_once(':').map_or((package, None), |(name, arch)| (name, Some(arch)));
        let bad = |what: &str| malformed(format!("{:?} is no pattern of packages: {what}", clip(text)));
        if !is_name(name) {
            return Err(bad("a name has small letters, digits, + - . and the wildcards * and ?, and at least one letter or digit"));
        }
        if version.is_some_and(|version| !is_version(version)) {
            return Err(bad("a version has letters, digits, . + - ~ : and the wildcards * and ?"));
        }
        if name == "src" && arch.is_some() {
            return Err(bad("apt reads src: as the name of a source package"));
        }
        let arch = arch.map(str::parse).transpose().map_err(|error| bad(&format!("{error}")))?;
        Ok(Self { name: name.to_owned(), arch, version: version.map(str::to_owned) })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.package();
        if let Some(version) = &self.version {
            text = format!("{text}={version}");
        }
        f.pad(&text)
    }
}

impl Pattern {
    /// The packages, without versions.
    fn package(&self) -> String {
        self.arch.as_ref().map_or_else(|| self.name.clone(), |arch| format!("{}:{arch}", self.name))
    }
}

/// apt reads a first `/` or `src:` as something else, and a pattern of wildcards alone as every package.
fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.*?".contains(&b);
    text.len() <= MAX_LENGTH
        && text.bytes().all(allowed)
        && !text.starts_with(['+', '-', '.'])
        && text.bytes().any(|b| b.is_ascii_alphanumeric())
}

fn is_version(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b".+~:-*?".contains(&b);
    (1..=MAX_LENGTH).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with(['+', '-', '.', '~', ':'])
}

closed_enum! {
    /// By what an ignore is narrowed to a part of the sources.
    pub enum SourceKind("sort of source") {
        /// A suite or codename: `trixie-backports`.
        Suite = "suite",
        /// Who publishes, as the source itself says: `Debian`.
        Origin = "origin",
    }
}

/// A part of the sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// By what.
    pub kind: SourceKind,
    /// Its name; see [`Source::new`].
    pub name: String,
}

impl Source {
    /// Checked: letters, digits, inner blanks and `. _ + / -`, beginning with a letter. apt reads more than a name
    /// otherwise: numbers are versions of a release, slashes around are expressions.
    pub fn new(kind: SourceKind, name: &str) -> Result<Self, Failure> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._+/-".contains(&b) || (b == b' ' && kind == SourceKind::Origin);
        let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
        if first && name.len() <= MAX_LENGTH && name.bytes().all(allowed) && name.trim_end() == name {
            Ok(Self { kind, name: name.to_owned() })
        } else {
            Err(malformed(format!("{:?} is no name of a {kind}", clip(name))))
        }
    }
}

/// What is ignored, why and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignore {
    /// Which packages and versions.
    pub pattern: Pattern,
    /// Only what comes from there.
    pub source: Option<Source>,
    /// Why; never empty.
    pub comment: String,
    /// When it ends by itself, microseconds since 1970 in UTC.
    pub until_us: Option<i64>,
}

impl Ignore {
    /// Checks what the parts alone cannot: that there is a comment, that apt can say it, that it is not over already.
    pub fn validate(&self, now_us: i64) -> Result<(), Failure> {
        if self.comment.trim().is_empty() {
            return Err(malformed("an ignore needs a comment: why"));
        }
        check_comment(&self.comment)?;
        if self.pattern.version.is_some() && self.source.is_some() {
            return Err(malformed("an ignore is narrowed by versions or by a source, not by both: apt's pins know one of them"));
        }
        if self.until_us.is_some_and(|until_us| until_us <= now_us) {
            return Err(malformed("the ignore would be over before it begins"));
        }
        Ok(())
    }

    /// Whether it still holds at this time.
    #[must_use]
    pub const fn is_live(&self, now_us: i64) -> bool {
        match self.until_us {
            Some(until_us) => now_us < until_us,
            None => true,
        }
    }
}

/// An ignore of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoreRecord {
    /// Its number, from 1.
    pub number: u64,
    /// What it says.
    pub ignore: Ignore,
    /// Who said it.
    pub uid: u32,
    /// Their name at that time.
    pub user: String,
    /// When.
    pub added: Stamp,
    /// When somebody took it back.
    pub removed: Option<Stamp>,
}

/// A change of the ignores, on its way into the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said<T> {
    /// What.
    pub what: T,
    /// Why: the change-set's comment.
    pub comment: String,
    /// Who.
    pub actor: Actor,
    /// When.
    pub at: Stamp,
}

/// Whether a comment can be kept; it may be empty.
pub fn check_comment(comment: &str) -> Result<(), Failure> {
    if comment.len() > MAX_TEXT {
        return Err(Failure::new(ErrorCode::RequestTooLarge, format!("a comment of more than {MAX_TEXT} bytes")));
    }
    if comment.contains(char::is_control) {
        return Err(malformed("the comment has control characters"));
    }
    Ok(())
}

const HEADER: &str = "\
# Written by backstepd from its record, and written again with every change: edits are lost.
# See 'backstep ignore list'; to change it: 'backstep ignore add' and 'backstep ignore remove'.
";

/// The text of apt's preferences for the ignores that hold at this time; empty when none does.
///
/// A priority below 0 makes apt, and so every plan of ours, offer these versions to nobody; whoever names a version
/// gets it all the same. An installed version stays what it is.
#[must_use]
pub fn preferences(ignores: &[IgnoreRecord], now_us: i64) -> String {
    let mut text = String::new();
    for record in ignores.iter().filter(|record| record.removed.is_none() && record.ignore.is_live(now_us)) {
        if text.is_empty() {
            text.push_str(HEADER);
        }
        let ignore = &record.ignore;
        let pin = match (&ignore.pattern.version, &ignore.source) {
            (Some(version), _) => format!("version {version}"),
            (None, Some(Source { kind: SourceKind::Suite, name })) => format!("release {name}"),
            (None, Some(Source { kind: SourceKind::Origin, name })) => format!("release o={name}"),
            (None, None) => "version *".to_owned(),
        };
        text.push_str(&format!(
            "\nExplanation: backstep ignore {}: {}\nPackage: {}\nPin: {pin}\nPin-Priority: -1\n",
            record.number,
            ignore.comment,
            ignore.pattern.package()
        ));
    }
    text
}

/// When the text of [`preferences`] changes next by itself, microseconds since 1970 in UTC.
#[must_use]
pub fn next_end_us(ignores: &[IgnoreRecord], now_us: i64) -> Option<i64> {
    let live = ignores.iter().filter(|record| record.removed.is_none() && record.ignore.is_live(now_us));
    live.filter_map(|record| record.ignore.until_us).min()
}

fn malformed(text: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::RequestMalformed, text)
}

fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BootId;
    use proptest::prelude::*;

    fn record(number: u64, pattern: &str, source: Option<(SourceKind, &str)>, until_us: Option<i64>) -> IgnoreRecord {
        let source = source.map(|(kind, name)| Source::new(kind, name).expect("source"));
        let ignore = Ignore { pattern: pattern.parse().expect("pattern"), source, comment: "why".into(), until_us };
        let added = Stamp { utc_us: 1, monotonic_us: 1, boot: BootId([0; 16]) };
        IgnoreRecord { number, ignore, uid: 0, user: "root".into(), added, removed: None }
    }

    #[test]
    fn patterns_are_read_and_said_again() {
        for text in ["hello", "linux-image-*", "g++-1?", "libc6:i386", "hello=2.*", "libc6:amd64=2.36-9+deb12u*", "a*=1:2~rc?"] {
            assert_eq!(text.parse::<Pattern>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn what_apt_reads_as_something_else_is_refused() {
        let bad = [
            "",
            "*",
            "?*",
            "*-*",
            "/hello/",
            "hello world",
            "hello,world",
            "src:hello",
            "Hello",
            "hello\nPin: x",
            "-hello",
            "hello=",
            "hello=/1/",
            "hello=1 2",
            "hello:",
            "hello:AMD64",
            "hello=-1",
            "ä",
            "[a-z]*",
        ];
        for text in bad {
            assert_eq!(text.parse::<Pattern>().expect_err(text).code, ErrorCode::RequestMalformed, "{text:?}");
        }
        for (kind, name) in
            [(SourceKind::Suite, "12"), (SourceKind::Suite, "a b"), (SourceKind::Origin, "/x/"), (SourceKind::Origin, "x,o=y")]
        {
            assert!(Source::new(kind, name).is_err(), "{name:?}");
        }
        assert!(Source::new(SourceKind::Origin, "Debian Backports").is_ok());
    }

    #[test]
    fn an_ignore_has_a_comment_an_end_to_come_and_one_narrowing() {
        let good = record(1, "hello", None, Some(9)).ignore;
        assert_eq!(good.validate(8), Ok(()));
        assert!(good.validate(9).is_err());
        let source = Some(Source::new(SourceKind::Suite, "sid").expect("suite"));
        let cases = [
            Ignore { comment: " ".into(), ..good.clone() },
            Ignore { comment: "a\nPackage: *".into(), ..good.clone() },
            Ignore { comment: "x".repeat(MAX_TEXT + 1), ..good.clone() },
            Ignore { pattern: "hello=1".parse().expect("pattern"), source, ..good },
        ];
        for case in cases {
            assert!(case.validate(8).is_err(), "{case:?}");
        }
    }

    #[test]
    fn live_ignores_become_pins_and_others_nothing() {
        let removed = IgnoreRecord { removed: Some(record(1, "x", None, None).added), ..record(5, "removed", None, None) };
        let all = [
            record(1, "hello*:amd64", None, Some(10)),
            record(2, "jq=1.7*", None, None),
            record(3, "nano", Some((SourceKind::Suite, "trixie-backports")), Some(20)),
            record(4, "nano", Some((SourceKind::Origin, "Example Inc.")), None),
            removed,
        ];
        let text = preferences(&all, 9);
        assert!(text.starts_with("# Written by backstepd"), "{text}");
        assert!(
            text.contains("\n\nExplanation: backstep ignore 1: why\nPackage: hello*:amd64\nPin: version *\nPin-Priority: -1\n"),
            "{text}"
        );
        for pin in ["Pin: version 1.7*\n", "Pin: release trixie-backports\n", "Pin: release o=Example Inc.\n"] {
            assert!(text.contains(pin), "{pin}: {text}");
        }
        assert!(!text.contains("removed"), "{text}");
        assert!(!preferences(&all, 10).contains("hello*"));
        assert_eq!(preferences(&all[4..], 0), "");
        assert_eq!([9, 10, 20].map(|now| next_end_us(&all, now)), [Some(10), Some(20), None]);
    }

    proptest! {
        #[test]
        fn an_accepted_pattern_is_one_word_of_apt_s(text in "\\PC{0,30}") {
            if let Ok(pattern) = text.parse::<Pattern>() {
                prop_assert!(!pattern.to_string().contains([' ', ',', '/', '\n', '[', '#']));
                prop_assert_eq!(pattern.to_string(), text);
            }
        }
    }
}
