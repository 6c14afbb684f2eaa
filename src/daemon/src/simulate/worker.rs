//! A pretended worker: a task that writes the journal a real worker would write, and changes nothing.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backstep_core::progress::Report;
use backstep_core::undo::undo_order;
use backstep_core::{AttemptId, BootId, Digest, Direction, ErrorCode, Failure, Plan, StepKind, StepState};
use backstep_wire::attempt;
use backstep_wire::journal::{self, Line, Record};

use crate::attempts::Attempts;
use crate::lock::lock;

/// Pretended workers.
#[derive(Debug)]
pub struct Simulated {
    attempts: Attempts,
    alive: Arc<Mutex<BTreeSet<AttemptId>>>,
}

impl Simulated {
    pub(crate) fn new(attempts: Attempts) -> Self {
        Self { attempts, alive: Arc::default() }
    }

    pub(crate) fn start(&self, attempt: AttemptId) -> Result<(), Failure> {
        let folder = self.attempts.folder(attempt);
        let read = |name: &str| std::fs::read(folder.join(name)).map_err(|error| Failure::new(ErrorCode::WorkerFailed, error.to_string()));
        let bad = |error: backstep_wire::WireError| Failure::new(ErrorCode::WorkerFailed, error.to_string());
        let plan = backstep_wire::plan::from_bytes(&read(attempt::PLAN)?).map_err(bad)?;
        let order = backstep_wire::order::from_bytes(&read(attempt::ORDER)?).map_err(bad)?;
        let mut run = Run { cancel: folder.join(attempt::CANCEL), journal: Journal::open(&folder)?, plan, begun: Vec::new() };
        lock(&self.alive).insert(attempt);
        let alive = Arc::clone(&self.alive);
        tokio::spawn(async move {
            if let Err(error) = run.run(order.direction).await {
                tracing::error!("the simulated worker of {attempt} failed: {error}");
            }
            lock(&alive).remove(&attempt);
        });
        Ok(())
    }

    pub(crate) fn is_alive(&self, attempt: AttemptId) -> bool {
        lock(&self.alive).contains(&attempt)
    }
}

struct Run {
    cancel: std::path::PathBuf,
    journal: Journal,
    plan: Plan,
    begun: Vec<(StepKind, StepState)>,
}

impl Run {
    async fn run(&mut self, direction: Direction) -> io::Result<()> {
        let zero = Digest([0; 32]);
        self.journal.write(Record::Begin { plan: zero, world: zero, boot: BootId([0; 16]), direction })?;
        if direction == Direction::Undo {
            return self.undo(ErrorCode::WorkerLost, "an earlier attempt was interrupted").await;
        }
        for step in StepKind::ALL {
            if self.cancel.exists() && *step != StepKind::Commit {
                return self.undo(ErrorCode::Cancelled, "stopped on request").await;
            }
            if !self.forward(*step).await? {
                return self.undo(ErrorCode::ScriptFailed, "the post-installation script of broken failed").await;
            }
        }
        self.journal.write(Record::Committed { world: zero })
    }

    async fn forward(&mut self, step: StepKind) -> io::Result<bool> {
        self.begun.push((step, StepState::Completed));
        self.journal.write(Record::StepStarted { step, direction: Direction::Forward, log_offset: 0 })?;
        if step == StepKind::Apply && !self.apply().await? {
            let text = "the post-installation script of broken failed".to_owned();
            self.journal.write(Record::StepEnded { step, state: StepState::Failed, code: Some(ErrorCode::ScriptFailed), text })?;
            return Ok(false);
        }
        self.journal.write(Record::StepEnded { step, state: StepState::Completed, code: None, text: "simulated".to_owned() })?;
        Ok(true)
    }

    /// Packages take their time here, so that progress can be seen. Answers whether they all went well.
    async fn apply(&mut self) -> io::Result<bool> {
        let names: Vec<String> = self.plan.items.iter().map(|item| item.package.name.to_string()).collect();
        for (n, name) in names.iter().enumerate() {
            let pause = Duration::from_millis(if name == "slow" { 1500 } else { 20 });
            for tenth in 0..20_usize {
                let permille = u16::try_from((n * 20 + tenth) * 1000 / (names.len() * 20)).unwrap_or(1000);
                self.report(permille, name)?;
                tokio::time::sleep(pause).await;
                if self.cancel.exists() {
                    return Ok(true);
                }
            }
            if name == "broken" {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn report(&mut self, permille: u16, package: &str) -> io::Result<()> {
        self.journal.write(Record::Progress(Report {
            step: StepKind::Apply,
            direction: Direction::Forward,
            permille,
            package: package.to_owned(),
            what: format!("Unpacking {package}"),
        }))
    }

    async fn undo(&mut self, code: ErrorCode, text: &str) -> io::Result<()> {
        self.journal.write(Record::UndoStarted { code, text: text.to_owned() })?;
        for step in undo_order(&self.begun) {
            self.journal.write(Record::StepStarted { step, direction: Direction::Undo, log_offset: 0 })?;
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.journal.write(Record::StepEnded { step, state: StepState::Undone, code: None, text: "simulated".to_owned() })?;
        }
        self.journal.write(Record::Aborted { differences: Vec::new() })
    }
}

struct Journal {
    file: File,
    seq: u64,
}

impl Journal {
    fn open(folder: &std::path::Path) -> Result<Self, Failure> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(folder.join(attempt::JOURNAL));
        Ok(Self { file: file.map_err(|error| Failure::new(ErrorCode::WorkerFailed, error.to_string()))?, seq: 0 })
    }

    fn write(&mut self, record: Record) -> io::Result<()> {
        self.seq += 1;
        self.file.write_all(&journal::to_line(&Line { seq: self.seq, utc_us: 0, record }))
    }
}
