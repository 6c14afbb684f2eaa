//! Tests of a run from the first hook to the last word. apt is the process that runs these tests.

use std::fs;

use backstep_capture::{CaptureDir, RestoreMode, restore};
use backstep_core::{ErrorCode, PlanAction, StepKind, StepState};
use backstep_wire::foreign::{Foreign, Process};
use backstep_wire::journal::Record;

use super::guarded::enter;
use super::{Verdict, after, before, runs, settle};
use crate::journal;
use crate::machine::Machine;

struct Place {
    _folder: tempfile::TempDir,
    machine: Machine,
}

const DPKG: &str = "Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\n";
const TOOL: &str = "Package: tool\nStatus: install ok installed\nArchitecture: all\nVersion: 1\nInstalled-Size: 3\n";
const HALF: &str = "Package: tool\nStatus: deinstall ok half-configured\nArchitecture: all\nVersion: 1\n";
const REMOVAL: &str = "VERSION 3\nCommandLine::AsString=apt-get%20remove%20tool\n\ntool 1 all none > - - none **REMOVE**\n";
const NO_ARCHIVE: &str = "VERSION 3\n\ntool 1 all none < 2 all none /nonexistent.deb\n";

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let machine = Machine::new(&folder.path().join("root"), &folder.path().join("state"));
        for path in [machine.admin().join("info"), machine.at("etc/backstep"), machine.at("usr/bin"), machine.at("var/log/apt")] {
            fs::create_dir_all(path).expect("folder");
        }
        fs::write(machine.at("usr/bin/tool"), "a tool").expect("tool");
        fs::write(machine.admin().join("info/tool.list"), "/.\n/usr\n/usr/bin\n/usr/bin/tool\n").expect("list");
        fs::write(machine.at("var/log/apt/term.log"), "earlier\n").expect("log");
        let place = Self { _folder: folder, machine };
        place.dpkg_says(TOOL);
        place
    }

    /// As dpkg does it: a new file takes the old one's place.
    fn dpkg_says(&self, stanza: &str) {
        let new = self.machine.admin().join("status-new");
        fs::write(&new, format!("{DPKG}{stanza}")).expect("status");
        fs::rename(new, self.machine.status()).expect("status");
    }

    fn refuses(&self) {
        fs::write(self.machine.at("etc/backstep/backstep.toml"), "[apt]\non-failure = \"refuse\"\n").expect("write");
    }

    fn run(&self) -> Foreign {
        let [run] = runs::all(&self.machine).expect("runs").try_into().expect("one run");
        run
    }

    fn records(&self) -> Vec<Record> {
        let files = self.machine.attempt(self.run().attempt());
        journal::read(&files.journal()).expect("journal").0.into_iter().map(|line| line.record).collect()
    }

    fn last(&self) -> Record {
        self.records().pop().expect("a record")
    }

    /// apt is gone, and nobody said that the run has ended.
    fn killed(&self) {
        let run = self.run();
        runs::write(&self.machine, &Foreign { process: Process { pid: run.process.pid, started: 0 }, ..run }).expect("write");
    }
}

#[test]
fn a_removal_is_written_down_from_its_announcement_to_its_end() {
    let place = Place::new();
    assert_eq!(before(&place.machine, &mut REMOVAL.as_bytes()), Verdict::GoOn);
    let run = place.run();
    assert_eq!((run.request.description.as_str(), run.plan.items.len()), ("apt-get remove tool", 1));
    assert!(matches!(place.last(), Record::StepStarted { step: StepKind::Apply, .. }), "dpkg may begin");
    assert!(place.records().iter().any(|record| matches!(record, Record::Captured { .. })));
    fs::remove_file(place.machine.at("usr/bin/tool")).expect("removed");
    fs::write(place.machine.at("var/log/apt/term.log"), "earlier\nRemoving tool\n").expect("log");
    place.dpkg_says("");
    after(&place.machine).expect("after");
    assert!(matches!(place.last(), Record::Committed { .. }), "{:?}", place.last());
    let files = place.machine.attempt(run.attempt());
    let plan = backstep_wire::plan::from_bytes(&fs::read(files.plan()).expect("plan")).expect("plan");
    assert_eq!(plan.items[0].action, PlanAction::Purge, "what dpkg knows nothing of was purged");
    assert_eq!(fs::read_to_string(files.output()).expect("output"), "Removing tool\n");
    let records = place.records();
    after(&place.machine).expect("again");
    assert_eq!(place.records(), records, "a run ends once");
    let dir = CaptureDir::open(&place.machine.capture(run.attempt())).expect("a complete capture");
    let restored = restore(place.machine.root(), &dir, RestoreMode::KeepDrifted, &mut |_, _| {}).expect("restore");
    assert!(restored.failed.is_empty() && restored.kept.is_empty(), "{restored:?}");
    assert_eq!(fs::read_to_string(place.machine.at("usr/bin/tool")).expect("back"), "a tool");
}

#[test]
fn a_run_that_changed_nothing_ends_as_nothing() {
    let place = Place::new();
    before(&place.machine, &mut REMOVAL.as_bytes());
    after(&place.machine).expect("after");
    assert_eq!(place.last(), Record::Aborted { differences: Vec::new() });
}

#[test]
fn a_run_that_failed_is_left_as_it_is() {
    let place = Place::new();
    before(&place.machine, &mut REMOVAL.as_bytes());
    place.dpkg_says(HALF);
    after(&place.machine).expect("after");
    let Record::Left { code, text, .. } = place.last() else { panic!("not left: {:?}", place.last()) };
    assert_eq!(code, ErrorCode::DpkgFailed);
    assert!(text.contains("tool:all is half-configured 1"), "{text}");
}

#[test]
fn a_run_that_was_cut_off_is_ended_by_others_and_not_while_apt_lives() {
    let place = Place::new();
    before(&place.machine, &mut REMOVAL.as_bytes());
    place.dpkg_says(HALF);
    assert_eq!(settle(&place.machine, &place.run()).map_err(|failure| failure.code), Err(ErrorCode::LockBusy));
    place.killed();
    after(&place.machine).expect("after");
    assert!(!place.last().is_last(), "it is nobody's below this process");
    settle(&place.machine, &place.run()).expect("settle");
    assert!(matches!(place.last(), Record::Left { text, .. } if text.starts_with("apt was cut off: ")));
}

#[test]
fn the_next_run_ends_what_was_cut_off() {
    let place = Place::new();
    before(&place.machine, &mut REMOVAL.as_bytes());
    place.dpkg_says("");
    place.killed();
    let first = place.run().attempt();
    place.dpkg_says(TOOL);
    before(&place.machine, &mut REMOVAL.as_bytes());
    let files = place.machine.attempt(first);
    let lines = journal::read(&files.journal()).expect("journal").0;
    assert!(lines.last().is_some_and(|line| line.record.is_last()));
    assert_eq!(runs::all(&place.machine).expect("runs").len(), 2);
}

#[test]
fn without_undo_material_apt_goes_on_and_the_record_says_so() {
    let place = Place::new();
    assert_eq!(before(&place.machine, &mut NO_ARCHIVE.as_bytes()), Verdict::GoOn);
    let failed = |record: &Record| matches!(record, Record::StepEnded { step: StepKind::Secure, state: StepState::Failed, .. });
    assert!(place.records().iter().any(failed));
    assert!(matches!(place.last(), Record::StepStarted { step: StepKind::Apply, .. }));
    assert!(!place.machine.capture(place.run().attempt()).exists());
}

#[test]
fn without_undo_material_apt_is_stopped_where_the_administrator_wants_it() {
    let place = Place::new();
    place.refuses();
    assert_eq!(before(&place.machine, &mut NO_ARCHIVE.as_bytes()), Verdict::Refuse);
    assert_eq!(place.last(), Record::Aborted { differences: Vec::new() });
    assert!(place.records().iter().any(|record| matches!(record, Record::UndoStarted { code: ErrorCode::CaptureFailed, .. })));
    assert_eq!(before(&place.machine, &mut REMOVAL.as_bytes()), Verdict::GoOn, "with undo material it goes on");
}

/// unattended-upgrades reads apt's configuration twice, and so has every hook twice.
#[test]
fn hooks_that_are_called_twice_make_one_run() {
    let place = Place::new();
    assert_eq!(before(&place.machine, &mut REMOVAL.as_bytes()), Verdict::GoOn);
    assert_eq!(before(&place.machine, &mut REMOVAL.as_bytes()), Verdict::GoOn);
    place.run();
    place.dpkg_says("");
    after(&place.machine).and(after(&place.machine)).expect("after");
    assert!(matches!(place.last(), Record::Committed { .. }));
    place.dpkg_says(TOOL);
    before(&place.machine, &mut REMOVAL.as_bytes());
    assert_eq!(runs::all(&place.machine).expect("runs").len(), 2, "the same again later is another run");
}

#[test]
fn a_run_that_apt_gave_up_before_another_changed_nothing() {
    let place = Place::new();
    before(&place.machine, &mut REMOVAL.as_bytes());
    let first = place.run();
    before(&place.machine, &mut NO_ARCHIVE.as_bytes());
    let lines = journal::read(&place.machine.attempt(first.attempt()).journal()).expect("journal").0;
    assert_eq!(lines.last().map(|line| &line.record), Some(&Record::Aborted { differences: Vec::new() }));
    assert_eq!(runs::all(&place.machine).expect("runs").len(), 2);
}

#[test]
fn a_list_without_packages_is_no_run() {
    let place = Place::new();
    assert_eq!(before(&place.machine, &mut "VERSION 3\n\n".as_bytes()), Verdict::GoOn);
    assert!(!place.machine.foreign().exists());
    after(&place.machine).expect("nothing to end");
}

/// A guard that ends before it can work: nothing is filtered then.
const NO_GUARD: &str = "/bin/false";

fn unguarded(place: &Place) -> Option<String> {
    fs::read_to_string(place.machine.attempt(place.run().attempt()).unguarded()).ok()
}

fn noted(place: &Place) -> Vec<(Option<ErrorCode>, String)> {
    let noted = |record| if let Record::Noted { code, text } = record { Some((code, text)) } else { None };
    place.records().into_iter().filter_map(noted).collect()
}

#[test]
fn dpkg_without_a_run_above_it_is_nobody_s_to_guard() {
    let place = Place::new();
    assert_eq!(enter(&place.machine, NO_GUARD.as_ref(), "unpacking"), Verdict::GoOn);
    before(&place.machine, &mut NO_ARCHIVE.as_bytes());
    assert_eq!(enter(&place.machine, NO_GUARD.as_ref(), "unpacking"), Verdict::GoOn);
    assert_eq!(unguarded(&place), None, "without undo material there is nothing to add to");
    before(&place.machine, &mut REMOVAL.as_bytes());
    let run = runs::all(&place.machine).expect("runs").pop().expect("a run");
    let of_other = Foreign { process: Process { pid: 1, started: run.process.started }, ..run };
    runs::write(&place.machine, &of_other).expect("write");
    assert_eq!(enter(&place.machine, NO_GUARD.as_ref(), "unpacking"), Verdict::GoOn);
    assert!(!place.machine.attempt(of_other.attempt()).guard_log().exists(), "another apt's run");
}

#[test]
fn a_guard_that_does_not_come_up_stops_nobody_and_the_record_says_so() {
    let place = Place::new();
    before(&place.machine, &mut REMOVAL.as_bytes());
    assert_eq!(enter(&place.machine, NO_GUARD.as_ref(), "unpacking"), Verdict::GoOn);
    assert!(unguarded(&place).is_some_and(|why| why.starts_with("the guard is not ready: ")), "{:?}", unguarded(&place));
    place.dpkg_says("");
    after(&place.machine).expect("after");
    let of_guard: Vec<_> = noted(&place).into_iter().filter(|(code, _)| *code == Some(ErrorCode::CaptureFailed)).collect();
    let [(_, lost), (_, unguarded)] = of_guard.as_slice() else { panic!("{of_guard:?}") };
    assert!(lost.starts_with("the guard of dpkg, unpacking, did not say"), "{lost}");
    assert!(unguarded.contains("what scripts changed then was not captured"), "{unguarded}");
    assert!(matches!(place.last(), Record::Committed { .. }));
    assert_eq!(enter(&place.machine, "/nonexistent".as_ref(), "configuring"), Verdict::GoOn, "it has ended");
}

#[test]
fn without_a_guard_dpkg_is_stopped_only_where_the_administrator_wants_it_and_before_it_began() {
    let place = Place::new();
    place.refuses();
    before(&place.machine, &mut REMOVAL.as_bytes());
    assert_eq!(enter(&place.machine, "/nonexistent".as_ref(), "unpacking"), Verdict::Refuse);
    place.dpkg_says(HALF);
    assert_eq!(enter(&place.machine, "/nonexistent".as_ref(), "configuring"), Verdict::GoOn, "half is worse");
}

#[test]
fn a_run_without_a_guard_says_what_it_did_not_capture() {
    let place = Place::new();
    before(&place.machine, &mut REMOVAL.as_bytes());
    place.dpkg_says("");
    after(&place.machine).expect("after");
    assert!(noted(&place).iter().any(|(code, text)| code.is_none() && text.starts_with("without a guard: what scripts changed")));
}
