//! Stops processes at chosen system calls and, there, kills them or makes the call fail.
//!
//! The program puts a filter on itself that stops it, and all that it starts, just before each call that changes
//! files; all else runs at full speed. Each stop is a point: counted for each role (daemon, worker, dpkg), so that
//! every point can be had by its number. A process that is killed at a point has not made the call.
//!
//! Invariants: one thread traces; nothing that was started here outlives the tracer. Absent on purpose: reading or
//! changing the memory of what is traced.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use libseccomp::{ScmpAction, ScmpFilterContext, ScmpSyscall};
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::family::Family;

/// The calls that are points. Those that only make folders or change owners are among the next ones' effects.
pub const CALLS: [&str; 21] = [
    "write",
    "pwrite64",
    "writev",
    "pwritev",
    "fsync",
    "fdatasync",
    "syncfs",
    "sync",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "unlink",
    "unlinkat",
    "rmdir",
    "ftruncate",
    "execve",
    "mkdir",
];

/// Calls that put bytes into a file.
pub const WRITES: [&str; 5] = ["write", "pwrite64", "writev", "pwritev", "ftruncate"];
/// Calls that make them durable.
pub const SYNCS: [&str; 4] = ["fsync", "fdatasync", "syncfs", "sync"];

/// How long one run may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// Becomes the program, stopped before each of [`CALLS`].
pub fn enter(program: &str, arguments: &[String]) -> Result<()> {
    crate::fake::wait_for_go()?;
    let mut filter = ScmpFilterContext::new(ScmpAction::Allow)?;
    for (number, name) in (0_u16..).zip(CALLS) {
        filter.add_rule(ScmpAction::Trace(number), ScmpSyscall::from_name(name)?)?;
    }
    filter.load()?;
    Err(command(program).args(arguments).exec()).context("cannot become the program")
}

#[expect(clippy::disallowed_methods, reason = "the one place where programs under test are started")]
fn command(program: &str) -> Command {
    Command::new(program)
}

/// Who a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The manager over the real record.
    Daemon,
    /// The real worker.
    Worker,
    /// A program in the place of apt's and dpkg's.
    Dpkg,
}

impl Role {
    /// All.
    pub const ALL: [Self; 3] = [Self::Daemon, Self::Worker, Self::Dpkg];

    fn of(pid: Pid) -> Option<Self> {
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        match line.split(|byte| *byte == 0).nth(1)? {
            b"daemon" | b"traced" => Some(Self::Daemon),
            b"run" => Some(Self::Worker),
            b"apt-get" | b"dpkg" | b"dpkg-deb" => Some(Self::Dpkg),
            _ => None,
        }
    }
}

/// What happens at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// The process is killed.
    Kill,
    /// Everything that runs is killed.
    KillAll,
    /// The call fails with this error and has done nothing.
    Fail(Errno),
    /// This call, and every later one of its sort (write or sync), fails with this error.
    FailOn(Errno),
}

/// A point and what happens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strike {
    /// Whose calls are counted.
    pub role: Role,
    /// Which one, from 1, among the calls that count.
    pub at: u32,
    /// What happens.
    pub blow: Blow,
    /// Which calls count: all, or only these.
    pub calls: &'static [&'static str],
}

/// How a traced daemon ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself.
    Code(i32),
    /// Killed.
    Killed,
}

/// Everything that is traced now.
pub struct Tracer {
    family: Family<Role>,
    /// The same for the watchdog.
    alive: Arc<Mutex<(Option<Instant>, Vec<Pid>)>>,
    /// Points met since the last start of a daemon, by role.
    pub met: BTreeMap<Role, u32>,
    patience: Duration,
    /// The daemon that runs now, for those who watch it.
    pub daemon: Arc<AtomicI32>,
    strike: Option<Strike>,
    /// Calls that counted for the strike.
    counted: u32,
    /// Whether it was struck.
    pub struck: Option<&'static str>,
}

impl Default for Tracer {
    fn default() -> Self {
        Self::new()
    }
}

impl Tracer {
    /// Traces nothing yet.
    #[must_use]
    pub fn new() -> Self {
        let alive: Arc<Mutex<(Option<Instant>, Vec<Pid>)>> = Arc::default();
        let watched = Arc::clone(&alive);
        std::thread::spawn(move || watch(&watched));
        Self {
            family: Family::default(),
            alive,
            met: BTreeMap::new(),
            patience: PATIENCE,
            daemon: Arc::default(),
            strike: None,
            counted: 0,
            struck: None,
        }
    }

    /// Starts a daemon, strikes where it is told, and returns when the daemon has ended. Workers may live on.
    pub fn run(&mut self, program: &Path, arguments: &[String], (told, log): (&Path, &Path), strike: Option<Strike>) -> Result<End> {
        (self.strike, self.counted, self.struck) = (strike, 0, None);
        self.met.clear();
        let append = |path: &Path| File::options().append(true).create(true).open(path);
        let mut command = command(&program.display().to_string());
        command.arg("traced").arg(program).args(arguments).env_clear();
        command.stdin(Stdio::piped()).stdout(append(told)?).stderr(append(log)?);
        let mut child = command.spawn().context("cannot start the daemon")?;
        let pid = Pid::from_raw(i32::try_from(child.id())?);
        ptrace::seize(pid, options()).context("cannot trace")?;
        self.set_deadline(Some(Instant::now() + self.patience));
        self.family.bear(pid, Role::Daemon);
        self.publish();
        self.daemon.store(pid.as_raw(), Ordering::Relaxed);
        let mut stdin = child.stdin.take().context("no standard input")?;
        stdin.write_all(b"x")?;
        self.until(Some(pid))?.context("the daemon is nowhere")
    }

    /// Goes on until everything has ended.
    pub fn drain(&mut self) -> Result<()> {
        self.until(None)?;
        self.set_deadline(None);
        Ok(())
    }

    fn until(&mut self, wanted: Option<Pid>) -> Result<Option<End>> {
        loop {
            let status = match waitpid(None, Some(WaitPidFlag::__WALL)) {
                Ok(status) => status,
                Err(Errno::ECHILD) => {
                    self.family.clear();
                    self.publish();
                    return Ok(None);
                }
                Err(Errno::EINTR) => continue,
                Err(errno) => bail!("cannot wait: {errno}"),
            };
            match status {
                WaitStatus::Exited(pid, code) => {
                    self.forget(pid);
                    if wanted == Some(pid) {
                        return Ok(Some(End::Code(code)));
                    }
                }
                WaitStatus::Signaled(pid, ..) => {
                    self.forget(pid);
                    if wanted == Some(pid) {
                        return Ok(Some(End::Killed));
                    }
                }
                WaitStatus::Stopped(pid, signal) => go_on(pid, Some(signal))?,
                WaitStatus::PtraceEvent(pid, _, event) => self.event(pid, event)?,
                WaitStatus::PtraceSyscall(pid) => go_on(pid, None)?,
                WaitStatus::Continued(_) | WaitStatus::StillAlive => {}
            }
        }
    }

    fn event(&mut self, pid: Pid, event: i32) -> Result<()> {
        use nix::libc;
        let role = self.family.role(pid);
        match event {
            libc::PTRACE_EVENT_SECCOMP => return self.point(pid),
            libc::PTRACE_EVENT_EXEC => {
                if let Some(role) = Role::of(pid).or(role) {
                    self.know(pid, role);
                }
            }
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
                if let (Ok(new), Some(role)) = (ptrace::getevent(pid), role) {
                    self.family.bear(Pid::from_raw(i32::try_from(new)?), role);
                    self.publish();
                }
            }
            _ => {}
        }
        go_on(pid, None)
    }

    /// A call that counts is about to be made.
    fn point(&mut self, pid: Pid) -> Result<()> {
        // Nobody tells of a child whose parent was killed before its fork was told.
        let known = self.family.role(pid);
        let role = known.or_else(|| Role::of(pid)).unwrap_or(Role::Daemon);
        if known.is_none() {
            self.know(pid, role);
        }
        let Ok(number) = ptrace::getevent(pid) else { return Ok(()) };
        let name = CALLS.get(usize::try_from(number)?).copied().unwrap_or_default();
        *self.met.entry(role).or_default() += 1;
        let Some(strike) = self.strike.filter(|strike| strike.role == role && strike.calls.contains(&name)) else {
            return go_on(pid, None);
        };
        self.counted += 1;
        let lasting = matches!(strike.blow, Blow::FailOn(_)) && self.counted > strike.at;
        if self.counted != strike.at && !lasting {
            return go_on(pid, None);
        }
        self.struck.get_or_insert(name);
        match strike.blow {
            Blow::Kill => hit(pid),
            Blow::KillAll => self.family.all().try_for_each(hit),
            Blow::Fail(errno) | Blow::FailOn(errno) => fail(pid, errno).and_then(|()| go_on(pid, None)),
        }
    }

    fn know(&mut self, pid: Pid, role: Role) {
        self.family.turn_into(pid, role);
        self.publish();
    }

    fn forget(&mut self, pid: Pid) {
        self.family.end(pid);
        self.publish();
    }

    fn publish(&self) {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner).1 = self.family.all().collect();
    }

    fn set_deadline(&self, at: Option<Instant>) {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner).0 = at;
    }

    /// How long the next runs may take.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Whether the deadline has passed: then everything was killed, and the run says nothing.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner).0.is_some_and(|at| Instant::now() > at)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.family.all().for_each(|pid| drop(hit(pid)));
    }
}

fn options() -> Options {
    Options::PTRACE_O_TRACESECCOMP
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL
}

/// One that is gone meanwhile needs nothing.
fn go_on(pid: Pid, signal: Option<Signal>) -> Result<()> {
    match ptrace::cont(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => bail!("cannot let {pid} go on: {errno}"),
    }
}

fn hit(pid: Pid) -> Result<()> {
    match kill(pid, Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => bail!("cannot kill {pid}: {errno}"),
    }
}

/// Makes the call that a process is about to make fail: its number becomes that of no call, and the answer the error.
#[cfg(target_arch = "x86_64")]
fn fail(pid: Pid, errno: Errno) -> Result<()> {
    let mut registers = ptrace::getregs(pid)?;
    registers.orig_rax = u64::MAX;
    registers.rax = i64::from(-(errno as i32)).cast_unsigned();
    Ok(ptrace::setregs(pid, registers)?)
}

#[cfg(not(target_arch = "x86_64"))]
fn fail(_: Pid, _: Errno) -> Result<()> {
    bail!("calls can be made to fail on amd64 only")
}

/// Whether calls can be made to fail on this machine.
pub const CAN_FAIL_CALLS: bool = cfg!(target_arch = "x86_64");

/// Ends what hangs: a killed process wakes the tracer.
fn watch(alive: &Mutex<(Option<Instant>, Vec<Pid>)>) {
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let (deadline, pids) = &*alive.lock().unwrap_or_else(PoisonError::into_inner);
        if deadline.is_some_and(|at| Instant::now() > at) {
            pids.iter().for_each(|pid| drop(hit(*pid)));
        }
    }
}
