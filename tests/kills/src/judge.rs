//! What must be true of a cell at rest: every file is as before or as after the change, as its record says; nothing is
//! left beside; dpkg has nothing to complain of.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use backstep_core::TransactionState;
use backstep_tests::command;
use backstep_tests::snapshot::{Snapshot, VOLATILE};
use backstep_torture::judge::{agrees, records};
use backstep_torture::place::Place;

use crate::inside::{STATE, attempt_of};
use crate::scene::Scenario;

/// dpkg's scratch folder: a killed `rm` leaves it, dpkg warns and goes on, and its next run takes it away.
const SCRATCH: &str = "/var/lib/dpkg/tmp.ci";
/// dpkg's copy of its status as it was one writing before, which nobody reads: a dpkg that is killed between its last two
/// writings has one less.
const COPY: &str = "/var/lib/dpkg/status-old";
/// How many differences are told.
const MOST_TOLD: usize = 12;

/// A scenario's system before and after its change.
#[derive(Debug, Clone)]
pub struct Both {
    /// Before.
    pub before: Snapshot,
    /// After.
    pub after: Snapshot,
}

/// All files of a cell.
pub fn look(root: &Path) -> Result<Snapshot> {
    Snapshot::take(root, &[&VOLATILE[..], &[SCRATCH, COPY]].concat())
}

/// How the scenario's last transaction ended, when the record is whole and agrees with the journals.
pub fn state(root: &Path, scenario: &Scenario) -> Result<TransactionState> {
    let place = Place::with_state(root, &root.join(STATE));
    let records = records(&place)?;
    let record = records.get(&attempt_of(scenario).transaction).context("it is not on record")?;
    let state = record.summary.status.state;
    ensure!(state.is_final(), "it is {state}: {:?}", record.events.last());
    agrees(&place, &records)?;
    Ok(state)
}

/// Judges a cell; answers how it ended.
pub fn judge(root: &Path, scenario: &Scenario, both: &Both) -> Result<TransactionState> {
    let state = state(root, scenario)?;
    let expected = match state {
        TransactionState::Completed => &both.after,
        TransactionState::RolledBack => &both.before,
        other => bail!("it is {other}"),
    };
    let differences = expected.differences(&look(root)?);
    let told = differences.iter().take(MOST_TOLD).cloned().collect::<Vec<_>>().join("\n  ");
    ensure!(differences.is_empty(), "it is {state}, and {} lines differ:\n  {told}", differences.len());
    quiet(root)?;
    Ok(state)
}

/// dpkg complains of nothing, and none of its drafts, nor of ours, is anywhere.
fn quiet(root: &Path) -> Result<()> {
    let admin = format!("--admindir={}", root.join("var/lib/dpkg").display());
    let audit = command::run("dpkg", [&admin, "--audit"])?.stdout;
    ensure!(audit.is_empty(), "dpkg complains: {audit}");
    let mut drafts = Vec::new();
    find_drafts(root, &mut drafts)?;
    ensure!(drafts.is_empty(), "left beside: {drafts:?}");
    Ok(())
}

fn find_drafts(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".dpkg-new") || name.ends_with(".dpkg-tmp") || name.starts_with(".backstep-tmp") {
            found.push(entry.path());
        }
        // The material for an undo holds files under the names that they had.
        if entry.file_type()?.is_dir() && !entry.path().ends_with("backstep/capture") {
            find_drafts(&entry.path(), found)?;
        }
    }
    Ok(())
}
