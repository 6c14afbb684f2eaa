//! The guard: answers the calls that wait, until the last guarded process is gone.
//!
//! It is a process of its own, small and apart from what it guards. If it dies, calls that would wait fail with
//! `ENOSYS`: nothing is changed unseen, and the tree soon fails. It cannot be replaced for a running tree.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use libseccomp::error::SeccompError;
use libseccomp::{ScmpNotifReq, ScmpNotifResp, ScmpNotifRespFlags, notify_id_valid};
use nix::errno::Errno as Last;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};

use crate::change::{Change, Seen, Sink, Verdict};
use crate::error::SuperviseError;
use crate::handover;
use crate::interpret::Interpreter;
use crate::resolve::{Home, Miss};
use crate::wake;

/// How a guard is to work.
#[derive(Debug, Default)]
pub struct Rules<'a> {
    /// Changes wholly below these directories are not told: `/proc`, `/sys`, `/dev`, the guard's own material.
    pub exclude: Vec<PathBuf>,
    /// When this can be read or is closed at its other end, the watch is over: calls of processes that live on are
    /// answered without the sink.
    pub done: Option<BorrowedFd<'a>>,
}

/// Makes this process a guard and takes its end of the socket from standard input, where
/// [`enter`](crate::enter()) put it. To be called first of all in the guard's program, while it has one thread.
///
/// Descriptors that it inherited are closed, so that it holds no lock of its caller's; the signals that end programs
/// from a terminal or at shutdown are held back: the guard ends when what it guards has ended.
///
/// # Errors
/// The descriptors or signals cannot be arranged.
pub fn prepare() -> Result<UnixStream, SuperviseError> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned().map_err(SuperviseError::Prepare)?;
    drop_inherited()?;
    let ending: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT].into_iter().collect();
    ending.thread_block().map_err(|errno| SuperviseError::Prepare(errno.into()))?;
    Ok(UnixStream::from(socket))
}

/// Asks the kernel to end anything but this process when memory runs out.
///
/// # Errors
/// It cannot be asked; the guard works all the same.
pub fn protect_from_oom() -> std::io::Result<()> {
    File::options().write(true).open("/proc/self/oom_score_adj")?.write_all(b"-1000")
}

/// What an `exec` left open is not marked to be closed by the next one; what this program opened is.
fn drop_inherited() -> Result<(), SuperviseError> {
    for entry in std::fs::read_dir("/proc/self/fdinfo").map_err(SuperviseError::Prepare)? {
        let entry = entry.map_err(SuperviseError::Prepare)?;
        let number = entry.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok());
        let Some(fd) = number.filter(|fd| *fd > 2) else { continue };
        let facts = std::fs::read_to_string(entry.path()).map_err(SuperviseError::Prepare)?;
        if !closes_on_exec(&facts) {
            nix::unistd::close(fd).map_err(|errno| SuperviseError::Prepare(errno.into()))?;
        }
    }
    Ok(())
}

fn closes_on_exec(facts: &str) -> bool {
    let flags = facts.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok());
    flags.is_some_and(|flags| flags & rustix::fs::OFlags::CLOEXEC.bits() != 0)
}

/// Tells who waits for it with [`wait_prepared`](crate::wait_prepared) that [`guard`] is next. Only for a guard that is
/// waited for in that way.
///
/// # Errors
/// Nobody is there any more.
pub fn say_prepared(socket: &UnixStream) -> Result<(), SuperviseError> {
    handover::say_ready(socket)
}

/// Receives the listener over `socket`, says that it is ready, and tells every change to `sink` until the last guarded
/// process is gone.
///
/// # Errors
/// The listener does not come, or the kernel no longer answers. Then guarded calls fail from the moment this returns.
pub fn guard(socket: UnixStream, rules: &Rules<'_>, sink: &mut dyn Sink) -> Result<Seen, SuperviseError> {
    let home = Home::of_this_process().map_err(|errno| SuperviseError::Prepare(errno.into()))?;
    let mut guard = Guard { interpreter: Interpreter::new(home), rules, seen: Seen::default(), listener: handover::receive(&socket)? };
    wake::take_turns(&guard.listener).map_err(|errno| SuperviseError::Prepare(errno.into()))?;
    handover::say_ready(&socket)?;
    drop(socket);
    guard.answer_all(sink)?;
    Ok(guard.seen)
}

struct Guard<'a> {
    interpreter: Interpreter,
    rules: &'a Rules<'a>,
    seen: Seen,
    listener: OwnedFd,
}

/// What `poll` found.
enum Event {
    Call,
    Done,
    Gone,
}

impl Guard<'_> {
    fn answer_all(&mut self, sink: &mut dyn Sink) -> Result<(), SuperviseError> {
        let mut watching = true;
        loop {
            match wait(self.listener.as_fd(), self.rules.done.filter(|_| watching))? {
                Event::Gone => {
                    if watching {
                        sink.watch_over(&self.seen);
                    }
                    return Ok(());
                }
                Event::Done => {
                    watching = false;
                    sink.watch_over(&self.seen);
                }
                Event::Call if watching => self.answer_one(Some(sink))?,
                Event::Call => self.answer_one(None)?,
            }
        }
    }

    fn answer_one(&mut self, sink: Option<&mut dyn Sink>) -> Result<(), SuperviseError> {
        let listener = self.listener.as_raw_fd();
        let request = match ScmpNotifReq::receive(listener) {
            Ok(request) => request,
            // The caller was killed before it could be heard.
            Err(_) if Last::last() == Last::ENOENT => return Ok(()),
            Err(error) => return Err(SuperviseError::Listen(error)),
        };
        self.seen.notifications += 1;
        let verdict = match sink {
            Some(sink) => self.judge(&request, sink),
            None => self.let_pass(),
        };
        answered(respond(listener, request.id, verdict))
    }

    fn let_unseen(&mut self) -> Verdict {
        self.seen.unseen += 1;
        Verdict::Continue
    }

    fn let_pass(&mut self) -> Verdict {
        self.seen.passive += 1;
        Verdict::Continue
    }

    fn judge(&mut self, request: &ScmpNotifReq, sink: &mut dyn Sink) -> Verdict {
        if request.pid == 0 {
            // A process of a pid namespace that the guard is not above.
            return self.let_unseen();
        }
        match self.interpreter.change(request) {
            // A dead caller's number may be another process's by now: what was read may be its.
            Ok(_) if notify_id_valid(self.listener.as_raw_fd(), request.id).is_err() => Verdict::Continue,
            Ok(change) if self.is_excluded(&change) => Verdict::Continue,
            Ok(change) => self.tell(&change, sink),
            Err(Miss::Harmless) => Verdict::Continue,
            Err(Miss::Unseen) => self.let_unseen(),
        }
    }

    fn tell(&mut self, change: &Change, sink: &mut dyn Sink) -> Verdict {
        self.seen.told += 1;
        let verdict = sink.before(change);
        if let Verdict::Refuse(_) = verdict {
            self.seen.refused += 1;
        }
        verdict
    }

    fn is_excluded(&self, change: &Change) -> bool {
        change.paths().all(|path| self.rules.exclude.iter().any(|excluded| path.starts_with(excluded)))
    }
}

/// Waiting calls come before the end of the watch: they were made before it.
fn wait(listener: BorrowedFd<'_>, done: Option<BorrowedFd<'_>>) -> Result<Event, SuperviseError> {
    let mut fds = vec![PollFd::new(listener, PollFlags::POLLIN)];
    fds.extend(done.map(|done| PollFd::new(done, PollFlags::POLLIN)));
    loop {
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Last::EINTR) => continue,
            Err(errno) => return Err(SuperviseError::Poll(errno.into())),
            Ok(_) => {}
        }
        let events = |fd: &PollFd<'_>| fd.revents().unwrap_or(PollFlags::empty());
        let call = events(&fds[0]);
        if call.contains(PollFlags::POLLIN) {
            return Ok(Event::Call);
        } else if !call.is_empty() {
            return Ok(Event::Gone);
        } else if fds.get(1).is_some_and(|done| !events(done).is_empty()) {
            return Ok(Event::Done);
        }
    }
}

fn respond(listener: RawFd, id: u64, verdict: Verdict) -> Result<(), SeccompError> {
    match verdict {
        Verdict::Continue => ScmpNotifResp::new_continue(id, ScmpNotifRespFlags::empty()),
        Verdict::Refuse(errno) => ScmpNotifResp::new_error(id, -errno.raw_os_error(), ScmpNotifRespFlags::empty()),
    }
    .respond(listener)
}

/// A caller that was killed or interrupted waits no longer.
fn answered(result: Result<(), SeccompError>) -> Result<(), SuperviseError> {
    match result {
        Err(error) if Last::last() != Last::ENOENT => Err(SuperviseError::Listen(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
