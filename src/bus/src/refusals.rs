//! Rows of calls that were turned away, and what narrows their list. The rules of [`crate::rows`] hold here too.

use backstep_core::refusal::{RefusalFilter, RefusalRecord};
use backstep_core::{ErrorCode, Failure};
use zbus::{DeserializeDict, SerializeDict, Type};

/// One call that was turned away, or a number of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}")]
pub struct RefusalRow {
    /// Its number in the record, from 1.
    pub number: u64,
    /// When; of several, the first.
    pub at: i64,
    /// When the last one was.
    pub until: i64,
    /// How many calls the row stands for; their facts are those of the last one.
    pub count: u64,
    /// The method that was called.
    pub method: String,
    /// The transaction that it was about.
    pub id: Option<String>,
    /// Who.
    pub uid: u32,
    /// Their name at that time.
    pub user: String,
    /// The process, as the bus said.
    pub pid: Option<u32>,
    /// The name of the process, its own claim.
    pub program: Option<String>,
    /// The systemd unit that it ran in.
    pub unit: Option<String>,
    /// Its unique name on the bus.
    pub sender: String,
    /// An `ErrorCode`.
    pub error_code: String,
    /// The same for people.
    pub error_text: String,
}

impl From<&RefusalRecord> for RefusalRow {
    fn from(record: &RefusalRecord) -> Self {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        Self {
            number: record.number,
            at: record.at.utc_us,
            until: record.until.utc_us,
            count: record.count,
            method: record.method.to_string(),
            id: record.transaction.map(|id| id.to_string()),
            uid: record.actor.uid,
            user: record.actor.user.clone(),
            pid: record.actor.pid,
            program: some(&record.program),
            unit: some(&record.actor.unit),
            sender: record.actor.sender.clone(),
            error_code: record.failure.code.to_string(),
            error_text: record.failure.text.clone(),
        }
    }
}

/// What `ListRefusals` narrows by. A closed list of keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub struct RefusalRowFilter {
    /// At most so many; absent or 0 is 50.
    pub limit: Option<u32>,
    /// Before this number.
    pub before: Option<u64>,
    /// Of this user.
    pub uid: Option<u32>,
    /// With this error code.
    pub code: Option<String>,
}

impl TryFrom<RefusalRowFilter> for RefusalFilter {
    type Error = Failure;
    /// Refuses an unknown code as `request.malformed`.
    fn try_from(filter: RefusalRowFilter) -> Result<Self, Failure> {
        let code = filter.code.map(|code| code.parse::<ErrorCode>()).transpose();
        let code = code.map_err(|error| Failure::new(ErrorCode::RequestMalformed, error.to_string()))?;
        Ok(Self { uid: filter.uid, code, before: filter.before, limit: filter.limit.unwrap_or(0) })
    }
}
