//! Plain runs of apt: what the hooks of `apt.conf.d` left is taken into the record, when the daemon starts and while it
//! runs.
//!
//! Invariants: nothing is executed; a run is taken in once it has its last word, and its document then leaves the folder
//! for the attempt's own. A run that was cut off gets its last word from a worker, which looks at the system as the
//! daemon cannot; until then it is not on record and keeps nothing from going on.

use std::fs;
use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use backstep_core::{AttemptId, BootId, ErrorCode, Failure};
use backstep_engine::Manager;
use backstep_engine::manager::Adopted;
use backstep_wire::foreign::{self, Foreign, Stat};
use futures_core::Stream;
use inotify::{Inotify, WatchMask};

use crate::attempts::{Attempts, make_dir};
use crate::launcher::Launcher;
use crate::service::Service;

/// How long the daemon's start waits for runs that were cut off, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(10);
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// The folder of runs that are not on record.
#[derive(Debug, Clone)]
pub struct Runs {
    dir: PathBuf,
    boot: BootId,
}

impl Runs {
    /// The runs below a state directory; makes the folder. `boot` is this one.
    pub fn open(state_dir: &Path, boot: BootId) -> io::Result<Self> {
        let dir = state_dir.join("foreign");
        make_dir(&dir)?;
        Ok(Self { dir, boot })
    }

    /// All, the oldest first. One that cannot be read is reported and left for a later version of this program.
    fn all(&self) -> Result<Vec<Foreign>, Failure> {
        let entries = fs::read_dir(&self.dir).map_err(|error| failure(&self.dir, &error))?;
        let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>();
        let mut runs = Vec::new();
        for path in paths.map_err(|error| failure(&self.dir, &error))? {
            if path.extension().is_some_and(|extension| extension == "json") {
                runs.extend(read(&path));
            }
        }
        runs.sort_by_key(Foreign::id);
        Ok(runs)
    }

    /// Whether nothing waits to be taken in; also `false` when that cannot be told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        fs::read_dir(&self.dir).is_ok_and(|mut entries| entries.next().is_none())
    }

    fn is_cut_off(&self, run: &Foreign) -> bool {
        let stat = || Stat::parse(&fs::read_to_string(format!("/proc/{}/stat", run.process.pid)).ok()?);
        run.begun.boot != self.boot || stat().is_none_or(|stat| stat.started != run.process.started)
    }

    /// CRASH: a run that is on record and still here is found again, and known by its id.
    fn done(&self, run: &Foreign, attempts: &Attempts) -> Result<(), Failure> {
        let from = self.dir.join(format!("{}.json", run.id()));
        let to = attempts.folder(run.attempt()).join("foreign.json");
        fs::rename(&from, to).map_err(|error| failure(&from, &error))
    }
}

fn read(path: &Path) -> Option<Foreign> {
    let bytes = fs::read(path).map_err(|error| error.to_string());
    let run = bytes.and_then(|bytes| foreign::from_bytes(&bytes).map_err(|error| error.to_string()));
    run.inspect_err(|error| tracing::warn!("cannot read {}: {error}", path.display())).ok()
}

fn failure(path: &Path, error: &io::Error) -> Failure {
    Failure::new(ErrorCode::StoreFailed, format!("cannot use {}: {error}", path.display()))
}

/// Takes in what has ended; answers the attempts of runs that were cut off.
pub fn take_in(manager: &mut Manager, runs: &Runs, attempts: &Attempts) -> Result<Vec<AttemptId>, Failure> {
    let mut cut_off = Vec::new();
    for run in runs.all()? {
        match take_in_one(manager, &run, attempts) {
            Ok(Adopted::New | Adopted::Known) => runs.done(&run, attempts)?,
            Ok(Adopted::NotEnded) if runs.is_cut_off(&run) => cut_off.push(run.attempt()),
            Ok(Adopted::NotEnded) => {}
            // Others are taken in all the same.
            Err(failure) => tracing::error!(TRANSACTION = %run.id(), "cannot take in a run of apt: {failure}"),
        }
    }
    Ok(cut_off)
}

fn take_in_one(manager: &mut Manager, run: &Foreign, attempts: &Attempts) -> Result<Adopted, Failure> {
    let (lines, _) = attempts.read_journal(run.attempt(), 0)?;
    if !lines.last().is_some_and(|line| line.record.is_last()) {
        return Ok(Adopted::NotEnded);
    }
    let path = attempts.folder(run.attempt()).join("plan.json");
    let plan = fs::read(&path).map_err(|error| failure(&path, &error))?;
    manager.adopt(run, plan, &lines)
}

/// Takes in everything before anyone is served, and waits a while for runs that were cut off.
pub async fn take_in_all(manager: &mut Manager, runs: &Runs, attempts: &Attempts, launcher: &Launcher) -> Result<(), Failure> {
    let cut_off = take_in(manager, runs, attempts)?;
    end(&cut_off, launcher).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !cut_off.is_empty() && !take_in(manager, runs, attempts)?.is_empty() && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Ok(())
}

/// Has workers write the last words. One that is at it already is left alone.
async fn end(cut_off: &[AttemptId], launcher: &Launcher) {
    for attempt in cut_off {
        if launcher.is_alive(*attempt).await {
            continue;
        }
        tracing::info!(TRANSACTION = %attempt.transaction, "apt ended without saying so; looking at what became of {attempt}");
        if let Err(failure) = launcher.start(*attempt).await {
            tracing::error!(TRANSACTION = %attempt.transaction, "cannot look at what became of {attempt}: {failure}");
        }
    }
}

/// Takes in what has ended since the last look. Called before everything that reads or adds to the record's list, so
/// that who ran apt finds it there.
pub async fn refresh(service: &Service) {
    match service.decide(|manager| take_in(manager, &service.runs, &service.attempts)) {
        Ok(cut_off) => end(&cut_off, &service.launcher).await,
        Err(failure) => tracing::error!("cannot look for runs of apt: {failure}"),
    }
    crate::inventory::refresh(service).await;
}

/// Takes in runs as they end, for ever: who only listens learns of them too.
pub async fn watch(service: Arc<Service>) {
    let make = || {
        let inotify = Inotify::init()?;
        inotify.watches().add(&service.runs.dir, WatchMask::MOVED_TO)?;
        inotify.into_event_stream([0; 4096])
    };
    let mut changes = match make() {
        Ok(changes) => changes,
        Err(error) => return tracing::warn!("cannot watch {}: {error}", service.runs.dir.display()),
    };
    while poll_fn(|context| Pin::new(&mut changes).poll_next(context)).await.is_some() {
        refresh(&service).await;
    }
}
