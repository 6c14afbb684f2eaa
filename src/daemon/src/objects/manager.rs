//! `org.backstep1.Manager`: takes requests, finds and lists transactions.

use std::collections::HashMap;
use std::sync::Arc;

use backstep_bus::names::transaction_path;
use backstep_bus::{
    ArchiveOptions, BackoffFilter, BackoffRow, BusError, Claims, IgnoreFilter, IgnoreOptions, IgnoreRow, ListFilter, ListRow, OptionValue,
    RedactOptions, RefusalRow, RefusalRowFilter, StatisticsRow,
};
use backstep_core::access::Permission;
use backstep_core::actor::Origin;
use backstep_core::doors::Method;
use backstep_core::record::Filter;
use backstep_core::refusal::RefusalFilter;
use backstep_core::{ErrorCode, Failure, TransactionId, TransactionState};
use backstep_engine::manager::Created;
use zbus::message::Header;
use zbus::{OwnedObjectPath, interface};

use super::{Registry, find, interaction};
use crate::authority::{self, Interaction};
use crate::callers::Caller;
use crate::door::Visit;
use crate::foreign;
use crate::reach::Asker;
use crate::requests::{self, RetryClaims};
use crate::service::Service;

/// Rows of one list at most.
const MAX_ROWS: u32 = 500;

/// The object at `/org/backstep1`.
pub(super) struct ManagerObject {
    pub(super) service: Arc<Service>,
    pub(super) registry: Arc<Registry>,
}

#[interface(name = "org.backstep1.Manager")]
impl ManagerObject {
    #[zbus(out_args("id", "path"))]
    async fn create_transaction(
        &self,
        kind: String,
        description: String,
        options: HashMap<String, OptionValue>,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(String, OwnedObjectPath), BusError> {
        let visit = Visit::begin(&self.service, &header, Method::CreateTransaction).await?;
        foreign::refresh(&self.service).await;
        let result = self.create(visit.caller(), &kind, &description, options, &header).await;
        visit.end(result)
    }

    #[zbus(out_args("id", "path"))]
    async fn submit(
        &self,
        kind: String,
        description: String,
        options: HashMap<String, OptionValue>,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(String, OwnedObjectPath), BusError> {
        let mut visit = Visit::begin(&self.service, &header, Method::Submit).await?;
        foreign::refresh(&self.service).await;
        let created = self.taken(visit.caller(), &kind, &description, options, &header).await;
        if let Ok(created) = &created {
            visit.is_about(created.id);
        }
        let result = self.submit_created(visit.caller(), created, &header).await;
        visit.end(result)
    }

    #[zbus(out_args("path"))]
    async fn get_transaction(&self, id: String, #[zbus(header)] header: Header<'_>) -> Result<OwnedObjectPath, BusError> {
        let visit = Visit::begin(&self.service, &header, Method::GetTransaction).await?;
        foreign::refresh(&self.service).await;
        let result = self.get(&id).await;
        visit.end(result)
    }

    #[zbus(out_args("id", "path"))]
    async fn retry(
        &self,
        id: String,
        options: HashMap<String, OptionValue>,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(String, OwnedObjectPath), BusError> {
        let mut visit = Visit::begin(&self.service, &header, Method::Retry).await?;
        foreign::refresh(&self.service).await;
        let found = find(&self.service, &id);
        if let Ok(id) = &found {
            visit.is_about(*id);
        }
        let result = self.retry_found(found, options, &header).await;
        visit.end(result)
    }

    #[zbus(out_args("transactions"))]
    async fn list_transactions(&self, filter: ListFilter, #[zbus(header)] header: Header<'_>) -> Result<Vec<ListRow>, BusError> {
        let visit = Visit::begin(&self.service, &header, Method::ListTransactions).await?;
        foreign::refresh(&self.service).await;
        let result = self.list(visit.caller(), filter, &header).await;
        visit.end(result)
    }

    #[zbus(out_args("statistics"))]
    async fn get_statistics(&self, since_us: i64, #[zbus(header)] header: Header<'_>) -> Result<Vec<StatisticsRow>, BusError> {
        let visit = Visit::begin(&self.service, &header, Method::GetStatistics).await?;
        foreign::refresh(&self.service).await;
        let rows = self.service.records.ask(move |reader| reader.statistics(since_us)).await;
        visit.end(rows.map(|rows| rows.iter().map(StatisticsRow::from).collect()))
    }

    #[zbus(out_args("refusals"))]
    async fn list_refusals(&self, filter: RefusalRowFilter, #[zbus(header)] header: Header<'_>) -> Result<Vec<RefusalRow>, BusError> {
        let visit = Visit::begin(&self.service, &header, Method::ListRefusals).await?;
        let result = self.refusals(visit.caller(), filter, &header).await;
        visit.end(result)
    }

    #[zbus(out_args("number"))]
    async fn add_ignore(
        &self,
        pattern: String,
        comment: String,
        options: IgnoreOptions,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<u64, BusError> {
        let visit = Visit::begin(&self.service, &header, Method::AddIgnore).await?;
        let result = self.ignore((&pattern, &comment), &options, &header).await;
        visit.end(result)
    }

    async fn remove_ignore(
        &self,
        number: u64,
        comment: String,
        claims: Claims,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), BusError> {
        let visit = Visit::begin(&self.service, &header, Method::RemoveIgnore).await?;
        let result = self.unignore(number, comment, &claims, &header).await;
        visit.end(result)
    }

    #[zbus(out_args("ignores"))]
    async fn list_ignores(&self, filter: IgnoreFilter, #[zbus(header)] header: Header<'_>) -> Result<Vec<IgnoreRow>, BusError> {
        let visit = Visit::begin(&self.service, &header, Method::ListIgnores).await?;
        let result = self.ignores(visit.caller(), &filter, &header).await;
        visit.end(result)
    }

    #[zbus(out_args("number"))]
    async fn add_backoff(
        &self,
        subject: String,
        process: String,
        until: i64,
        comment: String,
        claims: Claims,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<u64, BusError> {
        let visit = Visit::begin(&self.service, &header, Method::AddBackoff).await?;
        let result = self.back_off((&subject, &process), (until, comment), &claims, &header).await;
        visit.end(result)
    }

    #[zbus(out_args("cleared"))]
    async fn clear_backoffs(
        &self,
        subject: String,
        process: String,
        comment: String,
        claims: Claims,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<u32, BusError> {
        let visit = Visit::begin(&self.service, &header, Method::ClearBackoffs).await?;
        let result = self.cleared((&subject, &process), comment, &claims, &header).await;
        visit.end(result)
    }

    #[zbus(out_args("backoffs"))]
    async fn list_backoffs(&self, filter: BackoffFilter, #[zbus(header)] header: Header<'_>) -> Result<Vec<BackoffRow>, BusError> {
        let visit = Visit::begin(&self.service, &header, Method::ListBackoffs).await?;
        let result = self.backoffs(visit.caller(), &filter, &header).await;
        visit.end(result)
    }

    #[zbus(out_args("number", "places", "transactions"))]
    async fn redact(
        &self,
        text: String,
        comment: String,
        options: RedactOptions,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(u64, Vec<(String, u64)>, Vec<String>), BusError> {
        let visit = Visit::begin(&self.service, &header, Method::Redact).await?;
        let result = self.redacted((text, comment), &options, &header).await;
        visit.end(result)
    }

    #[zbus(out_args("transactions", "events", "files"))]
    async fn archive(
        &self,
        before_us: i64,
        comment: String,
        options: ArchiveOptions,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(u64, u64, Vec<String>), BusError> {
        let visit = Visit::begin(&self.service, &header, Method::Archive).await?;
        let result = self.archived(visit.caller(), (before_us, &comment), &options).await;
        visit.end(result)
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn host_id(&self) -> String {
        self.service.host_id.clone()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn warnings(&self) -> Vec<String> {
        self.service.warnings.clone()
    }

    #[zbus(property)]
    fn active(&self) -> zbus::fdo::Result<Vec<OwnedObjectPath>> {
        self.paths(TransactionState::is_active)
    }

    #[zbus(property)]
    fn queue(&self) -> zbus::fdo::Result<Vec<OwnedObjectPath>> {
        let queue = self.service.read(backstep_engine::Manager::queue).map_err(failed)?;
        Ok(queue.into_iter().map(transaction_path).collect())
    }

    #[zbus(property)]
    fn attention(&self) -> zbus::fdo::Result<Vec<OwnedObjectPath>> {
        self.paths(|state| state == TransactionState::NeedsAttention)
    }
}

impl ManagerObject {
    async fn create(
        &self,
        caller: &Caller,
        kind: &str,
        description: &str,
        options: HashMap<String, OptionValue>,
        header: &Header<'_>,
    ) -> Result<(String, OwnedObjectPath), Failure> {
        let created = self.taken(caller, kind, description, options, header).await?;
        self.answer(created.id).await
    }

    async fn taken(
        &self,
        caller: &Caller,
        kind: &str,
        description: &str,
        options: HashMap<String, OptionValue>,
        header: &Header<'_>,
    ) -> Result<Created, Failure> {
        let asker = Asker { caller, subject: &authority::subject(header)?, interaction: interaction(header) };
        requests::create(&self.service, &asker, kind, description, options).await
    }

    async fn submit_created(
        &self,
        caller: &Caller,
        created: Result<Created, Failure>,
        header: &Header<'_>,
    ) -> Result<(String, OwnedObjectPath), Failure> {
        let created = created?;
        let answer = self.answer(created.id).await?;
        if !created.existed {
            let subject = authority::subject(header)?;
            requests::submit(&self.service, caller.clone(), subject, created.id, interaction(header)).await?;
        }
        Ok(answer)
    }

    async fn get(&self, id: &str) -> Result<OwnedObjectPath, Failure> {
        Ok(self.answer(find(&self.service, id)?).await?.1)
    }

    async fn retry_found(
        &self,
        found: Result<TransactionId, Failure>,
        options: HashMap<String, OptionValue>,
        header: &Header<'_>,
    ) -> Result<(String, OwnedObjectPath), Failure> {
        let id = found?;
        let caller = self.owner_of(id, header).await?;
        let claims = retry_options(options)?;
        let asker = Asker { caller: &caller, subject: &authority::subject(header)?, interaction: interaction(header) };
        let created = requests::retry(&self.service, &asker, id, claims).await?;
        self.answer(created.id).await
    }

    async fn list(&self, caller: &Caller, filter: ListFilter, header: &Header<'_>) -> Result<Vec<ListRow>, Failure> {
        let mut filter = Filter::try_from(filter)?;
        filter.limit = if filter.limit == 0 { 50 } else { filter.limit.min(MAX_ROWS) };
        let all = self.sees_all(caller, header).await?;
        let hidden = filter.package.is_some() || filter.text.is_some() || filter.tag.is_some() || filter.origin.is_some();
        if !all && (hidden || filter.uid.is_some_and(|uid| uid != caller.uid)) {
            // Narrowing by what is hidden would reveal it.
            filter.uid = Some(caller.uid);
        }
        let rows = self.service.read(|manager| manager.ledger().list(&filter))?;
        let row = |summary: &backstep_core::record::Summary| {
            let row = ListRow::from(summary);
            if all || summary.actor.uid == caller.uid { row } else { row.redacted() }
        };
        Ok(rows.iter().map(row).collect())
    }

    async fn refusals(&self, caller: &Caller, filter: RefusalRowFilter, header: &Header<'_>) -> Result<Vec<RefusalRow>, Failure> {
        let mut filter = RefusalFilter::try_from(filter)?;
        filter.limit = if filter.limit == 0 { 50 } else { filter.limit.min(MAX_ROWS) };
        if !self.sees_all(caller, header).await? {
            filter.uid = Some(caller.uid);
        }
        let rows = self.service.read(|manager| manager.ledger().refusals(&filter))?;
        Ok(rows.iter().map(RefusalRow::from).collect())
    }

    async fn answer(&self, id: TransactionId) -> Result<(String, OwnedObjectPath), Failure> {
        self.registry.export(&self.service, id).await?;
        Ok((id.to_string(), transaction_path(id)))
    }

    fn paths(&self, wanted: impl Fn(TransactionState) -> bool) -> zbus::fdo::Result<Vec<OwnedObjectPath>> {
        let unfinished = self.service.read(|manager| manager.ledger().unfinished()).map_err(failed)?;
        Ok(unfinished.into_iter().filter(|summary| wanted(summary.status.state)).map(|summary| transaction_path(summary.id)).collect())
    }

    pub(super) async fn sees_all(&self, caller: &Caller, header: &Header<'_>) -> Result<bool, Failure> {
        let subject = authority::subject(header)?;
        Ok(self.service.authority.check(caller, &subject, Permission::ViewAll, &[], Interaction::Refused).await.is_ok())
    }

    async fn owner_of(&self, id: TransactionId, header: &Header<'_>) -> Result<Caller, Failure> {
        let summary = self.service.read(|manager| manager.ledger().summary(id))?;
        let owner = summary.map_or(0, |summary| summary.actor.uid);
        super::owner_or(&self.service, header, owner, Some(Permission::ViewAll)).await
    }
}

fn failed(failure: Failure) -> zbus::fdo::Error {
    zbus::fdo::Error::Failed(failure.text)
}

/// `Retry` takes the claims of who asks, and a new description; nothing that would change what is asked for.
fn retry_options(options: HashMap<String, OptionValue>) -> Result<RetryClaims, Failure> {
    let mut claims = RetryClaims::default();
    for (key, value) in options {
        let malformed = |text: String| Failure::new(ErrorCode::RequestMalformed, text);
        let text = String::try_from(value).map_err(|_| malformed(format!("option {:?} has the wrong type", clip(&key))))?;
        match key.as_str() {
            "client" => claims.client = text,
            "comment" => claims.comment = Some(text),
            "origin" if text == "cli" => claims.origin = Origin::Cli,
            "origin" if text == "timer" => claims.origin = Origin::Timer,
            "origin" => return Err(malformed(format!("a client cannot claim the origin {:?}", clip(&text)))),
            _ => return Err(Failure::new(ErrorCode::RequestUnknownOption, format!("unknown option {:?}", clip(&key)))),
        }
    }
    Ok(claims)
}

fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}
