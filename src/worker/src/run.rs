//! One attempt from its order to its last record.
//!
//! Invariants: nothing is done before the attempt's lock, the journal, the order, the plan's digest and the frontend
//! lock are held, in this order; what cannot be begun is refused in the journal, with nothing changed; the frontend
//! lock is given back after the last record. A forward order is carried out once: one whose journal has a record, or
//! that was revoked by a later attempt, is not begun and leaves no trace. What cannot be read is not refused but
//! left to a person: it is not known then that nothing was changed. Old undo material is given up after the last record.

use std::cell::RefCell;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backstep_apt::arguments::environment;
use backstep_core::progress::Report;
use backstep_core::{AttemptId, BootId, Direction, ErrorCode, Failure, Plan, StepKind};
use backstep_engine::runner::{self, Control, Earlier, Journal, Outcome, Ports};
use backstep_wire::journal::Record;
use backstep_wire::order::Order;

use crate::child::{Children, Processes};
use crate::context::{Context, Shared};
use crate::durable::remove;
use crate::facts::MachineWorld;
use crate::guard::Place;
use crate::inventory;
use crate::journal::{self, FileJournal};
use crate::locks::{AttemptLock, FrontendLock, LockError};
use crate::machine::{AttemptFiles, Machine};
use crate::order::OrderError;
use crate::release::{Use, release};
use crate::signals::Noted;
use crate::{conflict, earlier, guard, order, steps};

/// How long an undo waits for what an earlier attempt left running.
const PATIENCE_OF_UNDO: Duration = Duration::from_secs(15 * 60);

/// Someone asked to stop when the file is there.
struct CancelFile<'a>(&'a AttemptFiles);

impl Control for CancelFile<'_> {
    fn cancel_asked(&self) -> bool {
        self.0.cancel().exists()
    }
}

/// Says of signals that came that nothing was done about them.
struct Attentive<'a> {
    inner: FileJournal,
    signals: &'a Noted,
}

impl Journal for Attentive<'_> {
    fn record(&mut self, record: Record) -> Result<(), Failure> {
        self.inner.record(record)
    }

    fn tick(&mut self) -> Result<(), Failure> {
        for name in self.signals.taken() {
            self.inner.record(Record::Noted { code: None, text: format!("{name} came; the work goes on") })?;
        }
        self.inner.tick()
    }

    fn log_offset(&self) -> u64 {
        self.inner.log_offset()
    }
}

/// Other programs, over the real ones. The worker takes them as they are; the crash tests put their own in apt's place.
pub type Programs<'a> = &'a dyn Fn(Processes) -> Box<dyn Children>;

/// Carries out an attempt. Errors: there is no last record; whoever reads the journal starts a recovery.
pub fn run(machine: &Machine, attempt: AttemptId, signals: &Noted, hook: Option<String>) -> Result<Outcome, Failure> {
    run_with(machine, attempt, signals, hook, &|real| Box::new(real))
}

/// The same with other programs.
pub fn run_with(
    machine: &Machine,
    attempt: AttemptId,
    signals: &Noted,
    hook: Option<String>,
    programs: Programs<'_>,
) -> Result<Outcome, Failure> {
    machine.folders().iter().try_for_each(|folder| private(folder))?;
    let files = machine.attempt(attempt);
    let _alive = AttemptLock::take(&files.lock())?;
    let material = Use::take(machine)?;
    let order = order::read_order(&files, attempt);
    let retention = order.as_ref().ok().map(|order| order.retention);
    let marked = order.as_ref().ok().and_then(|order| order.restore.filter(|_| order.direction == Direction::Undo)).unwrap_or(attempt);
    let outcome = carry_out(machine, order, &files, signals, (hook, programs))?;
    unmark(&machine.attempt(marked));
    if let Err(trouble) = inventory::account(machine) {
        eprintln!("backstep-worker: cannot account for the change: {trouble}");
    }
    let trouble = retention.map(|retention| release(machine, material, &retention, journal::utc_us()));
    for trouble in trouble.into_iter().flatten() {
        eprintln!("backstep-worker: cannot give up undo material: {trouble}");
    }
    Ok(outcome)
}

/// What has its last record is not put back any more by the next boot. CRASH: a mark that stays is looked at with the
/// journal, which says that the attempt has ended; of an undo's attempt it says so, too late for nobody but a power cut,
/// and then everything is put back that is back already.
fn unmark(files: &AttemptFiles) {
    if let Err(error) = remove(&files.unsynced()) {
        eprintln!("backstep-worker: cannot remove {}: {error}", files.unsynced().display());
    }
}

/// How apt calls this program back, and how programs are called.
type Outside<'a> = (Option<String>, Programs<'a>);

fn carry_out(
    machine: &Machine,
    order: Result<Order, OrderError>,
    files: &AttemptFiles,
    signals: &Noted,
    outside: Outside<'_>,
) -> Result<Outcome, Failure> {
    not_again(files, order.as_ref().ok())?;
    let mut journal = Attentive { inner: FileJournal::open(files)?, signals };
    let world = MachineWorld(machine.clone());
    let control = CancelFile(files);
    let mut ports = Ports { journal: &mut journal, control: &control, world: &world };
    match begin(machine, files, order, &mut ports) {
        Ok((order, plan, lock)) => work(machine, order, plan, lock, outside, &mut ports),
        Err(Begin::Refused(why)) => runner::refuse(&why, &mut ports),
        Err(Begin::Stuck(why)) => runner::stick(why, &mut ports),
        Err(Begin::Revoked(why)) => Err(why),
    }
}

/// CRASH: a worker that is killed between its lock and its first line has changed nothing, and its order is taken back.
/// A forward order is carried out at most once, and nothing that was revoked is carried out at all.
fn not_again(files: &AttemptFiles, order: Option<&Order>) -> Result<(), Failure> {
    not_revoked(files)?;
    let forward = order.is_some_and(|order| order.direction == Direction::Forward);
    if forward && !journal::read(&files.journal())?.0.is_empty() {
        return Err(Failure::new(ErrorCode::WorkerFailed, "the attempt was begun already; it is not begun again"));
    }
    Ok(())
}

fn not_revoked(files: &AttemptFiles) -> Result<(), Failure> {
    let revoked = files.revoked();
    match revoked.try_exists() {
        Ok(false) => Ok(()),
        Ok(true) => Err(Failure::new(ErrorCode::WorkerFailed, "a later attempt took the place of this one")),
        Err(error) => Err(Failure::new(ErrorCode::WorkerFailed, format!("cannot look for {}: {error}", revoked.display()))),
    }
}

/// Why an attempt cannot be begun.
enum Begin {
    /// Nothing was changed by it.
    Refused(Failure),
    /// What an earlier attempt changed stays changed, or it is not known what was changed.
    Stuck(Failure),
    /// A later attempt has this one's place: not even a record is written.
    Revoked(Failure),
}

pub(crate) fn private(folder: &Path) -> Result<(), Failure> {
    let error = |error| Failure::new(ErrorCode::WorkerFailed, format!("cannot make {}: {error}", folder.display()));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(error)
}

/// A first attempt whose plan is verifiably another one has changed nothing. Of everything else that cannot be read
/// this is not known.
fn unreadable(error: OrderError, order: Option<&Order>) -> Begin {
    let first = order.is_some_and(|order| order.direction == Direction::Forward && order.attempt.number == 1);
    match error {
        OrderError::OtherPlan if first => Begin::Refused(error.into()),
        OrderError::OtherPlan
        | OrderError::Read { .. }
        | OrderError::Wire(_)
        | OrderError::OtherAttempt(_)
        | OrderError::OtherTransaction => Begin::Stuck(Failure::new(ErrorCode::WorkerFailed, error.to_string())),
    }
}

fn begin(
    machine: &Machine,
    files: &AttemptFiles,
    order: Result<Order, OrderError>,
    ports: &mut Ports<'_>,
) -> Result<(Order, Plan, FrontendLock), Begin> {
    let order = order.map_err(|error| unreadable(error, None))?;
    let stuck = |why| if order.direction == Direction::Undo { Begin::Stuck(why) } else { Begin::Refused(why) };
    let plan = order::read_plan(files, &order).map_err(|error| unreadable(error, Some(&order)))?;
    let lock = frontend(machine, &order, &plan, ports).map_err(stuck)?;
    not_revoked(files).map_err(Begin::Revoked)?;
    let record = || -> Result<Record, Failure> {
        Ok(Record::Begin { plan: order.plan, world: ports.world.digest()?, boot: boot()?, direction: order.direction })
    };
    let record = record().map_err(stuck)?;
    ports.journal.record(record).map_err(stuck)?;
    Ok((order, plan, lock))
}

fn frontend(machine: &Machine, order: &Order, plan: &Plan, ports: &mut Ports<'_>) -> Result<FrontendLock, Failure> {
    let patience = match order.direction {
        Direction::Forward => Duration::from_secs(plan.options.lock_timeout_s.into()),
        Direction::Undo => PATIENCE_OF_UNDO,
    };
    let forward = order.direction == Direction::Forward;
    FrontendLock::take(&machine.admin(), patience, &mut |holder| {
        if forward && ports.control.cancel_asked() {
            return Err(Failure::new(ErrorCode::Cancelled, "stopped on request"));
        }
        let what = format!("waiting for dpkg's lock, held by {holder}");
        let (step, package) = (StepKind::Fetch, String::new());
        ports.journal.record(Record::Progress(Report { step, direction: order.direction, permille: 0, package, what }))?;
        ports.journal.tick()
    })
}

pub(crate) fn boot() -> Result<BootId, Failure> {
    let error = |text: String| Failure::new(ErrorCode::WorkerFailed, format!("cannot read the boot id: {text}"));
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(|source| error(source.to_string()))?;
    text.trim().parse().map_err(|source: backstep_core::id::IdError| error(source.to_string()))
}

fn work(
    machine: &Machine,
    order: Order,
    plan: Plan,
    lock: FrontendLock,
    outside: Outside<'_>,
    ports: &mut Ports<'_>,
) -> Result<Outcome, Failure> {
    let lock = Arc::new(lock);
    let policy = plan.options.on_failure;
    match (order.direction, order.restore) {
        (Direction::Forward, _) => {
            let context = context(machine, &order, plan, &lock, outside, false);
            runner::run(&mut steps::all(&context), policy, ports)
        }
        (Direction::Undo, Some(of)) => match hold(&machine.attempt(of), ports) {
            Ok(held) => {
                let context = context(machine, &order, plan, &lock, outside, held.rebooted);
                undo(&held, &context, ports)
            }
            Err(why) => runner::stick(why, ports),
        },
        (Direction::Undo, None) => runner::stick(Failure::new(ErrorCode::UndoMaterial, "the order names no attempt to undo"), ports),
    }
}

fn context(
    machine: &Machine,
    order: &Order,
    plan: Plan,
    lock: &Arc<FrontendLock>,
    (hook, programs): Outside<'_>,
    rebooted: bool,
) -> Shared {
    let environment = environment(plan.options.conffiles).map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let output = machine.attempt(order.attempt).output();
    let place =
        hook.clone().map(|program| Place { program, files: machine.attempt(order.attempt), capture: machine.capture(order.attempt) });
    let children = Processes::new(environment, order.attempt.transaction, &output).with_lock(Arc::clone(lock)).guarded_at(place);
    let (undo_of, restore) = match order.direction {
        Direction::Forward => (order.attempt, order.restore),
        Direction::Undo => (order.restore.unwrap_or(order.attempt), None),
    };
    let (machine, attempt, number) = (machine.clone(), order.attempt, lock.number());
    let (children, settled_units, aftermath) = (programs(children), RefCell::default(), RefCell::default());
    Rc::new(Context {
        machine,
        attempt,
        undo_of,
        restore,
        later: order.later.clone(),
        rebooted,
        plan,
        children,
        lock: number,
        settled_units,
        aftermath,
        hook,
    })
}

/// An earlier attempt whose worker is gone and cannot come back while this lives.
struct Held {
    _lock: AttemptLock,
    earlier: Earlier,
    /// Whether the machine was started again since it began.
    rebooted: bool,
}

fn hold(files: &AttemptFiles, ports: &mut Ports<'_>) -> Result<Held, Failure> {
    let lock = gone(files, ports)?;
    guard::end_orphan(files, PATIENCE_OF_UNDO, &mut || ports.journal.tick())?;
    let lines = journal::read(&files.journal())?.0;
    let now = boot()?;
    let rebooted = earlier::boot(&lines).is_some_and(|then| then != now);
    Ok(Held { _lock: lock, earlier: earlier::fold(&lines)?, rebooted })
}

fn undo(held: &Held, context: &Shared, ports: &mut Ports<'_>) -> Result<Outcome, Failure> {
    if let Ok(text) = fs::read_to_string(context.machine.attempt(context.undo_of).early()) {
        ports.journal.record(Record::Noted { code: None, text: text.trim_end().to_owned() })?;
    }
    match conflict::check(context) {
        Ok(()) => runner::resume_undo(&mut steps::all(context), &held.earlier, ports),
        Err(why) => runner::stick(why, ports),
    }
}

/// Waits until the earlier attempt's worker is gone.
fn gone(files: &AttemptFiles, ports: &mut Ports<'_>) -> Result<AttemptLock, Failure> {
    let begun = Instant::now();
    loop {
        match AttemptLock::take(&files.lock()) {
            Err(LockError::OtherWorker) if begun.elapsed() < PATIENCE_OF_UNDO => {
                ports.journal.tick()?;
                std::thread::sleep(Duration::from_millis(250));
            }
            taken => return Ok(taken?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{attempt, plan};
    use backstep_core::{Digest, Retention};
    use backstep_engine::runner::kit::{MemoryJournal, NoCancel, StillWorld};
    use backstep_wire::journal::{Line, to_line};

    struct Place {
        _folder: tempfile::TempDir,
        machine: Machine,
    }

    const STATUS: &str = "Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\n";

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("folder");
            let machine = Machine::new(&folder.path().join("root"), &folder.path().join("state"));
            fs::create_dir_all(machine.admin()).expect("folder");
            fs::write(machine.status(), STATUS).expect("status");
            Self { _folder: folder, machine }
        }

        fn order(&self, number: u32, direction: Direction, digest: Option<Digest>) -> AttemptFiles {
            let files = self.machine.attempt(attempt(number));
            fs::create_dir_all(files.folder()).expect("folder");
            let bytes = backstep_wire::plan::to_bytes(&plan());
            let plan = digest.unwrap_or_else(|| backstep_wire::digest(&bytes));
            let restore = (direction == Direction::Undo).then(|| attempt(1));
            let order = Order { attempt: attempt(number), plan, direction, restore, later: Vec::new(), retention: Retention::default() };
            fs::write(files.plan(), bytes).expect("plan");
            fs::write(files.order(), backstep_wire::order::to_bytes(&order)).expect("order");
            files
        }

        fn run(&self, number: u32) -> Result<Outcome, Failure> {
            run(&self.machine, attempt(number), &Noted::block()?, None)
        }
    }

    fn records(files: &AttemptFiles) -> Vec<Record> {
        journal::read(&files.journal()).expect("journal").0.into_iter().map(|line| line.record).collect()
    }

    fn stuck_with(outcome: Result<Outcome, Failure>) -> Option<ErrorCode> {
        match outcome.expect("outcome") {
            Outcome::Stuck(why) => Some(why.code),
            Outcome::Committed | Outcome::Aborted { .. } => None,
        }
    }

    #[test]
    fn a_forward_order_is_not_carried_out_twice() {
        let place = Place::new();
        let files = place.order(1, Direction::Forward, None);
        let begun = to_line(&Line { seq: 1, utc_us: 0, record: Record::Noted { code: None, text: "begun".into() } });
        let torn = [begun, b"{\"seq\"".to_vec()].concat();
        fs::write(files.journal(), &torn).expect("journal");
        assert_eq!(place.run(1).map_err(|failure| failure.code), Err(ErrorCode::WorkerFailed));
        assert_eq!(fs::read(files.journal()).expect("journal"), torn, "not a byte of it is touched");
    }

    #[test]
    fn a_revoked_order_leaves_no_trace() {
        let place = Place::new();
        let files = place.order(1, Direction::Forward, None);
        fs::write(files.revoked(), b"").expect("revoke");
        assert!(place.run(1).is_err());
        assert!(!files.journal().exists());
    }

    #[test]
    fn an_order_that_is_revoked_while_it_waits_for_the_lock_is_not_begun() {
        let place = Place::new();
        let files = place.order(1, Direction::Forward, None);
        let mut journal = MemoryJournal::default();
        let mut ports = Ports { journal: &mut journal, control: &NoCancel, world: &StillWorld };
        fs::write(files.revoked(), b"").expect("revoke");
        let begun = begin(&place.machine, &files, order::read_order(&files, attempt(1)), &mut ports);
        assert!(matches!(begun, Err(Begin::Revoked(_))));
        assert!(journal.records.is_empty());
        assert!(FrontendLock::take(&place.machine.admin(), Duration::ZERO, &mut |_| Ok(())).is_ok(), "the lock is given back");
    }

    #[test]
    fn an_unreadable_order_waits_for_a_person() {
        for number in [1, 2] {
            let place = Place::new();
            let files = place.order(number, Direction::Undo, None);
            fs::write(files.order(), b"{").expect("order");
            assert_eq!(stuck_with(place.run(number)), Some(ErrorCode::WorkerFailed));
            assert!(matches!(records(&files).last(), Some(Record::Stuck { code: ErrorCode::WorkerFailed, .. })));
        }
    }

    #[test]
    fn only_a_first_attempt_refuses_another_plan() {
        let place = Place::new();
        let files = place.order(1, Direction::Forward, Some(Digest([9; 32])));
        assert_eq!(place.run(1), Ok(Outcome::Aborted { differences: Vec::new() }));
        assert!(matches!(records(&files).first(), Some(Record::UndoStarted { code: ErrorCode::PlanMismatch, .. })));
        for direction in [Direction::Forward, Direction::Undo] {
            let place = Place::new();
            place.order(2, direction, Some(Digest([9; 32])));
            assert_eq!(stuck_with(place.run(2)), Some(ErrorCode::WorkerFailed), "{direction}");
        }
    }

    #[test]
    fn a_missing_plan_waits_for_a_person() {
        let place = Place::new();
        let files = place.order(1, Direction::Forward, None);
        fs::remove_file(files.plan()).expect("remove");
        assert_eq!(stuck_with(place.run(1)), Some(ErrorCode::WorkerFailed));
    }

    #[test]
    fn the_earlier_attempt_cannot_come_back_while_it_is_undone() {
        let place = Place::new();
        let files = place.order(1, Direction::Forward, None);
        let mut journal = MemoryJournal::default();
        let mut ports = Ports { journal: &mut journal, control: &NoCancel, world: &StillWorld };
        let held = hold(&files, &mut ports).expect("held");
        assert_eq!(place.run(1).map_err(|failure| failure.text), Err("another worker has this attempt".to_owned()));
        assert!(!held.rebooted);
        drop(held);
        assert!(AttemptLock::take(&files.lock()).is_ok());
    }

    #[test]
    fn another_boot_is_noticed() {
        let place = Place::new();
        let files = place.order(1, Direction::Forward, None);
        let then = "5b0d3d2c-8a35-4b4e-9e2b-0f3b1c6f7a10".parse().expect("id");
        let mut journal = MemoryJournal::default();
        let mut ports = Ports { journal: &mut journal, control: &NoCancel, world: &StillWorld };
        for (boot, rebooted) in [(then, true), (boot().expect("boot"), false)] {
            let (plan, world, direction) = (Digest([1; 32]), Digest([2; 32]), Direction::Forward);
            let record = Record::Begin { plan, world, boot, direction };
            fs::write(files.journal(), to_line(&Line { seq: 1, utc_us: 0, record })).expect("journal");
            assert_eq!(hold(&files, &mut ports).expect("held").rebooted, rebooted);
        }
    }

    #[test]
    fn an_attempt_that_began_nothing_is_undone_by_another() {
        let place = Place::new();
        place.order(1, Direction::Forward, None);
        place.order(2, Direction::Undo, None);
        assert_eq!(place.run(2), Ok(Outcome::Aborted { differences: Vec::new() }));
    }
}
