//! The guard's life: refusals, processes that outlive their starter, many at once, its own death.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests set their scene with plain calls")]

mod common;

use std::collections::HashSet;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::mpsc::{Sender, channel};

use backstep_supervise::{Change, Errno, Rules, Scope, Seen, SuperviseError, Verdict, enter, guard};
use common::watch::{Place, Recorder, perl, rules};

#[test]
fn becomes_guarded() {
    common::watch::become_guarded();
}

#[test]
fn a_refused_change_fails_in_its_program_and_does_not_happen() {
    let place = Place::new();
    place.set("echo a >precious; echo b >other; mkdir dir");
    let mut sink = Recorder { refuse: Some(("precious", Errno::NOSPC)), ..Recorder::default() };
    let script = "for try in 'echo x >precious' 'rm precious' 'mv other precious' 'mv precious dir/' 'chmod 0 precious'; do sh -c \"$try\" && exit 1; done; echo x >other";
    let (seen, output) = place.run(script, Scope::All, &mut sink);
    assert!(output.status.success(), "{output:?}");
    let complaints = String::from_utf8(output.stderr).unwrap();
    assert_eq!(complaints.matches("No space left on device").count(), 5, "{complaints}");
    assert_eq!(seen.refused, 5);
    assert_eq!(std::fs::read(place.path("precious")).unwrap(), b"a\n");
    assert_eq!(std::fs::read(place.path("other")).unwrap(), b"x\n");
}

#[test]
fn walking_around_is_refused() {
    let place = Place::new();
    place.watch(&perl(
        "call(NR{io_uring_setup}, 1, 0) == -1 && $! == 38 or die; call(NR{open_by_handle_at}, 0, 0, 0) == -1 && $! == 1 or die;",
    ));
    place.watch(&perl("for my $new (463, 466, 469) { syscall($new, 0, 0, 0, 0, 0, 0) == -1 && $! == 38 or die $new }"));
}

/// Ends the watch when `last` is made, and says when it has ended.
struct Ends {
    recorder: Recorder,
    done: Option<UnixStream>,
    over: Sender<()>,
}

impl backstep_supervise::Sink for Ends {
    fn before(&mut self, change: &Change) -> Verdict {
        if change.paths().any(|path| path.ends_with("last")) {
            self.done = None;
        }
        self.recorder.before(change)
    }

    fn watch_over(&mut self, _: &Seen) {
        self.over.send(()).unwrap();
    }
}

#[test]
fn what_outlives_the_watch_is_answered_and_not_told() {
    let place = Place::new();
    place.set("mkfifo gate ended");
    // The daemon goes on when the test says so; the script ends before.
    let script = "(read go <gate; echo x >late; mv late later; echo >ended) >/dev/null 2>&1 & echo x >early; echo x >last";
    let (done, closes) = UnixStream::pair().unwrap();
    let (over, is_over) = channel();
    let (child, socket) = place.start(script, Scope::All);
    let gate = place.path("gate");
    let waiting = std::thread::spawn(move || {
        let output = child.wait_with_output().unwrap();
        is_over.recv().unwrap();
        std::fs::write(gate, "go\n").unwrap();
        output
    });
    let ended = place.path("ended");
    let daemon = std::thread::spawn(move || std::fs::read(ended).unwrap());
    let mut sink = Ends { recorder: Recorder::default(), done: Some(closes), over };
    let seen = guard(socket, &Rules { done: Some(done.as_fd()), ..rules() }, &mut sink).unwrap();
    assert!(waiting.join().unwrap().status.success());
    daemon.join().unwrap();
    assert_eq!(place.below(sink.recorder.changes), [place.create("early"), place.create("last")]);
    assert!(seen.passive >= 2, "{seen:?}");
    assert!(place.path("later").exists());
}

#[test]
fn many_processes_at_once_lose_nothing() {
    let place = Place::new();
    let worker = perl(
        "my $n = $ENV{WORKER}; for my $i (1 .. 500) { open(my $h, q(>), qq(new.$n.$i)) or die; rename(qq(new.$n.$i), qq(done.$n.$i)) or die }",
    );
    let (changes, seen) = place.watch_all(&format!("for WORKER in 1 2 3 4 5 6 7 8; do export WORKER; {worker} & done; wait"));
    assert_eq!((changes.len(), seen.unseen), (8000, 0));
    assert_eq!(changes.iter().collect::<HashSet<_>>().len(), 8000);
    assert_eq!(std::fs::read_dir(place.path("")).unwrap().count(), 4000);
}

#[test]
fn suppressed_syncs_and_the_guard_go_together() {
    let place = Place::new();
    let script = "#quiet\ndd if=/dev/zero of=new bs=1 count=1 conv=fsync status=none; bash -ec 'set -o pipefail; dd if=/dev/zero bs=1 count=1 conv=fsync | cat >/dev/null'";
    assert_eq!(place.watch(script), [place.create("new")]);
}

#[test]
fn new_names_run_free_when_only_changes_of_what_exists_are_wanted() {
    let place = Place::new();
    place.set("echo a >old");
    let mut sink = Recorder::default();
    let program = perl(
        r#"use Fcntl; sysopen(my $h, "new", O_WRONLY | O_CREAT | O_EXCL) or die; mkdir("dir") or die; rename("new", "old") or die; sysopen($h, "old", O_WRONLY | O_CREAT) or die;"#,
    );
    let (_, output) = place.run(&program, Scope::Existing, &mut sink);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(place.below(sink.changes), [place.rename("new", "old"), place.write("old")]);
}

#[test]
fn without_its_guard_nothing_is_changed() {
    struct Dies;
    impl backstep_supervise::Sink for Dies {
        fn before(&mut self, change: &Change) -> Verdict {
            if change.paths().any(|path| path.ends_with("first")) {
                std::panic::resume_unwind(Box::new(()));
            }
            Verdict::Continue
        }
    }
    let place = Place::new();
    place.set("echo a >old");
    let (child, socket) = place.start("echo x >first; echo x >old", Scope::All);
    std::thread::spawn(move || guard(socket, &rules(), &mut Dies)).join().unwrap_err();
    let output = child.wait_with_output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("not implemented"));
    assert!(!output.status.success() && !place.path("first").exists());
    assert_eq!(std::fs::read(place.path("old")).unwrap(), b"a\n");
}

#[test]
fn a_guard_that_does_not_come_up_is_an_error() {
    let place = Place::new();
    let (child, socket) = place.start("echo x >new", Scope::All);
    drop(socket);
    assert!(!child.wait_with_output().unwrap().status.success());
    assert!(!place.path("new").exists());
    let error = enter(&mut Command::new("/does/not/exist"), Scope::All).unwrap_err();
    assert!(matches!(error, SuperviseError::Guard(_)), "{error}");
}
