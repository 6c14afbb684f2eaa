//! Counts the calls that change something, of each process that a worker starts, and kills at one of them.
//!
//! Each process of the role that counts is stopped at each of its system calls. A filter of the kernel's, as
//! `backstep-torture` has, is not enough here: the guard's own filter answers before it. A process that is killed at a call
//! has not made it. Invariants: one thread traces, the first process of a cell; after the kill everything runs free.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, bail};
use backstep_torture::family::Family;
use backstep_torture::tracer::{CALLS, WRITES};
use libseccomp::ScmpSyscall;
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Calls that change something besides [`CALLS`], whatever their arguments: real programs make more of them than ours.
const BESIDES: [&str; 12] = [
    "sync_file_range",
    "mkdirat",
    "truncate",
    "fallocate",
    "chmod",
    "fchmod",
    "fchmodat",
    "chown",
    "fchown",
    "lchown",
    "fchownat",
    "utimensat",
];

/// Who a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The daemon that recovers.
    Daemon,
    /// The worker.
    Worker,
    /// The worker where it writes to its journal: the boundaries of steps are there.
    Journal,
    /// Its guard.
    Guard,
    /// apt-get, and what it starts besides dpkg.
    Apt,
    /// What apt forks, and the programs that fetch for it. They are not killed: apt waits for ever for one that is gone early.
    Fetcher,
    /// dpkg, from our program that becomes it.
    Dpkg,
    /// What dpkg or the worker starts: dpkg-deb, scripts and their programs.
    Child,
}

impl Role {
    /// Those at whose calls the power is cut, with how many of a hundred cuts each gets.
    pub const CUT: [(Self, usize); 6] =
        [(Self::Journal, 40), (Self::Worker, 10), (Self::Guard, 2), (Self::Apt, 6), (Self::Dpkg, 28), (Self::Child, 14)];

    /// Those that are killed, with how many of a hundred kills each gets.
    pub const ALL: [(Self, usize); 5] = [(Self::Worker, 18), (Self::Guard, 8), (Self::Apt, 14), (Self::Dpkg, 36), (Self::Child, 24)];

    /// Those of which one is killed while a recovery goes on.
    pub const RECOVERING: [Self; 4] = [Self::Daemon, Self::Daemon, Self::Worker, Self::Dpkg];

    /// By its name.
    pub fn named(name: &str) -> Result<Self> {
        let found =
            Self::CUT.into_iter().map(|(role, _)| role).chain([Self::Daemon]).find(|role| format!("{role:?}").eq_ignore_ascii_case(name));
        found.with_context(|| format!("no role is called {name:?}"))
    }

    /// What a process that was born of one with this role is until it becomes another program.
    fn of_child(self) -> Self {
        match self {
            Self::Dpkg => Self::Child,
            Self::Apt => Self::Fetcher,
            other => other,
        }
    }

    /// What it is when it has become the program that it is now.
    fn of_program(self, pid: Pid) -> Self {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        let program = words.next().unwrap_or_default();
        match (program.rsplit('/').next().unwrap_or_default(), words.next().as_deref()) {
            ("backstep-worker", Some("guard")) => Self::Guard,
            ("backstep-worker", Some("run")) => Self::Worker,
            ("backstep-worker", _) | ("apt-get", _) => Self::Apt,
            ("dpkg" | "backstep-dpkg", _) => Self::Dpkg,
            ("backstep-kills", _) => Self::Daemon,
            _ if program.contains("/apt/methods/") => Self::Fetcher,
            _ if self == Self::Worker => Self::Child,
            _ => self,
        }
    }
}

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// The process that makes the call.
    One,
    /// All that is traced.
    All,
    /// The same, when the file system of the root has stopped: what was not made durable is gone.
    Power,
}

impl Blow {
    /// By its name.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "one" => Ok(Self::One),
            "all" => Ok(Self::All),
            "power" => Ok(Self::Power),
            _ => bail!("what is killed is one, all or power, not {name:?}"),
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::All => "all",
            Self::Power => "power",
        }
    }
}

/// Where is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strike {
    /// Whose calls are counted.
    pub role: Role,
    /// At which of them, from 1.
    pub at: u32,
    /// What is killed.
    pub blow: Blow,
}

/// What is killed in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kill {
    /// While the change is made.
    pub first: Strike,
    /// While what is left of it is put in order, by the same worker or by another one.
    pub recovery: Option<Strike>,
}

/// Which calls a tracer looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// At all; it only counts them.
    All,
    /// At those of one role, up to a kill; then at those of another one, counted from there.
    Until(Strike, Option<Strike>),
    /// At none: everything runs free.
    None,
}

/// Traces a process and all that it starts.
pub struct Tracer {
    family: Family<Role>,
    changing: BTreeMap<i64, &'static str>,
    opening: BTreeMap<i64, usize>,
    look: Look,
    /// The calls that were looked at, by role; after a kill those since then.
    pub met: BTreeMap<Role, u32>,
    /// The calls at which was killed, in order.
    pub struck: Vec<&'static str>,
    /// Those that were killed and have not ended yet: locks of theirs are held.
    dying: BTreeSet<Pid>,
}

impl Tracer {
    /// Begins with a process that waits for it.
    pub fn seize(pid: Pid, role: Role, look: Look) -> Result<Self> {
        let number = |name: &str| Ok::<_, anyhow::Error>(i64::from(i32::from(ScmpSyscall::from_name(name)?)));
        let changing = CALLS.into_iter().chain(BESIDES).map(|name| Ok((number(name)?, name))).collect::<Result<_>>()?;
        // Which argument has the flags.
        let opening = [("open", 1), ("openat", 2)].into_iter().map(|(name, flags)| Ok((number(name)?, flags))).collect::<Result<_>>()?;
        ptrace::seize(pid, options()).context("cannot trace")?;
        // Else it would not be looked at before it does something of which the kernel tells.
        ptrace::interrupt(pid).context("cannot stop")?;
        let mut family = Family::default();
        family.bear(pid, role);
        Ok(Self { family, changing, opening, look, met: BTreeMap::new(), struck: Vec::new(), dying: BTreeSet::new() })
    }

    /// Goes on until a child of this process has ended, which need not be traced, with all that was killed. Answers its
    /// code; none of one that was killed.
    pub fn until_ended(&mut self, wanted: Pid) -> Result<Option<i32>> {
        let mut ended = None;
        loop {
            if let Some(code) = ended.filter(|_| self.dying.is_empty()) {
                return Ok(code);
            }
            let status = match waitpid(None, Some(WaitPidFlag::__WALL)) {
                Ok(status) => status,
                Err(Errno::EINTR) => continue,
                Err(errno) => bail!("cannot wait: {errno}"),
            };
            match status {
                WaitStatus::Exited(pid, code) => ended = self.forget(pid, wanted, Some(code)).or(ended),
                WaitStatus::Signaled(pid, ..) => ended = self.forget(pid, wanted, None).or(ended),
                WaitStatus::Stopped(pid, signal) => self.go_on(pid, Some(signal))?,
                WaitStatus::PtraceEvent(pid, _, event) => self.event(pid, event)?,
                WaitStatus::PtraceSyscall(pid) => self.call(pid)?,
                WaitStatus::Continued(_) | WaitStatus::StillAlive => {}
            }
        }
    }

    fn forget(&mut self, pid: Pid, wanted: Pid, code: Option<i32>) -> Option<Option<i32>> {
        self.family.end(pid);
        self.dying.remove(&pid);
        (pid == wanted).then_some(code)
    }

    fn event(&mut self, pid: Pid, event: i32) -> Result<()> {
        let role = self.family.role(pid).unwrap_or(Role::Child);
        match event {
            libc::PTRACE_EVENT_EXEC => self.family.turn_into(pid, role.of_program(pid)),
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK => self.born(pid, role.of_child())?,
            libc::PTRACE_EVENT_CLONE => self.born(pid, role)?,
            _ => {}
        }
        self.go_on(pid, None)
    }

    fn born(&mut self, parent: Pid, role: Role) -> Result<()> {
        if let Ok(new) = ptrace::getevent(parent) {
            let new = Pid::from_raw(i32::try_from(new)?);
            let is_known = self.family.role(new).is_some();
            self.family.bear(new, role);
            if is_known {
                self.family.turn_into(new, role.of_program(new));
            }
        }
        Ok(())
    }

    fn call(&mut self, pid: Pid) -> Result<()> {
        let Some(role) = self.family.role(pid).filter(|role| self.counts(*role)) else { return self.go_on(pid, None) };
        let Some((number, arguments)) = entered(pid) else { return self.go_on(pid, None) };
        let Some(name) = self.change(number, arguments) else { return self.go_on(pid, None) };
        let journal = (role == Role::Worker && WRITES.contains(&name) && is_journal(pid, arguments[0])).then_some(Role::Journal);
        for role in [role].into_iter().chain(journal) {
            *self.met.entry(role).or_default() += 1;
        }
        match self.look {
            Look::Until(strike, then)
                if (strike.role == role || journal == Some(strike.role)) && self.met.get(&strike.role) == Some(&strike.at) =>
            {
                self.strike(pid, name, strike.blow, then)
            }
            _ => self.go_on(pid, None),
        }
    }

    fn strike(&mut self, pid: Pid, name: &'static str, blow: Blow, then: Option<Strike>) -> Result<()> {
        self.struck.push(name);
        self.look = then.map_or(Look::None, |then| Look::Until(then, None));
        self.met.clear();
        if blow == Blow::Power {
            stop_disk()?;
        }
        self.dying = match blow {
            Blow::One => [pid].into(),
            Blow::All | Blow::Power => self.family.all().collect(),
        };
        self.dying.iter().copied().try_for_each(hit)
    }

    /// The name of a call that changes something.
    fn change(&self, number: i64, arguments: [u64; 3]) -> Option<&'static str> {
        let changes = (libc::O_CREAT | libc::O_TRUNC).cast_unsigned();
        let opens = |place: &usize| arguments[*place] & u64::from(changes) != 0;
        if self.opening.get(&number).is_some_and(opens) {
            return Some("open");
        }
        self.changing.get(&number).copied()
    }

    fn counts(&self, role: Role) -> bool {
        match self.look {
            Look::All => true,
            Look::Until(strike, _) => strike.role == role || (strike.role == Role::Journal && role == Role::Worker),
            Look::None => false,
        }
    }

    /// One that is gone meanwhile needs nothing.
    fn go_on(&self, pid: Pid, signal: Option<Signal>) -> Result<()> {
        let counts = self.family.role(pid).is_some_and(|role| self.counts(role));
        // A stop for tracing is not a signal that the process is to have.
        let signal = signal.filter(|signal| *signal != Signal::SIGTRAP);
        let went = if counts { ptrace::syscall(pid, signal) } else { ptrace::cont(pid, signal) };
        match went {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => bail!("cannot let {pid} go on: {errno}"),
        }
    }
}

fn is_journal(pid: Pid, fd: u64) -> bool {
    fs::read_link(format!("/proc/{pid}/fd/{fd}")).is_ok_and(|path| path.ends_with(backstep_wire::attempt::JOURNAL))
}

nix::ioctl_read! {
    /// `EXT4_IOC_SHUTDOWN`, and `XFS_IOC_GOINGDOWN`, which is the same.
    shutdown, b'X', 125, u32
}

/// Stops the file system of the root where it is, without writing its log (`EXT4_GOING_FLAGS_NOLOGFLUSH`, and the same of xfs).
#[expect(unsafe_code, reason = "no library wraps this ioctl")]
fn stop_disk() -> Result<()> {
    let root = fs::File::open("/")?;
    let mut how = 2;
    // SAFETY: the call reads one number, which lives until it returns.
    unsafe { shutdown(root.as_raw_fd(), &raw mut how) }.context("cannot stop the file system").map(drop)
}

fn options() -> Options {
    Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL
}

fn hit(pid: Pid) -> Result<()> {
    match kill(pid, Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => bail!("cannot kill {pid}: {errno}"),
    }
}

/// The number and the first arguments of a call that is about to be made. At its end there is another answer than
/// the one that the kernel puts there at first; a call that has failed as unknown is counted twice, which does no harm.
#[cfg(target_arch = "x86_64")]
fn entered(pid: Pid) -> Option<(i64, [u64; 3])> {
    let registers = ptrace::getregs(pid).ok()?;
    let is_entry = registers.rax.cast_signed() == -i64::from(libc::ENOSYS);
    is_entry.then(|| (registers.orig_rax.cast_signed(), [registers.rdi, registers.rsi, registers.rdx]))
}

#[cfg(not(target_arch = "x86_64"))]
fn entered(_: Pid) -> Option<(i64, [u64; 3])> {
    None
}

/// Whether calls can be counted on this machine.
pub const CAN_COUNT_CALLS: bool = cfg!(target_arch = "x86_64");
