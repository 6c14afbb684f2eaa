//! Refusals: calls that were turned away before they became, or changed, a transaction.
//!
//! Invariant: what a caller sent comes into a refusal clipped and without control characters.

use crate::actor::Actor;
use crate::doors::Method;
use crate::id::{Stamp, TransactionId};
use crate::scrub::scrub;
use crate::{ErrorCode, Failure};

/// Characters of a refusal's text at most.
pub const MAX_TEXT: usize = 160;

/// One call that was turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The method that was called.
    pub method: Method,
    /// Who called.
    pub actor: Actor,
    /// The name of the caller's process, a claim of that process; empty when unknown.
    pub program: String,
    /// The transaction that it was about, if there is one.
    pub transaction: Option<TransactionId>,
    /// Why.
    pub failure: Failure,
}

impl Refusal {
    /// A refusal with its texts made short and harmless.
    #[must_use]
    pub fn new(method: Method, actor: Actor, program: &str, transaction: Option<TransactionId>, failure: &Failure) -> Self {
        let failure = Failure::new(failure.code, harmless(&scrub(&failure.text), MAX_TEXT));
        Self { method, actor, program: harmless(program, 32), transaction, failure }
    }
}

/// Refusals of one sort in one row of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalRecord {
    /// Its number in the record, from 1.
    pub number: u64,
    /// When; of several, the first.
    pub at: Stamp,
    /// When the last one was.
    pub until: Stamp,
    /// How many calls the row stands for; their facts are those of the last one.
    pub count: u64,
    /// The method that was called.
    pub method: Method,
    /// Who.
    pub actor: Actor,
    /// The name of the caller's process, a claim.
    pub program: String,
    /// The transaction that it was about.
    pub transaction: Option<TransactionId>,
    /// Why.
    pub failure: Failure,
}

/// Which refusals to list, newest first. Every field narrows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RefusalFilter {
    /// Of this user.
    pub uid: Option<u32>,
    /// With this code.
    pub code: Option<ErrorCode>,
    /// Before this number: for pages.
    pub before: Option<u64>,
    /// At most so many; 0 means 50.
    pub limit: u32,
}

/// Whether a call that failed like this was turned away. What went wrong inside is no refusal and has its own place.
#[must_use]
pub const fn is_refusal(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::RequestMalformed
            | ErrorCode::RequestUnknownOption
            | ErrorCode::RequestTooLarge
            | ErrorCode::RequestDuplicate
            | ErrorCode::RequestThrottled
            | ErrorCode::AuthDenied
            | ErrorCode::AuthUnavailable
            | ErrorCode::ArchiveInvalid
            | ErrorCode::PlanMismatch
            | ErrorCode::PlanIrreversible
            | ErrorCode::UndoNothing
            | ErrorCode::TransactionUnknown
            | ErrorCode::GenerationUnknown
            | ErrorCode::IgnoreUnknown
            | ErrorCode::TransactionState
            | ErrorCode::QueueFull
            | ErrorCode::QueueClosed
            | ErrorCode::Expired
    )
}

fn harmless(text: &str, length: usize) -> String {
    text.chars().take(length).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Origin;

    #[test]
    fn what_a_caller_sent_is_short_and_harmless() {
        let actor = Actor {
            uid: 1000,
            user: "ana".into(),
            loginuid: None,
            pid: None,
            sender: ":1.2".into(),
            unit: String::new(),
            origin: Origin::Dbus,
            client: String::new(),
        };
        let failure = Failure::new(ErrorCode::RequestMalformed, format!("\u{1b}[31m\n{}", "ä".repeat(9000)));
        let refusal = Refusal::new(Method::Submit, actor, "evil\nname", None, &failure);
        assert_eq!(refusal.failure.text.chars().count(), MAX_TEXT);
        assert!(!refusal.failure.text.contains(char::is_control) && !refusal.program.contains(char::is_control));
    }

    #[test]
    fn defects_and_results_are_no_refusals() {
        for code in [ErrorCode::Internal, ErrorCode::StoreFailed, ErrorCode::ScriptFailed, ErrorCode::PackageUnknown] {
            assert!(!is_refusal(code), "{code}");
        }
    }
}
