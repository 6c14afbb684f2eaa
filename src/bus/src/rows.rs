//! Rows of lists and plans: structures that travel as `a{sv}`.
//!
//! Keys are the field names. An absent optional key means unknown or not applicable; an unknown key is
//! ignored by readers, so that rows may grow. Times are microseconds since 1970 in UTC.

use backstep_core::record::{Filter, KindStatistics, StepRecord, Summary};
use backstep_core::{ErrorCode, Failure, PlanItem, limits};
use zbus::{DeserializeDict, OwnedObjectPath, SerializeDict, Type};

use crate::names::transaction_path;

/// One package of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}")]
pub struct PlanRow {
    /// The name.
    pub package: String,
    /// The package's own architecture.
    pub arch: String,
    /// A `PlanAction`.
    pub action: String,
    /// A `Reason`.
    pub reason: String,
    /// The version before; empty when it is not installed.
    pub from: String,
    /// The version afterwards; empty when it will not be installed.
    pub to: String,
    /// Bytes of the archive; 0 when none is needed.
    pub size: u64,
    /// Change of disk use in bytes.
    pub installed_delta: i64,
    /// `exact`, `best-effort` or `impossible`.
    pub undo: String,
    /// Why the undo is not exact; empty when it is.
    pub undo_why: String,
    /// The repository the archive comes from; empty for others.
    pub origin: String,
    /// Whether it will be marked as automatically installed.
    pub auto: bool,
    /// Whether it is essential or protected.
    pub essential: bool,
}

impl From<&PlanItem> for PlanRow {
    fn from(item: &PlanItem) -> Self {
        let text = |version: &Option<backstep_core::Version>| version.as_ref().map(ToString::to_string).unwrap_or_default();
        Self {
            package: item.package.name.to_string(),
            arch: item.package.arch.to_string(),
            action: item.action.to_string(),
            reason: item.reason.to_string(),
            from: text(&item.from),
            to: text(&item.to),
            size: item.archive.as_ref().map_or(0, |archive| archive.size),
            installed_delta: item.installed_delta,
            undo: item.undo.as_str().to_owned(),
            undo_why: item.undo.why().unwrap_or_default().to_owned(),
            origin: item.archive.as_ref().map(|archive| archive.origin.clone()).unwrap_or_default(),
            auto: item.auto_after,
            essential: item.essential,
        }
    }
}

/// One step of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}")]
pub struct StepRow {
    /// A `StepKind`.
    pub kind: String,
    /// For people.
    pub title: String,
    /// A `StepState`.
    pub state: String,
    /// The attempt that touched it last; 0 before any did.
    pub attempt: u32,
    /// Began at; 0 before it did.
    pub started: i64,
    /// Ended at; 0 before it did.
    pub finished: i64,
    /// The error it ended with; empty without one.
    pub error_code: String,
    /// What was done, or what went wrong.
    pub text: String,
}

impl From<&StepRecord> for StepRow {
    fn from(step: &StepRecord) -> Self {
        let at = |stamp: &Option<backstep_core::Stamp>| stamp.as_ref().map_or(0, |stamp| stamp.utc_us);
        Self {
            kind: step.kind.to_string(),
            title: step.kind.title().to_owned(),
            state: step.state.to_string(),
            attempt: step.attempt,
            started: at(&step.started),
            finished: at(&step.finished),
            error_code: step.error.as_ref().map(|error| error.code.to_string()).unwrap_or_default(),
            text: step.error.as_ref().map_or_else(|| step.text.clone(), |error| error.text.clone()),
        }
    }
}

/// One transaction of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}")]
pub struct ListRow {
    /// The id.
    pub id: String,
    /// Where its object is, or will be once `GetTransaction` was called.
    pub path: OwnedObjectPath,
    /// A `Kind`.
    pub kind: String,
    /// A `TransactionState`.
    pub state: String,
    /// A `TrackingStatus`.
    pub status: String,
    /// Why, in the caller's words.
    pub description: Option<String>,
    /// Words by which it is found again.
    pub tags: Option<Vec<String>>,
    /// The caller.
    pub uid: Option<u32>,
    /// The caller's name at that time.
    pub user: Option<String>,
    /// An `Origin`.
    pub origin: Option<String>,
    /// Requested at.
    pub created: i64,
    /// First attempt began at.
    pub started: Option<i64>,
    /// Ended at.
    pub finished: Option<i64>,
    /// Microseconds from start to end.
    pub duration: Option<i64>,
    /// The plan in one line.
    pub summary: Option<String>,
    /// Packages that have their planned state.
    pub items_done: u32,
    /// Packages of the plan.
    pub items_total: u32,
    /// An `ErrorCode`.
    pub error_code: Option<String>,
    /// The error for people.
    pub error_text: Option<String>,
    /// The transaction it undoes.
    pub reverts: Option<String>,
    /// The transaction that undid it.
    pub reverted_by: Option<String>,
}

impl From<&Summary> for ListRow {
    fn from(s: &Summary) -> Self {
        Self {
            id: s.id.to_string(),
            path: transaction_path(s.id),
            kind: s.kind.to_string(),
            state: s.status.state.to_string(),
            status: s.status.state.tracking().to_string(),
            description: some_text(&s.description),
            tags: (!s.tags.is_empty()).then(|| s.tags.texts()),
            uid: Some(s.actor.uid),
            user: some_text(&s.actor.user),
            origin: Some(s.actor.origin.to_string()),
            created: s.created.utc_us,
            started: s.started.map(|stamp| stamp.utc_us),
            finished: s.finished.map(|stamp| stamp.utc_us),
            duration: s.duration_us,
            summary: some_text(&s.plan_summary),
            items_done: s.items_done,
            items_total: s.items_total,
            error_code: s.error.as_ref().map(|error| error.code.to_string()),
            error_text: s.error.as_ref().map(|error| error.text.clone()),
            reverts: s.reverts.map(|id| id.to_string()),
            reverted_by: s.reverted_by.map(|id| id.to_string()),
        }
    }
}

impl ListRow {
    /// The same row without what only the owner and holders of the read action may see.
    #[must_use]
    pub fn redacted(self) -> Self {
        Self {
            description: None,
            tags: None,
            uid: None,
            user: None,
            origin: None,
            summary: None,
            error_code: None,
            error_text: None,
            reverts: None,
            reverted_by: None,
            ..self
        }
    }
}

fn some_text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// What `ListTransactions` narrows by. A closed list of keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub struct ListFilter {
    /// At most so many; absent or 0 is 50.
    pub limit: Option<u32>,
    /// Requested before this transaction.
    pub before: Option<String>,
    /// A `Kind`.
    pub kind: Option<String>,
    /// A `TransactionState`.
    pub state: Option<String>,
    /// Only those that have not ended.
    pub unfinished: Option<bool>,
    /// Touching this package, by name without architecture.
    pub package: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// Asked by this user.
    pub uid: Option<u32>,
    /// An `Origin`.
    pub origin: Option<String>,
    /// Requested at or after this time.
    pub since: Option<i64>,
    /// Requested before this time.
    pub until: Option<i64>,
    /// With these characters in the description, whatever their case.
    pub text: Option<String>,
}

impl ListFilter {
    /// The keys that it may have.
    pub const KEYS: &'static [&'static str] =
        &["limit", "before", "kind", "state", "unfinished", "package", "tag", "uid", "origin", "since", "until", "text"];
}

impl TryFrom<ListFilter> for Filter {
    type Error = Failure;
    /// Refuses unknown names, malformed ids and texts that are too short or too long as `request.malformed`.
    fn try_from(filter: ListFilter) -> Result<Self, Failure> {
        Ok(Self {
            kind: parse(filter.kind)?,
            state: parse(filter.state)?,
            unfinished: filter.unfinished.unwrap_or(false),
            package: filter.package,
            tag: parse(filter.tag)?,
            uid: filter.uid,
            origin: parse(filter.origin)?,
            since_us: filter.since,
            until_us: filter.until,
            text: filter.text.map(searched).transpose()?,
            before: parse(filter.before)?,
            limit: filter.limit.unwrap_or(0),
        })
    }
}

fn searched(text: String) -> Result<String, Failure> {
    let enough = text.chars().count() >= limits::MIN_TEXT;
    if enough && text.len() <= limits::MAX_TEXT && !text.chars().any(char::is_control) {
        return Ok(text);
    }
    let text = format!("a text to search for has at least {} characters, at most {} bytes", limits::MIN_TEXT, limits::MAX_TEXT);
    Err(Failure::new(ErrorCode::RequestMalformed, text))
}

fn parse<T: std::str::FromStr>(text: Option<String>) -> Result<Option<T>, Failure>
where
    T::Err: std::fmt::Display,
{
    text.map(|text| text.parse::<T>().map_err(|e| Failure::new(ErrorCode::RequestMalformed, e.to_string()))).transpose()
}

/// How one kind of transaction fared.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}")]
pub struct StatisticsRow {
    /// A `Kind`.
    pub kind: String,
    /// Transactions that ended.
    pub count: u64,
    /// Of these, completed.
    pub completed: u64,
    /// Of these, failed; the rest was cancelled.
    pub failed: u64,
    /// Running now.
    pub in_progress: u64,
    /// Mean duration, microseconds.
    pub mean_us: i64,
    /// Median duration, microseconds.
    pub p50_us: i64,
    /// 95th percentile of the duration, microseconds.
    pub p95_us: i64,
}

impl From<&KindStatistics> for StatisticsRow {
    fn from(s: &KindStatistics) -> Self {
        Self {
            kind: s.kind.to_string(),
            count: s.count,
            completed: s.completed,
            failed: s.failed,
            in_progress: s.in_progress,
            mean_us: s.mean_us,
            p50_us: s.p50_us,
            p95_us: s.p95_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use super::*;
    use zbus::OwnedVariant;
    use zbus::wire::{LE, serialized::Context, to_bytes};

    fn round_trip<T>(value: &T) -> T
    where
        T: serde::Serialize + serde::de::DeserializeOwned + Type,
    {
        let encoded = to_bytes(Context::new(LE, 0), value).expect("encode");
        encoded.deserialize().expect("decode").0
    }

    #[test]
    fn rows_are_dictionaries_and_keep_everything() {
        assert_eq!(PlanRow::SIGNATURE.to_string(), "a{sv}");
        let row = PlanRow { package: "hello".into(), size: 7, installed_delta: -3, auto: true, ..PlanRow::default() };
        assert_eq!(round_trip(&row), row);
        let row = ListRow { id: "x".into(), path: OwnedObjectPath::try_from("/a").expect("path"), duration: Some(5), ..ListRow::default() };
        assert_eq!(round_trip(&row), row);
        let row = StepRow { kind: "apply".into(), attempt: 2, ..StepRow::default() };
        assert_eq!(round_trip(&row), row);
        let row = StatisticsRow { kind: "install".into(), p95_us: 9, ..StatisticsRow::default() };
        assert_eq!(round_trip(&row), row);
    }

    #[test]
    fn a_filter_names_what_it_does_not_know() {
        let good = ListFilter { kind: Some("install".into()), state: Some("rolled-back".into()), ..ListFilter::default() };
        assert!(Filter::try_from(round_trip(&good)).is_ok());
        let bad = ListFilter { kind: Some("explode".into()), ..ListFilter::default() };
        let failure = Filter::try_from(bad).expect_err("refused");
        assert_eq!((failure.code, failure.text.as_str()), (ErrorCode::RequestMalformed, "unknown kind \"explode\""));
        for text in ["", "ab", "a\nbc", "x".repeat(257).as_str()] {
            let filter = ListFilter { text: Some(text.into()), ..ListFilter::default() };
            assert_eq!(Filter::try_from(filter).expect_err(text).code, ErrorCode::RequestMalformed);
        }
        let tagged = |tag: &str| Filter::try_from(ListFilter { tag: Some(tag.into()), ..ListFilter::default() });
        assert_eq!(tagged("env=prod").map(|filter| filter.tag.map(|tag| tag.to_string())), Ok(Some("env=prod".to_owned())));
        assert_eq!(tagged("Env=prod").expect_err("no tag").code, ErrorCode::RequestMalformed);
    }

    #[test]
    fn the_keys_of_a_filter_are_its_fields() {
        let text = || Some(String::new());
        let whole = ListFilter {
            limit: Some(0),
            before: text(),
            kind: text(),
            state: text(),
            unfinished: Some(false),
            package: text(),
            tag: text(),
            uid: Some(0),
            origin: text(),
            since: Some(0),
            until: Some(0),
            text: text(),
        };
        let encoded = to_bytes(Context::new(LE, 0), &whole).expect("encode");
        let keys: HashMap<String, OwnedVariant> = encoded.deserialize().expect("decode").0;
        assert_eq!(keys.keys().map(String::as_str).collect::<BTreeSet<_>>(), ListFilter::KEYS.iter().copied().collect());
    }
}
