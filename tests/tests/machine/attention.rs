//! Transactions that a person has to decide for: how they come to be, what each decision does, and what is closed and
//! what is open meanwhile.

use anyhow::{Context, Result, ensure};
use backstep_tests::package::{Package, Script};
use backstep_tests::wait::wait_until;
use serde_json::Value;

use crate::clients::{Background, PATIENCE, backstep, events, history, show, text, wait_for_file, wait_for_state};
use crate::interruptions::{expect_whole_chain, go, kill_worker, wait_at, wait_for_words};
use crate::scene::{Scene, plain};

/// A package whose postinst waits for the test.
fn waiting() -> Package {
    plain("bs-waiting", "1").script(Script::Postinst, &wait_at("script"))
}

/// Waits for dpkg's frontend lock as dpkg takes it, and keeps it until it is killed.
const HOLDER: &str = "open(F, '+<', '/var/lib/dpkg/lock-frontend') or die; $lock = pack('s s x4 q q l x4', 1, 0, 0, 0, 0); \
                      open(G, '>', '/run/bs/holding'); print G $$; close(G); fcntl(F, 7, $lock) or die; sleep 600";

/// Uses up all attempts of a transaction by killing its workers: the first in the middle of the change, those that
/// are to undo it while they wait for dpkg's lock. Answers the id.
fn worn_out(scene: &Scene, name: &str) -> Result<String> {
    let machine = &scene.machine;
    machine.check(["rm", "-rf", "/run/bs"])?;
    let client = Background::start(machine, &["backstep", "install", "-y", "-m", name, "bs-waiting"])?;
    wait_for_file(machine, "/run/bs/script")?;
    let id = wait_for_state(machine, name, "executing")?;
    kill_worker(machine, &id, 1)?;
    let holder = Background::start(machine, &["perl", "-e", HOLDER])?;
    wait_for_file(machine, "/run/bs/holding")?;
    go(machine, "script")?;
    for number in 2..=3 {
        wait_for_words(machine, &id, number, "waiting for dpkg's lock, held by perl")?;
        kill_worker(machine, &id, number)?;
    }
    let told = client.end()?.failure(10)?.stderr;
    let short = &id[id.len() - 12..];
    for words in ["worker.lost", "bs-waiting", "needs-attention", &format!("backstep repair {short} --undo"), "--accept", "--resume"] {
        ensure!(told.contains(words), "it does not say {words:?}:\n{told}");
    }
    let shown = show(machine, &id)?;
    assert_eq!((text(&shown["state"]), shown["attempts"].as_u64()), ("needs-attention".to_owned(), Some(3)), "{shown:#}");
    machine.check(["sh", "-c", "kill $(cat /run/bs/holding)"])?;
    holder.end()?;
    Ok(id)
}

/// Nothing is started, everything can be read, and every message says where to go on.
fn expect_closed(scene: &Scene, id: &str) -> Result<()> {
    let machine = &scene.machine;
    let short = &id[id.len() - 12..];
    let refused = backstep(machine, &["install", "-y", "bs-other"])?;
    ensure!(!refused.status.success(), "something was started: {}", refused.stdout);
    ensure!(refused.stderr.contains("backstep repair"), "{}", refused.stderr);
    assert_eq!(machine.package("bs-other")?, None);
    for words in [&["status"][..], &["repair"], &["repair", id], &["show", id], &["history"], &["list"]] {
        let said = backstep(machine, words)?.success()?.stdout;
        ensure!(said.contains(short) || said.contains(id), "{words:?} does not name it:\n{said}");
    }
    let advice = backstep(machine, &["repair"])?.success()?.stdout;
    for words in ["bs-waiting", "needs-attention", &format!("backstep repair {short} --undo"), &format!("backstep repair {short} --accept")]
    {
        ensure!(advice.contains(words), "repair does not say {words:?}:\n{advice}");
    }
    backstep(machine, &["log", id])?.success()?;
    let public: Value = serde_json::from_str(&machine.read("/run/backstep/status.json")?)?;
    assert_eq!(public["attention"][0], id);
    let late = backstep(machine, &["cancel", id])?;
    assert_eq!(late.status.code(), Some(12), "{}{}", late.stdout, late.stderr);
    Ok(())
}

#[test]
fn worn_out_undoes_are_resumed_or_undone_by_a_person() -> Result<()> {
    let scene = Scene::new(&[waiting(), plain("bs-other", "1")])?;
    let before = scene.state()?;
    for decision in ["--resume", "--undo"] {
        let id = worn_out(&scene, &format!("then {decision}"))?;
        expect_closed(&scene, &id)?;
        let said = backstep(&scene.machine, &["repair", &id, decision])?.success()?;
        ensure!(said.stderr.contains("Everything is as before."), "{}{}", said.stdout, said.stderr);
        before.expect_same(&scene.state()?, decision)?;
        assert_eq!(scene.machine.check(["dpkg", "--audit"])?, "");
        let words = events(&scene.document(&id)?);
        let count = |word: &str| words.iter().filter(|event| *event == word).count();
        assert_eq!((count("started"), count("interrupted"), count("attention-needed"), count("resumed")), (1, 3, 1, 3), "{words:?}");
        let again = scene.backstep(&format!("repair {id} {decision}"))?;
        assert_eq!(again.code, 12, "{}", again.stderr);
    }
    scene.change("install bs-other")?;
    expect_whole_chain(&scene.machine)
}

#[test]
fn what_was_accepted_stays_until_it_is_rolled_back_as_the_last_that_failed() -> Result<()> {
    let scene = Scene::new(&[waiting(), plain("bs-other", "1")])?;
    let before = scene.state()?;
    let id = worn_out(&scene, "then --accept")?;
    let left = scene.state()?;
    let refused = scene.backstep("rollback -y --last-failed")?;
    assert_eq!(refused.code, 12, "{}", refused.stderr);
    ensure!(refused.stderr.contains(&format!("backstep repair {} --undo", &id[id.len() - 12..])), "{}", refused.stderr);

    let said = backstep(&scene.machine, &["repair", &id, "--accept"])?.success()?;
    ensure!(said.stderr.contains("What it changed was left as it is."), "{}{}", said.stdout, said.stderr);
    left.expect_same(&scene.state()?, "accepting")?;
    scene.expect(&[("bs-waiting", "ii 1")])?;
    assert_eq!(text(&show(&scene.machine, &id)?["state"]), "partially-rolled-back");

    let rollback = scene.change("rollback --last-failed")?;
    assert_eq!((rollback.text("reverts"), rollback.text("method")), (id.as_str(), "packages"));
    before.expect_same_in_fact(&scene.state()?, "rollback of the last that failed")?;
    let nothing = scene.backstep("rollback -y --last-failed")?;
    assert_eq!(nothing.code, 14, "undone twice: {}", nothing.stderr);
    scene.change("install bs-other").map(drop)
}

#[test]
fn what_fails_is_left_when_asked_for() -> Result<()> {
    let failing = plain("bs-failing", "1").depends("bs-lib").failing_script(Script::Postinst, &["configure"]);
    let scene = Scene::new(&[failing, plain("bs-lib", "1"), plain("bs-other", "1")])?;
    let before = scene.state()?;
    let left = backstep(&scene.machine, &["install", "-y", "--on-failure", "leave", "bs-failing"])?.failure(10)?;
    for words in ["script.failed", "bs-failing", "needs-attention", "--undo", "--accept"] {
        ensure!(left.stderr.contains(words), "it does not say {words:?}:\n{}", left.stderr);
    }
    ensure!(!left.stderr.contains("--resume"), "a change is not gone on with:\n{}", left.stderr);
    scene.expect(&[("bs-failing", "iF 1"), ("bs-lib", "ii 1")])?;
    let rows = history(&scene.machine)?;
    let id = text(&rows.first().context("nothing is on record")?["id"]);
    assert_eq!(scene.steps(&id, "undo")?, Vec::<String>::new(), "something was undone");
    let resumed = scene.backstep(&format!("repair {id} --resume"))?;
    assert_eq!(resumed.code, 12, "{}", resumed.stderr);
    let refused = backstep(&scene.machine, &["install", "-y", "bs-other"])?.failure(10)?;
    for words in ["bs-failing", "half-configured", "backstep repair", "dpkg --audit"] {
        ensure!(refused.stderr.contains(words), "it does not say {words:?}:\n{}", refused.stderr);
    }
    let undone = backstep(&scene.machine, &["repair", &id, "--undo"])?.success()?;
    ensure!(undone.stderr.contains("Everything is as before."), "{}{}", undone.stdout, undone.stderr);
    before.expect_same(&scene.state()?, "what was left and then undone")?;
    scene.change("install bs-other").map(drop)
}

/// What was queued before stays queued, says for what it waits, and can be cancelled.
#[test]
fn what_waits_in_the_queue_is_cancelled_and_disturbs_nobody() -> Result<()> {
    let scene = Scene::new(&[waiting(), plain("bs-one", "1"), plain("bs-two", "1")])?;
    let machine = &scene.machine;
    machine.check(["mkdir", "/run/bs"])?;
    let holder = Background::start(machine, &["perl", "-e", HOLDER])?;
    wait_until("the lock is held", PATIENCE, || Ok((!machine.read("/run/bs/holding").unwrap_or_default().is_empty()).then_some(())))?;
    let mut first = Background::start(machine, &["backstep", "install", "-y", "-m", "first", "bs-one"])?;
    let first_id = wait_for_state(machine, "first", "executing")?;
    wait_for_words(machine, &first_id, 1, "waiting for dpkg's lock")?;
    let second = Background::start(machine, &["backstep", "install", "-y", "-m", "second", "bs-two"])?;
    let second_id = wait_for_state(machine, "second", "queued")?;
    let before = show(machine, &first_id)?;
    let cancelled = scene.backstep(&format!("cancel {second_id}"))?;
    assert_eq!((cancelled.code, cancelled.text("outcome")), (0, "cancelled"), "{}", cancelled.stderr);
    let told = second.end()?.failure(11)?;
    ensure!(told.stderr.contains("Cancelled; everything is as before."), "{}{}", told.stdout, told.stderr);
    assert_eq!(text(&show(machine, &second_id)?["state"]), "cancelled");
    ensure!(!machine.path(&format!("/var/lib/backstep/attempts/{second_id}-1")).exists(), "it was begun");
    first.check_running()?;
    let after = show(machine, &first_id)?;
    for key in ["state", "attempts", "steps", "cancellable"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    machine.check(["sh", "-c", "kill $(cat /run/bs/holding)"])?;
    holder.end()?;
    first.end()?.success()?;
    scene.expect(&[("bs-one", "ii 1"), ("bs-two", "")])
}
