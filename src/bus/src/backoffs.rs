//! Back-offs on the bus: rows and what narrows their list. The rules of [`crate::rows`] hold here too.

use backstep_core::backoff::Backoff;
use zbus::{DeserializeDict, SerializeDict, Type};

/// One back-off. See the contract for the keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}")]
#[allow(missing_docs)]
pub struct BackoffRow {
    pub number: u64,
    pub subject: Option<String>,
    pub process: String,
    pub since: i64,
    pub until: i64,
    /// Microseconds that are left; 0 when it does not hold any more.
    pub remaining: i64,
    pub ended: Option<i64>,
    pub failures: Option<u32>,
    pub error_code: Option<String>,
    pub error_text: Option<String>,
    pub transaction: Option<String>,
    pub comment: Option<String>,
    pub uid: Option<u32>,
    pub user: Option<String>,
}

impl BackoffRow {
    /// A row; `remaining_us` is what is left of it now.
    #[must_use]
    pub fn new(backoff: &Backoff, remaining_us: i64) -> Self {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        Self {
            number: backoff.number,
            subject: Some(backoff.subject.to_string()),
            process: backoff.process.to_string(),
            since: backoff.set.utc_us,
            until: backoff.until_us,
            remaining: remaining_us,
            ended: backoff.ended.map(|at| at.utc_us),
            failures: (backoff.failures > 0).then_some(backoff.failures),
            error_code: backoff.cause.as_ref().map(|cause| cause.code.to_string()),
            error_text: backoff.cause.as_ref().map(|cause| cause.text.clone()),
            transaction: backoff.transaction.map(|id| id.to_string()),
            comment: some(&backoff.comment),
            uid: Some(backoff.uid),
            user: some(&backoff.user),
        }
    }

    /// The same without packages, texts and users.
    #[must_use]
    pub fn redacted(self) -> Self {
        let Self { number, process, since, until, remaining, ended, .. } = self;
        Self { number, process, since, until, remaining, ended, ..Self::default() }
    }
}

/// What `ListBackoffs` narrows by. A closed list of keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub struct BackoffFilter {
    /// Also those that are over or were ended, newest first.
    pub all: Option<bool>,
}
