//! What changed without a transaction becomes one: its request, its plan and its history, as of a plain run of apt.
//!
//! Nobody asked for this plan and nobody authorised it; it says what was found. There is no undo material, so an undo
//! goes by packages.

use std::collections::BTreeMap;

use backstep_core::actor::Actor;
use backstep_core::count::counted;
use backstep_core::drift::{self, Drift};
use backstep_core::{
    Digest, Direction, ErrorCode, Kind, Method, Options, PackageId, Plan, PlanAction, PlanItem, Reason, Request, RequestItem, Stamp,
    StepKind, StepState, Tags, TransactionId, UndoQuality, limits,
};
use backstep_wire::foreign::{Foreign, Process};
use backstep_wire::journal::Record;

/// Who changed it, as far as it is known.
#[derive(Debug, Clone)]
pub struct By {
    /// The person and the program.
    pub actor: Actor,
    /// The program's command line, or how the change was found.
    pub description: String,
    /// The program's process.
    pub process: Process,
    /// When it began.
    pub begun: Stamp,
}

/// The world before, as it was accounted for, and after.
#[derive(Debug, Clone, Copy)]
pub struct Worlds {
    /// Before.
    pub before: Digest,
    /// After.
    pub after: Digest,
}

/// A change that was found, ready to be taken in.
#[derive(Debug, Clone)]
pub struct Found {
    /// The run.
    pub run: Foreign,
    /// Its history, to the last word.
    pub records: Vec<Record>,
}

/// Tells a change as a run of its own. `undo` judges how well each part can be undone.
#[must_use]
pub fn found(id: TransactionId, drifts: &[Drift], by: By, worlds: Worlds, undo: &dyn Fn(&PackageId, PlanAction) -> UndoQuality) -> Found {
    let request = request(drifts, &by.description);
    let mut plan = Plan {
        restores: Vec::new(),
        transaction: id,
        kind: request.kind,
        request: backstep_wire::digest(&backstep_wire::request::to_bytes(&request)),
        world: worlds.before,
        method: if matches!(request.kind, Kind::Hold | Kind::Unhold) { Method::Marks } else { Method::Packages },
        options: request.options.clone(),
        items: drifts.iter().map(|drift| item(drift, undo)).collect(),
        marks: Vec::new(),
        download_bytes: 0,
        warnings: Vec::new(),
    };
    plan.sort();
    let records = records(&plan, drifts, &by, worlds);
    let words: BTreeMap<String, String> = drifts.iter().map(|drift| (drift.package.to_string(), drift.before.clone())).collect();
    let By { actor, process, begun, .. } = by;
    Found { run: Foreign { request, actor, begun, process, plan, words, mark: String::new(), terminal: 0 }, records }
}

/// As many packages as a request may name; the plan has them all.
fn request(drifts: &[Drift], description: &str) -> Request {
    let items = drifts
        .iter()
        .take(limits::MAX_ITEMS)
        .map(|drift| RequestItem::for_change(&drift.package, drift.action, drift.to.as_ref()))
        .collect();
    let (kind, description) = (drift::kind(drifts), description.to_owned());
    Request {
        kind,
        description,
        tags: Tags::default(),
        items,
        archives: Vec::new(),
        reverts: None,
        retries: None,
        options: Options::default(),
    }
}

fn item(drift: &Drift, undo: &dyn Fn(&PackageId, PlanAction) -> UndoQuality) -> PlanItem {
    PlanItem {
        package: drift.package.clone(),
        action: drift.action,
        reason: Reason::Requested,
        from: drift.from.clone(),
        to: drift.to.clone(),
        archive: None,
        installed_delta: 0,
        auto_before: false,
        auto_after: false,
        essential: false,
        leftovers: drift.before.starts_with("config-files"),
        undo: undo(&drift.package, drift.action),
    }
}

fn records(plan: &Plan, drifts: &[Drift], by: &By, worlds: Worlds) -> Vec<Record> {
    let digest = backstep_wire::digest(&backstep_wire::plan::to_bytes(plan));
    let (step, direction) = (StepKind::Apply, Direction::Forward);
    let changed = |drift: &Drift| Record::ItemChanged {
        package: drift.package.to_string(),
        before: drift.before.clone(),
        after: drift.after.clone(),
    };
    let half: Vec<String> =
        drifts.iter().filter(|drift| !drift.settled).map(|drift| format!("{} is {}", drift.package, drift.after)).collect();
    let (state, code, text) = if half.is_empty() {
        (StepState::Completed, None, format!("{} changed without a transaction", counted(drifts.len(), "package")))
    } else {
        (StepState::Failed, Some(ErrorCode::DpkgFailed), half.join("; "))
    };
    let last = match code {
        None => Record::Committed { world: worlds.after },
        Some(code) => Record::Left { world: worlds.after, code, text: text.clone() },
    };
    let mut records = vec![
        Record::Begin { plan: digest, world: worlds.before, boot: by.begun.boot, direction },
        Record::StepStarted { step, direction, log_offset: 0 },
    ];
    records.extend(drifts.iter().map(changed));
    records.push(Record::StepEnded { step, state, code, text });
    records.push(last);
    records
}
