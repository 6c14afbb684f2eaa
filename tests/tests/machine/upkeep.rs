//! What is ignored, backed off, or changed past Backstep, with real apt and dpkg.

use anyhow::{Context, Result, ensure};
use backstep_tests::machine::USER;
use backstep_tests::package::{Package, Script};
use serde_json::Value;

use crate::scene::{Scene, plain};

fn rows(scene: &Scene, line: &str) -> Result<Vec<Value>> {
    let rows = scene.backstep(line)?.json;
    rows.as_array().cloned().with_context(|| format!("{line} is no list: {rows:#}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What plain apt would upgrade.
fn upgradable(scene: &Scene) -> Result<Vec<String>> {
    let told = scene.machine.check(["apt-get", "-s", "upgrade"])?;
    Ok(told.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next().map(str::to_owned)).collect())
}

#[test]
fn what_is_ignored_is_offered_by_nobody_until_its_end() -> Result<()> {
    let scene = Scene::new(&[plain("bs-a", "1"), plain("bs-b", "1")])?;
    scene.change("install bs-a bs-b")?;
    scene.publish(&[plain("bs-a", "2"), plain("bs-b", "2")])?;
    assert_eq!(upgradable(&scene)?, ["bs-a", "bs-b"]);
    let added = scene.backstep("ignore add bs-a=2* -m broken")?;
    assert_eq!((added.code, &added.json[0]["number"]), (0, &Value::from(1)), "{added:?}");
    assert_eq!(upgradable(&scene)?, ["bs-b"]);
    let policy = scene.machine.check(["apt-cache", "policy", "bs-a"])?;
    ensure!(policy.contains("Candidate: 1"), "the installed version stays the candidate:\n{policy}");
    let file = scene.machine.run_as(USER, ["cat", "/etc/apt/preferences.d/backstep.pref"])?.success()?.stdout;
    ensure!(file.contains("Explanation: backstep ignore 1: broken\n"), "{file}");
    let upgrade = scene.change("upgrade")?;
    assert_eq!(upgrade.plan(), ["upgrade bs-b 2"]);
    scene.expect(&[("bs-a", "ii 1"), ("bs-b", "ii 2")])?;
    let refused = scene.machine.run_as(USER, ["backstep", "ignore", "add", "bs-b", "-m", "x"])?;
    assert_eq!(refused.status.code(), Some(5), "{}", refused.stderr);
    assert_eq!(scene.backstep("ignore remove 1")?.code, 0);
    assert_eq!(upgradable(&scene)?, ["bs-a"]);
    ensure!(!scene.machine.path("/etc/apt/preferences.d/backstep.pref").exists(), "a file without a pin");
    // Its end is seen while no daemon runs.
    scene.backstep("ignore add bs-? --until 3s -m soon")?;
    scene.machine.check(["systemctl", "stop", "backstepd.service"])?;
    scene.machine.check(["sleep", "4"])?;
    assert_eq!(upgradable(&scene)?, Vec::<String>::new(), "nobody has told apt yet");
    assert_eq!(scene.machine.check(["systemctl", "is-enabled", "backstep-ignores.timer"])?, "enabled\n");
    scene.machine.check(["systemctl", "start", "backstep-ignores.service"])?;
    assert_eq!(upgradable(&scene)?, ["bs-a"]);
    assert_eq!(rows(&scene, "ignore list")?.len(), 0);
    assert_eq!(rows(&scene, "ignore list --all")?.len(), 2);
    Ok(())
}

#[test]
fn an_unattended_upgrade_leaves_out_what_failed_and_does_the_rest() -> Result<()> {
    let scene = Scene::new(&[plain("bs-a", "1"), plain("bs-bad", "1")])?;
    scene.change("install bs-a bs-bad")?;
    let bad = plain("bs-bad", "2").failing_script(Script::Postinst, &["configure"]);
    scene.publish(&[plain("bs-a", "2"), bad.clone()])?;
    scene.undone("upgrade", 9, "script.failed")?;
    let backed = rows(&scene, "backoff list")?;
    let told: Vec<_> = backed.iter().map(|row| (text(&row["subject"]), text(&row["process"]), text(&row["error_code"]))).collect();
    assert_eq!(told, [("bs-bad", "upgrade", "script.failed")], "{backed:#?}");
    scene.machine.check(["systemctl", "start", "backstep-upgrade.service"])?;
    scene.expect(&[("bs-a", "ii 2"), ("bs-bad", "ii 1")])?;
    let id = text(&rows(&scene, "history -n 1")?[0]["id"]).to_owned();
    let shown = scene.backstep(&format!("show {id}"))?.json.to_string();
    ensure!(shown.contains("left out, because bs-bad is backed off"), "{shown}");
    scene.withdraw(&bad)?;
    scene.publish(&[plain("bs-bad", "3")])?;
    scene.change("update bs-bad")?;
    assert_eq!(rows(&scene, "backoff list")?.len(), 0, "success ends it");
    Ok(())
}

/// Runs dpkg as a user who became root by sudo.
fn dpkg(scene: &Scene, words: &[&str]) -> Result<()> {
    scene.machine.call(["dpkg"].into_iter().chain(words.iter().copied())).env("SUDO_UID", "1000").output()?.success().map(drop)
}

fn archive(scene: &Scene, package: &Package) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let built = package.build(folder.path())?;
    let target = format!("/var/tmp/{}", built.file_name().context("a name")?.to_string_lossy());
    scene.machine.copy_in(&built, &target)?;
    Ok(target)
}

#[test]
fn a_run_of_dpkg_by_hand_is_a_generation_of_its_own() -> Result<()> {
    let scene = Scene::new(&[plain("bs-a", "1")])?;
    scene.change("install bs-a")?;
    assert_eq!(rows(&scene, "inventory")?.len(), 0, "what we did is no drift");
    let before = rows(&scene, "history")?.len();
    let two = archive(&scene, &plain("bs-a", "2"))?;
    dpkg(&scene, &["-i", &two])?;
    let history = rows(&scene, "history")?;
    assert_eq!(history.len(), before + 1, "{history:#?}");
    let row = &history[0];
    let command = format!("dpkg -i {two}");
    assert_eq!((text(&row["origin"]), text(&row["user"]), text(&row["description"])), ("apt", USER, command.as_str()), "{row:#}");
    assert_eq!((text(&row["kind"]), text(&row["state"])), ("update", "completed"), "{row:#}");
    let generation = &rows(&scene, "generation list -n 1")?[0];
    assert_eq!((text(&generation["transaction"]), text(&generation["comment"])), (text(&row["id"]), command.as_str()));
    let drift = rows(&scene, "inventory")?;
    let told: Vec<_> =
        drift.iter().map(|row| (text(&row["package"]), text(&row["from"]), text(&row["version"]), text(&row["by"]))).collect();
    assert_eq!(told, [("bs-a", "1", "2", "dpkg")]);
    scene.change("rollback --last")?;
    scene.expect(&[("bs-a", "ii 1")])?;
    assert_eq!(rows(&scene, "inventory")?.len(), 0);
    // The hook is away: what it would have said is found, and nobody knows who it was.
    scene.machine.check(["mv", "/etc/dpkg/dpkg.cfg.d/backstep", "/root/backstep.cfg"])?;
    dpkg(&scene, &["-i", &two])?;
    scene.machine.check(["touch", "-d", "1 minute ago", "/var/lib/dpkg/status"])?;
    let drift = rows(&scene, "inventory")?;
    assert_eq!((drift.len(), text(&drift[0]["by"]), drift[0].get("user")), (1, "found", None), "{drift:#?}");
    // A run of apt says itself what it did.
    scene.machine.check(["mv", "/root/backstep.cfg", "/etc/dpkg/dpkg.cfg.d/backstep"])?;
    let count = rows(&scene, "history")?.len();
    scene.machine.check(["apt-get", "-y", "remove", "bs-a"])?;
    assert_eq!(rows(&scene, "history")?.len(), count + 1, "once, by apt's hooks");
    Ok(())
}

#[test]
fn the_hook_of_dpkg_costs_little() -> Result<()> {
    let scene = Scene::new(&[])?;
    scene.machine.check(["systemctl", "stop", "backstepd.service"])?;
    let file = scene.machine.read("/etc/dpkg/dpkg.cfg.d/backstep")?;
    let hook = file.lines().find_map(|line| line.strip_prefix("post-invoke=")).context("the hook")?;
    let script = format!(
        "for i in $(seq 21); do a=${{EPOCHREALTIME/./}}; sh -c '{hook}'; b=${{EPOCHREALTIME/./}}; echo $((b - a)); done | sort -n | sed -n 11p"
    );
    let median: u64 = scene.machine.check(["bash", "-c", &script])?.trim().parse()?;
    println!("the hook of dpkg takes {median} µs");
    assert!(median < 20_000, "{median} µs");
    Ok(())
}

/// More than the newest that stay, all of them years old.
#[test]
fn a_timer_has_old_transactions_archived_where_nobody_calls_the_daemon() -> Result<()> {
    const WRITTEN: u64 = 1_010;
    let scene = Scene::new(&[])?;
    let machine = &scene.machine;
    machine.check(["systemctl", "stop", "backstepd.service"])?;
    machine.check(["sh", "-c", "rm -f /var/lib/backstep/store.db*"])?;
    let folder = tempfile::tempdir()?;
    let (before, after) = (folder.path().join("before.db"), folder.path().join("after.db"));
    backstep_tests::large_record::fill(&before, WRITTEN, None, |_| ())?;
    machine.write("/var/lib/backstep/store.db", std::fs::read(before)?, 0o600)?;
    machine.write("/etc/backstep/backstep.toml.d/50.toml", "[daemon]\nidle-exit = 1\n[record]\narchive-days = 365\n", 0o644)?;
    machine.write(
        "/etc/systemd/system/backstepd.timer.d/50.conf",
        "[Timer]\nOnActiveSec=1s\nRandomizedDelaySec=0\nAccuracySec=1s\n",
        0o644,
    )?;
    machine.check(["systemctl", "daemon-reload"])?;
    machine.check(["systemctl", "restart", "backstepd.timer"])?;
    let archived = || {
        let has_ended = machine.run(["systemctl", "is-active", "backstepd.service"])?.stdout != "active\n";
        let files = std::fs::read_dir(machine.path("/var/lib/backstep/record-archive")).ok();
        Ok(files.and_then(|mut files| files.next()).filter(|_| has_ended).map(drop))
    };
    backstep_tests::wait::wait_until("it is archived, and the daemon has ended", std::time::Duration::from_secs(60), archived)
        .with_context(|| machine.journal("backstepd.*").unwrap_or_default())?;
    let newest = &rows(&scene, "generation list -n 2")?;
    ensure!(text(&newest[0]["comment"]) == "older than 365 days", "{newest:#?}");
    ensure!(text(&newest[1]["comment"]) == "configuration: daemon.idle-exit = 1, record.archive-days = 365", "{newest:#?}");
    let verified = scene.backstep("audit verify")?;
    ensure!(verified.code == 0, "{verified:?}");
    machine.check(["systemctl", "stop", "backstepd.service"])?;
    std::fs::copy(machine.path("/var/lib/backstep/store.db"), &after)?;
    let counted = backstep_store::Reader::open(&after)?.measures()?.transactions;
    let left: u64 = counted.iter().map(|(_, _, count)| count).sum();
    assert_eq!(left, 1_000, "the newest stay, and all others have left");
    Ok(())
}
