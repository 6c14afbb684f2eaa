//! Who callers are to the real polkit, by the sessions that logind knows: at the seat and in front, at it and not in front,
//! elsewhere, in no session; administrators, others, services' users, and users with the largest ids.

use anyhow::{Context, Result, ensure};
use backstep_tests::backstep::machine;
use backstep_tests::machine::{Machine, USER};
use backstep_tests::package::Package;
use backstep_tests::repository::{Repository, Transport};
use backstep_tests::wait::wait_until;

use crate::clients::{Background, PATIENCE};

const ADMIN: &str = "admin";
const SERVICE: &str = "service";
/// Its id is no positive number of 32 bits.
const HUGE: &str = "huge";
/// Administrators in front may install, everybody in front may hold.
const RULE: &str = "polkit.addRule(function(action, subject) {
  var may = action.id == 'org.backstep1.hold' || (action.id == 'org.backstep1.install' && subject.isInGroup('sudo'));
  if (subject.local && subject.active && may)
    return polkit.Result.YES;
});
";
/// Tells the session's seat, whether it is in front, and what came of an install and of a hold.
const TRY: &str = "loginctl show-session \"$XDG_SESSION_ID\" -p Seat -p Active | sort | tr '\\n' ' '
backstep install -y bs-one >/dev/null 2>&1; echo -n \"$? \"; backstep hold -y base-files >/dev/null 2>&1; echo $?";
const IN_FRONT: &str = "Active=yes Seat=seat0 ";
const DENIED: &str = "5 5\n";

fn prepared() -> Result<Machine> {
    let machine = machine()?;
    machine.add_repository("local", &Repository::new(&[Package::new("bs-one", "1")])?, Transport::Copy)?;
    machine.check(["useradd", "--create-home", "--groups", "sudo", ADMIN])?;
    machine.check(["useradd", "--create-home", "--system", SERVICE])?;
    machine.check(["useradd", "--create-home", "--uid", "3000000000", HUGE])?;
    Ok(machine)
}

/// The words that run a script in a session of a user's.
fn session(user: &str, seat: bool, script: &str) -> Vec<String> {
    let seat = if seat { "--setenv=XDG_SEAT=seat0" } else { "--setenv=XDG_SEAT=" };
    let user = format!("User={user}");
    let words =
        ["systemd-run", "--quiet", "--wait", "--pipe", "-p", "PAMName=login", "-p", &user, "--setenv=XDG_SESSION_TYPE=wayland", seat];
    [&words[..], &["sh", "-c", script]].concat().into_iter().map(str::to_owned).collect()
}

fn tries(machine: &Machine, user: &str, seat: bool) -> Result<String> {
    Ok(machine.run(session(user, seat, TRY))?.success()?.stdout)
}

/// What a user is told whose session at the seat is not in front any more.
fn tries_behind_another(machine: &Machine, user: &str) -> Result<String> {
    let waits = format!("touch /tmp/waits; until [ -e /tmp/go ]; do sleep 0.1; done; {TRY}");
    let behind = Background::start(machine, &words(&session(user, true, &waits)))?;
    exists(machine, "/tmp/waits")?;
    let stays = "touch /tmp/stays; until [ -e /tmp/over ]; do sleep 0.1; done";
    let in_front = Background::start(machine, &words(&session(USER, true, stays)))?;
    exists(machine, "/tmp/stays")?;
    machine.check(["touch", "/tmp/go"])?;
    let told = behind.end()?.success()?.stdout;
    machine.check(["touch", "/tmp/over"])?;
    in_front.end()?.success()?;
    Ok(told)
}

fn words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

fn exists(machine: &Machine, path: &str) -> Result<()> {
    wait_until(path, PATIENCE, || Ok(machine.path(path).exists().then_some(())))
}

#[test]
fn only_whom_polkit_knows_in_front_of_the_machine_gets_what_is_theirs() -> Result<()> {
    let machine = prepared()?;
    ensure!(tries(&machine, ADMIN, true)? == format!("{IN_FRONT}{DENIED}"), "without a rule even they would be asked");
    machine.write("/etc/polkit-1/rules.d/10-test.rules", RULE, 0o644)?;
    wait_until("polkit knows the rule", PATIENCE, || Ok((tries(&machine, USER, true)? == format!("{IN_FRONT}5 0\n")).then_some(())))?;
    machine.check(["backstep", "unhold", "-y", "base-files"])?;

    for user in [ADMIN, USER, SERVICE, HUGE] {
        let told = tries(&machine, user, false)?;
        ensure!(told == format!("Active=yes Seat= {DENIED}"), "{user} elsewhere: {told}");
        let told = machine.run_as(user, ["sh", "-c", TRY])?.stdout;
        ensure!(told.ends_with(DENIED) && !told.contains("seat0"), "{user} without a session: {told}");
    }
    let told = tries_behind_another(&machine, ADMIN)?;
    ensure!(told == format!("Active=no Seat=seat0 {DENIED}"), "behind another: {told}");
    ensure!(machine.package("bs-one")?.is_none(), "nobody could");

    let told = tries(&machine, ADMIN, true)?;
    ensure!(told == format!("{IN_FRONT}0 0\n"), "in front: {told}");
    ensure!(machine.package("bs-one")?.context("it is there")? == "ii 1");
    Ok(())
}
