//! Rows about files and undo material.

use backstep_core::record::Summary;
use zbus::{DeserializeDict, SerializeDict, Type};

/// What a configuration file held before and after a transaction. See the contract for the keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}")]
#[allow(missing_docs)]
pub struct ContentsRow {
    pub path: String,
    pub before: String,
    pub after: String,
    pub before_text: Option<String>,
    pub after_text: Option<String>,
    pub withheld: Option<bool>,
}

/// One transaction that changed a path. See the contract for the keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}")]
#[allow(missing_docs)]
pub struct BlameRow {
    pub transaction: Option<String>,
    pub kind: Option<String>,
    pub state: Option<String>,
    pub at: Option<i64>,
    pub uid: Option<u32>,
    pub user: Option<String>,
    pub origin: Option<String>,
    pub description: Option<String>,
    pub reverts: Option<String>,
    pub reverted_by: Option<String>,
    pub path: Option<String>,
    pub change: Option<String>,
    pub moved_from: Option<String>,
    pub by_others: Option<bool>,
    pub package: Option<String>,
    pub action: Option<String>,
    pub from: Option<String>,
    pub to: Option<String>,
}

impl From<&Summary> for BlameRow {
    /// What the transaction is; nothing of the file and its package.
    fn from(summary: &Summary) -> Self {
        let some_text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self {
            transaction: Some(summary.id.to_string()),
            kind: Some(summary.kind.to_string()),
            state: Some(summary.status.state.to_string()),
            at: summary.finished.map(|stamp| stamp.utc_us),
            uid: Some(summary.actor.uid),
            user: some_text(&summary.actor.user),
            origin: Some(summary.actor.origin.to_string()),
            description: some_text(&summary.description),
            reverts: summary.reverts.map(|id| id.to_string()),
            reverted_by: summary.reverted_by.map(|id| id.to_string()),
            ..Self::default()
        }
    }
}

/// How much undo material is kept, and how much may be. See the contract for the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}")]
#[allow(missing_docs)]
pub struct UndoMaterial {
    pub transactions: u32,
    pub bytes: u64,
    pub pinned: u32,
    pub pinned_bytes: u64,
    pub oldest: Option<i64>,
    pub archives: u32,
    pub archive_bytes: u64,
    pub limit_transactions: u32,
    pub limit_days: u32,
    pub limit_bytes: u64,
    pub limit_archive_bytes: u64,
}
