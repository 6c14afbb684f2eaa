//! `org.backstep1.Transaction`: one transaction.
//!
//! Properties with packages, texts and users read empty for callers who are neither the owner nor root nor may see
//! all; they are told as invalidated, never with their value, because signals reach everybody.

use std::sync::Arc;

use backstep_bus::{BusError, ContentsRow, PlanRow, StepRow, TransactionProperties};
use backstep_core::access::Permission;
use backstep_core::doors::Method;
use backstep_core::{AttemptId, Digest, ErrorCode, Failure, TransactionId};
use backstep_engine::manager::{CancelOutcome, Verdict};
use zbus::interface;
use zbus::message::Header;
use zbus::object_server::SignalEmitter;

use super::{interaction, owner_or, redacted};
use crate::attempts::{AttemptFile, Keep};
use crate::authority::{self, Interaction};
use crate::callers::Caller;
use crate::door::Visit;
use crate::reach::Asker;
use crate::service::Service;
use crate::{contents, log, requests};

/// Bytes of a file in one answer.
const MAX_PIECE: u64 = 64 << 10;

/// The object of one transaction.
pub(super) struct TransactionObject {
    pub(super) service: Arc<Service>,
    pub(super) id: TransactionId,
    pub(super) owner: u32,
}

#[interface(name = "org.backstep1.Transaction")]
impl TransactionObject {
    async fn prepare(&self, #[zbus(header)] header: Header<'_>) -> Result<(), BusError> {
        let visit = self.visit(&header, Method::Prepare).await?;
        let allowed = self.may_prepare(&header).await;
        visit.end(allowed.and_then(|()| requests::prepare(&self.service, self.id)))
    }

    async fn execute(&self, digest: String, #[zbus(header)] header: Header<'_>) -> Result<(), BusError> {
        let visit = self.visit(&header, Method::Execute).await?;
        let result = self.execute_plan(&digest, &header).await;
        visit.end(result)
    }

    #[zbus(out_args("outcome"))]
    async fn cancel(&self, #[zbus(header)] header: Header<'_>) -> Result<String, BusError> {
        let visit = self.visit(&header, Method::Cancel).await?;
        let result = self.stop(&header).await;
        visit.end(result)
    }

    async fn resume(&self, #[zbus(header)] header: Header<'_>) -> Result<(), BusError> {
        self.verdict(&header, Method::Resume, Verdict::Resume).await
    }

    async fn undo(&self, #[zbus(header)] header: Header<'_>) -> Result<(), BusError> {
        self.verdict(&header, Method::Undo, Verdict::Undo).await
    }

    async fn accept(&self, #[zbus(header)] header: Header<'_>) -> Result<(), BusError> {
        self.verdict(&header, Method::Accept, Verdict::Accept).await
    }

    #[zbus(out_args("data", "next", "end"))]
    async fn read_log(&self, offset: u64, limit: u32, #[zbus(header)] header: Header<'_>) -> Result<(Vec<u8>, u64, bool), BusError> {
        let visit = self.visit(&header, Method::ReadLog).await?;
        let allowed = owner_or(&self.service, &header, self.owner, Some(Permission::ViewLogs)).await;
        visit.end(allowed.and_then(|_| self.piece(AttemptFile::Log, offset, limit)))
    }

    #[zbus(out_args("data", "next", "end"))]
    async fn read_files(&self, offset: u64, limit: u32, #[zbus(header)] header: Header<'_>) -> Result<(Vec<u8>, u64, bool), BusError> {
        let visit = self.visit(&header, Method::ReadFiles).await?;
        let allowed = owner_or(&self.service, &header, self.owner, Some(Permission::ViewAll)).await;
        visit.end(allowed.and_then(|_| self.piece(AttemptFile::Files, offset, limit)))
    }

    #[zbus(out_args("files", "end"))]
    async fn read_contents(
        &self,
        path: String,
        after: String,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(Vec<ContentsRow>, bool), BusError> {
        let visit = self.visit(&header, Method::ReadContents).await?;
        let result = match owner_or(&self.service, &header, self.owner, Some(Permission::ViewAll)).await {
            Ok(caller) => self.contents(&caller, path, after).await,
            Err(failure) => Err(failure),
        };
        visit.end(result)
    }

    async fn pin(&self, #[zbus(header)] header: Header<'_>) -> Result<(), BusError> {
        self.keep(&header, Method::Pin, Keep::Always).await
    }

    async fn unpin(&self, #[zbus(header)] header: Header<'_>) -> Result<(), BusError> {
        self.keep(&header, Method::Unpin, Keep::WithinLimits).await
    }

    #[zbus(out_args("json"))]
    async fn get_document(&self, #[zbus(header)] header: Header<'_>) -> Result<String, BusError> {
        let visit = self.visit(&header, Method::GetDocument).await?;
        let allowed = owner_or(&self.service, &header, self.owner, Some(Permission::ViewAll)).await;
        visit.end(allowed.and_then(|_| self.document()))
    }

    // Named apart from the notifier that the property `State` gets.
    #[zbus(signal, name = "StateChanged")]
    pub(super) async fn state_turned(emitter: &SignalEmitter<'_>, id: &str, seq: u64, state: &str) -> zbus::Result<()>;

    #[zbus(signal)]
    pub(super) async fn step_changed(emitter: &SignalEmitter<'_>, id: &str, step: &str, direction: &str, state: &str) -> zbus::Result<()>;

    #[zbus(signal)]
    pub(super) async fn progress(emitter: &SignalEmitter<'_>, id: &str, permille: u32) -> zbus::Result<()>;

    #[zbus(signal)]
    pub(super) async fn error_occurred(emitter: &SignalEmitter<'_>, code: &str, text: &str) -> zbus::Result<()>;

    #[zbus(signal)]
    pub(super) async fn finished(emitter: &SignalEmitter<'_>, id: &str, state: &str, code: &str) -> zbus::Result<()>;

    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> String {
        self.whole().id.clone()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn kind(&self) -> String {
        self.whole().kind.clone()
    }

    #[zbus(property)]
    fn state(&self) -> String {
        self.whole().state.clone()
    }

    #[zbus(property)]
    fn status(&self) -> String {
        self.whole().status.clone()
    }

    #[zbus(property)]
    fn attempts(&self) -> u32 {
        self.whole().attempts
    }

    #[zbus(property)]
    fn queue_position(&self) -> u32 {
        self.whole().queue_position
    }

    #[zbus(property)]
    fn permille(&self) -> u32 {
        self.whole().permille
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn created_at(&self) -> i64 {
        self.whole().created_at
    }

    #[zbus(property)]
    fn queued_at(&self) -> i64 {
        self.whole().queued_at
    }

    #[zbus(property)]
    fn started_at(&self) -> i64 {
        self.whole().started_at
    }

    #[zbus(property)]
    fn finished_at(&self) -> i64 {
        self.whole().finished_at
    }

    #[zbus(property)]
    fn duration(&self) -> i64 {
        self.whole().duration
    }

    #[zbus(property)]
    fn remaining_seconds(&self) -> i32 {
        self.whole().remaining_seconds
    }

    #[zbus(property)]
    fn cancellable(&self) -> bool {
        self.whole().cancellable
    }

    #[zbus(property)]
    fn point_of_no_return(&self) -> bool {
        self.whole().point_of_no_return
    }

    #[zbus(property)]
    fn actions(&self) -> Vec<String> {
        self.whole().actions.clone()
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn pinned(&self) -> bool {
        self.service.attempts.is_pinned(self.id)
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn description(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.seen(header).await.description.clone()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn tags(&self, #[zbus(header)] header: Option<Header<'_>>) -> Vec<String> {
        self.seen(header).await.tags.clone()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn user(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.seen(header).await.user.clone()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn uid(&self, #[zbus(header)] header: Option<Header<'_>>) -> u32 {
        self.seen(header).await.uid
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn origin(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.seen(header).await.origin.clone()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn client(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.seen(header).await.client.clone()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn reverts(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.seen(header).await.reverts.clone()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn retries(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.seen(header).await.retries.clone()
    }

    #[zbus(property(emits_changed_signal = "invalidates"))]
    async fn reverted_by(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.seen(header).await.reverted_by.clone()
    }

    #[zbus(property(emits_changed_signal = "invalidates"))]
    async fn plan(&self, #[zbus(header)] header: Option<Header<'_>>) -> Vec<PlanRow> {
        self.seen(header).await.plan.clone()
    }

    #[zbus(property(emits_changed_signal = "invalidates"))]
    async fn plan_digest(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.seen(header).await.plan_digest.clone()
    }

    #[zbus(property(emits_changed_signal = "invalidates"))]
    async fn plan_summary(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.seen(header).await.plan_summary.clone()
    }

    #[zbus(property(emits_changed_signal = "invalidates"))]
    async fn plan_warnings(&self, #[zbus(header)] header: Option<Header<'_>>) -> Vec<String> {
        self.seen(header).await.plan_warnings.clone()
    }

    #[zbus(property(emits_changed_signal = "invalidates"))]
    async fn method(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.seen(header).await.method.clone()
    }

    #[zbus(property(emits_changed_signal = "invalidates"))]
    async fn download_bytes(&self, #[zbus(header)] header: Option<Header<'_>>) -> u64 {
        self.seen(header).await.download_bytes
    }

    #[zbus(property(emits_changed_signal = "invalidates"))]
    async fn installed_delta(&self, #[zbus(header)] header: Option<Header<'_>>) -> i64 {
        self.seen(header).await.installed_delta
    }

    #[zbus(property(emits_changed_signal = "invalidates"))]
    async fn irreversible(&self, #[zbus(header)] header: Option<Header<'_>>) -> bool {
        self.seen(header).await.irreversible
    }

    #[zbus(property(emits_changed_signal = "invalidates"))]
    async fn steps(&self, #[zbus(header)] header: Option<Header<'_>>) -> Vec<StepRow> {
        self.seen(header).await.steps.clone()
    }

    #[zbus(property(emits_changed_signal = "invalidates"))]
    async fn phase(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.seen(header).await.phase.clone()
    }

    #[zbus(property(emits_changed_signal = "invalidates"))]
    async fn current_package(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.seen(header).await.current_package.clone()
    }

    #[zbus(property(emits_changed_signal = "invalidates"))]
    async fn error_code(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.seen(header).await.error_code.clone()
    }

    #[zbus(property(emits_changed_signal = "invalidates"))]
    async fn error_text(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.seen(header).await.error_text.clone()
    }

    #[zbus(property(emits_changed_signal = "invalidates"))]
    async fn differences(&self, #[zbus(header)] header: Option<Header<'_>>) -> Vec<String> {
        self.seen(header).await.differences.clone()
    }

    #[zbus(property(emits_changed_signal = "invalidates"))]
    async fn waits_for(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.seen(header).await.waits_for.clone()
    }
}

impl TransactionObject {
    async fn may_prepare(&self, header: &Header<'_>) -> Result<(), Failure> {
        let caller = owner_or(&self.service, header, self.owner, None).await?;
        let asker = Asker { caller: &caller, subject: &authority::subject(header)?, interaction: interaction(header) };
        asker.may_plan(&self.service, self.id).await
    }

    async fn visit(&self, header: &Header<'_>, method: Method) -> Result<Visit, BusError> {
        Visit::at(&self.service, header, method, self.id).await
    }

    async fn execute_plan(&self, digest: &str, header: &Header<'_>) -> Result<(), Failure> {
        let caller = owner_or(&self.service, header, self.owner, None).await?;
        let malformed = |error: backstep_core::id::IdError| Failure::new(ErrorCode::RequestMalformed, error.to_string());
        let digest: Digest = digest.parse().map_err(malformed)?;
        let subject = authority::subject(header)?;
        requests::execute(&self.service, &caller, &subject, self.id, digest, interaction(header)).await
    }

    async fn stop(&self, header: &Header<'_>) -> Result<String, Failure> {
        let caller = owner_or(&self.service, header, self.owner, Some(Permission::CancelAny)).await?;
        let outcome = self.service.decide(|manager| manager.cancel(self.id, caller.uid))?;
        if let CancelOutcome::WillRollBack(attempt) = outcome {
            self.service.attempts.request_cancel(attempt)?;
        }
        Ok(outcome.as_str().to_owned())
    }

    async fn verdict(&self, header: &Header<'_>, method: Method, verdict: Verdict) -> Result<(), BusError> {
        let visit = self.visit(header, method).await?;
        let result = self.decide(visit.caller(), header, verdict).await;
        visit.end(result)
    }

    async fn decide(&self, caller: &Caller, header: &Header<'_>, verdict: Verdict) -> Result<(), Failure> {
        let subject = authority::subject(header)?;
        self.service.authority.check(caller, &subject, Permission::ResolveAttention, &[], interaction(header)).await?;
        self.service.decide(|manager| manager.decide(self.id, verdict))
    }

    async fn contents(&self, caller: &Caller, path: String, after: String) -> Result<(Vec<ContentsRow>, bool), Failure> {
        let summary = self.service.read(|manager| manager.ledger().summary(self.id))?.ok_or_else(|| self.gone())?;
        let (attempts, transaction) = (self.service.attempts.clone(), self.id);
        let changed = summary.status.attempts > 0 && summary.status.state.is_final();
        if changed && !attempts.has_capture(transaction) {
            let text = "its undo material is given up, and what files held with it";
            return Err(Failure::new(ErrorCode::UndoMaterial, text));
        }
        let reader = if caller.uid == 0 { contents::Reader::Root } else { contents::Reader::Other };
        let file = attempts.capture(AttemptId { transaction, number: 1 }).join("contents.jsonl");
        let _call = self.service.call();
        self.service.records.run(move || contents::read(&file, &path, &after, reader)).await
    }

    async fn keep(&self, header: &Header<'_>, method: Method, keep: Keep) -> Result<(), BusError> {
        let visit = self.visit(header, method).await?;
        let result = self.kept(visit.caller(), header, keep).await;
        visit.end(result)
    }

    async fn kept(&self, caller: &Caller, header: &Header<'_>, keep: Keep) -> Result<(), Failure> {
        let subject = authority::subject(header)?;
        self.service.authority.check(caller, &subject, Permission::Pin, &[], interaction(header)).await?;
        let attempts = &self.service.attempts;
        match (keep, attempts.is_pinned(self.id)) {
            (Keep::Always, true) | (Keep::WithinLimits, false) => return Ok(()),
            (Keep::Always, false) => {
                self.service.read(|manager| manager.check_pin(self.id))?;
                attempts.pin(self.id)?;
            }
            (Keep::WithinLimits, true) => attempts.unpin(self.id)?,
        }
        log::kept(self.id, keep, caller.uid);
        Ok(())
    }

    fn piece(&self, file: AttemptFile, offset: u64, limit: u32) -> Result<(Vec<u8>, u64, bool), Failure> {
        let summary = self.service.read(|manager| manager.ledger().summary(self.id))?.ok_or_else(|| self.gone())?;
        let limit = if limit == 0 { MAX_PIECE } else { u64::from(limit).min(MAX_PIECE) };
        let (data, next) = self.service.attempts.read_piece(file, self.id, summary.status.attempts, (offset, limit))?;
        let end = summary.status.state.is_final() && (data.len() as u64) < limit;
        Ok((data, next, end))
    }

    fn document(&self) -> Result<String, Failure> {
        let record = self.service.read(|manager| manager.ledger().record(self.id))?.ok_or_else(|| self.gone())?;
        Ok(backstep_spool::document(&record, &self.service.host_id))
    }

    fn gone(&self) -> Failure {
        Failure::new(ErrorCode::TransactionUnknown, format!("no transaction has the id {}", self.id))
    }

    /// Everything there is to see; empty when the record cannot be read, which is logged.
    fn whole(&self) -> Arc<TransactionProperties> {
        match self.service.properties(self.id) {
            Ok(Some(properties)) => properties,
            Ok(None) => Arc::default(),
            Err(failure) => {
                tracing::error!("cannot read transaction {}: {failure}", self.id);
                Arc::default()
            }
        }
    }

    /// What this caller may see. Without a message there is no caller, and nothing private.
    async fn seen(&self, header: Option<Header<'_>>) -> Arc<TransactionProperties> {
        let whole = self.whole();
        let Some(header) = header else { return Arc::new(redacted(&whole)) };
        if self.may_see(&header).await { whole } else { Arc::new(redacted(&whole)) }
    }

    async fn may_see(&self, header: &Header<'_>) -> bool {
        let Ok(caller) = self.service.callers.of(header).await else { return false };
        if caller.uid == 0 || caller.uid == self.owner {
            return true;
        }
        let serial = header.primary().serial_num().get();
        if self.service.is_unseeing(&caller.sender, serial) {
            return false;
        }
        let Ok(subject) = authority::subject(header) else { return false };
        let seen = self.service.authority.check(&caller, &subject, Permission::ViewAll, &[], Interaction::Refused).await.is_ok();
        if !seen {
            self.service.remember_unseeing(&caller.sender, serial);
        }
        seen
    }
}
