//! The worker's side: the real worker with our own programs in the place of apt's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use backstep_core::{AttemptId, Failure};
use backstep_worker::child::{Call, Children, Ended, Processes, Take, Watch};
use backstep_worker::{run, signals, strays};

use crate::place::Place;

/// Carries out an attempt as `backstep-worker run` does.
pub fn work(attempt: AttemptId, state: &Path) -> Result<()> {
    let failed = |failure: Failure| anyhow::anyhow!("{failure}");
    let signals = signals::Noted::block().map_err(failed)?;
    strays::adopt_orphans().map_err(failed)?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let machine = Place::of_state(state).machine();
    let (program, folder) = (std::env::current_exe()?, machine.attempt(attempt).folder().to_owned());
    let programs = |real: Processes| -> Box<dyn Children> {
        Box::new(Ours { real, program: program.clone(), state: state.to_owned(), folder: folder.clone() })
    };
    run::run_with(&machine, attempt, &signals, None, &programs).map(drop).map_err(failed)
}

/// Real children, but of our programs.
struct Ours {
    real: Processes,
    program: PathBuf,
    state: PathBuf,
    folder: PathBuf,
}

impl Ours {
    fn ours(&self, call: Call) -> Call {
        let first = [call.program, self.state.display().to_string(), self.folder.display().to_string()];
        let arguments = first.into_iter().chain(call.arguments).collect();
        Call { program: self.program.display().to_string(), arguments, ..call }
    }
}

impl Children for Ours {
    fn run(&self, call: Call, watch: &mut dyn Watch) -> Result<Ended, Failure> {
        self.real.run(self.ours(call), watch)
    }

    fn stream(&self, call: Call, take: Take<'_>) -> Result<Ended, Failure> {
        self.real.stream(self.ours(call), take)
    }

    fn wait_for_strays(&self, patience: Duration, tick: &mut dyn FnMut() -> Result<(), Failure>) -> Result<Vec<String>, Failure> {
        self.real.wait_for_strays(patience, tick)
    }

    fn end_guard(&self) -> Result<Option<String>, Failure> {
        self.real.end_guard()
    }

    fn leave_lock(&self) {
        self.real.leave_lock();
    }
}
