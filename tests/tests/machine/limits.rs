//! Bad input and a bad world: a named error, a hint, an exit code; nothing changed, and it is on record.

use anyhow::{Context, Result, bail};
use backstep_tests::backstep::{image, machine};
use backstep_tests::command::Output;
use backstep_tests::machine::{Machine, Storage};
use backstep_tests::package::{Package, Script};
use backstep_tests::repository::{Repository, Transport};
use backstep_tests::wait::wait_until;
use backstep_tests::web::Server;
use serde_json::Value;

use crate::clients::{Background, PATIENCE, backstep, history, show, text, wait_for_file, wait_for_state};

const DPKG_STATUS: &str = "/var/lib/dpkg/status";

/// Runs the client: it must end with `exit`, say every one of `names` and a hint, leave a record with `code`, and
/// change nothing.
fn refused(machine: &Machine, words: &[&str], exit: i32, code: &str, names: &[&str]) -> Result<Output> {
    let before = machine.read(DPKG_STATUS)?;
    let output = backstep(machine, words)?.failure(exit)?;
    for name in names.iter().chain(&["Error: ", "Hint: "]) {
        assert!(output.stderr.contains(name), "{words:?} does not say {name:?}:\n{}", output.stderr);
    }
    let row = newest(machine)?;
    assert_eq!(text(&row["error_code"]), code, "{words:?}: {row:#}");
    let end = match text(&row["state"]).as_str() {
        "failed" => "Nothing was changed.",
        "rolled-back" => "Everything is as before.",
        other => bail!("{words:?} ended as {other}: {row:#}"),
    };
    assert!(output.stderr.contains(end), "{words:?} does not say {end:?}:\n{}", output.stderr);
    assert_eq!(machine.read(DPKG_STATUS)?, before, "{words:?} changed something");
    Ok(output)
}

/// The same for what is refused before it becomes a transaction.
fn turned_away(machine: &Machine, words: &[&str], exit: i32, code: &str) -> Result<()> {
    let output = backstep(machine, &[words, &["--json"]].concat())?.failure(exit)?;
    let said: Value = serde_json::from_str(&output.stdout).with_context(|| format!("{words:?}: {}", output.stdout))?;
    assert_eq!(text(&said["error"]["code"]), code, "{words:?}");
    assert!(said["error"]["hint"].is_string() && !text(&said["error"]["text"]).is_empty(), "{said:#}");
    Ok(())
}

fn manager(machine: &Machine, words: &[&str]) -> Result<Output> {
    machine.run([&["busctl", "call", "org.backstep1", "/org/backstep1", "org.backstep1.Manager"], words].concat())
}

#[test]
fn requests_that_cannot_be_are_refused() -> Result<()> {
    let machine = machine()?;
    let packages = [
        Package::new("bs-one", "1"),
        Package::new("bs-held", "1"),
        Package::new("bs-essential", "1").field("Essential", "yes"),
        Package::new("bs-left", "1").conflicts("bs-right"),
        Package::new("bs-right", "1"),
        Package::new("bs-needs", "1").depends("bs-nowhere"),
        Package::new("bs-huge", "1").field("Installed-Size", "900000000"),
    ];
    let repository = Repository::new(&packages)?;
    machine.add_repository("local", &repository, Transport::Copy)?;

    refused(&machine, &["install", "-y", "bs-onne"], 3, "package.unknown", &["bs-onne", "did you mean bs-one"])?;
    refused(&machine, &["remove", "-y", "bs-one"], 3, "package.not-installed", &["bs-one"])?;
    refused(&machine, &["install", "-y", "bs-one=7"], 3, "version.unknown", &["bs-one", "7"])?;
    refused(&machine, &["install", "-y", "bs-left", "bs-right"], 4, "deps.unsatisfiable", &["bs-left", "bs-right", "conflicts with"])?;
    refused(&machine, &["install", "-y", "bs-needs"], 4, "deps.unsatisfiable", &["bs-needs", "bs-nowhere"])?;
    refused(&machine, &["install", "-y", "bs-huge"], 8, "disk.full", &["MiB free"])?;

    backstep(&machine, &["install", "-y", "bs-held", "bs-essential"])?.success()?;
    refused(&machine, &["remove", "-y", "bs-essential"], 4, "plan.essential", &["bs-essential", "--allow-remove-essential"])?;
    machine.check(["apt-mark", "hold", "bs-held"])?;
    repository.add(&[Package::new("bs-held", "2")])?;
    machine.add_repository("local", &repository, Transport::Copy)?;
    refused(&machine, &["update", "-y", "bs-held"], 4, "package.held", &["bs-held", "backstep unhold"])?;
    refused(&machine, &["remove", "-y", "bs-held"], 4, "package.held", &["bs-held"])?;

    malformed_requests_are_turned_away(&machine)?;
    an_id_stands_for_one_request(&machine)
}

fn malformed_requests_are_turned_away(machine: &Machine) -> Result<()> {
    let known = asked_for(machine)?.len();
    let many: Vec<String> = (0..1001).map(|number| format!("bs-p{number}")).collect();
    let many: Vec<&str> = ["install", "-y"].into_iter().chain(many.iter().map(String::as_str)).collect();
    turned_away(machine, &many, 2, "request.too-large")?;
    turned_away(machine, &["show", "ffffffffffff"], 3, "transaction.unknown")?;
    turned_away(machine, &["rollback", "-y", "ffffffffffff"], 3, "transaction.unknown")?;
    turned_away(machine, &["cancel", "not-an-id"], 3, "transaction.unknown")?;
    turned_away(machine, &["install", "-y", "Bad_Name"], 2, "request.malformed")?;
    turned_away(machine, &["install", "-y", "bs-one", "bs-one"], 2, "request.malformed")?;
    turned_away(machine, &["install", "-y", "-m", &"x".repeat(300), "bs-one"], 2, "request.too-large")?;
    backstep(machine, &["install", "-y", "./no-such.deb"])?.failure(3)?;
    backstep(machine, &["install", "--frobnicate"])?.failure(2)?;
    for (words, says) in [
        (&["frobnicate", "", "0"][..], "frobnicate"),
        (&["install", "", "0"], "needs at least one package"),
        (&["install", "", "1", "frobnicate", "b", "true"], "unknown option \"frobnicate\""),
        (&["install", "", "1", "packages", "s", "bs-one"], "option \"packages\" has the wrong type"),
        (&["install", "", "1", "on-failure", "s", "explode"], "explode"),
        (&["install", "", "1", "id", "s", "01"], "01"),
        (&["install", "", "1", "packages", "a(sss)", "1", "", "../../etc/passwd", ""], "passwd"),
        (&["upgrade", "", "1", "packages", "a(sss)", "1", "install", "bs-one", ""], "upgrade"),
        (&["install", "a\nb", "1", "packages", "a(sss)", "1", "", "bs-one", ""], "control"),
    ] {
        let output = manager(machine, &[&["CreateTransaction", "ssa{sv}"], words].concat())?.failure(1)?;
        assert!(output.stderr.contains(says), "{words:?}: {}", output.stderr);
    }
    assert_eq!(asked_for(machine)?.len(), known, "what is turned away is no transaction");
    Ok(())
}

/// The transactions that somebody asked us for, the newest first; what was changed past us is taken in when there is time.
fn asked_for(machine: &Machine) -> Result<Vec<Value>> {
    let mut rows = history(machine)?;
    rows.retain(|row| row["origin"] == "cli" || row["origin"] == "dbus");
    Ok(rows)
}

fn newest(machine: &Machine) -> Result<Value> {
    asked_for(machine)?.into_iter().next().context("nobody asked for anything")
}

fn an_id_stands_for_one_request(machine: &Machine) -> Result<()> {
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let create = |package: &str| {
        let options = ["2", "id", "s", id, "packages", "a(sss)", "1", "", package, ""];
        manager(machine, &[&["CreateTransaction", "ssa{sv}", "install", ""], options.as_slice()].concat())
    };
    let first = create("bs-one")?.success()?.stdout;
    assert_eq!(create("bs-one")?.success()?.stdout, first, "the same request again is the same transaction");
    let other = create("bs-left")?.failure(1)?.stderr;
    assert!(other.contains(id), "{other}");
    assert_eq!(text(&show(machine, id)?["state"]), "created");
    backstep(machine, &["cancel", id])?.success().map(drop)
}

#[test]
fn full_disk_stops_before_the_first_change() -> Result<()> {
    let machine = Machine::boot_on(&image()?, Storage::Memory(1024))?;
    machine.add_repository("local", &Repository::new(&[Package::new("bs-one", "1")])?, Transport::Copy)?;
    let free = machine.check(["df", "--output=avail", "--block-size=1", "/"])?;
    let free: u64 = free.lines().last().context("df says nothing")?.trim().parse()?;
    machine.check(["fallocate", "--length", &(free - (12 << 20)).to_string(), "/fill"])?;
    refused(&machine, &["install", "-y", "bs-one"], 8, "disk.full", &["MB free", "backstep retry"])?;
    machine.check(["rm", "/fill"])?;
    let id = text(&newest(&machine)?["id"]);
    backstep(&machine, &["retry", "-y", &id])?.success()?;
    assert_eq!(machine.package("bs-one")?.as_deref(), Some("ii 1"));
    Ok(())
}

#[test]
fn what_comes_from_a_repository_that_is_not_known_is_refused_or_said() -> Result<()> {
    let machine = machine()?;
    machine.add_repository("local", &Repository::new(&[Package::new("bs-one", "1")])?, Transport::Copy)?;
    let sources = |others: &str| -> Result<()> {
        let text = format!("[sources]\nknown = [\"Debian/*\", \"Debian-Security/*\"]\nothers = \"{others}\"\n");
        machine.write("/etc/backstep/backstep.toml.d/50-test.toml", &text, 0o644)?;
        machine.check(["systemctl", "restart", "backstepd"]).map(drop)
    };
    let install = ["install", "-y", "--no-install-recommends", "bs-one", "less"];
    sources("refuse")?;
    let output = refused(&machine, &install, 7, "trust.source", &["no source of this machine: bs-one from", "'known' in [sources]"])?;
    assert!(!output.stderr.contains("less"), "less is Debian's:\n{}", output.stderr);
    sources("warn")?;
    let output = backstep(&machine, &install)?.success()?;
    let said = |text: &str| output.stdout.contains(text) || output.stderr.contains(text);
    assert!(said("Warning: no source of this machine: bs-one from") && said("; from ") && said("Debian/"), "{output:?}");
    assert_eq!(machine.package("bs-one")?.as_deref(), Some("ii 1"));
    Ok(())
}

#[test]
fn without_network_nothing_is_changed() -> Result<()> {
    let machine = machine()?;
    let server = Server::start(Repository::new(&[Package::new("bs-one", "1")])?)?;
    server.add_to(&machine, "away")?;
    drop(server);
    let output = refused(&machine, &["install", "-y", "bs-one"], 7, "fetch.failed", &["cannot download", "Check the network"])?;
    assert!(output.stderr.contains("127.0.0.1"), "{}", output.stderr);
    let steps = show(&machine, &text(&newest(&machine)?["id"]))?["steps"].clone();
    let state = |kind: &str| steps.as_array().into_iter().flatten().find(|step| step["kind"] == kind).map(|step| text(&step["state"]));
    assert_eq!((state("fetch").as_deref(), state("secure").as_deref()), (Some("undone"), Some("pending")), "{steps:#}");
    Ok(())
}

/// Holds dpkg's frontend lock as dpkg does, until it is killed.
const HOLDER: &str = "open(F, '+<', '/var/lib/dpkg/lock-frontend') or die; \
                      $lock = pack('s s x4 q q l x4', 1, 0, 0, 0, 0); fcntl(F, 6, $lock) or die; open(G, '>', '/run/held'); sleep 600";

#[test]
fn others_at_work_are_waited_for_and_named() -> Result<()> {
    let machine = machine()?;
    let wait = "touch /run/bs-wait; until [ -e /run/bs-wait-go ]; do sleep 0.05; done";
    let packages = [
        Package::new("bs-one", "1"),
        Package::new("bs-two", "1"),
        Package::new("bs-three", "1"),
        Package::new("bs-half", "1"),
        Package::new("bs-wait", "1").script(Script::Postinst, wait),
    ];
    machine.add_repository("local", &Repository::new(&packages)?, Transport::Copy)?;
    a_held_lock_is_waited_for(&machine)?;
    later_clients_wait_for_the_first(&machine)?;
    an_interrupted_dpkg_is_named(&machine)
}

fn a_held_lock_is_waited_for(machine: &Machine) -> Result<()> {
    let holder = Background::start(machine, &["perl", "-e", HOLDER])?;
    wait_for_file(machine, "/run/held")?;
    refused(machine, &["install", "-y", "--lock-timeout", "2", "bs-one"], 6, "lock.busy", &["perl (pid ", "--lock-timeout"])?;
    let client = Background::start(machine, &["backstep", "install", "-y", "-m", "patient", "bs-one"])?;
    let id = wait_for_state(machine, "patient", "executing")?;
    let phase = wait_until("the holder of the lock is named", PATIENCE, || {
        let phase = text(&show(machine, &id)?["phase"]);
        Ok(phase.contains("lock").then_some(phase))
    })?;
    let pid = phase.split("perl (pid ").nth(1).and_then(|rest| rest.split(')').next()).context(phase.clone())?;
    assert_eq!(machine.package("bs-one")?, None);
    machine.check(["sh", "-c", "kill \"$0\"", pid])?;
    client.end()?.success()?;
    assert_eq!(machine.package("bs-one")?.as_deref(), Some("ii 1"));
    holder.end().map(drop)
}

fn later_clients_wait_for_the_first(machine: &Machine) -> Result<()> {
    machine.check(["rm", "/run/held"])?;
    let holder = Background::start(machine, &["sh", "-c", "echo $$ >/run/holder.pid; exec perl -e \"$0\"", HOLDER])?;
    wait_for_file(machine, "/run/held")?;
    let first = Background::start(machine, &["backstep", "install", "-y", "-m", "first", "bs-wait"])?;
    let first_id = wait_for_state(machine, "first", "executing")?;
    let second = Background::start(machine, &["backstep", "install", "-y", "-m", "second", "bs-two"])?;
    let second_id = wait_for_state(machine, "second", "queued")?;
    let shown = show(machine, &second_id)?;
    let waits = text(&shown["waits_for"]);
    assert!(waits.contains(&first_id) && waits.contains("root"), "{shown:#}");
    assert_eq!(shown["queue_position"].as_u64(), Some(1));
    let status = backstep(machine, &["status"])?.success()?.stdout;
    assert!(status.contains("Running:") && status.contains("Waiting:"), "{status}");
    let public: Value = serde_json::from_str(&machine.read("/run/backstep/status.json")?)?;
    assert_eq!((&public["active"][0], &public["queue"][0]), (&Value::from(first_id.clone()), &Value::from(second_id)));
    machine.check(["sh", "-c", "kill $(cat /run/holder.pid)"])?;
    holder.end()?;
    // dpkg is half way through the first now: a third can only be planned after it.
    wait_for_file(machine, "/run/bs-wait")?;
    let third = Background::start(machine, &["backstep", "install", "-y", "-m", "third", "bs-three"])?;
    let third_id = wait_for_state(machine, "third", "created")?;
    assert!(text(&show(machine, &third_id)?["waits_for"]).contains(&first_id));
    machine.write("/run/bs-wait-go", "", 0o644)?;
    first.end()?.success()?;
    for (client, word) in [(second, "waiting"), (third, "Waiting")] {
        let output = client.end()?.success()?;
        assert!(output.stdout.contains(&format!("{word} for transaction {first_id}")), "{}", output.stdout);
    }
    for name in ["bs-wait", "bs-two", "bs-three"] {
        assert_eq!(machine.package(name)?.as_deref(), Some("ii 1"), "{name}");
    }
    Ok(())
}

fn an_interrupted_dpkg_is_named(machine: &Machine) -> Result<()> {
    machine.check(["dpkg", "--unpack", "/srv/local/bs-half_1_all.deb"])?;
    refused(machine, &["remove", "-y", "bs-two"], 10, "dpkg.interrupted", &["bs-half", "unpacked", "backstep repair"])?;
    let advice = backstep(machine, &["repair"])?.success()?.stdout;
    assert!(advice.contains("dpkg --configure -a"), "{advice}");
    machine.check(["dpkg", "--configure", "-a"])?;
    backstep(machine, &["remove", "-y", "bs-two"])?.success()?;
    assert_eq!(machine.package("bs-two")?, None);
    Ok(())
}
