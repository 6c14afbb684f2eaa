//! Scripts under guard. The guarded side is a process of its own: the test binary, started again to run one "test",
//! [`become_guarded`], which goes under guard and becomes a shell. The guard is in the test.

use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use backstep_supervise::{Change, Errno, Rules, Scope, Seen, Sink, Verdict, enter_with, guard, suppress_sync};
use tempfile::TempDir;

/// Remembers what it is told, and refuses what touches a path of a given last component.
#[derive(Default)]
pub(crate) struct Recorder {
    pub changes: Vec<Change>,
    pub refuse: Option<(&'static str, Errno)>,
}

impl Sink for Recorder {
    fn before(&mut self, change: &Change) -> Verdict {
        self.changes.push(change.clone());
        match self.refuse {
            Some((name, errno)) if change.paths().any(|path| path.ends_with(name)) => Verdict::Refuse(errno),
            _ => Verdict::Continue,
        }
    }
}

/// A place for one test, without links in its path.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir_in("/var/tmp").unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.dir.path().into() } else { self.dir.path().join(name) }
    }

    /// Runs a shell script here, unwatched.
    pub(crate) fn set(&self, script: &str) {
        let output = Command::new("sh").args(["-ec", script]).current_dir(&self.dir).output().unwrap();
        assert!(output.status.success(), "{script}: {output:?}");
    }

    /// What a shell script is told to change below this place; it has to succeed, and nothing may go unseen.
    pub(crate) fn watch(&self, script: &str) -> Vec<Change> {
        let (changes, seen) = self.watch_all(script);
        assert_eq!(seen.unseen, 0, "{script}");
        changes
    }

    pub(crate) fn watch_all(&self, script: &str) -> (Vec<Change>, Seen) {
        let mut sink = Recorder::default();
        let (seen, output) = self.run(script, Scope::All, &mut sink);
        assert!(output.status.success(), "{script}: {output:?}");
        (self.below(sink.changes), seen)
    }

    /// Runs a script under guard to its end, and the end of all that it started.
    pub(crate) fn run(&self, script: &str, scope: Scope, sink: &mut dyn Sink) -> (Seen, Output) {
        let (child, socket) = self.start(script, scope);
        let seen = guard(socket, &rules(), sink).unwrap();
        (seen, child.wait_with_output().unwrap())
    }

    /// Starts a script that waits for its guard at the other end of the socket.
    pub(crate) fn start(&self, script: &str, scope: Scope) -> (Child, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "becomes_guarded", "--nocapture"]).env(SCRIPT, script).env(SCOPE, format!("{scope:?}"));
        command.current_dir(&self.dir).stdin(OwnedFd::from(theirs)).stdout(Stdio::piped()).stderr(Stdio::piped());
        (command.spawn().unwrap(), ours)
    }

    pub(crate) fn below(&self, changes: Vec<Change>) -> Vec<Change> {
        changes.into_iter().filter(|change| change.paths().any(|path| path.starts_with(self.dir.path()))).collect()
    }

    pub(crate) fn create(&self, name: &str) -> Change {
        Change::Create(self.path(name))
    }

    pub(crate) fn write(&self, name: &str) -> Change {
        Change::Write(self.path(name))
    }

    pub(crate) fn remove(&self, name: &str) -> Change {
        Change::Remove(self.path(name))
    }

    pub(crate) fn meta(&self, name: &str) -> Change {
        Change::Meta(self.path(name))
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> Change {
        Change::Rename { from: self.path(from), to: self.path(to) }
    }
}

pub(crate) fn rules() -> Rules<'static> {
    Rules { exclude: ["/proc", "/sys", "/dev"].map(PathBuf::from).into(), done: None }
}

const SCRIPT: &str = "SUPERVISE_TEST_SCRIPT";
const SCOPE: &str = "SUPERVISE_TEST_SCOPE";
const QUIET: &str = "#quiet\n";

/// The guarded side: nothing in a usual test run. A script that begins with [`QUIET`] has its sync calls suppressed too.
pub(crate) fn become_guarded() {
    let Ok(script) = std::env::var(SCRIPT) else { return };
    let scope = if std::env::var(SCOPE).unwrap() == "All" { Scope::All } else { Scope::Existing };
    let socket = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    enter_with(UnixStream::from(socket), scope).unwrap();
    if script.starts_with(QUIET) {
        suppress_sync().unwrap();
    }
    let mut shell = Command::new("sh");
    shell.env_remove(SCRIPT).env_remove(SCOPE).args(["-ec", &script]).stdin(Stdio::null());
    panic!("{}", shell.exec());
}

/// A Perl program as an argument for a shell: for calls that no tool makes. `NR{name}` is a call's number.
pub(crate) fn perl(program: &str) -> String {
    let mut program = program.to_owned();
    while let Some((before, rest)) = program.clone().split_once("NR{") {
        let (name, after) = rest.split_once('}').unwrap();
        let number = libseccomp::ScmpSyscall::from_name(name).unwrap().as_raw_syscall();
        program = format!("{before}{number}{after}");
    }
    assert!(!program.contains('\''));
    format!(
        "perl -e 'use strict; sub call {{ my @a = @_; return syscall($a[0], @a[1 .. $#a]) }} sub try {{ call(@_) == 0 or die qq($_[0]: $!) }} {program}'"
    )
}

/// Whether a text is a name below a directory.
pub(crate) fn is_in(path: &Path, dir: &Path) -> bool {
    path.parent() == Some(dir)
}
