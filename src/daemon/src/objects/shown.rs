//! What clients see of a transaction: the manager's view as properties, whole or without what is private.

use backstep_bus::{PlanRow, StepRow, TransactionProperties};
use backstep_core::record::Summary;
use backstep_core::state::Action;
use backstep_core::{Plan, Stamp, Status, TransactionId};
use backstep_engine::manager::View;

/// The properties as the owner sees them.
#[must_use]
pub fn shown(view: &View) -> TransactionProperties {
    let summary = &view.record.summary;
    let mut shown = TransactionProperties {
        queue_position: view.queue_position,
        permille: u32::from(view.progress.permille),
        plan_digest: view.record.plan_digest.map(|digest| digest.to_string()).unwrap_or_default(),
        steps: view.record.steps.iter().map(StepRow::from).collect(),
        phase: view.progress.what.clone(),
        current_package: view.progress.package.clone(),
        remaining_seconds: view.progress.remaining_s.map_or(-1, |seconds| i32::try_from(seconds).unwrap_or(i32::MAX)),
        cancellable: view.cancellable,
        point_of_no_return: view.point_of_no_return,
        differences: view.differences.clone(),
        waits_for: view.waits_for.clone(),
        ..of_summary(summary)
    };
    if let Some(plan) = &view.plan {
        show_plan(&mut shown, plan);
    }
    shown
}

fn of_summary(summary: &Summary) -> TransactionProperties {
    let at = |stamp: Option<Stamp>| stamp.map_or(0, |stamp| stamp.utc_us);
    let id = |id: Option<TransactionId>| id.map(|id| id.to_string()).unwrap_or_default();
    let state = summary.status.state;
    TransactionProperties {
        id: summary.id.to_string(),
        kind: summary.kind.to_string(),
        state: state.to_string(),
        status: state.tracking().to_string(),
        description: summary.description.clone(),
        tags: summary.tags.texts(),
        user: summary.actor.user.clone(),
        uid: summary.actor.uid,
        origin: summary.actor.origin.to_string(),
        client: summary.actor.client.clone(),
        reverts: id(summary.reverts),
        retries: id(summary.retries),
        reverted_by: id(summary.reverted_by),
        attempts: summary.status.attempts,
        created_at: summary.created.utc_us,
        queued_at: at(summary.queued),
        started_at: at(summary.started),
        finished_at: at(summary.finished),
        duration: summary.duration_us.unwrap_or(0),
        error_code: summary.error.as_ref().map(|error| error.code.to_string()).unwrap_or_default(),
        error_text: summary.error.as_ref().map(|error| error.text.clone()).unwrap_or_default(),
        actions: actions(summary.status),
        ..TransactionProperties::default()
    }
}

/// Only an undo can be tried again, so `resume` is offered only for one.
fn actions(status: Status) -> Vec<String> {
    let offered = |action: &&Action| **action != Action::Resume || status.undoing;
    status.state.actions().iter().filter(offered).map(ToString::to_string).collect()
}

fn show_plan(shown: &mut TransactionProperties, plan: &Plan) {
    shown.plan = plan.items.iter().map(PlanRow::from).collect();
    shown.plan_summary = plan.summary();
    shown.plan_warnings.clone_from(&plan.warnings);
    shown.method = plan.method.as_str().to_owned();
    shown.download_bytes = plan.download_bytes;
    shown.installed_delta = plan.installed_delta();
    shown.irreversible = plan.is_irreversible();
}

/// The same without packages, texts and users: what everybody may see.
#[must_use]
pub fn redacted(whole: &TransactionProperties) -> TransactionProperties {
    TransactionProperties {
        id: whole.id.clone(),
        kind: whole.kind.clone(),
        state: whole.state.clone(),
        status: whole.status.clone(),
        uid: backstep_bus::names::UID_HIDDEN,
        attempts: whole.attempts,
        queue_position: whole.queue_position,
        permille: whole.permille,
        created_at: whole.created_at,
        queued_at: whole.queued_at,
        started_at: whole.started_at,
        finished_at: whole.finished_at,
        duration: whole.duration,
        remaining_seconds: whole.remaining_seconds,
        cancellable: whole.cancellable,
        point_of_no_return: whole.point_of_no_return,
        actions: whole.actions.clone(),
        ..TransactionProperties::default()
    }
}
