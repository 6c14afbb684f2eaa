//! The daemon comes and goes while workers go on, and what it tells the system.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use backstep_tests::backstep::{archives, machine};
use backstep_tests::command;
use backstep_tests::machine::Machine;
use backstep_tests::package::{Package, Script};
use backstep_tests::repository::{Repository, Transport};
use backstep_tests::wait::wait_until;
use backstep_tests::web::Server;
use serde_json::Value;

use crate::clients::{
    Background, PATIENCE, backstep, document, events, history, main_pid, newest, show, text, wait_for_file, wait_for_state, wait_for_step,
};

const DAEMON: &str = "backstepd.service";
/// The journal's name for "a transaction ended".
const FINISHED: &str = "5d0d1c2f7a6b4e3c9f1b6f0a2c7d8e02";

/// A script's body that says where it is and waits for the test.
fn wait_at(place: &str) -> String {
    format!("mkdir -p /run/bs; touch /run/bs/{place}; until [ -e /run/bs/{place}-go ]; do sleep 0.05; done")
}

fn go(machine: &Machine, place: &str) -> Result<()> {
    machine.write(&format!("/run/bs/{place}-go"), "", 0o644)
}

fn inhibitors(machine: &Machine) -> Result<String> {
    machine.check(["systemd-inhibit", "--list", "--no-pager", "--no-legend"])
}

fn wait_for_inhibitor(machine: &Machine, held: bool) -> Result<()> {
    wait_until(&format!("shutdown is held off: {held}"), PATIENCE, || Ok((inhibitors(machine)?.contains("Backstep") == held).then_some(())))
}

fn wait_for_another_daemon(machine: &Machine, than: u32) -> Result<u32> {
    wait_until("another daemon serves", PATIENCE, || {
        let pid = main_pid(machine, DAEMON)?;
        let active = machine.run(["systemctl", "is-active", DAEMON])?.stdout == "active\n";
        Ok((pid != 0 && pid != than && active).then_some(pid))
    })
}

/// Restarts the daemon, then kills it, and looks whether anybody noticed.
fn disturb(machine: &Machine, id: &str, client: &mut Background) -> Result<()> {
    let worker = format!("backstep-worker@{id}-1.service");
    let (pid, before) = (main_pid(machine, &worker)?, show(machine, id)?);
    ensure!(pid != 0, "no worker runs");
    let first = main_pid(machine, DAEMON)?;
    machine.check(["systemctl", "restart", DAEMON])?;
    let second = wait_for_another_daemon(machine, first)?;
    machine.check(["systemctl", "kill", "--signal=KILL", DAEMON])?;
    wait_for_another_daemon(machine, second)?;
    // What we did is no crash loop.
    machine.check(["systemctl", "reset-failed", DAEMON])?;
    let after = show(machine, id)?;
    assert_eq!(main_pid(machine, &worker)?, pid, "the worker was disturbed");
    for key in ["state", "attempts", "steps", "cancellable"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    // The worker may have said more in the meantime, and a daemon that lost its place would say nothing.
    assert_ne!(text(&after["phase"]), "", "{after:#}");
    assert!(before["permille"].as_u64() <= after["permille"].as_u64(), "{before:#}\n{after:#}");
    client.check_running()
}

fn assert_one_attempt(machine: &Machine, id: &str, state: &str) -> Result<()> {
    let document = document(machine, id)?;
    assert_eq!((text(&document["state"]).as_str(), document["attempts"].as_u64()), (state, Some(1)));
    let words = events(&document);
    assert_eq!(words.iter().filter(|word| *word == "started").count(), 1, "{words:?}");
    assert!(!words.iter().any(|word| word == "interrupted" || word == "resumed"), "{words:?}");
    let open = document["steps"].as_array().into_iter().flatten().filter(|step| step["state"] == "running").count();
    assert_eq!(open, 0, "{document:#}");
    Ok(())
}

#[test]
fn restarts_and_kills_of_the_daemon_disturb_no_worker_in_any_phase() -> Result<()> {
    let machine = machine()?;
    let stop = "mkdir -p /run/bs; touch /run/bs/stop; until [ -e /run/bs/stop-go ]; do sleep 0.05; done";
    let unit = format!("[Service]\nTimeoutStopSec=infinity\nExecStart=/usr/bin/sleep infinity\nExecStop=/bin/sh -c '{stop}'\n");
    let failing = Package::new("bs-undone", "1")
        .unit("bs-undone.service", &unit)
        .script(Script::Postinst, "systemctl daemon-reload\nsystemctl start bs-undone.service\necho 'fails on purpose' >&2\nexit 1");
    let waiting = Package::new("bs-phases", "1").file("/usr/share/bs-phases", "x").script(Script::Postinst, &wait_at("configure"));
    let server = Server::start(Repository::new(&[waiting, failing])?)?;
    server.add_to(&machine, "slow")?;
    go_through_fetch_secure_and_apply(&machine, &server)?;
    go_through_undo(&machine)
}

fn go_through_fetch_secure_and_apply(machine: &Machine, server: &Server) -> Result<()> {
    server.hold(true);
    let mut client = Background::start(machine, &["backstep", "install", "-y", "-m", "phases", "bs-phases"])?;
    let id = wait_for_state(machine, "phases", "executing")?;
    wait_until("the archive is asked for", PATIENCE, || client.check_running().map(|()| (server.waiting() > 0).then_some(())))?;
    wait_for_step(machine, &id, "fetch")?;
    disturb(machine, &id, &mut client)?;

    // What an archive will bring is listed before anything is secured.
    let list = format!("#!/bin/sh\ncase \"$*\" in *--fsys-tarfile*) {};; esac\nexec /usr/bin/dpkg-deb \"$@\"\n", wait_at("secure"));
    machine.write("/usr/local/sbin/dpkg-deb", list, 0o755)?;
    server.hold(false);
    wait_for_file(machine, "/run/bs/secure")?;
    wait_for_step(machine, &id, "secure")?;
    assert!(!inhibitors(machine)?.contains("Backstep"), "nothing is changed yet");
    disturb(machine, &id, &mut client)?;
    go(machine, "secure")?;

    wait_for_file(machine, "/run/bs/configure")?;
    wait_for_step(machine, &id, "apply")?;
    wait_for_inhibitor(machine, true)?;
    disturb(machine, &id, &mut client)?;
    wait_for_inhibitor(machine, true)?;
    go(machine, "configure")?;

    let output = client.end()?.success()?;
    assert!(output.stdout.contains("Done: 1 installed (bs-phases)"), "{}", output.stdout);
    assert_one_attempt(machine, &id, "completed")?;
    assert_eq!(machine.package("bs-phases")?.as_deref(), Some("ii 1"));
    wait_for_inhibitor(machine, false)
}

/// How long systemd waits for a pulse, and then for a process that does not even die.
const WATCHED: Duration = Duration::from_secs(300);

#[test]
fn a_daemon_that_hangs_is_replaced_while_the_worker_goes_on() -> Result<()> {
    let machine = machine()?;
    let package = Package::new("bs-long", "1").script(Script::Postinst, &wait_at("configure"));
    machine.add_repository("local", &Repository::new(&[package])?, Transport::Copy)?;
    let client = Background::start(&machine, &["backstep", "install", "-y", "-m", "long", "bs-long"])?;
    wait_for_file(&machine, "/run/bs/configure")?;
    let id = wait_for_state(&machine, "long", "executing")?;
    let (worker, hung) = (format!("backstep-worker@{id}-1.service"), main_pid(&machine, DAEMON)?);
    let working = main_pid(&machine, &worker)?;
    machine.check(["systemctl", "kill", "--signal=STOP", DAEMON])?;
    wait_until("another daemon serves", WATCHED, || {
        let pid = main_pid(&machine, DAEMON)?;
        Ok((pid != 0 && pid != hung && machine.run(["systemctl", "is-active", DAEMON])?.stdout == "active\n").then_some(()))
    })?;
    let journal = machine.journal(DAEMON)?;
    assert!(journal.contains("Watchdog timeout"), "{journal}");
    assert_eq!(main_pid(&machine, &worker)?, working, "the worker was disturbed");
    go(&machine, "configure")?;
    client.end()?.success()?;
    assert_one_attempt(&machine, &id, "completed")
}

fn go_through_undo(machine: &Machine) -> Result<()> {
    let mut client = Background::start(machine, &["backstep", "install", "-y", "-m", "undone", "bs-undone"])?;
    wait_for_file(machine, "/run/bs/stop")?;
    let id = wait_for_state(machine, "undone", "rolling-back")?;
    disturb(machine, &id, &mut client)?;
    wait_for_inhibitor(machine, true)?;
    go(machine, "stop")?;
    let output = client.end()?.failure(9)?;
    assert!(output.stderr.contains("Everything is as before."), "{}", output.stderr);
    assert_one_attempt(machine, &id, "rolled-back")?;
    assert_eq!(machine.package("bs-undone")?, None);
    wait_for_inhibitor(machine, false)
}

#[test]
fn daemon_rests_when_idle_and_tells_the_system_what_it_does() -> Result<()> {
    let machine = machine()?;
    let repository = Repository::new(&[Package::new("bs-one", "1"), Package::new("bs-two", "1")])?;
    machine.add_repository("local", &repository, Transport::Copy)?;
    backstep(&machine, &["install", "-y", "bs-one"])?.success()?;
    let id = text(&newest(&machine)?["id"]);
    journal_has_fields(&machine, &id)?;
    files_are_as_open_as_they_should_be(&machine)?;
    idle_daemon_ends_and_comes_back(&machine, &id)?;
    scheduled_upgrade_is_off_and_works(&machine, &repository)
}

fn journal_has_fields(machine: &Machine, id: &str) -> Result<()> {
    let entry = wait_until("the journal says that the transaction ended", PATIENCE, || {
        let lines = machine.check(["journalctl", "--no-pager", "--output=json", &format!("MESSAGE_ID={FINISHED}")])?;
        Ok(lines.lines().next().map(str::to_owned))
    })?;
    let entry: Value = serde_json::from_str(&entry)?;
    let of = |field: &str| text(&entry[field]);
    assert_eq!((of("TRANSACTION").as_str(), of("STATE").as_str()), (id, "completed"));
    assert_eq!((of("SYSLOG_IDENTIFIER").as_str(), of("_SYSTEMD_UNIT").as_str()), ("backstepd", DAEMON));
    let all = machine.check(["journalctl", "--no-pager", "--output=cat", &format!("TRANSACTION={id}")])?;
    assert!(all.contains("is queued") && all.contains("is executing"), "{all}");
    Ok(())
}

fn files_are_as_open_as_they_should_be(machine: &Machine) -> Result<()> {
    let modes = machine.check(["stat", "-c", "%a %U %n", "/run/backstep/status.json", "/run/backstep", "/var/lib/backstep"])?;
    assert_eq!(modes, "644 root /run/backstep/status.json\n755 root /run/backstep\n700 root /var/lib/backstep\n");
    let status: Value = serde_json::from_str(&machine.read("/run/backstep/status.json")?)?;
    assert_eq!((status["version"].as_u64(), status["active"].as_array().map(Vec::len)), (Some(1), Some(0)));
    Ok(())
}

fn idle_daemon_ends_and_comes_back(machine: &Machine, id: &str) -> Result<()> {
    machine.write("/etc/backstep/backstep.toml.d/test.toml", "[daemon]\nidle-exit = 1\n", 0o644)?;
    machine.check(["systemctl", "restart", DAEMON])?;
    wait_until("the idle daemon has ended", PATIENCE, || {
        Ok((machine.run(["systemctl", "is-active", DAEMON])?.stdout == "inactive\n").then_some(()))
    })?;
    let end = machine.check(["systemctl", "show", "--value", "--property=Result,NRestarts", DAEMON])?;
    assert_eq!(end, "success\n0\n");
    assert!(machine.path("/run/backstep/status.json").exists(), "what everybody may know stays readable");
    assert_eq!(text(&newest(machine)?["id"]), id);
    ensure!(main_pid(machine, DAEMON)? != 0, "the bus did not start the daemon");
    machine.check(["rm", "/etc/backstep/backstep.toml.d/test.toml"])?;
    machine.check(["systemctl", "restart", DAEMON])?;
    machine.check(["systemctl", "reset-failed", DAEMON]).map(drop)
}

fn scheduled_upgrade_is_off_and_works(machine: &Machine, repository: &Repository) -> Result<()> {
    assert_eq!(machine.run(["systemctl", "is-enabled", "backstep-upgrade.timer"])?.stdout, "disabled\n");
    assert_eq!(machine.run(["systemctl", "is-active", "backstep-upgrade.timer"])?.stdout, "inactive\n");
    // The service refreshes all lists: only ours, so that nothing else can be newer.
    machine.write("/etc/apt/sources.list", "", 0o644)?;
    repository.add(&[Package::new("bs-one", "2")])?;
    machine.add_repository("local", repository, Transport::Copy)?;
    machine.check(["systemctl", "start", "backstep-upgrade.service"])?;
    assert_eq!(machine.package("bs-one")?.as_deref(), Some("ii 2"), "{}", machine.journal("backstep-upgrade.service")?);
    let row = newest(machine)?;
    assert_eq!((text(&row["kind"]), text(&row["origin"]), text(&row["state"])), ("upgrade".into(), "timer".into(), "completed".into()));
    assert_eq!(text(&document(machine, &text(&row["id"]))?["actor"]["unit"]), "backstep-upgrade.service");
    // With nothing to upgrade it is content, too.
    machine.check(["systemctl", "start", "backstep-upgrade.service"]).map(drop)
}

/// Copies of our archives with a higher version.
fn later_archives(repository: &Repository) -> Result<String> {
    let mut version = String::new();
    for (number, archive) in archives()?.iter().enumerate() {
        let tree = tempfile::tempdir()?;
        let (archive, folder) = (archive.to_string_lossy(), tree.path().to_string_lossy());
        let old = command::run("dpkg-deb", ["--field", &*archive, "Version"])?.stdout.trim().to_owned();
        version = format!("{old}+later1");
        command::run("dpkg-deb", ["--raw-extract", &*archive, &*folder])?;
        let control = tree.path().join("DEBIAN/control");
        let text = std::fs::read_to_string(&control)?.replace(&old, &version);
        std::fs::write(&control, text)?;
        let target = repository.path().join(format!("{number}.deb")).to_string_lossy().into_owned();
        command::run("dpkg-deb", ["--root-owner-group", "-Znone", "--nocheck", "--build", &*folder, &*target])?;
    }
    repository.add(&[])?;
    Ok(version)
}

#[test]
fn backstep_upgrades_itself_through_itself() -> Result<()> {
    let machine = machine()?;
    let repository = Repository::new(&[])?;
    let version = later_archives(&repository)?;
    machine.add_repository("later", &repository, Transport::Copy)?;
    history(&machine)?;
    let old = main_pid(&machine, DAEMON)?;
    let output = backstep(&machine, &["update", "-y", "-m", "itself", "backstep", "backstepd"])?.success()?;
    assert!(output.stdout.contains("Done: 2 upgraded"), "{}", output.stdout);
    for name in ["backstep", "backstepd"] {
        assert_eq!(machine.package(name)?, Some(format!("ii {version}")));
    }
    let new = wait_until("the new daemon serves", PATIENCE, || {
        history(&machine)?;
        let pid = main_pid(&machine, DAEMON)?;
        Ok((pid != old && pid != 0).then_some(pid))
    })?;
    assert_eq!(machine.check(["readlink", &format!("/proc/{new}/exe")])?, "/usr/libexec/backstep/backstepd\n");
    let row = newest(&machine)?;
    assert_one_attempt(&machine, row["id"].as_str().context("no id")?, "completed")?;
    let failed = machine.check(["systemctl", "list-units", "--failed", "--no-legend", "--plain"])?;
    assert!(!failed.contains("backstep"), "{failed}");
    backstep(&machine, &["rollback", "-y", "--last", "--dry-run"])?.success().map(drop)
}
