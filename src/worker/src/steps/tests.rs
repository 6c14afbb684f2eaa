//! All steps over a small root and a fake apt that records what it was told.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backstep_core::request::ServicePolicy;
use backstep_core::{ErrorCode, Failure, Kind, Method, PlanAction, StepKind, StepState};
use backstep_engine::runner::kit::{self, MemoryJournal, NoCancel, Scenario};
use backstep_engine::runner::{Earlier, Outcome, Ports, Step, resume_undo, run};
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
    /// A script fails, and the service manager and the alternatives cannot be used from then on.
    NoManager,
    /// A script fails after a service of someone else was stopped.
    Stopped,
    /// dpkg is killed and its script goes on for ever.
    Killed,
    /// dpkg is killed when its database says all, and before it takes its notes beside it away.
    Unfinished,
    /// apt ends, and a package of nobody's plan still waits for its triggers to be run.
    Untriggered,
}

impl Trouble {
    const fn is_in_script(self) -> bool {
        matches!(self, Self::Script | Self::NoManager | Self::Stopped | Self::Killed)
    }
}

#[derive(Clone)]
struct FakeApt {
    machine: Machine,
    calls: Arc<Mutex<Vec<String>>>,
    trouble: Trouble,
    installed: Arc<AtomicBool>,
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
        let half = self.trouble.is_in_script();
        self.installed.store(true, Ordering::Relaxed);
        if self.trouble == Trouble::NoManager {
            fs::create_dir_all(self.machine.at("var/lib/dpkg/alternatives/unreadable")).expect("folder");
        }
        let new = if half { "install ok half-configured" } else { "install ok installed" };
        let dpkg = if self.trouble == Trouble::Untriggered { "install ok triggers-pending" } else { "install ok installed" };
        let status = [stanza("dpkg", "amd64", dpkg, "1"), stanza("old", "all", "install ok installed", "2")];
        put(&self.machine.status(), [status.concat(), stanza("new", "all", new, "1")].concat().as_bytes());
        watch.line("pmstatus:new:50.0:Installing new")?;
        if half {
            watch.line("pmerror:new:60.0:installed new package post-installation script subprocess returned error exit status 1")?;
        }
        if self.trouble == Trouble::Killed {
            return Ok(Ended::Signal(9));
        }
        if self.trouble == Trouble::Untriggered {
            return Ok(Ended::Code(100));
        }
        if self.trouble == Trouble::Unfinished {
            put(&self.machine.at("var/lib/dpkg/updates/0001"), b"Package: new\n");
        }
        Ok(Ended::Code(if half { 100 } else { 0 }))
    }

    fn systemctl(&self) -> (Ended, &'static [u8]) {
        match (self.trouble, self.installed.load(Ordering::Relaxed)) {
            (Trouble::NoManager, true) => (Ended::Signal(9), b""),
            (Trouble::Stopped, true) => (Ended::Code(0), b"Id=ssh.service\nActiveState=inactive\n"),
            (_, _) => (Ended::Code(0), b"Id=ssh.service\nActiveState=active\n"),
        }
    }

    fn note(&self, call: &Call) {
        let verbs = ["start", "stop", "show", "daemon-reload", "--download-only", "--print-uris", "-s", "--fsys-tarfile", "install"];
        let verb = verbs.into_iter().find(|verb| call.arguments.iter().any(|argument| argument == verb)).unwrap_or("?");
        self.calls.lock().expect("calls").push(format!("{} {verb}", call.program));
    }
}

impl Children for FakeApt {
    fn run(&self, call: Call, watch: &mut dyn Watch) -> Result<Ended, Failure> {
        self.note(&call);
        if call.program == "systemctl" {
            return Ok(self.systemctl().0);
        }
        if call.program == "timeout" {
            return Ok(Ended::Code(
                call.arguments.last().map_or(127, |check| fs::read(check).expect("check").len().try_into().expect("small")),
            ));
        }
        if call.arguments.iter().any(|argument| argument == "--download-only") {
            self.download();
            return Ok(Ended::Code(0));
        }
        assert!(call.with_lock && call.arguments.contains(&"APT::Keep-Fds::=7".to_owned()), "{call:?}");
        self.install(watch)
    }

    fn stream(&self, call: Call, take: Take<'_>) -> Result<Ended, Failure> {
        self.note(&call);
        if call.program == "systemctl" {
            let (ended, mut text) = self.systemctl();
            return take(&mut text).map(|()| ended).map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()));
        }
        let content = call.arguments.last().map(fs::read).transpose().expect("archive").unwrap_or_default();
        let name = if content == NEW_DEB { "new" } else { "old" };
        take(&mut payload(name).as_slice()).expect("tar");
        Ok(Ended::Code(0))
    }

    fn wait_for_strays(&self, _: Duration, _: &mut dyn FnMut() -> Result<(), Failure>) -> Result<Vec<String>, Failure> {
        match self.trouble {
            Trouble::Killed => Err(Failure::new(ErrorCode::WorkerFailed, "still running")),
            Trouble::None
            | Trouble::BadDownload
            | Trouble::Script
            | Trouble::Silent
            | Trouble::NoManager
            | Trouble::Stopped
            | Trouble::Unfinished
            | Trouble::Untriggered => Ok(Vec::new()),
        }
    }

    fn leave_lock(&self) {
        self.calls.lock().expect("calls").push("leave the lock".to_owned());
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
        let apt = FakeApt { machine: machine.clone(), calls: Arc::default(), trouble, installed: Arc::default() };
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
            later: Vec::new(),
            rebooted: false,
            plan,
            children,
            lock: 7,
            settled_units,
            aftermath: RefCell::default(),
            hook: None,
        };
        Self { _root: root, _state: state, apt, context: Rc::new(context) }
    }

    /// The same on a machine whose service manager runs.
    fn with_services(trouble: Trouble) -> Self {
        let small = Self::new(trouble);
        fs::create_dir_all(small.context.machine.at("run/systemd/system")).expect("folder");
        small
    }

    fn run(&self) -> (Outcome, MemoryJournal) {
        run_in(&self.context)
    }

    /// A check of the administrator's own, which the fake ends with this code.
    fn check(&self, path: &str, code: usize) {
        let path = self.context.machine.at("etc/backstep/check").join(path);
        put(&path, &vec![b'.'; code]);
        for path in [path.parent().expect("folder"), &path] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("mode");
        }
    }

    fn called(&self, call: &str) -> bool {
        self.apt.calls.lock().expect("calls").iter().any(|made| made == call)
    }

    fn undo_of_a_lost_worker(&self) -> Outcome {
        let mut journal = MemoryJournal::default();
        let mut ports = Ports { journal: &mut journal, control: &NoCancel, world: &kit::StillWorld };
        let states = vec![(StepKind::Secure, StepState::Completed), (StepKind::Apply, StepState::Unknown)];
        let earlier = Earlier { states, why: Failure::new(ErrorCode::WorkerLost, "gone") };
        resume_undo(&mut self.steps(), &earlier, &mut ports).expect("journal")
    }

    /// What reverts the committed change by its files.
    fn reverting(&self) -> Shared {
        let machine = self.context.machine.clone();
        fs::create_dir_all(machine.attempt(attempt(2)).folder()).expect("folder");
        let mut plan = plan_of(vec![
            item("new:all", PlanAction::Remove, Some("1"), None),
            item("old:all", PlanAction::Downgrade, Some("2"), Some("1")),
        ]);
        plan.method = Method::Restore(attempt(1).transaction);
        plan.world = crate::facts::read(&machine).expect("facts").world;
        let children = Box::new(self.apt.clone());
        Rc::new(Context {
            machine,
            attempt: attempt(2),
            undo_of: attempt(2),
            restore: Some(attempt(1)),
            later: Vec::new(),
            rebooted: false,
            plan,
            children,
            lock: 7,
            settled_units: RefCell::default(),
            aftermath: RefCell::default(),
            hook: None,
        })
    }
}

fn run_in(context: &Shared) -> (Outcome, MemoryJournal) {
    let mut journal = MemoryJournal::default();
    let world = MachineWorld(context.machine.clone());
    let mut ports = Ports { journal: &mut journal, control: &NoCancel, world: &world };
    let outcome = run(&mut super::all(context), context.plan.options.on_failure, &mut ports).expect("journal");
    (outcome, journal)
}

fn notes(journal: &MemoryJournal) -> Vec<(Option<ErrorCode>, &str)> {
    let mut notes = Vec::new();
    for record in &journal.records {
        if let Record::Noted { code, text } = record {
            notes.push((*code, text.as_str()));
        }
    }
    notes
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

fn look(root: &Path, folder: &Path, seen: &mut Seen) {
    for entry in fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        let meta = fs::symlink_metadata(&path).expect("meta");
        if path.ends_with("var/cache/apt") {
            continue;
        }
        let content = if meta.is_file() { fs::read(&path).expect("content") } else { Vec::new() };
        seen.insert(path.strip_prefix(root).unwrap_or(&path).to_owned(), (meta.mode(), content));
        if meta.is_dir() {
            look(root, &path, seen);
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
        let root = self.context.machine.root();
        look(root, root, &mut seen);
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
fn triggers_that_nobody_ran_are_no_success() {
    let (outcome, journal) = Small::new(Trouble::Untriggered).run();
    assert_eq!(outcome, Outcome::Aborted { differences: Vec::new() });
    assert!(journal.cause().is_some_and(|why| why.text.ends_with("dpkg:amd64 waits for triggers")), "{:?}", journal.cause());
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

/// apt compares times in seconds: it would not see a second change in one.
#[test]
fn apt_reads_its_digest_anew_after_a_change_and_after_its_undo() {
    let small = Small::new(Trouble::None);
    let digest = small.context.machine.apt_digest();
    put(&digest, b"of before");
    assert_eq!(small.run().0, Outcome::Committed);
    assert!(!digest.exists(), "after the change");
    put(&digest, b"of the change");
    assert!(matches!(small.undo_of_a_lost_worker(), Outcome::Aborted { .. }));
    assert!(!digest.exists(), "after its undo");
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

#[test]
fn a_dpkg_that_was_killed_at_its_very_end_is_not_taken_for_done() {
    let small = Small::new(Trouble::Unfinished);
    let before = small.seen();
    let (outcome, journal) = small.run();
    assert!(matches!(outcome, Outcome::Aborted { ref differences } if differences.is_empty()), "{outcome:?}");
    let why = "dpkg was stopped while it wrote its database";
    assert_eq!(journal.cause(), Some(Failure::new(ErrorCode::CheckMismatch, why)));
    assert_eq!(small.seen(), before);
}

#[test]
fn a_required_check_that_fails_undoes_the_change_and_each_is_told_of() {
    let small = Small::new(Trouble::None);
    for (path, code) in [("required.d/disk", 0), ("required.d/web", 3), ("wanted.d/mail", 1)] {
        small.check(path, code);
    }
    let before = small.seen();
    let (outcome, journal) = small.run();
    assert_eq!(outcome, Outcome::Aborted { differences: Vec::new() });
    let why = "required check web ended with code 3";
    assert_eq!(journal.cause(), Some(Failure::new(ErrorCode::CheckFailed, why)));
    let failed = Some(ErrorCode::CheckFailed);
    let told = [(None, "required check disk succeeded"), (failed, why), (failed, "wanted check mail ended with code 1")];
    assert!(notes(&journal).ends_with(&told), "{:?}", notes(&journal));
    assert_eq!(small.seen(), before);
}

#[test]
fn a_check_that_does_not_decide_is_told_of_and_the_change_stays() {
    let by = |path: &str, change: fn(&mut backstep_core::Plan)| {
        let mut small = Small::new(Trouble::None);
        small.check(path, 2);
        change(&mut Rc::get_mut(&mut small.context).expect("alone").plan);
        let (outcome, journal) = small.run();
        assert_eq!(outcome, Outcome::Committed);
        notes(&journal).iter().filter(|(code, _)| *code == Some(ErrorCode::CheckFailed)).count()
    };
    assert_eq!(by("wanted.d/web", |_| {}), 1);
    assert_eq!(by("required.d/web", |plan| plan.options.services = ServicePolicy::Warn), 1);
    assert_eq!(by("required.d/web", |plan| plan.options.services = ServicePolicy::Off), 0, "it is not run");
    assert_eq!(by("required.d/web", |plan| plan.kind = Kind::Rollback), 1);
}

#[test]
fn a_service_manager_that_fails_keeps_no_file_from_being_put_back() {
    let small = Small::with_services(Trouble::NoManager);
    let before = small.seen();
    let (outcome, journal) = small.run();
    let Outcome::Aborted { differences } = outcome else { panic!("{outcome:?}") };
    assert!(differences.iter().any(|text| text.starts_with("cannot read the units: ")), "{differences:?}");
    assert!(differences.iter().any(|text| text.starts_with("cannot read the alternatives: ")), "{differences:?}");
    assert!(notes(&journal).iter().any(|(code, _)| *code == Some(ErrorCode::ServiceFailed)));
    assert_eq!(small.seen(), before);
}

#[test]
fn a_lost_record_of_units_keeps_no_file_from_being_put_back() {
    let small = Small::new(Trouble::None);
    let before = small.seen();
    assert_eq!(small.run().0, Outcome::Committed);
    fs::remove_file(small.context.capture().join("before.json")).expect("remove");
    let outcome = small.undo_of_a_lost_worker();
    assert!(matches!(outcome, Outcome::Aborted { differences } if !differences.is_empty()));
    assert_eq!(small.seen(), before);
}

#[test]
fn the_lock_stays_with_a_script_that_does_not_end() {
    let small = Small::new(Trouble::Killed);
    let (outcome, _) = small.run();
    assert_eq!(outcome, Outcome::Stuck(Failure::new(ErrorCode::WorkerFailed, "still running")));
    assert!(small.called("leave the lock"));
    assert_eq!(fs::read(small.context.machine.at("usr/share/old/data")).expect("data"), b"two", "nothing is put back under it");
}

#[test]
fn what_others_do_not_run_since_a_boot_is_not_started() {
    let small = Small::with_services(Trouble::Stopped);
    assert!(matches!(small.run().0, Outcome::Aborted { .. }));
    assert!(small.called("systemctl start"));
    let mut rebooted = Small::with_services(Trouble::Stopped);
    Rc::get_mut(&mut rebooted.context).expect("alone").rebooted = true;
    assert!(matches!(rebooted.run().0, Outcome::Aborted { .. }));
    assert!(!rebooted.called("systemctl start"));
}

#[test]
fn a_resumed_undo_stops_when_others_changed_packages() {
    let small = Small::new(Trouble::None);
    assert_eq!(crate::conflict::check(&small.context), Ok(()), "nothing was captured");
    assert_eq!(small.run().0, Outcome::Committed);
    assert_eq!(crate::conflict::check(&small.context), Ok(()), "only the plan's packages changed");
    let mut status = fs::read(small.context.machine.status()).expect("status");
    status.extend_from_slice(stanza("other", "all", "install ok installed", "1").as_bytes());
    put(&small.context.machine.status(), &status);
    let why = "packages were changed by others since: other:all";
    assert_eq!(crate::conflict::check(&small.context), Err(Failure::new(ErrorCode::UndoConflict, why)));
    put(&small.context.machine.status(), b"torn");
    assert_eq!(crate::conflict::check(&small.context), Ok(()), "a torn database is mended by the restore");
}

/// Writes in place to the file that was kept as a link.
fn spoil(folder: &Path) {
    for entry in fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            spoil(&path);
        } else if fs::read(&path).expect("object") == b"one" {
            fs::write(&path, b"spoiled").expect("write");
        }
    }
}

#[test]
fn a_rollback_by_files_names_what_it_could_not_bring_back_and_what_it_kept() {
    let small = Small::new(Trouble::None);
    put(&small.context.machine.at("etc/theirs"), b"1");
    assert_eq!(small.run().0, Outcome::Committed);
    put(&small.context.machine.at("etc/conf"), b"theirs\n");
    put(&small.context.machine.at("etc/theirs"), b"2");
    spoil(&small.context.capture().join("objects"));
    let (outcome, journal) = run_in(&small.reverting());
    assert_eq!(outcome, Outcome::Committed, "{:#?}", journal.records);
    let notes = notes(&journal);
    let incomplete: Vec<&str> = notes.iter().filter(|note| note.0 == Some(ErrorCode::UndoIncomplete)).map(|note| note.1).collect();
    let lost = "/usr/share/old/data: its content was overwritten in place and is lost";
    assert_eq!(incomplete, ["/usr/share/old/data: content", lost]);
    let kept = notes.iter().find(|note| note.1.starts_with("/etc/conf was changed since and stays"));
    assert!(kept.is_some_and(|note| note.1.contains("the earlier file is in /etc/conf.backstep-")), "{notes:?}");
}

#[test]
fn what_others_made_in_etc_before_a_resumed_undo_is_set_aside() {
    let mut small = Small::new(Trouble::None);
    let before = small.seen();
    assert_eq!(small.run().0, Outcome::Committed);
    let machine = small.context.machine.clone();
    put(&machine.at("etc/new.conf"), b"of the plan");
    put(&machine.at("var/lib/dpkg/info/new.list"), b"/.\n/etc\n/etc/new.conf\n");
    put(&machine.at("etc/work/notes"), b"hours of work");
    Rc::get_mut(&mut small.context).expect("alone").attempt = attempt(2);
    let displaced = small.context.capture().join("displaced/etc");
    put(&displaced.join("work"), b"from an earlier time");
    let mut journal = MemoryJournal::default();
    let mut ports = Ports { journal: &mut journal, control: &NoCancel, world: &kit::StillWorld };
    let states = vec![(StepKind::Secure, StepState::Completed), (StepKind::Apply, StepState::Unknown)];
    let earlier = Earlier { states, why: Failure::new(ErrorCode::WorkerLost, "gone") };
    let outcome = resume_undo(&mut small.steps(), &earlier, &mut ports);
    assert_eq!(outcome, Ok(Outcome::Aborted { differences: Vec::new() }));
    assert_eq!(small.seen(), before);
    assert_eq!(fs::read(displaced.join("work.1/notes")).expect("kept"), b"hours of work");
    assert_eq!(fs::read(displaced.join("work")).expect("kept"), b"from an earlier time");
    assert!(!displaced.join("new.conf").exists());
    assert!(notes(&journal).iter().any(|note| note.1.starts_with("/etc/work was not there before and lies in ")));
}
