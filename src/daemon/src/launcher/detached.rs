//! Workers as detached children: for private buses and tests.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use backstep_core::{AttemptId, ErrorCode, Failure};

use crate::lock::lock;

/// Starts the worker's program in a process group of its own, so that a signal to the daemon's does not reach it.
#[derive(Debug)]
pub struct Detached {
    worker: PathBuf,
    state_dir: PathBuf,
    children: Mutex<BTreeMap<AttemptId, Child>>,
}

impl Detached {
    pub(super) fn new(worker: PathBuf, state_dir: PathBuf) -> Self {
        Self { worker, state_dir, children: Mutex::new(BTreeMap::new()) }
    }

    #[allow(clippy::disallowed_methods)] // The one place of the daemon that starts a worker's program itself.
    pub(super) fn start(&self, attempt: AttemptId) -> Result<(), Failure> {
        use std::os::unix::process::CommandExt;
        let child = Command::new(&self.worker)
            .arg("run")
            .arg(attempt.to_string())
            .arg("--state-dir")
            .arg(&self.state_dir)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| Failure::new(ErrorCode::WorkerFailed, format!("cannot start {}: {error}", self.worker.display())))?;
        let mut children = lock(&self.children);
        // Nobody need have asked whether an earlier one lives; what has ended stays a process until it is waited for.
        children.retain(|_, earlier| !matches!(earlier.try_wait(), Ok(Some(_))));
        children.insert(attempt, child);
        Ok(())
    }

    pub(super) fn is_alive(&self, attempt: AttemptId) -> bool {
        let mut children = lock(&self.children);
        match children.get_mut(&attempt).map(Child::try_wait) {
            Some(Ok(None)) => true,
            Some(Ok(Some(_)) | Err(_)) => {
                children.remove(&attempt);
                false
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    use nix::unistd::Pid;

    use super::*;

    #[test]
    fn a_worker_that_has_ended_is_waited_for_when_the_next_is_started() {
        let detached = Detached::new("/bin/true".into(), "/".into());
        let attempt = |number| AttemptId { transaction: "01936b2e-7c1a-7d3e-9f10-0123456789ab".parse().expect("id"), number };
        detached.start(attempt(1)).expect("start");
        let first = lock(&detached.children)[&attempt(1)].id();
        let first = Pid::from_raw(first.try_into().expect("number"));
        let end = || waitid(Id::Pid(first), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        end().expect("its end");
        detached.start(attempt(2)).expect("start");
        assert_eq!(lock(&detached.children).keys().copied().collect::<Vec<_>>(), [attempt(2)]);
        assert!(end().is_err(), "it is no child any more");
    }
}
