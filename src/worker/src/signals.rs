//! Signals that would end the worker are kept waiting and noted; they stop nothing.
//!
//! They are blocked, not ignored: an ignored signal would be ignored by apt and dpkg too, while the standard
//! library gives every child an empty signal mask.

use backstep_core::{ErrorCode, Failure};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The signals that were kept waiting.
pub struct Noted {
    fd: SignalFd,
}

impl Noted {
    /// Blocks the signals for this thread and those it starts; to be called before any other is started.
    pub fn block() -> Result<Self, Failure> {
        let mut set = SigSet::empty();
        [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().for_each(|signal| set.add(signal));
        let error = |errno: nix::Error| Failure::new(ErrorCode::WorkerFailed, format!("cannot block signals: {errno}"));
        set.thread_block().map_err(error)?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).map_err(error)?;
        Ok(Self { fd })
    }

    /// The names of those that came since it was last asked.
    pub fn taken(&self) -> Vec<String> {
        let mut names = Vec::new();
        while let Ok(Some(info)) = self.fd.read_signal() {
            let signal = i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok());
            names.push(signal.map_or_else(|| info.ssi_signo.to_string(), |signal| signal.as_str().to_owned()));
        }
        names
    }
}
