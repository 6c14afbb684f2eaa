//! Resolves one request to one plan, as apt-get would, without changing anything.
//!
//! Purpose: the only program that links libapt. One process answers one question: libapt's state is global and
//! not to be trusted twice. Invariants: nothing is written outside a private temporary folder; no lock is taken;
//! every name, version and digest of a plan comes from libapt or dpkg's database, never from the caller's words.
//! Absent on purpose: a resolver of our own, the network, root.

pub mod channel;

mod action_group;
mod configuration;
mod explain;
mod intent;
mod local;
mod marks;
mod resolve;
mod rollback;
mod rows;
mod series;
mod snapshot;
mod space;

use std::os::fd::OwnedFd;

use backstep_core::{Failure, Kind, Method, Plan, PlanItem, Request};
use backstep_wire::planner::{Answer, Question};

use crate::configuration::Configuration;
use crate::snapshot::Snapshot;

/// Settings of apt that replace the system's, in order: key and value. For tests only.
pub type Settings = Vec<(String, String)>;

/// Reads settings in the flat form `Key "value";`, one a line; `None` when a line is of another form.
#[must_use]
pub fn settings(text: &str) -> Option<Settings> {
    let line = |line: &str| {
        let (key, value) = line.strip_suffix("\";")?.split_once(" \"")?;
        Some((key.to_owned(), value.to_owned()))
    };
    text.lines().map(str::trim).filter(|text| !text.is_empty() && !text.starts_with("//")).map(line).collect()
}

/// Answers. `archives` are the descriptors in the order of [`Question::archives`]. Can be called once in a
/// process: libapt keeps what it was told.
pub fn answer(question: &Question, archives: Vec<OwnedFd>, settings: &Settings) -> Answer {
    let configuration = Configuration::load(settings, &question.request.options);
    let snapshot = Snapshot::read(&configuration)?;
    if !rollback::brings_back(question, &snapshot) {
        snapshot.check_interrupted()?;
    }
    let plan = match question.request.kind {
        Kind::Hold | Kind::Unhold => marks::plan(question, &configuration, &snapshot),
        Kind::Rollback => rollback::plan(question, archives, &configuration, &snapshot),
        Kind::Install
        | Kind::Remove
        | Kind::Purge
        | Kind::Update
        | Kind::Upgrade
        | Kind::FullUpgrade
        | Kind::Autoremove
        | Kind::Downgrade
        | Kind::Reinstall => resolve::plan(question, archives, &configuration, &snapshot),
    }?;
    snapshot.check_unchanged(&configuration)?;
    Ok(plan)
}

/// A plan of these items, everything else as the question says.
fn plan_of(question: &Question, snapshot: &Snapshot, method: Method, items: Vec<PlanItem>) -> Plan {
    let mut plan = Plan {
        transaction: question.transaction,
        kind: question.request.kind,
        request: question.request_digest,
        world: snapshot.world,
        method,
        options: question.request.options.clone(),
        items,
        marks: Vec::new(),
        restores: Vec::new(),
        download_bytes: 0,
        warnings: Vec::new(),
    };
    plan.sort();
    plan
}

/// What a request would need of libapt's answers, or why there is none.
type Outcome<T> = Result<T, Failure>;

/// Whether a request's own words allow packages to go to earlier versions.
fn may_downgrade(request: &Request) -> bool {
    request.options.allow_downgrade || request.kind == Kind::Downgrade
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_flat_and_nothing_else() {
        let read = settings("// tests\nDir \"/x\";\nAPT::Install-Recommends \"false\";\n").expect("reads");
        assert_eq!(read[0], ("Dir".to_owned(), "/x".to_owned()));
        assert_eq!(settings("Dir { State \"x\"; };"), None);
    }
}
