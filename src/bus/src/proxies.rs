//! Proxies of the two interfaces. No property is cached: the truth is asked for when it is needed.

use std::collections::HashMap;

use zbus::proxy::CacheProperties;
use zbus::{OwnedObjectPath, Variant, proxy};

use crate::archiving::{ArchiveAnswer, ArchiveOptions};
use crate::backoffs::{BackoffFilter, BackoffRow};
use crate::files::ContentsRow;
use crate::ignores::{IgnoreFilter, IgnoreOptions, IgnoreRow};
use crate::names::{BUS_NAME, TRANSACTION_INTERFACE};
use crate::properties::TransactionProperties;
use crate::redaction::{RedactAnswer, RedactOptions};
use crate::refusals::{RefusalRow, RefusalRowFilter};
use crate::rows::{ListFilter, ListRow, PlanRow, StatisticsRow, StepRow};
use crate::{CallError, Claims};

/// The manager: makes, finds and lists transactions.
#[proxy(interface = "org.backstep1.Manager", default_service = "org.backstep1", default_path = "/org/backstep1")]
pub trait Manager {
    /// Takes a request; free and unprivileged. Nothing is planned yet.
    fn create_transaction(
        &self,
        kind: &str,
        description: &str,
        options: HashMap<&str, Variant<'_>>,
    ) -> zbus::Result<(String, OwnedObjectPath)>;

    /// Takes, plans, authorises and queues a request; answers when it is queued or refused.
    #[zbus(allow_interactive_auth)]
    fn submit(&self, kind: &str, description: &str, options: HashMap<&str, Variant<'_>>) -> zbus::Result<(String, OwnedObjectPath)>;

    /// Finds a transaction by its id or a unique tail of at least four digits of it.
    fn get_transaction(&self, id: &str) -> zbus::Result<OwnedObjectPath>;

    /// Takes the same request again as a new transaction.
    fn retry(&self, id: &str, options: HashMap<&str, Variant<'_>>) -> zbus::Result<(String, OwnedObjectPath)>;

    /// Lists transactions, newest first.
    fn list_transactions(&self, filter: ListFilter) -> zbus::Result<Vec<ListRow>>;

    /// How each kind of transaction fared since then (microseconds since 1970 in UTC; 0 is all).
    fn get_statistics(&self, since_us: i64) -> zbus::Result<Vec<StatisticsRow>>;

    /// Lists calls that were turned away, newest first.
    fn list_refusals(&self, filter: RefusalRowFilter) -> zbus::Result<Vec<RefusalRow>>;

    /// Says which versions nobody is offered, and why; answers the ignore's number.
    #[zbus(allow_interactive_auth)]
    fn add_ignore(&self, pattern: &str, comment: &str, options: IgnoreOptions) -> zbus::Result<u64>;

    /// Takes a text out of the record for good, or only says where it is.
    #[zbus(allow_interactive_auth)]
    fn redact(&self, text: &str, comment: &str, options: RedactOptions) -> zbus::Result<RedactAnswer>;

    /// Moves what had ended before a time to archives beside the record.
    fn archive(&self, before_us: i64, comment: &str, options: ArchiveOptions) -> zbus::Result<ArchiveAnswer>;

    /// Takes an ignore back.
    #[zbus(allow_interactive_auth)]
    fn remove_ignore(&self, number: u64, comment: &str, claims: Claims) -> zbus::Result<()>;

    /// Lists what is ignored.
    fn list_ignores(&self, filter: IgnoreFilter) -> zbus::Result<Vec<IgnoreRow>>;

    /// Has work left alone by what runs unattended; answers the back-off's number.
    #[zbus(allow_interactive_auth)]
    fn add_backoff(&self, subject: &str, process: &str, until: i64, comment: &str, claims: Claims) -> zbus::Result<u64>;

    /// Lets work run again; an empty subject or process is any. Answers how many back-offs held.
    #[zbus(allow_interactive_auth)]
    fn clear_backoffs(&self, subject: &str, process: &str, comment: &str, claims: Claims) -> zbus::Result<u32>;

    /// Lists what is left alone.
    fn list_backoffs(&self, filter: BackoffFilter) -> zbus::Result<Vec<BackoffRow>>;

    /// The daemon's version.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> zbus::Result<String>;

    /// The machine's id, hashed for this program.
    #[zbus(property(emits_changed_signal = "const"))]
    fn host_id(&self) -> zbus::Result<String>;

    /// What is wrong with the record, in words: it was written again, or is only read.
    #[zbus(property(emits_changed_signal = "const"))]
    fn warnings(&self) -> zbus::Result<Vec<String>>;

    /// Transactions a worker has.
    #[zbus(property)]
    fn active(&self) -> zbus::Result<Vec<OwnedObjectPath>>;

    /// Transactions that wait for their turn, in order.
    #[zbus(property)]
    fn queue(&self) -> zbus::Result<Vec<OwnedObjectPath>>;

    /// Transactions that wait for a person.
    #[zbus(property)]
    fn attention(&self) -> zbus::Result<Vec<OwnedObjectPath>>;
}

/// One transaction.
#[proxy(interface = "org.backstep1.Transaction", default_service = "org.backstep1", assume_defaults = false)]
pub trait Transaction {
    /// Begins planning; the state becomes `prepared` or `failed`.
    fn prepare(&self) -> zbus::Result<()>;

    /// Authorises and queues the plan with this digest; answers when it is queued or refused.
    #[zbus(allow_interactive_auth)]
    fn execute(&self, digest: &str) -> zbus::Result<()>;

    /// Asks to stop: `cancelled`, `will-roll-back` or `too-late`.
    #[zbus(allow_interactive_auth)]
    fn cancel(&self) -> zbus::Result<String>;

    /// Goes on where a person was waited for.
    #[zbus(allow_interactive_auth)]
    fn resume(&self) -> zbus::Result<()>;

    /// Undoes where a person was waited for.
    #[zbus(allow_interactive_auth)]
    fn undo(&self) -> zbus::Result<()>;

    /// Accepts things as they are where a person was waited for.
    #[zbus(allow_interactive_auth)]
    fn accept(&self) -> zbus::Result<()>;

    /// Output of the transaction's children from a byte on: bytes, where to go on, whether that is all there will be.
    fn read_log(&self, offset: u64, limit: u32) -> zbus::Result<(Vec<u8>, u64, bool)>;

    /// The lines of its record of files from a byte on: bytes, where to go on, whether that is all there will be.
    fn read_files(&self, offset: u64, limit: u32) -> zbus::Result<(Vec<u8>, u64, bool)>;

    /// What configuration files at or below a path (empty: all) held before and after, after this path (empty: from the
    /// first), and whether that is all there is.
    fn read_contents(&self, path: &str, after: &str) -> zbus::Result<(Vec<ContentsRow>, bool)>;

    /// Keeps its undo material whatever the limits say.
    #[zbus(allow_interactive_auth)]
    fn pin(&self) -> zbus::Result<()>;

    /// Lets the limits decide about its undo material again.
    #[zbus(allow_interactive_auth)]
    fn unpin(&self) -> zbus::Result<()>;

    /// The whole record as a JSON document.
    fn get_document(&self) -> zbus::Result<String>;

    /// The state changed; `seq` orders the changes of one transaction. Its name here is another one because
    /// the property `State` has a stream of that name.
    #[zbus(signal, name = "StateChanged")]
    fn state_turned(&self, id: &str, seq: u64, state: &str) -> zbus::Result<()>;

    /// A step changed.
    #[zbus(signal)]
    fn step_changed(&self, id: &str, step: &str, direction: &str, state: &str) -> zbus::Result<()>;

    /// The progress changed; at most five a second.
    #[zbus(signal)]
    fn progress(&self, id: &str, permille: u32) -> zbus::Result<()>;

    /// An error, to the owner only.
    #[zbus(signal)]
    fn error_occurred(&self, code: &str, text: &str) -> zbus::Result<()>;

    /// It ended; `code` is empty for success.
    #[zbus(signal)]
    fn finished(&self, id: &str, state: &str, code: &str) -> zbus::Result<()>;

    /// The id.
    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> zbus::Result<String>;

    /// A `TransactionState`.
    #[zbus(property)]
    fn state(&self) -> zbus::Result<String>;

    /// The digest to execute; empty before there is a plan.
    #[zbus(property)]
    fn plan_digest(&self) -> zbus::Result<String>;

    /// The plan.
    #[zbus(property(emits_changed_signal = "invalidates"))]
    fn plan(&self) -> zbus::Result<Vec<PlanRow>>;

    /// The steps.
    #[zbus(property(emits_changed_signal = "invalidates"))]
    fn steps(&self) -> zbus::Result<Vec<StepRow>>;
}

impl TransactionProxy<'_> {
    /// A proxy of the object at a path, without a cache of properties.
    pub async fn at(connection: &zbus::Connection, path: &OwnedObjectPath) -> Result<TransactionProxy<'static>, CallError> {
        let builder = TransactionProxy::builder(connection).path(path.clone()).cache_properties(CacheProperties::No);
        Ok(builder.build().await?)
    }

    /// All properties in one call.
    pub async fn properties(&self) -> Result<TransactionProperties, CallError> {
        let properties = Some("org.freedesktop.DBus.Properties");
        let connection = self.inner().connection();
        let path = self.inner().path().to_owned();
        let reply = connection.call_method(Some(BUS_NAME), path, properties, "GetAll", &TRANSACTION_INTERFACE).await?;
        Ok(reply.body().deserialize()?)
    }
}

impl ManagerProxy<'_> {
    /// A proxy without a cache of properties.
    pub async fn without_cache(connection: &zbus::Connection) -> Result<ManagerProxy<'static>, CallError> {
        let builder = ManagerProxy::builder(connection).cache_properties(CacheProperties::No);
        Ok(builder.build().await?)
    }
}
