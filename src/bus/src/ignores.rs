//! Ignores on the bus: rows, options and what narrows their list. The rules of [`crate::rows`] hold here too.

use backstep_core::ignore::{Ignore, IgnoreRecord, Source, SourceKind};
use backstep_core::{ErrorCode, Failure};
use zbus::{DeserializeDict, SerializeDict, Type};

/// One ignore. See the contract for the keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}")]
#[allow(missing_docs)]
pub struct IgnoreRow {
    pub number: u64,
    pub pattern: String,
    pub suite: Option<String>,
    pub from: Option<String>,
    pub comment: String,
    pub until: Option<i64>,
    pub added: i64,
    pub removed: Option<i64>,
    pub uid: Option<u32>,
    pub user: Option<String>,
}

impl From<&IgnoreRecord> for IgnoreRow {
    fn from(record: &IgnoreRecord) -> Self {
        let ignore = &record.ignore;
        let source = |kind| ignore.source.as_ref().filter(|source| source.kind == kind).map(|source| source.name.clone());
        Self {
            number: record.number,
            pattern: ignore.pattern.to_string(),
            suite: source(SourceKind::Suite),
            from: source(SourceKind::Origin),
            comment: ignore.comment.clone(),
            until: ignore.until_us,
            added: record.added.utc_us,
            removed: record.removed.map(|at| at.utc_us),
            uid: Some(record.uid),
            user: (!record.user.is_empty()).then(|| record.user.clone()),
        }
    }
}

impl IgnoreRow {
    /// The same without who it was.
    #[must_use]
    pub fn redacted(self) -> Self {
        Self { uid: None, user: None, ..self }
    }
}

/// What `AddIgnore` takes besides the pattern and the comment. A closed list of keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub struct IgnoreOptions {
    /// Only what comes from this suite or codename.
    pub suite: Option<String>,
    /// Only what comes from who publishes under this name.
    pub from: Option<String>,
    /// When it ends by itself, microseconds since 1970 in UTC.
    pub until: Option<i64>,
    /// The client's name and version, a claim.
    pub client: Option<String>,
    /// `cli` or `timer`, a claim.
    pub origin: Option<String>,
}

impl IgnoreOptions {
    /// What is said with them.
    pub fn ignore(&self, pattern: &str, comment: &str) -> Result<Ignore, Failure> {
        let source = match (&self.suite, &self.from) {
            (Some(suite), None) => Some(Source::new(SourceKind::Suite, suite)?),
            (None, Some(from)) => Some(Source::new(SourceKind::Origin, from)?),
            (None, None) => None,
            (Some(_), Some(_)) => return Err(Failure::new(ErrorCode::RequestMalformed, "suite and from do not go together")),
        };
        Ok(Ignore { pattern: pattern.parse()?, source, comment: comment.to_owned(), until_us: self.until })
    }
}

/// What `ListIgnores` narrows by. A closed list of keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub struct IgnoreFilter {
    /// Also those that are over or were taken back, newest first.
    pub all: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_narrow_by_one_source() {
        let sid = IgnoreOptions { suite: Some("sid".into()), ..IgnoreOptions::default() };
        assert_eq!(sid.ignore("hello", "why").expect("ignore").source.expect("source").kind, SourceKind::Suite);
        let both = IgnoreOptions { from: Some("Debian".into()), ..sid };
        assert_eq!(both.ignore("hello", "why").expect_err("both").code, ErrorCode::RequestMalformed);
    }
}
