//! Plain runs of apt: typed by hand or started by a unit, they are transactions that can be undone.

use anyhow::{Context, Result, ensure};
use backstep_tests::command::Output;
use backstep_tests::machine::USER;
use backstep_tests::package::{Package, Script};
use backstep_tests::wait::wait_until;
use serde_json::Value;

use crate::clients::PATIENCE;
use crate::scene::{Scene, plain};

/// Runs apt-get as a user who became root by sudo.
fn apt(scene: &Scene, line: &str) -> Result<Output> {
    scene.machine.call(["apt-get", "-y"].into_iter().chain(line.split_whitespace())).env("SUDO_UID", "1000").output()
}

fn history(scene: &Scene) -> Result<Vec<Value>> {
    let rows = scene.backstep("history")?.json;
    rows.as_array().cloned().with_context(|| format!("the history is no list: {rows:#}"))
}

/// The newest transaction, which must be a run of apt with this command line.
fn newest(scene: &Scene, command: &str) -> Result<Value> {
    let row = history(scene)?.into_iter().next().context("the history is empty")?;
    ensure!(row["origin"] == "apt" && row["description"] == command, "{row:#}");
    Ok(row)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A run of apt that completes is on record, and undone by its files.
fn there_and_back(scene: &Scene, line: &str, kind: &str, items: &[&str]) -> Result<()> {
    let before = scene.state()?;
    apt(scene, line)?.success()?;
    let row = newest(scene, &format!("apt-get -y {line}"))?;
    assert_eq!((text(&row["kind"]), text(&row["state"]), text(&row["user"])), (kind, "completed", USER), "{row:#}");
    let document = scene.document(text(&row["id"]))?;
    let item = |item: &Value| {
        format!(
            "{} {} {}->{} {}",
            text(&item["action"]),
            text(&item["package"]),
            text(&item["from"]),
            text(&item["to"]),
            text(&item["state"])
        )
    };
    assert_eq!(document["items"].as_array().context("no items")?.iter().map(item).collect::<Vec<_>>(), items, "{document:#}");
    let after = scene.state()?;
    let back = scene.change("rollback --last")?;
    assert_eq!((back.text("method"), back.text("reverts")), ("restore", text(&row["id"])));
    before.expect_same(&scene.state()?, &format!("rollback of apt-get {line}"))?;
    scene.change("rollback --last")?;
    after.expect_same(&scene.state()?, &format!("redo of apt-get {line}"))
}

#[test]
fn apt_typed_by_hand_is_recorded_and_undone() -> Result<()> {
    let lib = |version| plain("bs-lib", version);
    let app = |version| {
        crate::undo::service("bs-app", version, "/usr/bin/sleep infinity", "", "").depends("bs-lib").conffile("/etc/bs-app.conf", version)
    };
    let scene = Scene::new(&[lib("1"), app("1"), plain("bs-by", "1")])?;
    let own = scene.change("install bs-by")?;
    assert_eq!(history(&scene)?.len(), 1, "a run of our own is no other's");
    there_and_back(&scene, "install bs-app", "install", &["install bs-app:all ->1 done", "install bs-lib:all ->1 done"])?;
    assert_eq!(scene.marked("showauto")?, ["bs-lib"]);
    let log = scene.log(text(&history(&scene)?[2]["id"]))?;
    ensure!(log.contains("Setting up bs-app"), "the log does not hold what dpkg said: {log}");
    scene.machine.write("/etc/bs-app.conf", "by the administrator", 0o600)?;
    scene.publish(&[lib("2"), app("2")])?;
    there_and_back(
        &scene,
        "-o Dpkg::Options::=--force-confold upgrade",
        "upgrade",
        &["upgrade bs-app:all 1->2 done", "upgrade bs-lib:all 1->2 done"],
    )?;
    there_and_back(&scene, "install --reinstall bs-lib", "reinstall", &["reinstall bs-lib:all 2->2 done"])?;
    there_and_back(&scene, "remove bs-app", "remove", &["remove bs-app:all 2-> done"])?;
    there_and_back(&scene, "purge bs-app", "purge", &["purge bs-app:all 2-> done"])?;
    there_and_back(&scene, "autoremove", "autoremove", &["remove bs-lib:all 2-> done"])?;
    scene.change(&format!("rollback {}", own.id())).map(drop)
}

#[test]
fn a_service_that_apt_typed_by_hand_stopped_runs_again() -> Result<()> {
    let scene = Scene::new(&crate::undo::mail_server())?;
    apt(&scene, "install bs-server")?.success()?;
    // Without configuration nothing of it is left, which dpkg calls purged.
    there_and_back(&scene, "remove bs-server", "remove", &["purge bs-server:all 1-> done"])
}

#[test]
fn a_unit_that_runs_apt_is_named() -> Result<()> {
    let scene = Scene::new(&[plain("bs-one", "1")])?;
    scene.machine.check(["systemd-run", "--wait", "--unit=bs-nightly", "apt-get", "-y", "install", "bs-one"])?;
    let row = newest(&scene, "/usr/bin/apt-get -y install bs-one")?;
    assert_eq!((text(&row["user"]), text(&row["state"])), ("root", "completed"));
    let shown = scene.machine.check(["backstep", "show", text(&row["id"])])?;
    ensure!(shown.contains("apt apt-get"), "{shown}");
    let document = scene.document(text(&row["id"]))?;
    ensure!(document.to_string().contains("bs-nightly.service"), "{document:#}");
    Ok(())
}

#[test]
fn runs_beside_a_daemon_that_is_away_are_taken_in_later() -> Result<()> {
    let scene = Scene::new(&[plain("bs-one", "1"), plain("bs-two", "1")])?;
    scene.machine.check(["systemctl", "mask", "--now", "backstepd.service"])?;
    let before = scene.state()?;
    apt(&scene, "install bs-one")?.success()?;
    let between = scene.state()?;
    apt(&scene, "install bs-two")?.success()?;
    scene.machine.check(["systemctl", "unmask", "backstepd.service"])?;
    let rows = history(&scene)?;
    let words: Vec<_> = rows.iter().map(|row| (text(&row["description"]), text(&row["state"]))).collect();
    assert_eq!(words, [("apt-get -y install bs-two", "completed"), ("apt-get -y install bs-one", "completed")]);
    // The masked unit's own link came and went between the states.
    let same = |one: &crate::state::State, other: &crate::state::State| {
        one.differences(other).into_iter().filter(|line| !line.contains("backstepd.service")).collect::<Vec<_>>()
    };
    scene.change("rollback --last")?;
    assert_eq!(same(&between, &scene.state()?), [""; 0]);
    scene.change(&format!("rollback {}", text(&rows[1]["id"])))?;
    assert_eq!(same(&before, &scene.state()?), [""; 0]);
    assert_eq!(history(&scene)?.len(), 4, "each counts once");
    Ok(())
}

#[test]
fn a_failed_run_is_recorded_as_it_is_and_undone() -> Result<()> {
    let scene = Scene::new(&[plain("bs-good", "1"), plain("bs-bad", "1")])?;
    apt(&scene, "install bs-good bs-bad")?.success()?;
    let before = scene.state()?;
    scene.publish(&[plain("bs-good", "2"), plain("bs-bad", "2").failing_script(Script::Postinst, &["configure"])])?;
    apt(&scene, "upgrade")?.failure(100)?;
    let row = newest(&scene, "apt-get -y upgrade")?;
    assert_eq!((text(&row["status"]), text(&row["error_code"])), ("failed", "dpkg.failed"), "{row:#}");
    ensure!(text(&row["error_text"]).contains("bs-bad:all is half-configured 2"), "{row:#}");
    let document = scene.document(text(&row["id"]))?;
    let state = |name: &str| {
        let items = document["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().find(|item| text(&item["package"]) == name).map(|item| text(&item["state"]).to_owned()).unwrap_or_default()
    };
    assert_eq!((state("bs-good:all").as_str(), state("bs-bad:all").as_str()), ("done", "half"), "{document:#}");
    assert_eq!(scene.backstep("list")?.json, Value::Array(Vec::new()), "it waits for somebody");
    let back = scene.change("rollback --last-failed")?;
    assert_eq!((back.text("method"), back.text("reverts")), ("restore", text(&row["id"])));
    before.expect_same(&scene.state()?, "rollback of a failed run of apt")
}

/// A file system that takes no manifest: everything else goes on.
fn no_room(scene: &Scene) -> Result<()> {
    scene.machine.check(["mount", "-t", "tmpfs", "-o", "size=64k", "none", "/var/lib/backstep/capture"]).map(drop)
}

#[test]
fn without_undo_material_apt_goes_on_or_is_stopped() -> Result<()> {
    let scene = Scene::new(&[plain("bs-one", "1"), plain("bs-two", "1")])?;
    history(&scene)?;
    scene.machine.run(["mkdir", "-p", "-m", "700", "/var/lib/backstep/capture"])?.success()?;
    no_room(&scene)?;
    let nothing = scene.state()?;
    let went_on = apt(&scene, "install bs-one")?.success()?;
    ensure!(went_on.stderr.contains("backstep: there is no undo material for this change"), "{}", went_on.stderr);
    scene.expect(&[("bs-one", "ii 1")])?;
    let row = newest(&scene, "apt-get -y install bs-one")?;
    assert_eq!(text(&row["state"]), "completed");
    let events = scene.document(text(&row["id"]))?["events"].to_string();
    ensure!(events.contains("capture.failed") && events.contains("can only be undone by packages"), "{events}");

    scene.machine.write("/etc/backstep/backstep.toml.d/50.toml", "[apt]\non-failure = \"refuse\"\n", 0o644)?;
    let refused = apt(&scene, "install bs-two")?.failure(100)?;
    ensure!(refused.stderr.contains("backstep: refused"), "{}", refused.stderr);
    scene.expect(&[("bs-two", "")])?;
    let row = newest(&scene, "apt-get -y install bs-two")?;
    assert_eq!((text(&row["state"]), text(&row["error_code"])), ("failed", "disk.full"), "{row:#}");
    scene.machine.check(["umount", "/var/lib/backstep/capture"])?;
    scene.machine.check(["rm", "/etc/backstep/backstep.toml.d/50.toml"])?;
    let back = scene.change("rollback --last")?;
    assert_eq!(back.text("method"), "packages");
    nothing.expect_same_in_fact(&scene.state()?, "an undo by packages")
}

/// A package whose configuration waits until it is killed.
fn waiting(version: &str) -> Package {
    plain("bs-slow", version).script(Script::Postinst, "echo here >/run/bs-slow; while :; do sleep 0.1; done")
}

#[test]
fn a_run_that_was_killed_is_recorded_blocks_nobody_and_is_undone() -> Result<()> {
    let scene = Scene::new(&[plain("bs-slow", "1"), plain("bs-other", "1")])?;
    apt(&scene, "install bs-slow")?.success()?;
    let before = scene.state()?;
    scene.publish(&[waiting("2")])?;
    scene.machine.check(["systemd-run", "--unit=bs-killed", "apt-get", "-y", "upgrade"])?;
    wait_until("the script runs", PATIENCE, || Ok(scene.machine.path("/run/bs-slow").exists().then_some(())))?;
    scene.machine.check(["systemctl", "kill", "--signal=KILL", "bs-killed.service"])?;
    let row = wait_until("the run is on record", PATIENCE, || Ok(newest(&scene, "/usr/bin/apt-get -y upgrade").ok()))?;
    assert_eq!((text(&row["status"]), text(&row["error_code"])), ("failed", "dpkg.failed"), "{row:#}");
    ensure!(text(&row["error_text"]).starts_with("apt was cut off: "), "{row:#}");
    scene.change("rollback --last-failed")?;
    scene.machine.check(["systemctl", "reset-failed", "bs-killed.service"])?;
    before.expect_same(&scene.state()?, "rollback of a killed run of apt")?;
    scene.change("install bs-other").map(drop)
}

#[test]
fn a_hook_that_is_gone_stops_nobody() -> Result<()> {
    let scene = Scene::new(&[plain("bs-one", "1")])?;
    scene.machine.check(["dpkg", "--remove", "backstep", "backstepd"])?;
    ensure!(scene.machine.path("/etc/apt/apt.conf.d/05backstep").exists(), "the drop-in is no configuration file");
    let installed = apt(&scene, "install bs-one")?.success()?;
    ensure!(!installed.stderr.contains("backstep"), "{}", installed.stderr);
    Ok(())
}

/// Debian's own program, over the network.
#[test]
fn unattended_upgrades_are_recorded_step_by_step_and_undone() -> Result<()> {
    let scene = Scene::debian()?;
    scene.machine.check(["apt-get", "update"])?;
    apt(&scene, "install --no-install-recommends unattended-upgrades")?.success()?;
    scene.machine.write("/etc/apt/apt.conf.d/99all", "Unattended-Upgrade::Origins-Pattern { \"origin=*\"; };\n", 0o644)?;
    scene.machine.check(["rm", "-rf", "/etc/apt/sources.list", "/var/lib/apt/lists"])?;
    scene.publish(&[plain("bs-one", "1"), plain("bs-two", "1")])?;
    apt(&scene, "install bs-one bs-two")?.success()?;
    let before = scene.state()?;
    scene.publish(&[plain("bs-one", "2"), plain("bs-two", "2")])?;
    scene.machine.check(["unattended-upgrade", "-v"])?;
    scene.expect(&[("bs-one", "ii 2"), ("bs-two", "ii 2")])?;
    let rows = history(&scene)?;
    let mut words: Vec<_> =
        rows.iter().take(2).map(|row| [text(&row["state"]), text(&row["kind"]), text(&row["summary"])].join(" ")).collect();
    words.sort();
    assert_eq!(words, ["completed update 1 to upgrade (bs-one)", "completed update 1 to upgrade (bs-two)"]);
    assert_eq!((rows.len(), text(&rows[0]["description"])), (4, "/usr/bin/python3 /usr/bin/unattended-upgrade -v"));
    scene.change(&format!("rollback {}", text(&rows[0]["id"])))?;
    let last = scene.change(&format!("rollback {}", text(&rows[1]["id"])))?;
    assert_eq!(last.text("method"), "restore");
    // The program's own notes are no change of packages.
    let own = ["/etc/apt/sources.list ", "/var/lib/apt/periodic/"];
    let mut left = before.differences(&scene.state()?);
    left.retain(|line| !own.iter().any(|path| line.contains(path)));
    ensure!(left.is_empty(), "{left:#?}");

    // Its library says which dpkg it takes, whatever apt's configuration says: it has no guard, and the record says so.
    scene.machine.check(["ln", "-s", "/usr/share/backstep/apt-guard.conf", "/etc/apt/apt.conf.d/06backstep-guard"])?;
    // Version 2 of the other is still there to be had, and the program has no order.
    scene.machine.check(["apt-mark", "hold", "bs-two"])?;
    scene.publish(&[plain("bs-one", "3")])?;
    scene.machine.check(["unattended-upgrade", "-v"])?;
    scene.expect(&[("bs-one", "ii 3")])?;
    let unguarded = history(&scene)?.first().cloned().context("no history")?;
    let events = scene.document(text(&unguarded["id"]))?["events"].to_string();
    ensure!(events.contains("without a guard: what scripts changed beside the captured paths is neither kept nor listed"), "{events}");
    scene.change("rollback --last")?;
    scene.expect(&[("bs-one", "ii 1")])
}
