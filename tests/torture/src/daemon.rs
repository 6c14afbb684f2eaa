//! The daemon's side: the real manager over the real record, spool and attempt folders, without a bus.
//!
//! Absent on purpose: D-Bus, polkit and systemd. What they would ask for is played from a scenario, and what they would
//! be told is printed, one line for each promise.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use backstep_core::{AttemptId, ErrorCode, Failure, Request, TransactionId, TransactionState};
use backstep_engine::Manager;
use backstep_engine::manager::{CancelOutcome, Launch, Verdict};
use backstep_engine::ports::Clock;
use backstepd::adapters::{NewIds, SpoolMirror, StoreLedger, SystemClock};
use backstepd::attempts::{Attempts, make_dir};
use backstepd::launcher::Launcher;
use backstepd::{audit, compose, recovery};

use crate::place::{Place, add_line};
use crate::scenario::{Act, Cancel, SCENARIOS, Scenario, Wish, actor, id};
use crate::universe;

/// Whose documents the spool holds.
pub const HOST: &str = "torture";
/// How often a person decides in one life of the daemon.
const DECISIONS: u32 = 3;
/// How many of the last events are told when that was not enough.
const LAST_WORDS: usize = 24;
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

/// A daemon at work.
pub struct Daemon {
    place: Place,
    /// All decisions.
    pub manager: Manager,
    attempts: Attempts,
    launcher: Launcher,
}

/// Plays a scenario to its end.
pub fn play(dir: &Path, name: &str) -> Result<()> {
    if let Some(seed) = name.strip_prefix("soak:") {
        return crate::soak::serve(dir, seed.parse()?);
    }
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name).context("no such scenario")?;
    with(dir, async |daemon| {
        for act in scenario.acts {
            daemon.act(scenario, *act).await?;
        }
        Ok(())
    })
}

/// Starts as `backstepd` does, and does something with it. The state is locked meanwhile.
pub fn with(dir: &Path, work: impl AsyncFnOnce(&mut Daemon) -> Result<()>) -> Result<()> {
    with_worker(Place::at(dir), std::env::current_exe()?, work)
}

/// The same over another state, with another worker's program.
pub fn with_worker(place: Place, worker: PathBuf, work: impl AsyncFnOnce(&mut Daemon) -> Result<()>) -> Result<()> {
    let state = place.state();
    make_dir(&state)?;
    let _lock = compose::lock_state(&state)?;
    audit::tidy(&state)?;
    let clock = SystemClock::new()?;
    let attempts = Attempts::open(&state)?;
    let launcher = Launcher::detached(worker, state.clone());
    let ledger = StoreLedger::open(&state, &attempts, HOST, clock.now())?;
    let mirror = SpoolMirror::open(&state.join("spool"), HOST)?;
    let manager = Manager::new(Box::new(ledger), Box::new(mirror), Box::new(clock), Box::new(NewIds));
    let mut daemon = Daemon { place, manager, attempts, launcher };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        recovery::recover(&mut daemon.manager, &daemon.attempts, &daemon.launcher).await.map_err(failed)?;
        work(&mut daemon).await
    })
}

/// The error of a failure.
#[must_use]
pub fn failed(failure: Failure) -> anyhow::Error {
    anyhow::anyhow!("{failure}")
}

impl Daemon {
    async fn act(&mut self, scenario: &Scenario, act: Act) -> Result<()> {
        match act {
            Act::Submit(number) => self.submit(id(number), &scenario.wishes[number]),
            Act::Finish(number) => self.finish(scenario, number).await,
            Act::Drift => self.drift(),
        }
    }

    /// Where things are.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    fn state(&self, id: TransactionId) -> Result<Option<TransactionState>> {
        Ok(self.manager.ledger().summary(id).map_err(failed)?.map(|summary| summary.status.state))
    }

    fn submit(&mut self, id: TransactionId, wish: &Wish) -> Result<()> {
        self.ask_for(id, &wish.request())?;
        if wish.cancel == Cancel::Queued && self.state(id)?.is_some() {
            self.manager.cancel(id, 0).map_err(failed)?;
        }
        Ok(())
    }

    /// Makes, plans and authorises a request, from wherever it stands.
    pub fn ask_for(&mut self, id: TransactionId, request: &Request) -> Result<()> {
        match self.manager.create(request, actor(), Some(id)) {
            Err(failure) if failure.code == ErrorCode::UndoNothing => return Ok(()),
            created => created.map_err(failed)?,
        };
        println!("created {id}");
        if self.state(id)? == Some(TransactionState::Created) {
            let question = self.manager.question(id).map_err(failed)?;
            let answer = universe::plan(&question, &self.place.machine());
            self.manager.planned(id, answer).map_err(failed)?;
        }
        if self.state(id)? == Some(TransactionState::Prepared) {
            let digest = self.manager.ledger().record(id).map_err(failed)?.and_then(|record| record.plan_digest).context("no plan")?;
            let ask = self.manager.ask(id, digest).map_err(failed)?;
            self.manager.authorised(&ask).map_err(failed)?;
        }
        // One whose plan was refused has ended already.
        if self.manager.ledger().summary(id).map_err(failed)?.is_some_and(|summary| summary.sequence > 0) {
            println!("queued {id}");
        }
        Ok(())
    }

    async fn finish(&mut self, scenario: &Scenario, number: usize) -> Result<()> {
        let mut patience = DECISIONS;
        loop {
            let Some(state) = self.state(id(number))? else { return Ok(()) };
            if state.is_final() {
                println!("ended {} {state}", id(number));
                return Ok(());
            }
            let Some(stuck) = self.stuck(scenario)? else {
                self.work(&|id| scenario.wish(id).is_some_and(|wish| wish.cancel == Cancel::Launched)).await?;
                continue;
            };
            patience -= 1;
            ensure!(patience > 0, "a person has tried often enough: {}", self.last_words(id(stuck))?);
            let verdict = if scenario.wishes[stuck].accept { Verdict::Accept } else { Verdict::Undo };
            self.manager.decide(id(stuck), verdict).map_err(failed)?;
        }
    }

    /// The transaction that waits for a person. It may be another than the one that is to be finished, which waits for it.
    fn stuck(&self, scenario: &Scenario) -> Result<Option<usize>> {
        for number in 0..scenario.wishes.len() {
            if self.state(id(number))? == Some(TransactionState::NeedsAttention) {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    fn last_words(&self, id: TransactionId) -> Result<String> {
        let record = self.manager.ledger().record(id).map_err(failed)?.context("it is not on record")?;
        let last = record.events.iter().rev().take(LAST_WORDS).map(|event| format!("{:?}", event.event)).collect::<Vec<_>>();
        Ok(last.into_iter().rev().collect::<Vec<_>>().join("; "))
    }

    /// Follows the worker there is, or starts the next one and follows it.
    pub async fn work(&mut self, is_cancelled: &dyn Fn(TransactionId) -> bool) -> Result<()> {
        if let Some(attempt) = self.manager.running() {
            return self.follow(attempt).await;
        }
        match self.manager.next_launch().map_err(failed)? {
            Some(launch) => self.start(&launch, is_cancelled).await,
            None => Ok(()),
        }
    }

    /// Readies the next attempt and leaves its start to others.
    pub fn ready(&mut self) -> Result<Option<AttemptId>> {
        let Some(launch) = self.manager.next_launch().map_err(failed)? else { return Ok(None) };
        self.attempts.prepare(&launch).map_err(failed)?;
        Ok(Some(launch.order.attempt))
    }

    async fn start(&mut self, launch: &Launch, is_cancelled: &dyn Fn(TransactionId) -> bool) -> Result<()> {
        let attempt = launch.order.attempt;
        if let Err(failure) = self.attempts.prepare(launch) {
            return self.not_started(attempt, &failure).await;
        }
        if is_cancelled(attempt.transaction)
            && let CancelOutcome::WillRollBack(attempt) = self.manager.cancel(attempt.transaction, 0).map_err(failed)?
        {
            self.attempts.request_cancel(attempt).map_err(failed)?;
        }
        match self.launcher.start(attempt).await {
            Ok(()) => self.follow(attempt).await,
            Err(failure) => self.not_started(attempt, &failure).await,
        }
    }

    async fn not_started(&mut self, attempt: AttemptId, failure: &Failure) -> Result<()> {
        let revoked = self.attempts.revoke(attempt);
        if revoked.is_err() || self.launcher.is_alive(attempt).await {
            return self.follow(attempt).await;
        }
        self.manager.launch_failed(attempt, &failure.text).map_err(failed)
    }

    /// As `backstepd::follow` does, without waiting for the kernel's word.
    async fn follow(&mut self, attempt: AttemptId) -> Result<()> {
        let mut offset = 0;
        while !self.take(attempt, &mut offset)? {
            if self.attempts.is_locked(attempt).map_err(failed)? || self.launcher.is_alive(attempt).await {
                tokio::time::sleep(BETWEEN_LOOKS).await;
                continue;
            }
            self.attempts.revoke(attempt).map_err(failed)?;
            if self.attempts.is_locked(attempt).map_err(failed)? {
                continue;
            }
            if !self.take(attempt, &mut offset)? {
                self.manager.worker_gone(attempt).map_err(failed)?;
            }
            return Ok(());
        }
        Ok(())
    }

    fn take(&mut self, attempt: AttemptId, offset: &mut u64) -> Result<bool> {
        let (lines, next) = self.attempts.read_journal(attempt, *offset).map_err(failed)?;
        let ended = if lines.is_empty() { false } else { self.manager.follow(attempt, &lines).map_err(failed)? };
        *offset = next;
        Ok(ended)
    }

    /// Somebody else removes a package's mark of ours: the system has another world then. Once.
    fn drift(&self) -> Result<()> {
        let path = self.place.machine().extended_states();
        if path.exists() {
            return Ok(());
        }
        Ok(add_line(&path, "Package: kept\nArchitecture: amd64\nAuto-Installed: 1\n")?)
    }
}

impl Scenario {
    /// The request with this id.
    #[must_use]
    pub fn wish(&self, wanted: TransactionId) -> Option<&'static Wish> {
        self.wishes.iter().enumerate().find(|(number, _)| id(*number) == wanted).map(|(_, wish)| wish)
    }
}
