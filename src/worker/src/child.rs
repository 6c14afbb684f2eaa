//! The one way to run a child.
//!
//! A child is an argument vector, never a shell line. It gets a fixed environment, `/` as working folder, umask 022,
//! nothing on standard input unless given, standard output and error in the attempt's output log, and no descriptor
//! but those: status pipe and frontend lock only where the call says so.
//!
//! Invariants: a child is never killed, except one with a limit, which only asks another program to do something
//! and changes nothing itself; asking to stop is an interrupt to the child alone, never to its children.
//! How a child ended is recorded and is never evidence of what it did.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use backstep_core::{ErrorCode, Failure, TransactionId};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, pipe2};

use crate::guard::{Guard, Place};
use crate::locks::FrontendLock;

/// How often a running child is looked at when it says nothing.
const TICK: Duration = Duration::from_millis(100);
/// How often a running child without a status pipe is looked at.
const SILENT_TICK: Duration = Duration::from_millis(5);
/// The longest status line taken; apt's are shorter by far.
const MAX_LINE: usize = 64 << 10;

/// Why a child could not be run.
#[derive(Debug, thiserror::Error)]
#[error("cannot run {program}: {source}")]
pub struct ChildError {
    /// Which.
    pub program: String,
    /// Why.
    pub source: io::Error,
}

impl From<ChildError> for Failure {
    fn from(error: ChildError) -> Self {
        Self::new(ErrorCode::WorkerFailed, error.to_string())
    }
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Ended {
    /// Whether it ended by itself with code 0.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Code(0))
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "ended with code {code}"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
        }
    }
}

/// A pipe on which a child reports its status.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    /// A new pipe, inherited by nobody yet.
    pub fn new() -> Result<Self, Failure> {
        let error = |errno: nix::Error| Failure::new(ErrorCode::Internal, format!("cannot make a pipe: {errno}"));
        let (read, write) = pipe2(OFlag::O_CLOEXEC).map_err(error)?;
        fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(error)?;
        Ok(Self { read, write })
    }

    /// The number under which the child writes to it.
    #[must_use]
    pub fn number(&self) -> i32 {
        self.write.as_raw_fd()
    }
}

/// What to run.
#[derive(Debug)]
pub struct Call {
    /// The program: an absolute path, or a name looked up in the fixed search path.
    pub program: String,
    /// Its arguments, its own name left out.
    pub arguments: Vec<String>,
    /// What it reads; nothing when absent.
    pub input: Option<Vec<u8>>,
    /// Where it reports its status.
    pub status: Option<Pipe>,
    /// Whether it inherits the frontend lock.
    pub with_lock: bool,
    /// Whether what it changes is kept by a guard just before.
    pub guarded: bool,
    /// After which time it is killed; never when absent. Only for children that change nothing themselves.
    pub limit: Option<Duration>,
}

impl Call {
    /// A plain call.
    #[must_use]
    pub fn new<S: Into<String>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { program: program.to_owned(), arguments, input: None, status: None, with_lock: false, guarded: false, limit: None }
    }
}

/// What someone wants of a running child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Nothing.
    GoOn,
    /// That it stops at its next good place.
    Stop,
}

/// Who listens to a running child.
pub trait Watch {
    /// A line of its status pipe, without the newline.
    fn line(&mut self, line: &str) -> Result<(), Failure>;

    /// Called several times a second.
    fn tick(&mut self) -> Result<Wish, Failure>;
}

/// Nobody listens.
pub struct Unwatched;

impl Watch for Unwatched {
    fn line(&mut self, _: &str) -> Result<(), Failure> {
        Ok(())
    }
    fn tick(&mut self) -> Result<Wish, Failure> {
        Ok(Wish::GoOn)
    }
}

/// Takes a child's output as it comes.
pub type Take<'a> = &'a mut dyn FnMut(&mut dyn Read) -> io::Result<()>;

/// The port to other programs; tests put a fake here.
pub trait Children: Sync {
    /// Runs a child to its end. An error of `watch` is answered after the child has ended: a child that changes
    /// packages is never left alone.
    fn run(&self, call: Call, watch: &mut dyn Watch) -> Result<Ended, Failure>;

    /// Runs a child whose standard output is data.
    fn stream(&self, call: Call, take: Take<'_>) -> Result<Ended, Failure>;

    /// Waits until no process that a child left behind works on, at most `patience`; answers the names of
    /// those that made themselves daemons, which are left alone.
    fn wait_for_strays(&self, patience: Duration, tick: &mut dyn FnMut() -> Result<(), Failure>) -> Result<Vec<String>, Failure>;

    /// Ends the watch of the guard of the last guarded child and answers what it saw, in words; nothing when there was
    /// none. Called when nothing of the change runs any more.
    fn end_guard(&self) -> Result<Option<String>, Failure> {
        Ok(None)
    }

    /// Leaves the frontend lock to what still runs with it: it is not given back by us any more.
    fn leave_lock(&self);
}

/// Runs a child and answers what it wrote, at most `limit` bytes, with how it ended.
pub fn output(children: &dyn Children, call: Call, limit: u64) -> Result<(Ended, Vec<u8>), Failure> {
    let mut bytes = Vec::new();
    let ended = children.stream(call, &mut |from| {
        from.take(limit).read_to_end(&mut bytes)?;
        io::copy(from, &mut io::sink()).map(drop)
    })?;
    Ok((ended, bytes))
}

/// Real children.
pub struct Processes {
    environment: Vec<(String, String)>,
    output: PathBuf,
    lock: Option<Arc<FrontendLock>>,
    place: Option<Place>,
    guard: Mutex<Option<Guard>>,
}

impl Processes {
    /// Children of a transaction, writing to an output log.
    #[must_use]
    pub fn new(environment: Vec<(String, String)>, transaction: TransactionId, output: &Path) -> Self {
        let mut environment = environment;
        environment.push(("BACKSTEP_TRANSACTION".to_owned(), transaction.to_string()));
        Self { environment, output: output.to_owned(), lock: None, place: None, guard: Mutex::default() }
    }

    /// The same, with a frontend lock to hand on.
    #[must_use]
    pub fn with_lock(self, lock: Arc<FrontendLock>) -> Self {
        Self { lock: Some(lock), ..self }
    }

    /// The same, with a place for guards; without one nothing is guarded.
    #[must_use]
    pub fn guarded_at(self, place: Option<Place>) -> Self {
        Self { place, ..self }
    }

    /// Starts the guard of a call that wants one, and answers the call that goes under it.
    fn under_guard(&self, call: Call) -> io::Result<(Call, Option<OwnedFd>)> {
        let Some(place) = self.place.as_ref().filter(|_| call.guarded) else { return Ok((call, None)) };
        let command = self.command(&Call::new(&place.program, [""; 0]), Stdio::null())?;
        let (guard, socket) = Guard::start(place, command)?;
        *self.guard() = Some(guard);
        let before = ["under-guard".to_owned(), place.files.folder().display().to_string(), call.program];
        let arguments = before.into_iter().chain(call.arguments).collect();
        Ok((Call { program: place.program.clone(), arguments, ..call }, Some(socket)))
    }

    fn guard(&self) -> MutexGuard<'_, Option<Guard>> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).mode(0o600).open(&self.output)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    fn command(&self, call: &Call, stdout: Stdio) -> io::Result<Command> {
        let mut command = Command::new(&call.program);
        command.args(&call.arguments).env_clear().envs(self.environment.iter().map(|(k, v)| (k, v))).current_dir("/");
        command.stdin(if call.input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(stdout).stderr(self.log()?);
        Ok(command)
    }

    /// What the child inherits besides its three standard descriptors.
    fn heirlooms<'a>(&'a self, call: &'a Call) -> Vec<BorrowedFd<'a>> {
        let lock = self.lock.as_ref().filter(|_| call.with_lock).map(|lock| lock.as_fd());
        let status = call.status.as_ref().map(|pipe| pipe.write.as_fd());
        lock.into_iter().chain(status).collect()
    }

    fn start(&self, call: &Call, stdin: Option<OwnedFd>, stdout: Stdio) -> io::Result<Child> {
        let mut command = self.command(call, stdout)?;
        if let Some(stdin) = stdin {
            command.stdin(stdin);
        }
        let heirlooms = self.heirlooms(call);
        bequeath(&heirlooms, FdFlag::empty())?;
        let child = command.spawn();
        bequeath(&heirlooms, FdFlag::FD_CLOEXEC)?;
        let mut child = child?;
        if let (Some(input), Some(mut stdin)) = (&call.input, child.stdin.take()) {
            stdin.write_all(input)?;
        }
        Ok(child)
    }
}

/// Only one child that inherits anything is started at a time, so no other can catch these between the two calls.
fn bequeath(heirlooms: &[BorrowedFd<'_>], flag: FdFlag) -> io::Result<()> {
    heirlooms.iter().try_for_each(|fd| fcntl(fd, FcntlArg::F_SETFD(flag)).map(drop).map_err(io::Error::from))
}

impl Children for Processes {
    fn run(&self, call: Call, watch: &mut dyn Watch) -> Result<Ended, Failure> {
        let program = call.program.clone();
        let error = |source| ChildError { program: program.clone(), source };
        let log = self.log().map_err(error)?;
        let deadline = Deadline::of(&call);
        let (mut call, socket) = self.under_guard(call).map_err(error)?;
        let child = self.start(&call, socket, log.into()).map_err(error)?;
        let read = call.status.take().map(|pipe| File::from(pipe.read));
        attend(child, read, watch, deadline).map_err(error)?
    }

    fn stream(&self, call: Call, take: Take<'_>) -> Result<Ended, Failure> {
        let error = |source| ChildError { program: call.program.clone(), source };
        let mut child = self.start(&call, None, Stdio::piped()).map_err(error)?;
        let deadline = Deadline::of(&call);
        let taken = child.stdout.take().map_or(Ok(()), |stdout| take(&mut Timely { stdout, deadline }));
        let ended = reap(&mut child, deadline).map_err(error)?;
        taken.map_err(error)?;
        Ok(ended)
    }

    fn wait_for_strays(&self, patience: Duration, tick: &mut dyn FnMut() -> Result<(), Failure>) -> Result<Vec<String>, Failure> {
        let guard = self.guard().as_ref().map(Guard::id);
        crate::strays::wait(patience, guard, tick)
    }

    fn end_guard(&self) -> Result<Option<String>, Failure> {
        let (Some(guard), Some(place)) = (self.guard().take(), &self.place) else { return Ok(None) };
        let ended = guard.end();
        match fs::read_to_string(place.files.unguarded()) {
            Ok(why) => Ok(Some(format!("without a guard, because the system has none: {why}"))),
            Err(_) => ended.map(|report| Some(report.to_string())),
        }
    }

    fn leave_lock(&self) {
        if let Some(lock) = &self.lock {
            lock.leave();
        }
    }
}

/// When a child has to have ended.
#[derive(Debug, Clone, Copy)]
struct Deadline(Option<Instant>);

impl Deadline {
    fn of(call: &Call) -> Self {
        Self(call.limit.map(|limit| Instant::now() + limit))
    }

    fn is_over(self) -> bool {
        self.0.is_some_and(|at| Instant::now() >= at)
    }

    /// How long may be waited now.
    fn left(self) -> PollTimeout {
        let left = self.0.map(|at| at.saturating_duration_since(Instant::now()));
        left.map_or(PollTimeout::NONE, |left| PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX))
    }
}

/// A child's output, read until the deadline.
struct Timely {
    stdout: std::process::ChildStdout,
    deadline: Deadline,
}

impl Read for Timely {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut ready = [PollFd::new(self.stdout.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, self.deadline.left()) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
            Ok(_) => self.stdout.read(buffer),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Waits for a child that has said everything, and kills it at its deadline.
fn reap(child: &mut Child, deadline: Deadline) -> io::Result<Ended> {
    while deadline.0.is_some() {
        if let Some(status) = child.try_wait()? {
            return Ok(ended(status));
        }
        if deadline.is_over() {
            child.kill()?;
            break;
        }
        std::thread::sleep(SILENT_TICK);
    }
    child.wait().map(ended)
}

/// Stays with a child until it has ended.
fn attend(mut child: Child, mut status: Option<File>, watch: &mut dyn Watch, deadline: Deadline) -> io::Result<Result<Ended, Failure>> {
    let mut heard = Lines::default();
    let mut trouble = None;
    let mut asked = false;
    loop {
        let ended = child.try_wait()?;
        listen(&mut status, &mut heard, watch, &mut trouble, ended.is_none())?;
        if let Some(status) = ended {
            return Ok(trouble.map_or(Ok(self::ended(status)), Err));
        }
        if deadline.is_over() {
            child.kill()?;
        }
        let wish = watch.tick().unwrap_or_else(|failure| {
            trouble.get_or_insert(failure);
            Wish::Stop
        });
        if wish == Wish::Stop && !asked {
            asked = true;
            interrupt(&child)?;
        }
    }
}

fn interrupt(child: &Child) -> io::Result<()> {
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    kill(Pid::from_raw(pid), Signal::SIGINT).map_err(io::Error::from)
}

/// Takes what the child said; waits a tick for it when the child may say more. A pipe that nobody writes to any
/// more is let go: it would be ready for ever.
fn listen(
    status: &mut Option<File>,
    heard: &mut Lines,
    watch: &mut dyn Watch,
    trouble: &mut Option<Failure>,
    may_wait: bool,
) -> io::Result<()> {
    let Some(pipe) = status else {
        if may_wait {
            std::thread::sleep(SILENT_TICK);
        }
        return Ok(());
    };
    if may_wait {
        let tick = PollTimeout::try_from(TICK).map_err(io::Error::other)?;
        poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], tick)?;
    }
    for line in heard.read(pipe)? {
        if let Err(failure) = watch.line(&line) {
            trouble.get_or_insert(failure);
        }
    }
    if heard.at_end {
        *status = None;
    }
    Ok(())
}

/// Cuts what is read into lines.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
    at_end: bool,
}

impl Lines {
    /// The whole lines that can be read without waiting.
    fn read(&mut self, from: &mut File) -> io::Result<Vec<String>> {
        let mut buffer = [0; 8192];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => {
                    self.at_end = true;
                    break;
                }
                Ok(count) => self.rest.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.whole())
    }

    fn whole(&mut self) -> Vec<String> {
        let end = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.rest.drain(..end).collect();
        if self.rest.len() > MAX_LINE {
            self.rest.clear();
        }
        lines.split(|byte| *byte == b'\n').filter(|l| !l.is_empty()).map(|l| String::from_utf8_lossy(l).into_owned()).collect()
    }
}

fn ended(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Code(code),
        (None, signal) => Ended::Signal(signal.unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::attempt;

    struct Heard {
        lines: Vec<String>,
        stop_after: usize,
    }

    impl Watch for Heard {
        fn line(&mut self, line: &str) -> Result<(), Failure> {
            self.lines.push(line.to_owned());
            Ok(())
        }
        fn tick(&mut self) -> Result<Wish, Failure> {
            Ok(if self.lines.len() >= self.stop_after { Wish::Stop } else { Wish::GoOn })
        }
    }

    fn processes(folder: &Path) -> Processes {
        let environment = vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
        Processes::new(environment, attempt(1).transaction, &folder.join("output.log"))
    }

    fn shell(script: &str) -> Call {
        Call::new("sh", ["-c", script])
    }

    #[test]
    fn a_child_gets_a_fixed_environment_and_no_descriptor_but_its_own() {
        let folder = tempfile::tempdir().expect("folder");
        let lock = FrontendLock::take(folder.path(), Duration::ZERO, &mut |_| Ok(())).expect("free");
        let children = processes(folder.path()).with_lock(Arc::new(lock));
        let (ended, bytes) = output(&children, shell("env | sort; pwd; cat; ls -l /proc/self/fd | sed 's/.* -> //'"), 4096).expect("run");
        assert_eq!(ended, Ended::Code(0));
        let text = String::from_utf8(bytes).expect("text");
        let kept: Vec<&str> = text.lines().filter(|line| !["_=", "SHLVL=", "OLDPWD="].iter().any(|own| line.starts_with(own))).collect();
        let transaction = format!("BACKSTEP_TRANSACTION={}", attempt(1).transaction);
        assert_eq!(kept[..4], [&transaction, "PATH=/usr/bin:/bin", "PWD=/", "/"]);
        let ours = folder.path().display().to_string();
        let inherited: Vec<&&str> = kept.iter().filter(|line| line.starts_with(&ours)).collect();
        assert_eq!(inherited, [&format!("{ours}/output.log")]);
    }

    #[test]
    fn the_environment_is_the_fixed_list_byte_for_byte() {
        let folder = tempfile::tempdir().expect("folder");
        let environment = backstep_apt::arguments::environment(backstep_core::request::ConffilePolicy::Keep);
        let environment = environment.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let children = Processes::new(environment, attempt(1).transaction, &folder.path().join("output.log"));
        let (ended, bytes) = output(&children, Call::new("cat", ["/proc/self/environ"]), 4096).expect("run");
        assert_eq!(ended, Ended::Code(0));
        let mut found: Vec<&[u8]> = bytes.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()).collect();
        found.sort_unstable();
        let transaction = format!("BACKSTEP_TRANSACTION={}", attempt(1).transaction);
        let expected = [
            "APT_LISTBUGS_FRONTEND=none",
            "APT_LISTCHANGES_FRONTEND=none",
            transaction.as_str(),
            "DEBCONF_NONINTERACTIVE_SEEN=true",
            "DEBCONF_NOWARNINGS=yes",
            "DEBIAN_FRONTEND=noninteractive",
            "DEBIAN_PRIORITY=critical",
            "DPKG_FRONTEND_LOCKED=1",
            "HOME=/root",
            "LANG=C.UTF-8",
            "LC_ALL=C.UTF-8",
            "LOGNAME=root",
            "NEEDRESTART_SUSPEND=1",
            "PAGER=cat",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "SHELL=/bin/sh",
            "TERM=dumb",
            "UCF_FORCE_CONFFOLD=1",
            "USER=root",
        ];
        assert_eq!(found, expected.map(str::as_bytes));
    }

    #[test]
    fn status_lines_arrive_and_output_is_logged() {
        let folder = tempfile::tempdir().expect("folder");
        let pipe = Pipe::new().expect("pipe");
        let script = format!("echo one >/dev/fd/{0}; echo out; echo err >&2; printf 'two\\nrest' >/dev/fd/{0}; exit 3", pipe.number());
        let mut heard = Heard { lines: Vec::new(), stop_after: usize::MAX };
        let call = Call { status: Some(pipe), ..shell(&script) };
        assert_eq!(processes(folder.path()).run(call, &mut heard), Ok(Ended::Code(3)));
        assert_eq!(heard.lines, ["one", "two"]);
        assert_eq!(fs::read_to_string(folder.path().join("output.log")).expect("log"), "out\nerr\n");
    }

    #[test]
    fn asking_to_stop_interrupts_the_child_and_waits_for_it() {
        let folder = tempfile::tempdir().expect("folder");
        let pipe = Pipe::new().expect("pipe");
        // It ends by itself where the signal is ignored, as in the background jobs of a shell.
        let script = format!("trap 'exit 9' INT; echo ready >/dev/fd/{}; for i in $(seq 600); do sleep 0.05; done", pipe.number());
        let mut heard = Heard { lines: Vec::new(), stop_after: 1 };
        let call = Call { status: Some(pipe), ..shell(&script) };
        assert_eq!(processes(folder.path()).run(call, &mut heard), Ok(Ended::Code(9)));
    }

    #[test]
    fn input_is_handed_over() {
        let folder = tempfile::tempdir().expect("folder");
        let call = Call { input: Some(b"hello hold\n".to_vec()), ..shell("cat") };
        assert_eq!(output(&processes(folder.path()), call, 4096), Ok((Ended::Code(0), b"hello hold\n".to_vec())));
    }

    #[test]
    fn a_child_with_a_limit_is_killed_at_its_end() {
        let folder = tempfile::tempdir().expect("folder");
        let processes = processes(folder.path());
        let limited = || Call { limit: Some(Duration::from_millis(50)), ..shell("exec sleep 600") };
        assert_eq!(processes.run(limited(), &mut Unwatched), Ok(Ended::Signal(9)));
        assert!(output(&processes, limited(), 100).expect_err("no answer").text.contains("no answer in time"));
        let silent = Call { limit: Some(Duration::from_millis(50)), ..shell("exec sleep 600 >&-") };
        assert_eq!(output(&processes, silent, 100), Ok((Ended::Signal(9), Vec::new())));
        let quick = Call { limit: Some(Duration::from_secs(600)), ..shell("echo a") };
        assert_eq!(output(&processes, quick, 100), Ok((Ended::Code(0), b"a\n".to_vec())));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().expect("folder");
        let failure = processes(folder.path()).run(Call::new("backstep-no-such-program", [""; 0]), &mut Unwatched).expect_err("absent");
        assert!(failure.text.starts_with("cannot run backstep-no-such-program: "), "{}", failure.text);
    }
}
