//! All steps over a small root and a fake apt that records what it was told.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backstep_core::{ErrorCode, Failure, PlanAction, StepKind};
use backstep_engine::runner::kit::{self, MemoryJournal, NoCancel, Scenario};
use backstep_engine::runner::{Outcome, Ports, Step, run};
use backstep_wire::journal::Record;

use crate::child::{Call, Children, Ended, Take, Watch};
use crate::context::{Context, Shared};
use crate::facts::MachineWorld;
use crate::machine::Machine;
use crate::testing::{archive, attempt, item, plan_of};

const OLD_DEB: &[u8] = b"old 2";
const NEW_DEB: &[u8] = b"new 1";

/// What goes wrong in the fake apt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    BadDownload,
    Script,
    Silent,
}

#[derive(Clone)]
struct FakeApt {
    machine: Machine,
    calls: Arc<Mutex<Vec<String>>>,
    trouble: Trouble,
}

fn stanza(name: &str, arch: &str, status: &str, version: &str) -> String {
    format!("Package: {name}\nStatus: {status}\nArchitecture: {arch}\nVersion: {version}\n\n")
}

fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("parent")).expect("folder");
    let new = path.with_extension("fake-new");
    fs::write(&new, bytes).expect("write");
    fs::rename(new, path).expect("rename");
}

impl FakeApt {
    fn download(&self) {
        let bytes = if self.trouble == Trouble::BadDownload { b"other" } else { NEW_DEB };
        for (name, bytes) in [("old_2_all.deb", OLD_DEB), ("new_1_all.deb", bytes)] {
            let place = self.machine.apt_archives().join(name);
            // apt takes a file that is there for the right one when its size is.
            if fs::metadata(&place).map_or(true, |meta| meta.len() != bytes.len() as u64) {
                fs::write(place, bytes).expect("archive");
            }
        }
    }

    /// What dpkg and scripts do: replace by renaming, create, write in place, change both databases.
    fn install(&self, watch: &mut dyn Watch) -> Result<Ended, Failure> {
        if self.trouble == Trouble::Silent {
            return Ok(Ended::Code(0));
        }
        put(&self.machine.at("usr/share/old/data"), b"two");
        put(&self.machine.at("usr/share/new/data"), b"new");
        let mut conf = OpenOptions::new().append(true).open(self.machine.at("etc/conf")).expect("conf");
        conf.write_all(b"more\n").expect("append");
        let half = self.trouble == Trouble::Script;
        let new = if half { "install ok half-configured" } else { "install ok installed" };
        let status = [stanza("dpkg", "amd64", "install ok installed", "1"), stanza("old", "all", "install ok installed", "2")];
        put(&self.machine.status(), [status.concat(), stanza("new", "all", new, "1")].concat().as_bytes());
        watch.line("pmstatus:new:50.0:Installing new")?;
        if half {
            watch.line("pmerror:new:60.0:installed new package post-installation script subprocess returned error exit status 1")?;
        }
        Ok(Ended::Code(if half { 100 } else { 0 }))
    }

    fn note(&self, call: &Call) {
        let verbs = ["--download-only", "--print-uris", "-s", "--fsys-tarfile", "install"];
        let verb = verbs.into_iter().find(|verb| call.arguments.iter().any(|argument| argument == verb)).unwrap_or("?");
        self.calls.lock().expect("calls").push(format!("{} {verb}", call.program));
    }
}

impl Children for FakeApt {
    fn run(&self, call: Call, watch: &mut dyn Watch) -> Result<Ended, Failure> {
        self.note(&call);
        if call.arguments.iter().any(|argument| argument == "--download-only") {
            self.download();
            return Ok(Ended::Code(0));
        }
        assert!(call.with_lock && call.arguments.contains(&"APT::Keep-Fds::=7".to_owned()), "{call:?}");
        self.install(watch)
    }

    fn stream(&self, call: Call, take: Take<'_>) -> Result<Ended, Failure> {
        self.note(&call);
        let content = call.arguments.last().map(fs::read).transpose().expect("archive").unwrap_or_default();
        let name = if content == NEW_DEB { "new" } else { "old" };
        take(&mut payload(name).as_slice()).expect("tar");
        Ok(Ended::Code(0))
    }

    fn wait_for_strays(&self, _: Duration, _: &mut dyn FnMut() -> Result<(), Failure>) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }
}

fn payload(name: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for path in ["./".to_owned(), "./usr/".to_owned(), "./usr/share/".to_owned(), format!("./usr/share/{name}/data")] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(if path.ends_with('/') { tar::EntryType::Directory } else { tar::EntryType::Regular });
        header.set_size(0);
        tar.append_data(&mut header, path, io::empty()).expect("entry");
    }
    tar.into_inner().expect("tar")
}

struct Small {
    _root: tempfile::TempDir,
    _state: tempfile::TempDir,
    apt: FakeApt,
    context: Shared,
}

impl Small {
    fn new(trouble: Trouble) -> Self {
        let (root, state) = (tempfile::tempdir().expect("root"), tempfile::tempdir().expect("state"));
        let machine = Machine::new(root.path(), state.path());
        fill(&machine);
        let apt = FakeApt { machine: machine.clone(), calls: Arc::default(), trouble };
        let mut old = item("old:all", PlanAction::Upgrade, Some("1"), Some("2"));
        old.archive = Some(archive("old_2_all.deb", OLD_DEB));
        let mut new = item("new:all", PlanAction::Install, None, Some("1"));
        new.archive = Some(archive("new_1_all.deb", NEW_DEB));
        new.auto_after = true;
        let mut plan = plan_of(vec![new, old]);
        plan.world = crate::facts::read(&machine).expect("facts").world;
        let (attempt, children) = (attempt(1), Box::new(apt.clone()));
        let settled_units = RefCell::default();
        let context = Context {
            machine,
            attempt,
            undo_of: attempt,
            restore: None,
            rebooted: false,
            plan,
            children,
            lock: 7,
            settled_units,
            hook: None,
        };
        Self { _root: root, _state: state, apt, context: Rc::new(context) }
    }

    fn run(&self) -> (Outcome, MemoryJournal) {
        let mut journal = MemoryJournal::default();
        let world = MachineWorld(self.context.machine.clone());
        let mut ports = Ports { journal: &mut journal, control: &NoCancel, world: &world };
        let outcome = run(&mut self.steps(), self.context.plan.options.on_failure, &mut ports).expect("journal");
        (outcome, journal)
    }
}

fn fill(machine: &Machine) {
    let folders =
        machine.folders().into_iter().chain([machine.apt_archives(), machine.at("var/lib/apt"), machine.at("var/lib/dpkg/updates")]);
    folders.for_each(|folder| fs::create_dir_all(folder).expect("folder"));
    fs::create_dir_all(machine.attempt(attempt(1)).folder()).expect("folder");
    put(
        &machine.status(),
        [stanza("dpkg", "amd64", "install ok installed", "1"), stanza("old", "all", "install ok installed", "1")].concat().as_bytes(),
    );
    put(&machine.at("var/lib/dpkg/info/old.list"), b"/.\n/usr\n/usr/share\n/usr/share/old\n/usr/share/old/data\n");
    put(&machine.at("usr/share/old/data"), b"one");
    put(&machine.at("etc/conf"), b"conf\n");
}

/// Path, mode and content of everything but apt's cache.
type Seen = BTreeMap<PathBuf, (u32, Vec<u8>)>;

fn look(folder: &Path, seen: &mut Seen) {
    for entry in fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        let meta = fs::symlink_metadata(&path).expect("meta");
        if path.ends_with("var/cache/apt") {
            continue;
        }
        let content = if meta.is_file() { fs::read(&path).expect("content") } else { Vec::new() };
        seen.insert(path.strip_prefix("/tmp").unwrap_or(&path).components().skip(1).collect(), (meta.mode(), content));
        if meta.is_dir() {
            look(&path, seen);
        }
    }
}

impl Scenario for Small {
    type Seen = Seen;

    fn steps(&self) -> Vec<Box<dyn Step>> {
        super::all(&self.context)
    }

    fn seen(&self) -> Seen {
        let mut seen = Seen::new();
        look(self.context.machine.root(), &mut seen);
        seen
    }
}

#[test]
fn every_promise_is_kept() {
    kit::every_promise_is_kept(|| Small::new(Trouble::None));
}

#[test]
fn a_plan_is_carried_out_by_these_calls_and_no_others() {
    let small = Small::new(Trouble::None);
    let (outcome, journal) = small.run();
    assert_eq!(outcome, Outcome::Committed);
    let calls = ["apt-get --download-only", "dpkg-deb --fsys-tarfile", "dpkg-deb --fsys-tarfile", "apt-get install"];
    assert_eq!(*small.apt.calls.lock().expect("calls"), calls);
    let facts = crate::facts::read(&small.context.machine).expect("facts");
    assert!(facts.marks.is_auto(&"new:all".parse().expect("id")));
    let changed: Vec<&Record> = journal.records.iter().filter(|record| matches!(record, Record::ItemChanged { .. })).collect();
    let change = |package: &str, before: &str, after: &str| Record::ItemChanged {
        package: package.into(),
        before: before.into(),
        after: after.into(),
    };
    assert_eq!(changed, [&change("new:all", "not-installed", "installed 1"), &change("old:all", "installed 1", "installed 2")]);
}

#[test]
fn a_script_that_fails_is_named_and_undone() {
    let small = Small::new(Trouble::Script);
    let before = small.seen();
    let (outcome, journal) = small.run();
    assert_eq!(outcome, Outcome::Aborted { differences: Vec::new() });
    let why = "new: installed new package post-installation script subprocess returned error exit status 1";
    assert_eq!(journal.cause(), Some(Failure::new(ErrorCode::ScriptFailed, why)));
    assert_eq!(journal.begun(backstep_core::Direction::Undo), [StepKind::Apply, StepKind::Secure, StepKind::Fetch]);
    assert_eq!(small.seen(), before);
}

#[test]
fn an_exit_code_is_no_evidence() {
    let (outcome, journal) = Small::new(Trouble::Silent).run();
    assert_eq!(outcome, Outcome::Aborted { differences: Vec::new() });
    assert_eq!(journal.cause().map(|why| why.code), Some(ErrorCode::DpkgFailed));
}

#[test]
fn an_archive_that_is_not_of_the_plan_changes_nothing() {
    let small = Small::new(Trouble::BadDownload);
    let (_, journal) = small.run();
    let why = Failure::new(ErrorCode::FetchHashMismatch, "new_1_all.deb is not the archive of the plan");
    assert_eq!(journal.cause(), Some(why));
    assert_eq!(journal.begun(backstep_core::Direction::Forward), [StepKind::Fetch]);
    assert!(!small.context.machine.kept_archive(backstep_wire::digest(b"other")).exists());
}

#[test]
fn a_wrong_archive_of_the_right_size_in_the_cache_is_fetched_again() {
    let small = Small::new(Trouble::None);
    fs::write(small.context.machine.apt_archives().join("new_1_all.deb"), b"wrong").expect("archive");
    assert_eq!(small.run().0, Outcome::Committed);
}

#[test]
fn a_moved_world_is_stale() {
    let small = Small::new(Trouble::None);
    put(
        &small.context.machine.status(),
        [stanza("dpkg", "amd64", "install ok installed", "1"), stanza("old", "all", "install ok installed", "3")].concat().as_bytes(),
    );
    let (_, journal) = small.run();
    let why = "the system changed since the plan was made: old:all is installed 3";
    assert_eq!(journal.cause(), Some(Failure::new(ErrorCode::PlanStale, why)));
}

#[test]
fn an_interrupted_dpkg_is_not_worked_on() {
    let small = Small::new(Trouble::None);
    put(&small.context.machine.at("var/lib/dpkg/updates/0001"), b"");
    assert_eq!(small.run().1.cause().map(|why| why.code), Some(ErrorCode::DpkgInterrupted));
}
