//! `org.backstep1.Record`: its rows and its proxy.

use backstep_core::PackageId;
use backstep_core::history::{Generation, GenerationFilter, ItemChange, PackageStatistics, RowChange, StepStatistics};
use backstep_core::record::Summary;
use backstep_core::risk::Risk;
use zbus::proxy::CacheProperties;
use zbus::{DeserializeDict, Fd, SerializeDict, Type, proxy};

use crate::CallError;
use crate::files::{BlameRow, UndoMaterial};

/// Where a package comes from, or one of its architectures. See the contract for the keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}")]
#[allow(missing_docs)]
pub struct OriginRow {
    pub package: String,
    pub arch: String,
    pub role: String,
    pub installed: Option<String>,
    pub hidden: Option<bool>,
    pub transaction: Option<String>,
    pub kind: Option<String>,
    pub action: Option<String>,
    pub reason: Option<String>,
    pub from: Option<String>,
    pub to: Option<String>,
    pub requested: Option<Vec<String>>,
    pub at: Option<i64>,
    pub uid: Option<u32>,
    pub user: Option<String>,
    pub origin: Option<String>,
    pub client: Option<String>,
    pub description: Option<String>,
}

impl From<&ItemChange> for OriginRow {
    /// Everything but the package, its architecture, the role and what is installed.
    fn from(change: &ItemChange) -> Self {
        let summary = &change.summary;
        Self {
            transaction: Some(summary.id.to_string()),
            kind: Some(summary.kind.to_string()),
            action: Some(change.action.to_string()),
            reason: Some(change.reason.to_string()),
            from: change.from.clone(),
            to: change.to.clone(),
            requested: Some(change.requested.clone()),
            at: summary.finished.map(|stamp| stamp.utc_us),
            uid: Some(summary.actor.uid),
            user: some_text(&summary.actor.user),
            origin: Some(summary.actor.origin.to_string()),
            client: some_text(&summary.actor.client),
            description: some_text(&summary.description),
            ..Self::default()
        }
    }
}

/// A generation.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}")]
#[allow(missing_docs)]
pub struct GenerationRow {
    pub number: u64,
    pub opened: i64,
    pub comment: Option<String>,
    pub uid: Option<u32>,
    pub user: Option<String>,
    pub origin: Option<String>,
    pub version: String,
    pub changes: u64,
    pub transaction: Option<String>,
    pub kind: Option<String>,
    pub state: Option<String>,
    pub finished: Option<i64>,
    pub duration: Option<i64>,
    pub summary: Option<String>,
    pub items_done: Option<u32>,
    pub items_total: Option<u32>,
    pub reverts: Option<String>,
    pub reverted_by: Option<String>,
}

impl From<&Generation> for GenerationRow {
    fn from(generation: &Generation) -> Self {
        Self {
            number: generation.number,
            opened: generation.opened_us,
            comment: some_text(&generation.comment),
            uid: Some(generation.uid),
            user: some_text(&generation.user),
            origin: Some(generation.origin.clone()),
            version: generation.version.clone(),
            changes: generation.changes,
            ..generation.transaction.as_ref().map(of_transaction).unwrap_or_default()
        }
    }
}

fn of_transaction(summary: &Summary) -> GenerationRow {
    GenerationRow {
        transaction: Some(summary.id.to_string()),
        kind: Some(summary.kind.to_string()),
        state: Some(summary.status.state.to_string()),
        finished: summary.finished.map(|stamp| stamp.utc_us),
        duration: summary.duration_us,
        summary: some_text(&summary.plan_summary),
        items_done: Some(summary.items_done),
        items_total: Some(summary.items_total),
        reverts: summary.reverts.map(|id| id.to_string()),
        reverted_by: summary.reverted_by.map(|id| id.to_string()),
        ..GenerationRow::default()
    }
}

impl GenerationRow {
    /// The same without what only the owner and holders of the read action may see.
    #[must_use]
    pub fn redacted(self) -> Self {
        Self { comment: None, uid: None, user: None, origin: None, summary: None, reverts: None, reverted_by: None, ..self }
    }
}

/// What `ListGenerations` narrows by. A closed list of keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub struct GenerationListFilter {
    /// At most so many; absent or 0 is 50.
    pub limit: Option<u32>,
    /// Older than this number.
    pub before: Option<u64>,
    /// Only those whose transaction left the system changed.
    pub system: Option<bool>,
}

impl From<GenerationListFilter> for GenerationFilter {
    fn from(filter: GenerationListFilter) -> Self {
        Self { system: filter.system.unwrap_or(false), before: filter.before, limit: filter.limit.unwrap_or(0) }
    }
}

/// Which record `BackUp` copies and `Restore` makes: as it is, or as it was. A closed list of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub struct BackUpOptions {
    /// At this time.
    pub time: Option<i64>,
    /// After the event with this number.
    pub event: Option<u64>,
}

/// One row that was written.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}")]
#[allow(missing_docs)]
pub struct ChangeRow {
    pub number: u64,
    pub at: i64,
    pub table: String,
    pub row: String,
    pub action: String,
    pub fields: String,
}

impl From<RowChange> for ChangeRow {
    fn from(change: RowChange) -> Self {
        let RowChange { number, at_us, table, row, action, fields } = change;
        Self { number, at: at_us, table, row, action, fields }
    }
}

/// How one step fared.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}")]
#[allow(missing_docs)]
pub struct StepStatisticsRow {
    pub step: String,
    pub title: String,
    pub count: u64,
    pub failed: u64,
    pub total_us: i64,
    pub mean_us: i64,
    pub p50_us: i64,
    pub p95_us: i64,
    pub max_us: i64,
    pub slowest: Option<String>,
}

impl From<&StepStatistics> for StepStatisticsRow {
    fn from(s: &StepStatistics) -> Self {
        Self {
            step: s.step.to_string(),
            title: s.step.title().to_owned(),
            count: s.count,
            failed: s.failed,
            total_us: s.total_us,
            mean_us: s.mean_us,
            p50_us: s.p50_us,
            p95_us: s.p95_us,
            max_us: s.max_us,
            slowest: s.slowest.map(|id| id.to_string()),
        }
    }
}

/// An installed package and the change that made it as it is. See the contract for the keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}")]
#[allow(missing_docs)]
pub struct InventoryRow {
    pub package: String,
    pub arch: String,
    pub version: String,
    pub state: String,
    pub by: Option<String>,
    pub hidden: Option<bool>,
    pub from: Option<String>,
    pub at: Option<i64>,
    pub uid: Option<u32>,
    pub user: Option<String>,
    pub transaction: Option<String>,
    pub description: Option<String>,
}

impl InventoryRow {
    /// A package with dpkg's word for it, and nothing of the record.
    #[must_use]
    pub fn bare(package: &PackageId, word: &str) -> Self {
        let (state, version) = word.split_once(' ').unwrap_or((word, ""));
        let (name, arch) = (package.name.to_string(), package.arch.to_string());
        Self { package: name, arch, version: version.to_owned(), state: state.to_owned(), ..Self::default() }
    }

    /// The same with the change that made it so; `by` says through what.
    #[must_use]
    pub fn with(self, change: &ItemChange, by: &str) -> Self {
        let summary = &change.summary;
        Self {
            by: Some(by.to_owned()),
            from: change.from.clone(),
            at: summary.finished.map(|stamp| stamp.utc_us),
            uid: Some(summary.actor.uid),
            user: some_text(&summary.actor.user),
            transaction: Some(summary.id.to_string()),
            description: some_text(&summary.description),
            ..self
        }
    }
}

/// What `ListInventory` narrows by. A closed list of keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub struct InventoryFilter {
    /// Also packages that no plain run changed last.
    pub all: Option<bool>,
    /// Where the last answer stopped.
    pub after: Option<String>,
    /// Packages that are looked at for one answer; absent or 0 is 500.
    pub limit: Option<u32>,
}

/// How often one package changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}")]
#[allow(missing_docs)]
pub struct PackageStatisticsRow {
    pub package: String,
    pub changes: u64,
    pub undone: u64,
    pub last: i64,
}

impl From<PackageStatistics> for PackageStatisticsRow {
    fn from(s: PackageStatistics) -> Self {
        Self { package: s.package, changes: s.changes, undone: s.undone, last: s.last_us }
    }
}

/// How transactions with a package ended before.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}")]
#[allow(missing_docs)]
pub struct RiskRow {
    pub package: String,
    pub version: String,
    pub failed: u32,
    pub attempts: u32,
    pub other_failed: u32,
    pub other_attempts: u32,
    pub last: Option<i64>,
    pub code: Option<String>,
}

impl From<Risk> for RiskRow {
    fn from(risk: Risk) -> Self {
        let last = risk.last();
        Self {
            package: risk.package.to_string(),
            version: risk.version.to_string(),
            failed: risk.own.failed,
            attempts: risk.own.attempts,
            other_failed: risk.others.failed,
            other_attempts: risk.others.attempts,
            last: last.map(|blamed| blamed.at_us),
            code: last.map(|blamed| blamed.code.to_string()),
        }
    }
}

fn some_text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// The record as a whole.
#[proxy(interface = "org.backstep1.Record", default_service = "org.backstep1", default_path = "/org/backstep1")]
pub trait Record {
    /// Where a package comes from: `NAME` or `NAME:ARCH`.
    fn explain_package(&self, package: &str) -> zbus::Result<Vec<OriginRow>>;

    /// Which transactions changed a path, newest first; at most so many, 0 is 50.
    fn find_file(&self, path: &str, limit: u32) -> zbus::Result<Vec<BlameRow>>;

    /// How much undo material is kept, and how much may be.
    fn get_undo_material(&self) -> zbus::Result<UndoMaterial>;

    /// Generations, newest first.
    fn list_generations(&self, filter: GenerationListFilter) -> zbus::Result<Vec<GenerationRow>>;

    /// One generation.
    fn get_generation(&self, number: u64) -> zbus::Result<GenerationRow>;

    /// What was written under a generation after this change, in order.
    #[zbus(allow_interactive_auth)]
    fn list_changes(&self, generation: u64, after: u64, limit: u32) -> zbus::Result<Vec<ChangeRow>>;

    /// Installed packages with who changed them last, by name, and where to go on; empty when that is all.
    fn list_inventory(&self, filter: InventoryFilter) -> zbus::Result<(Vec<InventoryRow>, String)>;

    /// How long each step took in transactions that ended since then.
    fn get_step_statistics(&self, since_us: i64) -> zbus::Result<Vec<StepStatisticsRow>>;

    /// Which packages changed most in transactions that ended since then.
    fn get_package_statistics(&self, since_us: i64) -> zbus::Result<Vec<PackageStatisticsRow>>;

    /// How transactions with these packages, each `NAME=VERSION`, ended before; in their order.
    fn list_risks(&self, packages: &[String]) -> zbus::Result<Vec<RiskRow>>;

    /// Checks every event; progress goes to a pipe as JSON lines. Answers how many there are, the last one's hash, how many
    /// had a text taken out, and for how many of those the event that vouches came later.
    #[zbus(allow_interactive_auth)]
    fn verify(&self, progress: Fd<'_>) -> zbus::Result<(u64, String, u64, u64)>;

    /// Writes every event after this one to a pipe, as `jsonl`, `csv` or `otlp`; answers how many.
    #[zbus(allow_interactive_auth)]
    fn export(&self, format: &str, after: u64, output: Fd<'_>) -> zbus::Result<u64>;

    /// Writes a copy of the record, as it is or was, to a pipe; answers its size.
    #[zbus(allow_interactive_auth)]
    fn back_up(&self, options: BackUpOptions, output: Fd<'_>) -> zbus::Result<u64>;

    /// Writes a record as it was, of this one or of a backup (one file at most), verified, to a pipe; answers its size, how many
    /// events it has and the last one's hash.
    fn restore(&self, options: BackUpOptions, backup: Vec<Fd<'_>>, output: Fd<'_>) -> zbus::Result<(u64, u64, String)>;
}

impl RecordProxy<'_> {
    /// A proxy; it has no properties.
    pub async fn on(connection: &zbus::Connection) -> Result<RecordProxy<'static>, CallError> {
        let builder = RecordProxy::builder(connection).cache_properties(CacheProperties::No);
        Ok(builder.build().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_private_is_left_out() {
        let row = GenerationRow {
            number: 3,
            comment: Some("why".into()),
            uid: Some(0),
            user: Some("root".into()),
            origin: Some("cli".into()),
            summary: Some("1 to install (hello)".into()),
            reverts: Some("x".into()),
            reverted_by: Some("y".into()),
            state: Some("completed".into()),
            ..GenerationRow::default()
        };
        let expected = GenerationRow { number: 3, state: Some("completed".into()), ..GenerationRow::default() };
        assert_eq!(row.redacted(), expected);
    }
}
