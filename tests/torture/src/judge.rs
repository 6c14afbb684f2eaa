//! What must be true when everything has come to rest, however it was interrupted.
//!
//! 1. What was promised to a client is on record, and what was told to have ended has ended so.
//! 2. No change was made twice, and none by another attempt than the first.
//! 3. The system is what the record says, byte for byte: changed where a transaction completed, as before where it was
//!    undone, with nothing left beside.
//! 4. The record is whole: SQLite's own check, the chain of hashes, the fold of each history, and the journals' last
//!    words in it. The spool says the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use backstep_core::record::Record;
use backstep_core::replay::replay;
use backstep_core::{AttemptId, Event, Plan, PlanAction, TransactionId, TransactionState};
use backstep_store::{Run, Store};
use backstep_wire::journal;

use crate::daemon::HOST;
use crate::place::Place;
use crate::scenario::{Scenario, id};
use crate::universe::{CONF, PACKAGES, data, list};

/// Judges a run of a scenario. `killed` says whether anything was killed.
pub fn judge(place: &Place, scenario: &Scenario, killed: bool) -> Result<()> {
    let records = records(place)?;
    for (number, wish) in scenario.wishes.iter().enumerate() {
        let target = wish.reverts.and_then(|target| records.get(&id(target)));
        if target.is_some_and(|target| target.summary.status.state != TransactionState::Completed) {
            // There is nothing to undo, and it was refused.
            ensure!(!records.contains_key(&id(number)), "request {number} was taken");
            continue;
        }
        let record = records.get(&id(number)).with_context(|| format!("{} is not on record", id(number)))?;
        let state = record.summary.status.state;
        let right = if killed { wish.ends.allows(state) } else { state == wish.ends.undisturbed() };
        ensure!(right, "request {number} is {state}: {:#?}", record.events.iter().map(|event| &event.event).collect::<Vec<_>>());
    }
    at_rest(place, &records)
}

/// Judges whatever was asked for.
pub fn at_rest(place: &Place, records: &BTreeMap<TransactionId, Record>) -> Result<()> {
    promises(place, records)?;
    effects(place, records)?;
    agrees(place, records)?;
    system(place, records)
}

/// The record agrees with the journals, and the spool with the record.
pub fn agrees(place: &Place, records: &BTreeMap<TransactionId, Record>) -> Result<()> {
    for record in records.values() {
        explained(place, record).with_context(|| record.summary.id.to_string())?;
        mirrored(place, record)?;
    }
    let tmp = fs::read_dir(place.state().join("spool/tmp"))?.count();
    ensure!(tmp == 0, "{tmp} drafts are left in the spool");
    Ok(())
}

/// The record's transactions; the record itself is checked.
pub fn records(place: &Place) -> Result<BTreeMap<TransactionId, Record>> {
    let nobody = backstep_core::Stamp { utc_us: 0, monotonic_us: 0, boot: backstep_core::BootId([0; 16]) };
    let run = Run { id: String::new(), version: String::new(), pid: 0, at: nobody };
    let store = Store::open(&place.state().join("store.db"), &run)?;
    store.check()?;
    store.verify_chain()?;
    let all = backstep_core::record::Filter { limit: u32::MAX, ..Default::default() };
    let mut records = BTreeMap::new();
    for summary in store.list(&all)? {
        let record = store.record(summary.id)?.context("listed and not there")?;
        records.insert(summary.id, record);
    }
    Ok(records)
}

fn promises(place: &Place, records: &BTreeMap<TransactionId, Record>) -> Result<()> {
    for line in Place::lines(&place.told())? {
        let words: Vec<&str> = line.split(' ').collect();
        let [promise, id, rest @ ..] = words.as_slice() else { bail!("told {line:?}") };
        let record = records.get(&id.parse()?).with_context(|| format!("{line}, and it is not on record"))?;
        let state = record.summary.status.state;
        match *promise {
            "created" => {}
            "queued" => ensure!(record.events.iter().any(|event| matches!(event.event, Event::Queued { .. })), "{line}, and it was not"),
            "ended" => ensure!(rest == [state.as_str()], "{line}, and it is {state}"),
            _ => bail!("told {line:?}"),
        }
    }
    Ok(())
}

fn effects(place: &Place, records: &BTreeMap<TransactionId, Record>) -> Result<()> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for line in Place::lines(&place.effects())? {
        *seen.entry(line).or_default() += 1;
    }
    for (line, times) in &seen {
        let (attempt, _) = line.split_once(' ').context("effect")?;
        let attempt: AttemptId = attempt.parse()?;
        ensure!(*times == 1, "{line}: {times} times");
        ensure!(attempt.number == 1 && records.contains_key(&attempt.transaction), "{line} is nobody's");
    }
    Ok(())
}

/// The record's states are the fold of its events, and what the journals say.
fn explained(place: &Place, record: &Record) -> Result<()> {
    let status = record.summary.status;
    let fold = replay(record.events.iter().map(|event| &event.event))?;
    ensure!(fold == status, "{status:?} is not the fold {fold:?}");
    ensure!(status.state.is_final(), "it is {}", status.state);
    let mut committed = false;
    for number in 1..=status.attempts {
        let attempt = AttemptId { transaction: record.summary.id, number };
        let path = place.machine().attempt(attempt).journal();
        let Ok(bytes) = fs::read(path) else { continue };
        let lines = journal::whole_lines(&bytes)?.0;
        let told = |line: &journal::Line| matches!(line.record, journal::Record::StepStarted { .. });
        let steps = record.events.iter().filter(|e| e.attempt == Some(number) && matches!(e.event, Event::StepStarted { .. })).count();
        ensure!(lines.iter().filter(|line| told(line)).count() == steps, "attempt {number} began other steps than are on record");
        committed |= lines.last().is_some_and(|line| matches!(line.record, journal::Record::Committed { .. }));
    }
    let empty = record.items.is_empty();
    let completed = status.state == TransactionState::Completed;
    ensure!(completed == (committed || (empty && completed)), "it is {} and its journal is committed: {committed}", status.state);
    Ok(())
}

fn mirrored(place: &Place, record: &Record) -> Result<()> {
    let name = format!("spool/done/{}.json", record.summary.id);
    let text = fs::read_to_string(place.state().join(&name)).with_context(|| format!("no {name}"))?;
    let document = backstep_spool::document(record, HOST);
    let other = text.lines().zip(document.lines()).find(|(found, expected)| found != expected);
    ensure!(text == document, "{name} is not the record: {other:?}");
    let inflight = place.state().join(format!("spool/inflight/{}.json", record.summary.id));
    ensure!(!inflight.exists(), "{} is still there", inflight.display());
    Ok(())
}

/// A system as the record says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct System {
    /// dpkg's word and version by package.
    packages: BTreeMap<String, (String, String)>,
    conf: String,
}

impl System {
    fn at_first() -> Self {
        let want = |name: &str| if name == "kept" { "hold ok installed" } else { "install ok installed" };
        let there = PACKAGES.iter().filter(|package| !package.1.is_empty());
        let mut packages: BTreeMap<_, _> =
            there.map(|(name, version, ..)| ((*name).to_owned(), (want(name).to_owned(), (*version).to_owned()))).collect();
        packages.insert("dpkg".to_owned(), ("install ok installed".to_owned(), "1".to_owned()));
        Self { packages, conf: "conf\n".to_owned() }
    }

    fn change(&mut self, plan: &Plan) {
        for item in &plan.items {
            let name = item.package.name.to_string();
            let version = |version: &Option<backstep_core::Version>| version.as_ref().map(ToString::to_string).unwrap_or_default();
            let status = match item.action {
                PlanAction::Purge => {
                    self.packages.remove(&name);
                    continue;
                }
                PlanAction::Remove => ("deinstall ok config-files".to_owned(), version(&item.from)),
                PlanAction::Hold => ("hold ok installed".to_owned(), version(&item.from)),
                PlanAction::Unhold => ("install ok installed".to_owned(), version(&item.from)),
                PlanAction::Install | PlanAction::Upgrade | PlanAction::Downgrade | PlanAction::Reinstall => {
                    self.conf.push_str(&format!("{name} {}\n", version(&item.to)));
                    ("install ok installed".to_owned(), version(&item.to))
                }
            };
            self.packages.insert(name, status);
        }
    }

    fn found(place: &Place) -> Result<Self> {
        let machine = place.machine();
        let mut packages = BTreeMap::new();
        for stanza in fs::read_to_string(machine.status())?.split("\n\n").filter(|stanza| !stanza.is_empty()) {
            let field = |key: &str| stanza.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().to_owned();
            packages.insert(field("Package: "), (field("Status: "), field("Version: ")));
        }
        Ok(Self { packages, conf: fs::read_to_string(machine.at(CONF))? })
    }
}

fn plan_of(place: &Place, id: TransactionId) -> Result<Option<Plan>> {
    let path = place.machine().attempt(AttemptId { transaction: id, number: 1 }).plan();
    if !path.exists() {
        return Ok(None);
    }
    Ok(Some(backstep_wire::plan::from_bytes(&fs::read(path)?)?))
}

fn system(place: &Place, records: &BTreeMap<TransactionId, Record>) -> Result<()> {
    let mut system = System::at_first();
    let mut before = BTreeMap::new();
    let mut order: Vec<&Record> = records.values().collect();
    // By the beginnings: they ran one after the other.
    order.sort_by_key(|record| record.events.iter().find(|e| matches!(e.event, Event::Started { .. })).map(|event| event.seq));
    for record in order {
        let state = record.summary.status.state;
        if state == TransactionState::PartiallyRolledBack {
            return Ok(());
        }
        before.insert(record.summary.id, system.clone());
        if state != TransactionState::Completed {
            continue;
        }
        let Some(plan) = plan_of(place, record.summary.id)? else { continue };
        match plan.method {
            backstep_core::Method::Restore(target) => system = before.get(&target).context("undone before it was done")?.clone(),
            backstep_core::Method::Packages | backstep_core::Method::Marks => system.change(&plan),
        }
    }
    let found = System::found(place)?;
    ensure!(found == system, "the system is {found:#?} instead of {system:#?}");
    files(place, &system)
}

/// Every file is one that belongs there, with its package's content.
fn files(place: &Place, system: &System) -> Result<()> {
    let machine = place.machine();
    let mut expected = BTreeMap::new();
    for (name, (status, version)) in system.packages.iter().filter(|(name, _)| *name != "dpkg") {
        if status.ends_with("ok installed") {
            expected.insert(machine.at(&data(name)), crate::universe::archive_bytes(name, version));
        }
        expected.insert(machine.at(&list(name)), crate::universe::list_text(name).into_bytes());
    }
    for folder in ["usr", "etc", "var/lib/dpkg/info"] {
        let mut found = Vec::new();
        look(&machine.at(folder), &mut found)?;
        for path in found.into_iter().filter(|path| *path != machine.at(CONF)) {
            let content = expected.remove(&path).with_context(|| format!("{} is left", path.display()))?;
            ensure!(fs::read(&path)? == content, "{} has another content", path.display());
        }
    }
    ensure!(expected.is_empty(), "missing: {:?}", expected.keys());
    let mut strays = Vec::new();
    look(&machine.at("var/lib"), &mut strays)?;
    let stray = strays.into_iter().find(|path| path.as_os_str().as_encoded_bytes().ends_with(b"-new"));
    ensure!(stray.is_none(), "{stray:?} is left");
    Ok(())
}

fn look(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { look(&path, found)? } else { found.push(path) }
    }
    Ok(())
}
