//! A polkit agent on the terminal, so that authorisation can be asked for where no desktop does it.

use std::io::IsTerminal;
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, pipe};

/// How long an agent may take to register; without it polkit answers for itself.
const REGISTRATION_MS: u16 = 2_000;

/// A running agent; it is ended when this is dropped, and gives the terminal back.
#[derive(Debug)]
pub(crate) struct Agent(Child);

impl Agent {
    /// Starts `pkttyagent` when a person who is not root sits at a terminal; `None` when there is no need or no agent.
    #[allow(clippy::disallowed_methods)] // The one child of the client: polkit's own agent, with fixed arguments.
    pub(crate) fn start() -> Option<Self> {
        if Uid::effective().is_root() || !std::io::stdin().is_terminal() {
            return None;
        }
        let (ready, told) = pipe().ok()?;
        fcntl(&ready, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
        let child = Command::new("pkttyagent")
            // Not as a fallback: outside of a login session polkit passes over an agent that is only that.
            .args(["--process", &std::process::id().to_string(), "--notify-fd", &told.as_raw_fd().to_string()])
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        drop(told);
        // The agent closes its end when it has registered; a late one is no reason to wait longer.
        poll(&mut [PollFd::new(std::os::fd::AsFd::as_fd(&ready), PollFlags::POLLIN)], PollTimeout::from(REGISTRATION_MS)).ok()?;
        Some(Self(child))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.0.id()) {
            kill(Pid::from_raw(pid), Signal::SIGTERM).ok();
        }
        self.0.wait().ok();
    }
}
