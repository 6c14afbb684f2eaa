//! A daemon that does not come: the client says so, gives up in time, and what runs goes on.

use anyhow::{Result, ensure};
use backstep_tests::machine::Machine;
use backstep_tests::package::Script;

use crate::clients::{Background, backstep, show, text, wait_for_file, wait_for_state};
use crate::interruptions::{go, wait_at};
use crate::scene::{Scene, plain};

const DAEMON: &str = "backstepd.service";

#[test]
fn a_daemon_that_does_not_come_is_given_up_and_what_runs_goes_on() -> Result<()> {
    let slow = plain("bs-slow", "1").script(Script::Postinst, &wait_at("script"));
    let scene = Scene::new(&[slow])?;
    let machine = &scene.machine;
    let words = ["backstep", "--patience", "2", "install", "-y", "-m", "slow", "bs-slow"];
    let client = Background::start(machine, &words)?;
    let id = wait_for_state(machine, "slow", "executing")?;
    wait_for_file(machine, "/run/bs/script")?;

    machine.check(["systemctl", "mask", "--runtime", DAEMON])?;
    machine.check(["systemctl", "kill", "--signal=KILL", DAEMON])?;
    let left = client.end()?.failure(13)?;
    let expected =
        format!("Error: cannot reach backstepd for 2 s; transaction {id} may go on\nHint: Pick it up with 'backstep watch {id}'.\n");
    assert_eq!(left.stderr, expected);
    ensure!(left.stdout.contains("The daemon is away; waiting for it to come back."), "{}", left.stdout);
    for words in [&["status"][..], &["install", "-y", "bs-slow"], &["history"], &["repair"]] {
        expect_no_daemon(machine, words)?;
    }

    machine.check(["systemctl", "unmask", "--runtime", DAEMON])?;
    let watching = Background::start(machine, &["backstep", "watch", &id])?;
    assert_eq!(text(&show(machine, &id)?["state"]), "executing");
    go(machine, "script")?;
    let watched = watching.end()?.success()?;
    ensure!(watched.stdout.contains("Done: 1 installed (bs-slow)"), "{}", watched.stdout);
    a_daemon_that_cannot_start_is_told(machine)
}

/// What is asked of a daemon that cannot be started fails by itself.
fn expect_no_daemon(machine: &Machine, words: &[&str]) -> Result<()> {
    let refused = backstep(machine, words)?.failure(13)?;
    ensure!(refused.stderr.starts_with("Error: cannot reach backstepd"), "{words:?}: {}", refused.stderr);
    ensure!(refused.stderr.contains("Hint: See 'systemctl status backstepd'."), "{words:?}: {}", refused.stderr);
    Ok(())
}

/// The bus waits some 25 s for a daemon that starts and fails again and again.
fn a_daemon_that_cannot_start_is_told(machine: &Machine) -> Result<()> {
    machine.write("/etc/backstep/backstep.toml.d/broken.toml", "no such = key\n", 0o644)?;
    machine.check(["systemctl", "stop", DAEMON])?;
    expect_no_daemon(machine, &["status"])?;
    let said = machine.journal(DAEMON)?;
    ensure!(said.contains("broken.toml"), "the journal does not name the file: {said}");
    machine.check(["rm", "/etc/backstep/backstep.toml.d/broken.toml"])?;
    machine.check(["systemctl", "restart", DAEMON])?;
    backstep(machine, &["status"])?.success().map(drop)
}
