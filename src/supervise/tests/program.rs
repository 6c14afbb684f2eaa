//! The guard and the guarded as programs with one thread each, as they are in life: this test has no harness, and starts
//! itself again in either role.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests set their scene with plain calls")]

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use backstep_supervise::{Scope, enter, guard, prepare, protect_from_oom};
use common::watch::{Place, Recorder, rules};

const ROLE: &str = "SUPERVISE_TEST_ROLE";

/// Starts this test binary again, in a role of its own.
fn role(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(ROLE, name);
    command
}

fn main() {
    match std::env::var(ROLE).as_deref() {
        Ok("guarded") => {
            enter(&mut role("guard"), Scope::All).unwrap();
            panic!("{}", Command::new("sh").args(["-ec", &std::env::var("SCRIPT").unwrap()]).exec());
        }
        Ok("guard") => {
            let socket = prepare().unwrap();
            let protected = protect_from_oom().is_ok();
            let mut sink = Recorder::default();
            let score = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
            report("open", &format!("{protected} {score}"));
            for fd in std::fs::read_dir("/proc/self/fd").unwrap() {
                report("open", &format!("{:?}\n", std::fs::read_link(fd.unwrap().path())));
            }
            guard(socket, &rules(), &mut sink).unwrap();
            report("changes", &format!("{:?}", sink.changes));
        }
        _ => {
            the_guard_is_a_process_without_its_starter_s_descriptors();
            the_guard_outlives_the_signals_that_end_its_tree();
        }
    }
}

fn report(name: &str, text: &str) {
    std::fs::File::options().append(true).create(true).open(name).unwrap().write_all(text.as_bytes()).unwrap();
}

/// A program that goes under guard with a lock open, as apt-get's starter does.
fn guarded_with_lock(place: &Place, script: &str) -> Command {
    let mut command = Command::new("sh");
    let start = "exec 7>lock 8</dev/null; exec \"$@\"";
    let program = role("guarded");
    command.args(["-ec", start, "sh"]).arg(program.get_program()).args(program.get_args());
    command.env(ROLE, "guarded").env("SCRIPT", script).current_dir(place.path("")).stdout(Stdio::piped());
    command
}

fn the_guard_is_a_process_without_its_starter_s_descriptors() {
    let place = Place::new();
    let script = "unset SUPERVISE_TEST_ROLE; test -e /proc/self/fd/7; test -e /proc/self/fd/8; ! test -e /proc/self/fd/9; echo x >new";
    let mut child = guarded_with_lock(&place, script).spawn().unwrap();
    // The guard shares this pipe: its end is the end of both.
    child.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
    assert!(child.wait().unwrap().success());
    let open = std::fs::read_to_string(place.path("open")).unwrap();
    assert!(open.starts_with("true -1000\n") || open.starts_with("false 0\n"), "{open}");
    assert!(!open.contains("lock"), "{open}");
    assert!(std::fs::read_to_string(place.path("changes")).unwrap().contains(&format!("{:?}", place.create("new"))));
}

fn the_guard_outlives_the_signals_that_end_its_tree() {
    let place = Place::new();
    let script = "unset SUPERVISE_TEST_ROLE; pid=$(pgrep -P $$ program-); for signal in TERM INT HUP QUIT; do kill -$signal $pid; done; echo ready; read line; echo x >new";
    let mut child = guarded_with_lock(&place, script).stdin(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "ready"));
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(lines.count(), 0);
    assert!(place.path("new").exists() && place.path("changes").exists());
}
