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
        lock(&self.children).insert(attempt, child);
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
