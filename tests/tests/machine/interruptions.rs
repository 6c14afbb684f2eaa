//! Workers that are killed in the middle: the next attempt undoes what was begun, and nothing is done twice or beside
//! what still runs.
//!
//! Invariant: whatever was killed where, the whole system is as before, dpkg has nothing to complain about, and the
//! record tells the story with its chain unbroken.

use std::fs;

use anyhow::{Context, Result, ensure};
use backstep_core::{BootId, Stamp};
use backstep_store::{Run, Store};
use backstep_tests::command::Output;
use backstep_tests::machine::Machine;
use backstep_tests::package::{Package, Script};
use backstep_tests::wait::wait_until;
use serde_json::Value;

use crate::clients::{Background, PATIENCE, document, events, show, text, wait_for_file, wait_for_state};
use crate::scene::{Scene, plain};
use crate::state::State;

/// A shell's words that say where it is and wait for the test.
pub(crate) fn wait_at(place: &str) -> String {
    format!("mkdir -p /run/bs; touch /run/bs/{place}; until [ -e /run/bs/{place}-go ]; do sleep 0.05; done")
}

/// Lets what waits at a place go on.
pub(crate) fn go(machine: &Machine, place: &str) -> Result<()> {
    machine.write(&format!("/run/bs/{place}-go"), "", 0o644)
}

/// Kills the worker of an attempt, and nothing that it has started.
pub(crate) fn kill_worker(machine: &Machine, id: &str, number: u32) -> Result<()> {
    let unit = format!("backstep-worker@{id}-{number}.service");
    machine.check(["systemctl", "kill", "--kill-who=main", "--signal=KILL", &unit]).map(drop)
}

/// What a worker has written so far.
pub(crate) fn journal(machine: &Machine, id: &str, number: u32) -> String {
    machine.read(&format!("/var/lib/backstep/attempts/{id}-{number}/attempt.jsonl")).unwrap_or_default()
}

/// Waits until the worker of an attempt has written these words.
pub(crate) fn wait_for_words(machine: &Machine, id: &str, number: u32, words: &str) -> Result<()> {
    let what = format!("the worker of {id}-{number} writes {words:?}");
    wait_until(&what, PATIENCE, || Ok(journal(machine, id, number).contains(words).then_some(())))
        .with_context(|| journal(machine, id, number))
}

/// A change that is to be interrupted.
struct Cut<'s> {
    scene: &'s Scene,
    before: State,
    client: Background,
    id: String,
}

impl<'s> Cut<'s> {
    /// Starts it; `name` is its description.
    fn begin(scene: &'s Scene, name: &str, line: &str) -> Result<Self> {
        scene.machine.check(["rm", "-rf", "/run/bs"])?;
        let before = scene.state()?;
        let words: Vec<&str> = ["backstep"].into_iter().chain(line.split(' ')).chain(["-y", "-m", name]).collect();
        let client = Background::start(&scene.machine, &words)?;
        let id = wait_for_state(&scene.machine, name, "executing")?;
        Ok(Self { scene, before, client, id })
    }

    fn kill_worker(&self, number: u32) -> Result<()> {
        kill_worker(&self.scene.machine, &self.id, number)
    }

    fn wait_for_words(&self, number: u32, words: &str) -> Result<()> {
        wait_for_words(&self.scene.machine, &self.id, number, words)
    }

    /// The daemon waits for what the dead worker left running, says so, and has started nothing beside it.
    fn expect_waiting(&self) -> Result<()> {
        let machine = &self.scene.machine;
        let line = format!("the worker of {}-1 is gone; waiting for what it left running", self.id);
        wait_until("the daemon waits", PATIENCE, || Ok(machine.journal("backstepd.service")?.contains(&line).then_some(())))?;
        let shown = show(machine, &self.id)?;
        assert_eq!((text(&shown["state"]), shown["attempts"].as_u64()), ("executing".to_owned(), Some(1)));
        ensure!(!machine.path(&format!("/var/lib/backstep/attempts/{}-2", self.id)).exists(), "there is another attempt already");
        Ok(())
    }

    /// Everything is as before, and on record; `attempts` were made.
    fn expect_undone(self, attempts: u64, when: &str) -> Result<Value> {
        let output = self.client.end()?;
        let record = document(&self.scene.machine, &self.id)?;
        let told = |output: &Output| format!("{when}: {:?}\n{}\n{}\n{record:#}", output.status, output.stdout, output.stderr);
        ensure!(output.status.code() == Some(9) && output.stderr.contains("Everything is as before."), "{}", told(&output));
        self.before.expect_same(&self.scene.state()?, when)?;
        assert_eq!(self.scene.machine.check(["dpkg", "--audit"])?, "", "{when}");
        expect_record(&record, attempts).with_context(|| format!("{when}: {record:#}"))?;
        expect_one_forward_worker(&self.scene.machine, &self.id, attempts)?;
        expect_whole_chain(&self.scene.machine)?;
        Ok(record)
    }
}

fn expect_record(record: &Value, attempts: u64) -> Result<()> {
    ensure!(record["state"] == "rolled-back" && record["attempts"] == attempts, "not rolled back by {attempts} attempts");
    let words = events(record);
    let count = |word: &str| words.iter().filter(|event| *event == word).count() as u64;
    ensure!(count("started") == 1, "it was started {} times", count("started"));
    ensure!((count("interrupted"), count("resumed")) == (attempts - 1, attempts - 1), "{words:?}");
    let rows = record["events"].as_array().context("no events")?;
    let cut = words.iter().position(|word| word == "interrupted").context("no interruption")?;
    let forward = rows[cut..].iter().any(|event| event["event"] != "resumed" && event["direction"] == "forward");
    ensure!(!forward, "it went forward after the interruption");
    Ok(())
}

/// One worker ever went forward, and every attempt had one worker.
fn expect_one_forward_worker(machine: &Machine, id: &str, attempts: u64) -> Result<()> {
    for number in 1..=attempts {
        let order: Value = serde_json::from_str(&machine.read(&format!("/var/lib/backstep/attempts/{id}-{number}/order.json"))?)?;
        let direction = if number == 1 { "forward" } else { "undo" };
        assert_eq!(text(&order["direction"]), direction, "attempt {number}");
        let said = machine.journal(&format!("backstep-worker@{id}-{number}.service"))?;
        assert_eq!(said.matches("Started ").count(), 1, "attempt {number}: {said}");
    }
    Ok(())
}

/// Verifies the hashes of all events, in a copy.
pub(crate) fn expect_whole_chain(machine: &Machine) -> Result<()> {
    machine.check(["systemctl", "stop", "backstepd.service"])?;
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("store.db");
    for end in ["", "-wal"] {
        let from = machine.path(&format!("/var/lib/backstep/store.db{end}"));
        if from.exists() {
            fs::copy(from, folder.path().join(format!("store.db{end}")))?;
        }
    }
    let at = Stamp { utc_us: 0, monotonic_us: 0, boot: BootId([0; 16]) };
    let run = Run { id: "01936b2e-7c1a-7d3e-9f10-000000000000".to_owned(), version: "0".to_owned(), pid: 1, at };
    let count = Store::open(&copy, &run)?.verify_chain()?;
    ensure!(count > 0, "the record has no events");
    Ok(())
}

/// The processes of a name, in the machine.
fn processes(machine: &Machine, name: &str) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(machine.path("/proc"))? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse() else { continue };
        if machine.read(&format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name) {
            found.push(pid);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Kills every process of these names.
fn kill_all(machine: &Machine, names: &[&str]) -> Result<()> {
    for name in names {
        for pid in processes(machine, name)? {
            machine.check(["sh", "-c", "kill -KILL \"$0\"", &pid.to_string()])?;
        }
        wait_until(&format!("no {name} runs"), PATIENCE, || Ok(processes(machine, name)?.is_empty().then_some(())))?;
    }
    Ok(())
}

const HALF: usize = 300_000;

/// A package of two files, of which `HALF` bytes cut the second.
fn large(version: &str) -> Package {
    plain("bs-large", version)
        .file("/usr/share/bs-large/first", version.repeat(HALF / 2))
        .file("/usr/share/bs-large/second", version.repeat(HALF))
        .script(Script::Postinst, &format!("echo {version} >/etc/bs-large.generated"))
}

/// Hands dpkg the half of the large package's files, and the rest when the test says so.
fn slow_unpacking(machine: &Machine) -> Result<()> {
    let wait = wait_at("unpack");
    let script = format!(
        "#!/bin/sh\nif [ \"$(cat /proc/$PPID/comm) $1\" = \"dpkg --fsys-tarfile\" ] && [ \"$(/usr/bin/dpkg-deb.real -f \"$2\" Package)\" = bs-large ]; then\n\
         /usr/bin/dpkg-deb.real \"$@\" >/run/bs-large.tar\nhead -c {HALF} /run/bs-large.tar\n{wait}\n\
         tail -c +{} /run/bs-large.tar\nexit\nfi\nexec /usr/bin/dpkg-deb.real \"$@\"\n",
        HALF + 1
    );
    // apt gives dpkg a search path without /usr/local.
    machine.check(["mv", "/usr/bin/dpkg-deb", "/usr/bin/dpkg-deb.real"])?;
    machine.write("/usr/bin/dpkg-deb", script, 0o755)
}

#[test]
fn killed_while_dpkg_unpacks() -> Result<()> {
    let scene = Scene::new(&[large("1"), plain("bs-by", "1")])?;
    scene.machine.check(["apt-get", "install", "-qq", "bs-large"])?;
    scene.machine.write("/etc/bs-large.conf", "by the administrator\n", 0o600)?;
    scene.publish(&[large("2")])?;
    slow_unpacking(&scene.machine)?;
    for (name, dead) in [("only the worker", &[][..]), ("everything", &["apt-get", "dpkg"][..])] {
        let cut = Cut::begin(&scene, name, "install bs-large bs-by")?;
        wait_for_file(&scene.machine, "/run/bs/unpack")?;
        let torn = scene.machine.path("/usr/share/bs-large/second.dpkg-new");
        wait_until("dpkg is in the middle of a file", PATIENCE, || Ok(torn.exists().then_some(())))?;
        cut.kill_worker(1)?;
        kill_all(&scene.machine, dead)?;
        cut.expect_waiting()?;
        go(&scene.machine, "unpack")?;
        cut.expect_undone(2, name)?;
    }
    Ok(())
}

const FOREIGN: &str = "/etc/bs-somebody.conf";

/// A package whose script waits in the middle, having written into `/etc`.
fn waiting() -> Package {
    let script = format!("echo made >/etc/bs-waiting.generated\n{}\necho ended >/run/bs/ended", wait_at("script"));
    plain("bs-waiting", "1").script(Script::Postinst, &script)
}

#[test]
fn killed_while_a_maintainer_script_runs() -> Result<()> {
    let scene = Scene::new(&[waiting(), plain("bs-by", "1")])?;
    for (name, dead) in [("only the worker", &[][..]), ("everything but the script", &["apt-get", "dpkg"][..])] {
        let cut = Cut::begin(&scene, name, "install bs-by bs-waiting")?;
        wait_for_file(&scene.machine, "/run/bs/script")?;
        cut.kill_worker(1)?;
        kill_all(&scene.machine, dead)?;
        cut.expect_waiting()?;
        // Somebody goes on working meanwhile.
        scene.machine.write(FOREIGN, "hours of work\n", 0o600)?;
        ensure!(!scene.machine.path("/run/bs/ended").exists(), "the script did not wait");
        go(&scene.machine, "script")?;
        let id = cut.id.clone();
        let record = cut.expect_undone(2, name)?;
        ensure!(scene.machine.path("/run/bs/ended").exists(), "the script was not left to its end");
        expect_displaced(&scene.machine, &id, &record)?;
    }
    Ok(())
}

/// What somebody made in `/etc` lies with the capture and is named.
fn expect_displaced(machine: &Machine, id: &str, record: &Value) -> Result<()> {
    let place = format!("/var/lib/backstep/capture/{id}-1/displaced{FOREIGN}");
    assert_eq!(machine.read(&place)?, "hours of work\n");
    let said = record["events"].to_string();
    ensure!(said.contains(&format!("{FOREIGN} was not there before and lies in {place} now")), "{said}");
    Ok(())
}

/// Many small files in `/etc`, so that keeping them takes a moment.
fn much_to_keep(machine: &Machine, files: u32) -> Result<()> {
    let make = format!("mkdir /etc/bs-many; cd /etc/bs-many; for i in $(seq {files}); do echo $i >$i; done");
    machine.check(["sh", "-c", make.as_str()]).map(drop)
}

#[test]
fn killed_while_undo_material_is_secured() -> Result<()> {
    let scene = Scene::new(&[plain("bs-one", "1")])?;
    much_to_keep(&scene.machine, 50_000)?;
    let cut = Cut::begin(&scene, "secure", "install bs-one")?;
    cut.wait_for_words(1, "securing undo material")?;
    cut.kill_worker(1)?;
    let (scene, id) = (cut.scene, cut.id.clone());
    cut.expect_undone(2, "killed while securing")?;
    ensure!(!scene.machine.path(&format!("/var/lib/backstep/capture/{id}-1/manifest")).exists(), "it was secured already");
    scene.change("install bs-one").map(drop)
}

/// A failing package whose undo waits twice: for the end of a service that the change started, before files are put back, and for
/// the start of one that it stopped, after that.
fn undone_slowly() -> [Package; 2] {
    let held = format!("/bin/sh -c '[ ! -e /run/bs/hold ] || {{ {}; }}'", wait_at("start"));
    let held = format!("[Service]\nTimeoutStartSec=infinity\nExecStartPre={held}\nExecStart=/usr/bin/sleep infinity\n");
    let new = format!("/bin/sh -c '{}'", wait_at("stop"));
    let new = format!("[Service]\nTimeoutStopSec=infinity\nExecStart=/usr/bin/sleep infinity\nExecStop={new}\n");
    let start = "systemctl daemon-reload\nsystemctl start bs-held.service";
    let fail = "mkdir -p /run/bs\ntouch /run/bs/hold\nsystemctl stop bs-held.service\nsystemctl daemon-reload\nsystemctl start bs-new.service\nexit 1";
    [
        Package::new("bs-held", "1").unit("bs-held.service", &held).script(Script::Postinst, start),
        Package::new("bs-failing", "1").unit("bs-new.service", &new).script(Script::Postinst, fail),
    ]
}

#[test]
fn killed_while_undoing() -> Result<()> {
    let [held, failing] = undone_slowly();
    let scene = Scene::new(&[held, failing, plain("bs-by", "1")])?;
    scene.change("install bs-held")?;
    let cut = Cut::begin(&scene, "undo", "install bs-by bs-failing")?;
    for (number, place) in [(1, "stop"), (2, "start")] {
        wait_for_file(&scene.machine, &format!("/run/bs/{place}"))?;
        cut.kill_worker(number)?;
        go(&scene.machine, place)?;
    }
    let record = cut.expect_undone(3, "killed twice while undoing")?;
    assert_eq!(record["error"]["code"], "script.failed", "the reason is that of the failure: {record:#}");
    Ok(())
}
