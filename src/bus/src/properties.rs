//! All properties of a transaction at once: the answer of `GetAll`.

use backstep_core::TransactionState;
use zbus::{DeserializeDict, SerializeDict, Type};

use crate::rows::{PlanRow, StepRow};

/// A transaction as its object shows it to one caller. Times are microseconds since 1970 in UTC, 0 is not yet.
/// Texts, packages and users are empty for callers who may not see them.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct TransactionProperties {
    pub id: String,
    pub kind: String,
    pub state: String,
    pub status: String,
    pub description: String,
    pub tags: Vec<String>,
    pub user: String,
    pub uid: u32,
    pub origin: String,
    pub client: String,
    pub reverts: String,
    pub retries: String,
    pub reverted_by: String,
    pub attempts: u32,
    pub queue_position: u32,
    pub permille: u32,
    pub created_at: i64,
    pub queued_at: i64,
    pub started_at: i64,
    pub finished_at: i64,
    pub duration: i64,
    pub plan: Vec<PlanRow>,
    pub plan_digest: String,
    pub plan_summary: String,
    pub plan_warnings: Vec<String>,
    pub method: String,
    pub download_bytes: u64,
    pub installed_delta: i64,
    pub irreversible: bool,
    pub steps: Vec<StepRow>,
    pub phase: String,
    pub current_package: String,
    pub remaining_seconds: i32,
    pub cancellable: bool,
    pub point_of_no_return: bool,
    pub error_code: String,
    pub error_text: String,
    pub differences: Vec<String>,
    pub waits_for: String,
    pub actions: Vec<String>,
    pub pinned: bool,
}

impl TransactionProperties {
    /// The state; `None` when the daemon is of another version and has states this one does not know.
    #[must_use]
    pub fn transaction_state(&self) -> Option<TransactionState> {
        self.state.parse().ok()
    }

    /// Whether nothing follows.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.transaction_state().is_some_and(TransactionState::is_final)
    }
}
