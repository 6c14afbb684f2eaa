//! Plain runs of apt whose dpkg is our program: what scripts change anywhere is undone, and apt never suffers from us.

use anyhow::{Context, Result, ensure};
use backstep_tests::command::Output;
use backstep_tests::package::{Package, Script};
use backstep_tests::wait::wait_until;
use serde_json::Value;

use crate::clients::PATIENCE;
use crate::scene::{Scene, plain};

const SWITCH: &str = "/etc/apt/apt.conf.d/06backstep-guard";
const DPKG: &str = "/usr/libexec/backstep/backstep-dpkg";
const WORKER: &str = "/usr/libexec/backstep/backstep-worker";

/// What is there before, in places that no capture beforehand covers.
const PLACE: &str = "mkdir -p /opt/bs/tree/deep /usr/local/lib/bs; echo old >/opt/bs/written; echo gone >/opt/bs/removed; \
     echo moved >/opt/bs/tree/deep/file; echo mode >/usr/local/lib/bs/mode; ln /opt/bs/written /usr/local/lib/bs/other-name";

/// Changes all of that, in every way.
const SCRIPT: &str = "echo new >>/opt/bs/written; rm /opt/bs/removed; mv /opt/bs/tree /opt/bs/moved; chmod 4711 /usr/local/lib/bs/mode; \
     mkdir /opt/bs-new; echo made >/opt/bs-new/file; echo made >/root/.bs; sed -i s/mode/sed/ /usr/local/lib/bs/mode";

/// Prints the process numbers of guards.
const GUARDS: &str = "for p in /proc/[0-9]*; do case $(tr '\\0' ' ' 2>/dev/null <$p/cmdline) in \
     */backstep-worker\\ guard*) echo ${p#/proc/};; esac; done";

fn scripted(script: &str) -> Package {
    plain("bs-scripted", "1").script(Script::Postinst, script)
}

fn scene(packages: &[Package]) -> Result<Scene> {
    let scene = Scene::new(packages)?;
    scene.machine.check(["ln", "-s", "/usr/share/backstep/apt-guard.conf", SWITCH])?;
    scene.machine.check(["sh", "-c", PLACE])?;
    Ok(scene)
}

fn apt(scene: &Scene, line: &str) -> Result<Output> {
    scene.machine.run(["apt-get", "-y"].into_iter().chain(line.split_whitespace()))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The newest transaction, with its events as one text.
fn newest(scene: &Scene) -> Result<(Value, String)> {
    let row = scene.backstep("history")?.json.as_array().and_then(|rows| rows.first().cloned()).context("no history")?;
    let events = scene.document(text(&row["id"]))?["events"].to_string();
    Ok((row, events))
}

/// The process numbers of guards.
fn guards(scene: &Scene) -> Result<String> {
    scene.machine.check(["sh", "-c", GUARDS])
}

fn no_guard_is_left(scene: &Scene) -> Result<()> {
    wait_until("no guard is left", PATIENCE, || Ok(guards(scene)?.is_empty().then_some(())))
}

#[test]
fn what_scripts_change_anywhere_is_undone_byte_for_byte() -> Result<()> {
    let scene = scene(&[scripted(SCRIPT), plain("bs-lib", "1")])?;
    let before = scene.state()?;
    apt(&scene, "install bs-scripted bs-lib")?.success()?;
    let after = scene.state()?;
    let (row, events) = newest(&scene)?;
    assert_eq!((text(&row["state"]), text(&row["origin"])), ("completed", "apt"), "{row:#}");
    ensure!(events.contains("changes seen") && !events.contains("without a guard") && !events.contains("capture.failed"), "{events}");
    no_guard_is_left(&scene)?;

    let files = scene.machine.check(["backstep", "show", "--files", text(&row["id"])])?;
    for path in ["/opt/bs/written", "/opt/bs/removed", "/opt/bs/moved/deep/file", "/usr/local/lib/bs/mode", "/opt/bs-new/file", "/root/.bs"]
    {
        ensure!(files.contains(path), "{path} is not in {files}");
    }
    let blamed = scene.backstep("blame /opt/bs/removed")?.json;
    ensure!(blamed[0]["transaction"] == row["id"] && blamed[0]["change"] == "removed", "{blamed:#}");

    let back = scene.change("rollback --last")?;
    assert_eq!((back.text("method"), back.text("reverts")), ("restore", text(&row["id"])));
    before.expect_same(&scene.state()?, "rollback")?;
    scene.change("rollback --last")?;
    after.expect_same(&scene.state()?, "redo")?;

    apt(&scene, "purge bs-scripted")?.success()?;
    scene.change("rollback --last")?;
    after.expect_same(&scene.state()?, "rollback of a purge")
}

#[test]
fn what_others_changed_meanwhile_is_named_and_left_alone() -> Result<()> {
    let scene = scene(&[scripted("systemd-run --wait --quiet sh -c 'echo by-others >/opt/bs/by-others'")])?;
    apt(&scene, "install bs-scripted")?.success()?;
    let (row, events) = newest(&scene)?;
    ensure!(events.contains("changed by others meanwhile") && events.contains("/opt/bs/by-others"), "{events}");
    scene.change(&format!("rollback {}", text(&row["id"])))?;
    assert_eq!(scene.machine.check(["cat", "/opt/bs/by-others"])?, "by-others\n");
    Ok(())
}

#[test]
fn without_the_switch_the_record_says_what_was_not_captured() -> Result<()> {
    let scene = scene(&[scripted(SCRIPT)])?;
    scene.machine.check(["rm", SWITCH])?;
    apt(&scene, "install bs-scripted")?.success()?;
    let (row, events) = newest(&scene)?;
    assert_eq!(text(&row["state"]), "completed", "{row:#}");
    ensure!(events.contains("without a guard: what scripts changed beside the captured paths is neither kept nor listed"), "{events}");
    Ok(())
}

#[test]
fn a_failed_run_is_undone_with_what_its_scripts_did() -> Result<()> {
    let scene = scene(&[scripted(&format!("{SCRIPT}; exit 1"))])?;
    let before = scene.state()?;
    apt(&scene, "install bs-scripted")?.failure(100)?;
    let (row, _) = newest(&scene)?;
    assert_eq!((text(&row["status"]), text(&row["error_code"])), ("failed", "dpkg.failed"), "{row:#}");
    scene.change("rollback --last-failed")?;
    before.expect_same(&scene.state()?, "rollback of a failed run")
}

/// apt hears of it at once, whoever is killed, and nothing is left that waits.
#[test]
fn whoever_is_killed_apt_ends_and_all_is_undone() -> Result<()> {
    let guard = format!("echo first >>/opt/bs/written; kill -KILL $({GUARDS}); sleep 1; {SCRIPT}; touch /run/unguarded");
    let dpkg = format!("{SCRIPT}; kill -KILL $PPID");
    for killer in [guard, dpkg] {
        let scene = scene(&[scripted(&killer)])?;
        let before = scene.state()?;
        scene.machine.run(["timeout", "60", "apt-get", "-y", "install", "bs-scripted"])?.failure(100).with_context(|| killer.clone())?;
        ensure!(!scene.machine.path("/run/unguarded").exists(), "it went on without its guard");
        no_guard_is_left(&scene)?;
        let (row, _) = newest(&scene)?;
        assert_eq!(text(&row["status"]), "failed", "{killer}: {row:#}");
        scene.change("rollback --last-failed")?;
        before.expect_same(&scene.state()?, &killer)?;
    }
    Ok(())
}

#[test]
fn a_daemon_that_a_script_leaves_keeps_nobody() -> Result<()> {
    let scene = scene(&[scripted("setsid sleep 600 </dev/null >/dev/null 2>&1 &\necho $! >/run/bs-daemon; echo x >/opt/bs/written")])?;
    let before = scene.state()?;
    scene.machine.run(["timeout", "60", "apt-get", "-y", "install", "bs-scripted"])?.success()?;
    let (_, events) = newest(&scene)?;
    ensure!(events.contains("changes seen"), "{events}");
    ensure!(!guards(&scene)?.is_empty(), "nobody answers the daemon's calls any more");
    scene.machine.check(["sh", "-c", "kill $(cat /run/bs-daemon)"])?;
    no_guard_is_left(&scene)?;
    scene.change("rollback --last")?;
    before.expect_same(&scene.state()?, "rollback")
}

#[test]
fn beside_a_daemon_that_is_away_all_is_kept() -> Result<()> {
    let scene = scene(&[scripted(SCRIPT)])?;
    let before = scene.state()?;
    scene.machine.check(["systemctl", "mask", "--now", "backstepd.service"])?;
    apt(&scene, "install bs-scripted")?.success()?;
    scene.machine.check(["systemctl", "unmask", "backstepd.service"])?;
    scene.change("rollback --last")?;
    let left = before.differences(&scene.state()?);
    // The masked unit's own link came and went.
    ensure!(left.iter().all(|line| line.contains("backstepd.service")), "{left:#?}");
    Ok(())
}

/// Puts a worker in its place that cannot guard.
fn break_guard(scene: &Scene) -> Result<()> {
    scene.machine.check(["mv", WORKER, "/usr/libexec/backstep/real"])?;
    let script = "#!/bin/sh\n[ \"$1\" != guard ] || exit 1\nexec /usr/libexec/backstep/real \"$@\"\n";
    scene.machine.write(WORKER, script, 0o755)
}

#[test]
fn without_a_guard_apt_goes_on_or_is_stopped() -> Result<()> {
    let scene = scene(&[plain("bs-one", "1"), plain("bs-two", "1"), plain("bs-three", "1")])?;
    break_guard(&scene)?;
    let said = apt(&scene, "install bs-one")?.success()?;
    let (row, events) = newest(&scene)?;
    assert_eq!(text(&row["state"]), "completed", "{row:#} {}", said.stderr);
    ensure!(events.contains("not all of dpkg's calls had a guard") && events.contains("capture.failed"), "{events}");
    scene.machine.write("/etc/backstep/backstep.toml.d/50.toml", "[apt]\non-failure = \"refuse\"\n", 0o644)?;
    apt(&scene, "install bs-two")?.failure(100)?;
    scene.expect(&[("bs-one", "ii 1"), ("bs-two", "")])?;
    assert_eq!(text(&newest(&scene)?.0["status"]), "failed");
    scene.machine.check(["rm", WORKER])?;
    apt(&scene, "install bs-three")?.success()?;
    Ok(())
}

#[test]
fn apt_works_while_and_after_our_package_goes() -> Result<()> {
    let scene = scene(&[plain("bs-one", "1"), plain("bs-two", "1")])?;
    let purged = apt(&scene, "purge backstep backstepd")?.success()?;
    ensure!(!purged.stderr.contains("E: "), "{}", purged.stderr);
    for path in [SWITCH, "/usr/libexec/backstep", "/usr/share/backstep"] {
        ensure!(std::fs::symlink_metadata(scene.machine.path(path)).is_err(), "{path} is left");
    }
    let installed = apt(&scene, "install bs-one")?.success()?;
    ensure!(!installed.stderr.contains("backstep") && !installed.stdout.contains("backstep"), "{installed:?}");
    // By dpkg itself, with a switch that nobody takes away.
    scene.machine.check(["ln", "-sf", "/usr/share/backstep/apt-guard.conf", SWITCH])?;
    apt(&scene, "install bs-two")?.success().map(drop)
}

/// What the documentation advises against.
#[test]
fn a_name_written_by_hand_outlives_our_package_with_a_working_apt() -> Result<()> {
    let scene = scene(&[plain("bs-one", "1")])?;
    scene.machine.check(["rm", SWITCH])?;
    scene.machine.write("/etc/apt/apt.conf.d/99mine", format!("Dir::Bin::dpkg \"{DPKG}\";\n"), 0o644)?;
    apt(&scene, "purge backstep backstepd")?.success()?;
    apt(&scene, "install bs-one")?.success()?;
    assert_eq!(scene.machine.check(["readlink", DPKG])?, "/usr/bin/dpkg\n");
    Ok(())
}

/// apt asks dpkg for its architectures also when it is not root.
#[test]
fn users_who_only_ask_are_not_disturbed() -> Result<()> {
    let scene = scene(&[plain("bs-one", "1")])?;
    let said = scene.machine.run_as(backstep_tests::machine::USER, ["apt-get", "-s", "install", "bs-one"])?.success()?;
    ensure!(said.stdout.contains("Inst bs-one") && !said.stderr.contains("backstep"), "{said:?}");
    Ok(())
}
