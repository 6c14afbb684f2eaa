//! Transactions that fail in the middle: everything is undone by itself, in reverse order, and all of it recorded.

use anyhow::{Context, Result, ensure};
use backstep_tests::package::{Package, Script};
use backstep_tests::wait::wait_until;
use serde_json::Value;

use crate::clients::PATIENCE;
use crate::scene::{Ended, Scene, plain};
use crate::undo::service;

/// Three packages that need each other in a row, so that dpkg comes to the second between the others; `change`
/// makes the second one.
fn row(name: &str, version: &str, change: impl Fn(Package) -> Package) -> [Package; 3] {
    let [first, second, third] = names(name);
    [plain(&first, version), change(plain(&second, version).depends(&first)), plain(&third, version).depends(&second)]
}

fn names(name: &str) -> [String; 3] {
    ["first", "second", "third"].map(|place| format!("{name}-{place}"))
}

fn unchanged(package: Package) -> Package {
    package
}

/// A failing transaction, and what must be said of it and of the system.
fn expect_undone(scene: &Scene, name: &str, line: &str, script: Script) -> Result<()> {
    let before = scene.state()?;
    let ended = scene.undone(line, 9, "script.failed")?;
    before.expect_same(&scene.state()?, line)?;
    let second = names(name)[1].clone();
    ensure!(ended.text("error_text").contains(&second), "{line}: {:?} does not name {second}", ended.text("error_text"));
    let failure = format!("{} fails on purpose", script_name(script));
    ensure!(scene.log(ended.id())?.contains(&failure), "{line}: the log does not hold what the script said");
    expect_record(scene, &ended, name).with_context(|| format!("the record of {line}"))
}

fn script_name(script: Script) -> &'static str {
    match script {
        Script::Preinst => "preinst",
        Script::Postinst => "postinst",
        Script::Prerm => "prerm",
        Script::Postrm => "postrm",
        Script::Config => "config",
    }
}

fn expect_record(scene: &Scene, ended: &Ended, name: &str) -> Result<()> {
    let mut forward = scene.steps(ended.id(), "forward")?;
    assert_eq!(forward.last().map(String::as_str), Some("apply"));
    forward.reverse();
    assert_eq!(scene.steps(ended.id(), "undo")?, forward, "the undo is the reverse of what was done");
    let document = scene.document(ended.id())?;
    assert_eq!(document["state"], "rolled-back");
    let events = document["events"].as_array().context("no events")?;
    let has = |event: &str, key: &str, value: &str| events.iter().any(|e| e["event"] == event && e[key] == value);
    ensure!(has("undo-started", "code", "script.failed"), "the turn is not on record");
    ensure!(has("step-ended", "state", "failed"), "the failed step is not on record");
    ensure!(events.iter().any(|e| e["event"] == "undo-finished" && e["number"] == 0), "the end of the undo is not on record");
    let changed = |package: &str| has("item-changed", "subject", &format!("{package}:all"));
    let [first, _, third] = names(name);
    ensure!(changed(&first) || changed(&third), "it did not fail in the middle");
    let done = |item: &Value| item["state"] == "done" || item["state"] == "half";
    ensure!(!document["items"].as_array().context("no items")?.iter().any(done), "{:#}", document["items"]);
    Ok(())
}

/// What people see of transactions that failed.
fn expect_told(scene: &Scene) -> Result<()> {
    let history = scene.backstep("history")?.json;
    // What apt itself did to set the scene is there too.
    let rows: Vec<&Value> = history.as_array().context("the history is no list")?.iter().filter(|row| row["origin"] != "apt").collect();
    ensure!(!rows.is_empty() && rows.iter().all(|row| row["state"] == "rolled-back"), "{history:#}");
    let id = rows[0]["id"].as_str().context("no id")?;
    for command in ["show", "history"] {
        let words = if command == "show" { vec!["backstep", command, id] } else { vec!["backstep", command] };
        let text = scene.machine.check(words)?;
        ensure!(text.contains("rolled back") || text.contains("rolled-back"), "{command} does not say it:\n{text}");
    }
    Ok(())
}

#[test]
fn failing_scripts_of_new_packages_are_undone() -> Result<()> {
    let cases = [("bs-preinst", Script::Preinst, "install"), ("bs-postinst", Script::Postinst, "configure")];
    let packages = cases.map(|(name, script, verb)| row(name, "1", |package| package.failing_script(script, &[verb])));
    let scene = Scene::new(packages.as_flattened())?;
    for (name, script, _) in cases {
        expect_undone(&scene, name, &format!("install {name}-third"), script)?;
    }
    expect_told(&scene)
}

#[test]
fn failing_scripts_in_upgrades_are_undone() -> Result<()> {
    let new = [("bs-preinst", Script::Preinst, "upgrade"), ("bs-postinst", Script::Postinst, "configure")];
    let old = [("bs-prerm", Script::Prerm), ("bs-postrm", Script::Postrm)];
    let installed = old.map(|(name, script)| row(name, "1", |package| package.failing_script(script, &["upgrade"])));
    let plain = new.map(|(name, _, _)| row(name, "1", unchanged));
    let scene = Scene::new(&[installed.as_flattened(), plain.as_flattened()].concat())?;
    for (name, ..) in new {
        scene.machine.check(["apt-get", "install", "-qq", &format!("{name}-third")])?;
    }
    for (name, _) in old {
        scene.machine.check(["apt-get", "install", "-qq", &format!("{name}-third")])?;
        scene.machine.write(&format!("/etc/{name}-second.conf"), "by the administrator\n", 0o640)?;
    }
    let newer = new.map(|(name, script, verb)| row(name, "2", |package| package.failing_script(script, &[verb])));
    // The new package's script is asked when the old one's has failed.
    let replacing = old.map(|(name, script)| row(name, "2", |package| package.failing_script(script, &["failed-upgrade"])));
    scene.publish(&[newer.as_flattened(), replacing.as_flattened()].concat())?;
    for (name, script) in new.map(|(name, script, _)| (name, script)).into_iter().chain(old) {
        expect_undone(&scene, name, &format!("update {}", names(name).join(" ")), script)?;
    }
    expect_told(&scene)
}

#[test]
fn failing_scripts_in_removals_are_undone() -> Result<()> {
    let cases = [
        ("bs-prerm", "remove", Script::Prerm, "remove"),
        ("bs-postrm", "remove", Script::Postrm, "remove"),
        ("bs-purge", "purge", Script::Postrm, "purge"),
    ];
    let packages = cases.map(|(name, _, script, verb)| row(name, "1", |package| package.failing_script(script, &[verb])));
    let scene = Scene::new(packages.as_flattened())?;
    for (name, ..) in cases {
        scene.machine.check(["apt-get", "install", "-qq", &format!("{name}-third")])?;
        scene.machine.write(&format!("/etc/{name}-first.conf"), "by the administrator\n", 0o600)?;
    }
    for (name, kind, script, _) in cases {
        expect_undone(&scene, name, &format!("{kind} {}", names(name).join(" ")), script)?;
    }
    expect_told(&scene)
}

fn daemon(version: &str, command: &str) -> Package {
    service("bs-daemon", version, command, ":", ":").file("/usr/share/bs-daemon/version", version)
}

fn is_active(scene: &Scene) -> Result<bool> {
    Ok(scene.machine.run(["systemctl", "is-active", "bs-daemon.service"])?.stdout == "active\n")
}

#[test]
fn services_that_fail_after_an_upgrade_are_undone_or_named() -> Result<()> {
    let scene = Scene::new(&[daemon("1", "/usr/bin/sleep infinity")])?;
    scene.machine.check(["apt-get", "install", "-qq", "bs-daemon"])?;
    scene.publish(&[daemon("2", "/usr/bin/false")])?;
    let before = scene.state()?;

    let ended = scene.undone("upgrade", 9, "service.failed")?;
    ensure!(ended.text("error_text").contains("bs-daemon.service"), "{}", ended.text("error_text"));
    assert_eq!(scene.steps(ended.id(), "undo")?, ["check", "services", "apply", "secure", "fetch"]);
    before.expect_same(&scene.state()?, "a service that failed")?;
    ensure!(is_active(&scene)?, "the old service does not run");
    let process = scene.machine.check(["systemctl", "show", "--value", "--property=ExecStart", "bs-daemon.service"])?;
    ensure!(process.contains("/usr/bin/sleep"), "the new service is still known: {process}");

    let warned = scene.change("upgrade --services warn")?;
    scene.expect(&[("bs-daemon", "ii 2")])?;
    let events = scene.document(warned.id())?["events"].clone();
    let notes: Vec<_> = events.as_array().into_iter().flatten().filter(|event| event["code"] == "service.failed").collect();
    ensure!(notes.len() == 1 && notes[0]["event"] == "noted", "{events:#}");
    scene.change("rollback --last")?;
    before.expect_same(&scene.state()?, "rollback of an upgrade whose service failed")?;
    ensure!(is_active(&scene)?, "the old service does not run after a rollback");

    // One that its unit has started again and again never gets to the state "failed".
    scene.publish(&[daemon("3", "/usr/bin/false\nRestart=always\nRestartSec=1h")])?;
    let ended = scene.undone("upgrade", 9, "service.failed")?;
    ensure!(ended.text("error_text").contains("bs-daemon.service"), "{}", ended.text("error_text"));
    before.expect_same(&scene.state()?, "a service that failed and would start again")?;
    ensure!(is_active(&scene)?, "the old service does not run after it failed again and again");

    let silent = scene.change("upgrade --services off")?;
    ensure!(!is_active(&scene)?, "the new service does not fail");
    ensure!(!scene.document(silent.id())?["events"].to_string().contains("service.failed"), "services were looked at");
    Ok(())
}

const REQUIRED: &str = "/etc/backstep/check/required.d/web";
const WANTED: &str = "/etc/backstep/check/wanted.d/web";

/// Whether a note that begins so is in the record of a change, with the code of a check that failed, or with none.
fn told(scene: &Scene, id: &str, begin: &str, failed: bool) -> Result<bool> {
    let events = scene.document(id)?["events"].clone();
    let code = if failed { Value::from("check.failed") } else { Value::Null };
    let is_it = |event: &&Value| event["text"].as_str().is_some_and(|text| text.starts_with(begin)) && event["code"] == code;
    Ok(events.as_array().into_iter().flatten().filter(|event| event["event"] == "noted").any(|event| is_it(&event)))
}

#[test]
fn checks_of_the_administrator_decide_whether_a_change_stays() -> Result<()> {
    let scene = Scene::new(&[plain("bs-web", "1")])?;
    let check = "#!/bin/sh\necho \"checks $BACKSTEP_TRANSACTION\"\ntest ! -e /usr/share/bs-web/broken\n";
    scene.machine.write(REQUIRED, check, 0o755)?;
    let installed = scene.change("install bs-web")?;
    ensure!(told(&scene, installed.id(), "required check web succeeded", false)?, "{:#}", scene.document(installed.id())?);
    ensure!(scene.log(installed.id())?.contains(&format!("checks {}", installed.id())), "the log has nothing of the check");

    scene.publish(&[plain("bs-web", "2").file("/usr/share/bs-web/broken", "")])?;
    let before = scene.state()?;
    let ended = scene.undone("upgrade", 9, "check.failed")?;
    assert_eq!(ended.text("error_text"), "required check web ended with code 1");
    before.expect_same(&scene.state()?, "a check that failed")?;
    assert_eq!(scene.steps(ended.id(), "undo")?, ["check", "services", "apply", "secure", "fetch"]);

    scene.machine.check(["chmod", "775", REQUIRED])?;
    let open = scene.undone("upgrade", 9, "check.failed")?;
    ensure!(open.text("error_text").contains("others than root may change"), "{}", open.text("error_text"));

    scene.machine.check(["mv", REQUIRED, WANTED])?;
    scene.machine.check(["chmod", "755", WANTED])?;
    let wanted = scene.change("upgrade")?;
    ensure!(told(&scene, wanted.id(), "wanted check web ended with code 1", true)?, "{:#}", scene.document(wanted.id())?);
    let shown = scene.machine.check(["backstep", "show", wanted.id()])?;
    ensure!(shown.contains("wanted check web ended with code 1"), "show does not say it:\n{shown}");

    scene.machine.write(REQUIRED, "#!/bin/sh\nexit 7\n", 0o755)?;
    let back = scene.change("rollback --last")?;
    scene.expect(&[("bs-web", "ii 1")])?;
    ensure!(told(&scene, back.id(), "required check web ended with code 7", true)?, "{:#}", scene.document(back.id())?);
    Ok(())
}

/// What the hook has been told, once it has been told as much.
fn hook_told(scene: &Scene, lines: usize) -> Result<Vec<String>> {
    let told = || scene.machine.read("/var/tmp/bs-told").unwrap_or_default();
    let told = wait_until(&format!("the hook is told of {lines} ends"), PATIENCE, || {
        Ok(Some(told()).filter(|told| told.lines().count() >= lines))
    })?;
    Ok(told.lines().map(str::to_owned).collect())
}

#[test]
fn hooks_are_told_of_each_end_and_change_nothing_of_it() -> Result<()> {
    let scene = Scene::new(&[plain("bs-good", "1"), plain("bs-bad", "1").failing_script(Script::Postinst, &["configure"])])?;
    let state = "backstep show \"$BACKSTEP_TRANSACTION\" --json | grep -o '\"state\": *\"[a-z-]*\"' | head -n 1 | cut -d '\"' -f 4";
    let hook = format!("#!/bin/sh\necho \"$BACKSTEP_TRANSACTION $({state})\" >>/var/tmp/bs-told\necho 'says why' >&2\nexit 3\n");
    scene.machine.write("/etc/backstep/hook.d/chat", &hook, 0o755)?;

    let good = scene.change("install bs-good")?;
    assert_eq!(hook_told(&scene, 1)?, [format!("{} completed", good.id())]);
    let bad = scene.undone("install bs-bad", 9, "script.failed")?;
    assert_eq!(hook_told(&scene, 2)?[1], format!("{} rolled-back", bad.id()));
    scene.machine.check(["apt-get", "-y", "remove", "bs-good"])?;
    let plain = hook_told(&scene, 3)?[2].clone();
    ensure!(plain.ends_with(" completed") && !plain.contains(good.id()), "{plain}");
    // A plan that nobody authorised has an end, too.
    scene.machine.check(["backstep", "plan", "install", "bs-good"])?;
    let again = scene.change("install bs-good")?;
    assert_eq!(hook_told(&scene, 4)?[3..], [format!("{} completed", again.id())]);

    let unit = format!("backstep-hook@{}.service", good.id());
    let said = || scene.machine.journal(&unit);
    let why = "hook chat ended with code 3";
    wait_until("the journal has what the hook says", PATIENCE, || Ok(said()?.contains(why).then_some(())))?;
    ensure!(said()?.contains("says why"), "{}", said()?);
    assert_eq!(scene.document(good.id())?["state"], "completed");
    Ok(())
}
