//! A model of the protocol between daemon, worker and what is durable, small enough to be explored as a whole: two
//! transactions of three steps (secure, apply, commit), with a crash of the daemon or of any worker at any action.
//!
//! What decides is the program's own: the state machine ([`Status::after`]) and the decision of recovery
//! ([`recovery::decide`]). What is modelled is the order of effects around them: what is durable before what, who looks
//! at which lock when, and that a worker may be slow to begin. Absent on purpose: what a step does inside, and time.
//!
//! Checked in every state that can be reached: a change is made at most once; no two workers hold the system; a
//! transaction that is completed is changed and committed, one that is rolled back is not changed; what turned to undo
//! never goes forward. And from every such state rest can be reached: nothing that was taken is lost or stuck.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use backstep_core::recovery::{self, Decision, Remains};
use backstep_core::{Direction, ErrorCode, Event, Status, StepKind, TransactionState};

/// Transactions.
const TRANSACTIONS: usize = 2;
/// Attempts that are possible: three by recovery, and those that a person asks for.
const ATTEMPTS: usize = 5;

/// A line of a journal, as far as it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rec {
    Begin,
    Started(StepKind),
    Captured,
    Turned,
    Committed,
    Aborted,
}

/// What is durable of a transaction, and what it did to the system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Transaction {
    state: TransactionState,
    undoing: bool,
    attempts: u32,
    /// Attempts with an order, and those whose order was taken back.
    ordered: [bool; ATTEMPTS],
    revoked: [bool; ATTEMPTS],
    journals: [Vec<Rec>; ATTEMPTS],
    /// Lines of the journals that are on record.
    taken: [usize; ATTEMPTS],
    captured: bool,
    changed: bool,
    changes: u8,
}

/// A worker's process. It may have been started and not have begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Worker {
    of: usize,
    attempt: usize,
    locked: bool,
    at: u8,
    undo: bool,
}

/// What the daemon has in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Daemon {
    Down,
    /// Recovery is at this transaction; whether it has taken its order back.
    Recovering(usize, bool),
    Idle,
    /// The start is on record.
    Launching(usize),
    /// The order is durable.
    Ordered(usize),
    Following(usize),
    /// The worker is gone and its order is taken back.
    Gone(usize),
}

/// A state of everything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct State {
    transactions: [Transaction; TRANSACTIONS],
    daemon: Daemon,
    /// Undo attempts on record that wait for their launch; in the daemon's memory.
    resumed: [bool; TRANSACTIONS],
    workers: Vec<Worker>,
    crashes: u8,
}

/// What an exploration found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explored {
    /// Different states.
    pub states: usize,
    /// Those in which everything has ended.
    pub ends: usize,
    /// A state that breaks a promise, with the promise.
    pub broken: Option<(State, &'static str)>,
}

/// What is switched off, to see that the model sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fault {
    /// Orders of workers that are gone are not taken back.
    pub no_revoke: bool,
}

impl Transaction {
    fn new() -> Self {
        let none = [false; ATTEMPTS];
        let journals = Default::default();
        let (ordered, revoked, taken) = (none, none, [0; ATTEMPTS]);
        let (state, undoing, attempts, captured, changed, changes) = (TransactionState::Queued, false, 0, false, false, 0);
        Self { state, undoing, attempts, ordered, revoked, journals, taken, captured, changed, changes }
    }

    fn status(&self) -> Status {
        Status { state: self.state, cancel_requested: false, attempts: self.attempts, undoing: self.undoing }
    }

    fn number(&self) -> usize {
        usize::try_from(self.attempts).unwrap_or(0)
    }

    /// Appends to the record, by the program's own rules.
    fn record(&mut self, event: &Event) {
        let next = self.status().after(event).unwrap_or_else(|error| panic!("the protocol records {event:?}: {error}"));
        (self.state, self.undoing, self.attempts) = (next.state, next.undoing, next.attempts);
    }

    fn has_worker(&self) -> bool {
        matches!(self.state, TransactionState::Executing | TransactionState::RollingBack)
    }

    /// Takes what is new in the journal of the current attempt; answers whether it has ended.
    fn follow(&mut self) -> bool {
        let number = self.number();
        for place in self.taken[number]..self.journals[number].len() {
            match self.journals[number][place] {
                Rec::Begin | Rec::Captured => {}
                Rec::Started(step) => self.record(&Event::StepStarted { step, direction: Direction::Forward }),
                Rec::Turned if self.undoing => {}
                Rec::Turned => self.record(&Event::UndoStarted { code: ErrorCode::Internal, text: String::new() }),
                Rec::Committed => self.record(&Event::Completed),
                Rec::Aborted => self.record(&Event::UndoFinished { differences: 0 }),
            }
            self.taken[number] = place + 1;
        }
        matches!(self.journals[number].last(), Some(Rec::Committed | Rec::Aborted))
    }

    /// The worker is gone and has not ended: what is recorded of that first.
    fn gone(&mut self) {
        if self.journals[self.number()].is_empty() && !self.undoing {
            self.record(&Event::UndoStarted { code: ErrorCode::WorkerLost, text: String::new() });
            self.record(&Event::UndoFinished { differences: 0 });
        } else {
            self.record(&Event::Interrupted { text: String::new() });
        }
    }

    /// What becomes of an interrupted one; answers whether an undo is to be launched.
    fn settle(&mut self) -> bool {
        let direction = if self.undoing { Direction::Undo } else { Direction::Forward };
        let remains = Remains { alive: false, captured: self.captured, committed: false, direction, attempts: self.attempts };
        match recovery::decide(&remains) {
            Decision::Resume(direction) => {
                self.record(&Event::Resumed { attempt: self.attempts + 1, direction, reason: String::new() });
                true
            }
            Decision::Attention => {
                self.record(&Event::AttentionNeeded { code: ErrorCode::WorkerLost, text: String::new() });
                false
            }
            Decision::Complete | Decision::Wait => false,
        }
    }
}

impl State {
    fn new() -> Self {
        let transactions = std::array::from_fn(|_| Transaction::new());
        Self { transactions, daemon: Daemon::Down, resumed: [false; TRANSACTIONS], workers: Vec::new(), crashes: 0 }
    }

    fn is_locked(&self, of: usize) -> bool {
        let number = self.transactions[of].number();
        self.workers.iter().any(|worker| worker.locked && worker.of == of && worker.attempt == number)
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut next = self.clone();
        change(&mut next);
        next
    }

    /// Everything that can happen next.
    fn next(&self, crashes: u8, fault: Fault) -> Vec<Self> {
        let mut next = self.daemon_acts(fault);
        for place in 0..self.workers.len() {
            next.extend(self.worker_acts(place));
            if self.crashes < crashes {
                next.push(self.with(|s| {
                    s.workers.remove(place);
                    s.crashes += 1;
                }));
            }
        }
        if self.crashes < crashes && self.daemon != Daemon::Down {
            next.push(self.with(|s| {
                (s.daemon, s.resumed) = (Daemon::Down, [false; TRANSACTIONS]);
                s.crashes += 1;
            }));
        }
        next
    }

    fn daemon_acts(&self, fault: Fault) -> Vec<Self> {
        match self.daemon {
            Daemon::Down => vec![self.with(|s| s.daemon = Daemon::Recovering(0, false))],
            Daemon::Recovering(TRANSACTIONS.., _) => vec![self.with(|s| s.daemon = s.attached())],
            Daemon::Recovering(of, false) => vec![self.with(|s| s.take_back(of, fault))],
            Daemon::Recovering(of, true) => vec![self.with(|s| s.recover(of))],
            Daemon::Idle => self.launches(),
            Daemon::Launching(of) => vec![self.with(|s| {
                let number = s.transactions[of].number();
                s.transactions[of].ordered[number.max(1)] = true;
                s.daemon = Daemon::Ordered(of);
            })],
            Daemon::Ordered(of) => vec![self.with(|s| {
                let (attempt, undo) = (s.transactions[of].number(), s.transactions[of].undoing);
                s.workers.push(Worker { of, attempt, locked: false, at: 0, undo });
                s.daemon = Daemon::Following(of);
            })],
            Daemon::Following(of) => self.follows(of),
            Daemon::Gone(of) => vec![self.with(|s| {
                if s.is_locked(of) {
                    s.daemon = Daemon::Following(of);
                    return;
                }
                if s.transactions[of].follow() {
                    s.daemon = Daemon::Idle;
                    return;
                }
                s.transactions[of].gone();
                s.settle(of);
                s.daemon = Daemon::Idle;
            })],
        }
    }

    fn settle(&mut self, of: usize) {
        if self.transactions[of].state == TransactionState::Interrupted {
            self.resumed[of] = self.transactions[of].settle();
        }
    }

    /// After recovery a worker that lives is followed.
    fn attached(&self) -> Daemon {
        let living = (0..TRANSACTIONS).find(|of| self.transactions[*of].has_worker() && !self.resumed[*of]);
        living.map_or(Daemon::Idle, Daemon::Following)
    }

    fn take_back(&mut self, of: usize, fault: Fault) {
        let transaction = &self.transactions[of];
        if !transaction.has_worker() && transaction.state != TransactionState::Interrupted {
            self.daemon = Daemon::Recovering(of + 1, false);
            return;
        }
        let number = transaction.number();
        if !self.is_locked(of) && self.transactions[of].ordered[number] && !fault.no_revoke {
            self.transactions[of].revoked[number] = true;
        }
        self.daemon = Daemon::Recovering(of, true);
    }

    fn recover(&mut self, of: usize) {
        let (alive, transaction) = (self.is_locked(of), &mut self.transactions[of]);
        let number = transaction.number();
        let mut resume = false;
        if transaction.has_worker() {
            if !transaction.ordered[number] && transaction.undoing {
                resume = true;
            } else if !transaction.follow() && !alive {
                transaction.gone();
            }
        }
        self.resumed[of] |= resume;
        self.settle(of);
        self.daemon = Daemon::Recovering(of + 1, false);
    }

    /// What waits for its launch: undo first, then the queue, and nothing beside what is not settled.
    fn launches(&self) -> Vec<Self> {
        if let Some(of) = (0..TRANSACTIONS).find(|of| self.resumed[*of]) {
            return vec![self.with(|s| (s.resumed[of], s.daemon) = (false, Daemon::Launching(of)))];
        }
        let stuck = (0..TRANSACTIONS).find(|of| self.transactions[*of].state == TransactionState::NeedsAttention);
        if let Some(of) = stuck {
            let attempt = self.transactions[of].attempts + 1;
            let undo = Event::Resumed { attempt, direction: Direction::Undo, reason: String::new() };
            let undone = |s: &mut Self| {
                s.transactions[of].record(&undo);
                s.resumed[of] = true;
            };
            return vec![self.with(undone)];
        }
        let queued = (0..TRANSACTIONS).find(|of| self.transactions[*of].state == TransactionState::Queued);
        let launched = |of: usize| {
            self.with(|s| {
                s.transactions[of].record(&Event::Started { attempt: 1 });
                s.daemon = Daemon::Launching(of);
            })
        };
        queued.map(launched).into_iter().collect()
    }

    fn follows(&self, of: usize) -> Vec<Self> {
        let number = self.transactions[of].number();
        let lives = self.workers.iter().any(|worker| worker.of == of && worker.attempt == number);
        let mut next = Vec::new();
        if self.transactions[of].taken[number] < self.transactions[of].journals[number].len() {
            next.push(self.with(|s| {
                if s.transactions[of].follow() {
                    s.daemon = Daemon::Idle;
                }
            }));
        }
        if !lives {
            next.push(self.with(|s| {
                s.transactions[of].revoked[number] = true;
                s.daemon = Daemon::Gone(of);
            }));
        }
        next
    }

    /// A worker's next action; it ends when there is none.
    fn worker_acts(&self, place: usize) -> Vec<Self> {
        let worker = self.workers[place];
        let transaction = &self.transactions[worker.of];
        let ends = || {
            self.with(|s| {
                s.workers.remove(place);
            })
        };
        let goes_on = |change: &dyn Fn(&mut Transaction)| {
            self.with(|s| {
                change(&mut s.transactions[worker.of]);
                s.workers[place].at += 1;
            })
        };
        let says = |rec: Rec| goes_on(&move |t: &mut Transaction| t.journals[worker.attempt].push(rec));
        let turns = || {
            self.with(|s| {
                s.transactions[worker.of].journals[worker.attempt].push(Rec::Turned);
                s.workers[place].at = 20;
            })
        };
        match worker.at {
            // Its own lock, and then the system's: it waits for whoever has that.
            0 if !worker.locked => vec![self.with(|s| s.workers[place].locked = true)],
            0 if transaction.revoked[worker.attempt] => vec![ends()],
            0 if !worker.undo && !transaction.journals[worker.attempt].is_empty() => vec![ends()],
            0 if self.workers.iter().any(|other| other.at > 0) => Vec::new(),
            0 => vec![goes_on(&|_| {})],
            1 if transaction.revoked[worker.attempt] => vec![ends()],
            1 if worker.undo => vec![self.with(|s| {
                s.transactions[worker.of].journals[worker.attempt].push(Rec::Begin);
                s.workers[place].at = 20;
            })],
            1 => vec![says(Rec::Begin)],
            2 => vec![says(Rec::Started(StepKind::Secure)), turns()],
            3 => vec![goes_on(&|t| t.captured = true), turns()],
            4 => vec![says(Rec::Captured)],
            5 => vec![says(Rec::Started(StepKind::Apply)), turns()],
            6 => vec![goes_on(&|t| (t.changed, t.changes) = (true, t.changes + 1)), turns()],
            7 => vec![says(Rec::Started(StepKind::Commit)), turns()],
            8 => vec![says(Rec::Committed), turns()],
            20 if transaction.captured => vec![goes_on(&|t| t.changed = false)],
            20 => vec![goes_on(&|_| {})],
            21 => vec![says(Rec::Aborted)],
            _ => vec![ends()],
        }
    }

    fn promise_broken(&self) -> Option<&'static str> {
        let at_work = self.workers.iter().filter(|worker| worker.at > 0 && worker.at != 9 && worker.at != 22).count();
        if at_work > 1 {
            return Some("two workers are at work");
        }
        for transaction in &self.transactions {
            let committed = transaction.journals.iter().any(|journal| journal.last() == Some(&Rec::Committed));
            match transaction.state {
                _ if transaction.changes > 1 => return Some("a change was made twice"),
                TransactionState::Completed if !transaction.changed || !committed => return Some("completed, and not changed"),
                TransactionState::RolledBack if transaction.changed || committed => return Some("rolled back, and changed"),
                TransactionState::Queued if transaction.changes > 0 => return Some("changed before its start was on record"),
                _ if transaction.changed && !transaction.captured => return Some("changed without undo material"),
                _ => {}
            }
        }
        None
    }

    fn is_end(&self) -> bool {
        self.transactions.iter().all(|transaction| transaction.state.is_final()) && self.workers.is_empty()
    }
}

/// Explores everything that can happen with so many crashes.
#[must_use]
pub fn explore(crashes: u8, fault: Fault) -> Explored {
    let mut numbers: BTreeMap<State, usize> = BTreeMap::from([(State::new(), 0)]);
    let mut before: Vec<Vec<usize>> = vec![Vec::new()];
    let (mut queue, mut ends) = (VecDeque::from([State::new()]), BTreeSet::new());
    while let Some(state) = queue.pop_front() {
        let number = numbers[&state];
        if let Some(promise) = state.promise_broken() {
            return Explored { states: numbers.len(), ends: ends.len(), broken: Some((state, promise)) };
        }
        if state.is_end() {
            ends.insert(number);
        }
        for next in state.next(crashes, fault) {
            let new = numbers.len();
            let found = *numbers.entry(next.clone()).or_insert(new);
            if found == new {
                before.push(Vec::new());
                queue.push_back(next);
            }
            before[found].push(number);
        }
    }
    let resting = leading_to(&ends, &before);
    let stuck = numbers.iter().find(|(_, number)| !resting.contains(number)).map(|(state, _)| (state.clone(), "rest cannot be reached"));
    Explored { states: numbers.len(), ends: ends.len(), broken: stuck }
}

/// All states from which one of these can be reached.
fn leading_to(ends: &BTreeSet<usize>, before: &[Vec<usize>]) -> BTreeSet<usize> {
    let (mut found, mut open) = (ends.clone(), ends.iter().copied().collect::<Vec<_>>());
    while let Some(number) = open.pop() {
        open.extend(before[number].iter().copied().filter(|earlier| found.insert(*earlier)));
    }
    found
}
