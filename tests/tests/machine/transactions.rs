//! Every kind of transaction through the client, judged by dpkg, marks and files; each rolled back and redone.

use anyhow::{Context, Result, ensure};
use backstep_tests::package::{Package, Script};
use backstep_tests::wait::wait_until;

use crate::clients::{Background, PATIENCE, wait_for_state};
use crate::scene::{Scene, plain};

fn app(version: &str) -> Package {
    plain("bs-app", version).depends("bs-lib").field("Recommends", "bs-extra")
}

fn first_versions() -> Vec<Package> {
    let solo = plain("bs-solo", "1").field("Recommends", "bs-tip");
    vec![app("1"), plain("bs-lib", "1"), plain("bs-extra", "1"), solo, plain("bs-tip", "1")]
}

#[test]
fn installing_updating_and_upgrading() -> Result<()> {
    let scene = Scene::new(&first_versions())?;
    let installed = scene.there_and_back("install --install-recommends bs-app", |scene| {
        scene.expect(&[("bs-app", "ii 1"), ("bs-lib", "ii 1"), ("bs-extra", "ii 1")])?;
        assert_eq!(scene.marked("showauto")?, ["bs-extra", "bs-lib"]);
        assert_eq!(scene.machine.read("/etc/bs-app.conf")?, "of bs-app 1\n");
        Ok(())
    })?;
    assert_eq!(installed.plan(), ["install bs-app 1", "install bs-extra 1", "install bs-lib 1"]);
    scene.there_and_back("install --no-install-recommends bs-solo", |scene| {
        scene.expect(&[("bs-solo", "ii 1"), ("bs-tip", "")])?;
        assert_eq!(scene.marked("showmanual")?, ["bs-app", "bs-solo"]);
        Ok(())
    })?;
    scene.there_and_back("hold bs-solo", |scene| {
        assert_eq!(scene.marked("showhold")?, ["bs-solo"]);
        Ok(())
    })?;

    scene.publish(&[app("2"), plain("bs-lib", "2"), plain("bs-extra", "2"), plain("bs-solo", "2")])?;
    scene.there_and_back("update bs-lib", |scene| {
        scene.expect(&[("bs-lib", "ii 2"), ("bs-app", "ii 1"), ("bs-extra", "ii 1"), ("bs-solo", "hi 1")])?;
        assert_eq!(scene.marked("showauto")?, ["bs-extra", "bs-lib"]);
        assert_eq!(scene.machine.read("/usr/share/bs-lib/version")?, "2");
        Ok(())
    })?;
    scene.there_and_back("upgrade", |scene| {
        scene.expect(&[("bs-lib", "ii 2"), ("bs-app", "ii 2"), ("bs-extra", "ii 2"), ("bs-solo", "hi 1")])?;
        assert_eq!(scene.marked("showauto")?, ["bs-extra", "bs-lib"]);
        Ok(())
    })?;
    scene.there_and_back("unhold bs-solo", |scene| {
        ensure!(scene.marked("showhold")?.is_empty(), "a hold is left");
        scene.expect(&[("bs-solo", "ii 1")])
    })?;
    Ok(())
}

/// With more than a few archives apt gives dpkg a folder of links into its cache.
#[test]
fn what_was_compared_with_the_plan_is_unpacked_whatever_happens_to_apt_s_cache() -> Result<()> {
    const SPOIL: &str = "for deb in /var/cache/apt/archives/bs-*.deb; do rm $deb; echo spoilt > $deb; done";
    let names = ["bs-a", "bs-b", "bs-c", "bs-d", "bs-e", "bs-f", "bs-g"];
    let mut packages = names.map(|name| plain(name, "1"));
    packages[0] = packages[0].clone().script(Script::Preinst, SPOIL);
    let scene = Scene::new(&packages)?;
    scene.change(&format!("install {}", names.join(" ")))?;
    let spoilt = scene.machine.check(["sh", "-c", "cat /var/cache/apt/archives/bs-*.deb | sort -u"])?;
    assert_eq!(spoilt, "spoilt\n", "the script ran");
    scene.expect(&names.map(|name| (name, "ii 1")))
}

#[test]
fn downgrading_reinstalling_and_removing() -> Result<()> {
    let scene = Scene::new(&first_versions())?;
    scene.publish(&[app("2"), plain("bs-lib", "2")])?;
    scene.machine.check(["apt-get", "install", "-qq", "--no-install-recommends", "bs-app", "bs-solo"])?;
    scene.machine.check(["apt-get", "install", "-qq", "bs-extra"])?;
    scene.machine.check(["apt-mark", "auto", "bs-extra"])?;
    scene.machine.write("/etc/bs-solo.conf", "by the administrator\n", 0o640)?;

    scene.there_and_back("downgrade bs-app=1", |scene| {
        scene.expect(&[("bs-app", "ii 1"), ("bs-lib", "ii 2")])?;
        assert_eq!(scene.machine.read("/usr/share/bs-app/version")?, "1");
        Ok(())
    })?;
    scene.machine.check(["rm", "/usr/share/bs-lib/version"])?;
    scene.there_and_back("reinstall bs-lib", |scene| {
        assert_eq!(scene.machine.read("/usr/share/bs-lib/version")?, "2");
        assert_eq!(scene.marked("showauto")?, ["bs-extra", "bs-lib"]);
        scene.expect(&[("bs-lib", "ii 2")])
    })?;
    scene.there_and_back("remove bs-app", |scene| {
        scene.expect(&[("bs-app", "rc 1"), ("bs-lib", "ii 2"), ("bs-extra", "ii 1")])?;
        ensure!(scene.machine.path("/etc/bs-app.conf").exists(), "a removal took the configuration");
        ensure!(!scene.machine.path("/usr/share/bs-app").exists(), "a removal left files");
        Ok(())
    })?;
    scene.there_and_back("autoremove", |scene| scene.expect(&[("bs-lib", "rc 2"), ("bs-extra", "rc 1"), ("bs-solo", "ii 1")]))?;
    scene.there_and_back("purge bs-solo", |scene| {
        scene.expect(&[("bs-solo", "")])?;
        ensure!(!scene.machine.path("/etc/bs-solo.conf").exists(), "a purge left the configuration");
        Ok(())
    })?;
    // Leftovers of a removal can be purged, too.
    scene.there_and_back("purge bs-app", |scene| scene.expect(&[("bs-app", "")]))?;
    Ok(())
}

#[test]
fn full_upgrades_mixed_requests_and_local_archives() -> Result<()> {
    let scene = Scene::new(&[
        plain("bs-main", "1"),
        plain("bs-rival", "1"),
        plain("bs-other", "1.2"),
        plain("bs-other", "1.3"),
        plain("bs-new", "1"),
    ])?;
    scene.machine.check(["apt-get", "install", "-qq", "bs-main", "bs-rival"])?;
    scene.publish(&[plain("bs-main", "2").conflicts("bs-rival")])?;

    let upgrade = scene.backstep("upgrade -y")?;
    assert_eq!((upgrade.code, upgrade.plan().len()), (0, 0), "{:#}", upgrade.json);
    scene.there_and_back("full-upgrade", |scene| scene.expect(&[("bs-main", "ii 2"), ("bs-rival", "rc 1")]))?;
    let mixed = scene.there_and_back("install bs-new bs-main- bs-other=1.2", |scene| {
        scene.expect(&[("bs-new", "ii 1"), ("bs-main", "rc 2"), ("bs-other", "ii 1.2")])
    })?;
    assert_eq!(mixed.plan(), ["install bs-new 1", "install bs-other 1.2", "remove bs-main"]);

    let archive = tempfile::tempdir()?;
    let local = plain("bs-local", "7").depends("bs-rival").build(archive.path())?;
    scene.machine.copy_in(&local, "/root/bs-local.deb")?;
    scene.machine.check(["chmod", "0600", "/root/bs-local.deb"])?;
    let installed = scene.there_and_back("install /root/bs-local.deb", |scene| {
        scene.expect(&[("bs-local", "ii 7"), ("bs-rival", "ii 1")])?;
        assert_eq!(scene.machine.read("/usr/share/bs-local/version")?, "7");
        Ok(())
    })?;
    assert_eq!(installed.plan(), ["install bs-local 7", "install bs-rival 1"]);
    Ok(())
}

#[test]
fn looking_asking_and_leaving() -> Result<()> {
    let scene = Scene::new(&[plain("bs-one", "1"), plain("bs-two", "1")])?;
    let before = scene.state()?;
    for dry in ["install --dry-run bs-one", "plan install bs-one", "install --dry-run -y bs-one"] {
        let ended = scene.backstep(dry)?;
        assert_eq!((ended.code, ended.plan()), (0, vec!["install bs-one 1".to_owned()]), "{dry}");
    }
    let refused = scene.backstep("install bs-one")?;
    assert_eq!(refused.code, 2);
    ensure!(refused.stderr.contains("add -y"), "{}", refused.stderr);
    before.expect_same(&scene.state()?, "dry runs and a question without a terminal")?;
    for row in scene.backstep("history")?.json.as_array().context("the history is no list")? {
        assert_eq!(row["state"], "cancelled", "{row:#}");
    }

    let made = scene.machine.check(["backstep", "--json", "install", "-y", "-m", "for the test", "--no-wait", "bs-one"])?;
    let id = serde_json::from_str::<serde_json::Value>(&made)?["id"].as_str().context("no id")?.to_owned();
    let watched = scene.machine.check(["backstep", "watch", &id])?;
    ensure!(watched.contains("Done: 1 installed (bs-one)"), "{watched}");
    scene.expect(&[("bs-one", "ii 1")])?;
    let shown = scene.backstep(&format!("show {id}"))?;
    assert_eq!((shown.text("state"), shown.text("description"), shown.text("user")), ("completed", "for the test", "root"));
    assert_eq!(scene.document(&id)?["description"], "for the test");

    let again = scene.backstep("install bs-one")?;
    assert_eq!((again.code, again.plan().len()), (0, 0), "what is there already needs no answer: {}", again.stderr);
    Ok(())
}

const STARTED: &str = "/run/bs-slow-started";
const MAY_END: &str = "/run/bs-slow-may-end";

/// A package whose postinst says that it runs and waits until it may end.
fn slow() -> Package {
    let wait = format!("touch {STARTED}\nfor i in $(seq 600); do [ ! -e {MAY_END} ] || exit 0; sleep 0.1; done");
    plain("bs-slow", "1").depends("bs-first").script(Script::Postinst, &wait)
}

fn start_slow(scene: &Scene) -> Result<Background> {
    scene.machine.check(["rm", "-f", STARTED, MAY_END])?;
    // The shell's number is that of the client, which a keyboard's interrupt reaches.
    let client = "echo $$ >/run/client.pid; exec backstep install -y bs-last";
    let mut running = Background::start(&scene.machine, &["sh", "-c", client])?;
    wait_until("the slow script runs", PATIENCE, || {
        running.check_running()?;
        Ok(scene.machine.path(STARTED).exists().then_some(()))
    })?;
    Ok(running)
}

fn running_id(scene: &Scene) -> Result<String> {
    let list = scene.backstep("list")?.json;
    let running = list.as_array().into_iter().flatten().find(|row| row["state"] != "queued");
    Ok(running.and_then(|row| row["id"].as_str()).context("nothing runs")?.to_owned())
}

/// Lets the slow script end once the daemon has noted the wish to stop.
fn end_cancelled(scene: &Scene, id: &str, running: Background) -> Result<()> {
    wait_until("the wish to stop is on record", PATIENCE, || Ok((scene.document(id)?["cancel_requested"] == true).then_some(())))?;
    scene.machine.write(MAY_END, "", 0o644)?;
    let ended = running.end()?.failure(11)?;
    ensure!(ended.stderr.contains("Cancelled; everything is as before."), "{}", ended.stderr);
    let shown = scene.backstep(&format!("show {id}"))?;
    assert_eq!(shown.text("state"), "cancelled");
    assert_eq!(scene.steps(id, "undo")?[..], ["apply", "secure", "fetch"]);
    Ok(())
}

#[test]
fn cancelling_undoes_what_runs_and_forgets_what_waits() -> Result<()> {
    let scene = Scene::new(&[plain("bs-first", "1"), slow(), plain("bs-last", "1").depends("bs-slow"), plain("bs-other", "1")])?;
    let before = scene.state()?;

    let running = start_slow(&scene)?;
    let id = running_id(&scene)?;
    // Nobody plans from what is between two states: the second waits before it has a plan.
    let second = Background::start(&scene.machine, &["backstep", "install", "-y", "-m", "second", "bs-other"])?;
    let waiting = wait_for_state(&scene.machine, "second", "created")?;
    let shown = scene.backstep(&format!("show {waiting}"))?;
    ensure!(shown.text("waits_for").contains(&id), "it waits for {:?}, not {id}", shown.text("waits_for"));
    let cancelled = scene.backstep(&format!("cancel {waiting}"))?;
    assert_eq!((cancelled.code, cancelled.text("outcome")), (0, "cancelled"), "{}", cancelled.stderr);
    let left = second.end()?.failure(11)?;
    ensure!(left.stdout.contains(&format!("Waiting for transaction {id}")), "{}", left.stdout);
    assert_eq!(scene.backstep(&format!("show {waiting}"))?.text("state"), "cancelled");
    let cancelled = scene.backstep(&format!("cancel {id}"))?;
    assert_eq!((cancelled.code, cancelled.text("outcome")), (0, "will-roll-back"), "{}", cancelled.stderr);
    end_cancelled(&scene, &id, running)?;
    before.expect_same(&scene.state()?, "a cancelled transaction")?;

    let running = start_slow(&scene)?;
    let id = running_id(&scene)?;
    scene.machine.check(["sh", "-c", "kill -INT $(cat /run/client.pid)"])?;
    end_cancelled(&scene, &id, running)?;
    before.expect_same(&scene.state()?, "a transaction interrupted by Ctrl-C")?;
    Ok(())
}
