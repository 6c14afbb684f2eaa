//! What this program does as the first process of a cell, and as children of that one.
//!
//! The daemon's side is the real manager over the real record, with the real planner; there is no bus. The worker is
//! a program of its own. Absent on purpose: judging, which is done from outside, when nothing runs any more.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use backstep_core::{AttemptId, TransactionState};
use backstep_torture::daemon::{Daemon, failed, with_worker};
use backstep_torture::fake::wait_for_go;
use backstep_torture::place::{Place, add_line};
use backstep_torture::scenario::{Wish, actor, id};
use backstepd::planner::Planner;
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::unistd::Pid;

use crate::cell::PROGRAM;
use crate::scene::Scenario;
use crate::tracer::{Kill, Look, Role, Strike, Tracer};

/// Backstep's state, from a cell's root.
pub const STATE: &str = "var/lib/backstep";
const WORKER: &str = "/usr/libexec/backstep/backstep-worker";
const PLANNER: &str = "/usr/libexec/backstep/backstep-planner";
const RECOVER: &str = "/usr/libexec/backstep/backstep-recover";
/// What is said of a strike that met no call.
pub const NOTHING: &str = "nothing";
/// How often an attempt is started for one transaction at most.
const MOST_WORK: u32 = 8;

/// The attempt that is killed.
#[must_use]
pub fn attempt_of(scenario: &Scenario) -> AttemptId {
    AttemptId { transaction: id(scenario.wishes.len() - 1), number: 1 }
}

fn daemon(work: impl AsyncFnOnce(&mut Daemon) -> Result<()>) -> Result<()> {
    let state = Path::new("/").join(STATE);
    with_worker(Place::with_state(Path::new("/"), &state), PathBuf::from(WORKER), work)
}

/// Does all that comes before the kill: the worker's order is there, and it was not started.
pub fn prepare(scenario: &Scenario) -> Result<()> {
    daemon(async |daemon| {
        let last = scenario.wishes.len() - 1;
        for (number, wish) in scenario.wishes.iter().enumerate() {
            if number == last && scenario.drifts {
                add_line(Path::new("/var/lib/apt/extended_states"), "Package: bk-watch\nArchitecture: all\nAuto-Installed: 1\n")?;
            }
            submit(daemon, number, wish)?;
            if number < last {
                rest(daemon).await?;
            }
        }
        let attempt = daemon.ready()?.context("there is nothing to do")?;
        ensure!(attempt == attempt_of(scenario), "{attempt} is next");
        Ok(())
    })
}

fn submit(daemon: &mut Daemon, number: usize, wish: &Wish) -> Result<()> {
    let manager = &mut daemon.manager;
    manager.create(&wish.request(), actor(), Some(id(number))).map_err(failed)?;
    let question = manager.question(id(number)).map_err(failed)?;
    let question = backstep_wire::planner::Question {
        transaction: question.id,
        request: question.request,
        request_digest: question.request_digest,
        archives: Vec::new(),
        leave_out: question.held.map_err(failed)?,
        revert: question.revert,
        later: question.later,
    };
    let answer = Planner::Child(PathBuf::from(PLANNER)).ask(&question, &[]);
    manager.planned(id(number), answer.clone()).map_err(failed)?;
    answer.map_err(failed)?;
    let digest = manager.ledger().record(id(number)).map_err(failed)?.and_then(|record| record.plan_digest).context("no plan")?;
    let ask = manager.ask(id(number), digest).map_err(failed)?;
    manager.authorised(&ask).map_err(failed)
}

/// Starts as the daemon does after a crash, and works until everything has ended, or waits for a person.
pub fn settle() -> Result<()> {
    wait_for_go()?;
    daemon(rest)
}

async fn rest(daemon: &mut Daemon) -> Result<()> {
    for _ in 0..MOST_WORK {
        let unfinished = daemon.manager.ledger().unfinished().map_err(failed)?;
        if unfinished.iter().all(|summary| summary.status.state == TransactionState::NeedsAttention) {
            return Ok(());
        }
        daemon.work(&|_| false).await?;
    }
    Ok(())
}

/// Runs the worker up to the kill, or without one to its end, then recovers, which may be killed once, too; prints what
/// it met.
pub fn point(scenario: &Scenario, kill: Option<Kill>) -> Result<()> {
    let tracer = work(scenario, kill.map_or(Look::All, |kill| Look::Until(kill.first, kill.recovery)))?;
    let mut struck = tracer.struck;
    // Others that the worker has started may still run: recovery has to wait for them.
    let again = kill.and_then(|kill| kill.recovery).filter(|_| struck.len() == 1);
    struck.extend(settle_again(again)?);
    if struck.len() > 1 {
        settle_again(None)?;
    }
    println!("struck {}", struck.first().unwrap_or(&NOTHING));
    println!("recovery {}", struck.get(1).unwrap_or(&NOTHING));
    for (role, _) in Role::CUT {
        println!("met {role:?} {}", tracer.met.get(&role).copied().unwrap_or(0));
    }
    Ok(())
}

/// Starts the worker of the attempt that is killed, and follows it to its end.
fn work(scenario: &Scenario, look: Look) -> Result<Tracer> {
    let worker = start(&["become"], &attempt_of(scenario).to_string())?;
    Ok(trace(worker, Role::Worker, look)?.0)
}

/// Has all of this program in memory: it lies on the disk that stops, and xfs gives nothing more of one that has.
fn outlive_the_disk() -> Result<()> {
    mlockall(MlockAllFlags::MCL_CURRENT).context("cannot stay in memory")
}

/// Runs the worker up to a power cut; prints what it met.
pub fn cut(scenario: &Scenario, strike: Strike) -> Result<()> {
    outlive_the_disk()?;
    let tracer = work(scenario, Look::Until(strike, None))?;
    println!("struck {}", tracer.struck.first().unwrap_or(&NOTHING));
    Ok(())
}

/// What happens in the next boot, which may end in a power cut, too; prints what that met.
pub fn recover(strike: Option<Strike>) -> Result<()> {
    outlive_the_disk()?;
    if is_marked()? {
        let status = Command::new(RECOVER).env_clear().status().context("cannot start the early recovery")?;
        ensure!(status.success(), "the early recovery ended with {status}");
    }
    let struck = settle_again(strike)?;
    println!("struck {}", struck.first().unwrap_or(&NOTHING));
    Ok(())
}

/// As `ConditionPathExistsGlob=` of its unit has it.
fn is_marked() -> Result<bool> {
    let attempts = Path::new("/").join(STATE).join("attempts");
    let mut folders = std::fs::read_dir(&attempts).with_context(|| attempts.display().to_string())?;
    folders.try_fold(false, |marked, folder| Ok(marked || folder?.path().join("unsynced").exists()))
}

/// A start of the daemon, which may be killed; answers the calls at which something was.
fn settle_again(strike: Option<Strike>) -> Result<Vec<&'static str>> {
    let look = strike.map_or(Look::None, |strike| Look::Until(strike, None));
    let (tracer, code) = trace(start(&["settle"], "")?, Role::Daemon, look)?;
    ensure!(code == Some(0) || !tracer.struck.is_empty(), "the daemon ended with {code:?}");
    Ok(tracer.struck)
}

/// Lets go a program that waits for it, and follows it to its end.
fn trace(mut program: Child, role: Role, look: Look) -> Result<(Tracer, Option<i32>)> {
    let pid = pid_of(&program)?;
    let mut tracer = Tracer::seize(pid, role, look)?;
    program.stdin.take().context("no standard input")?.write_all(b"x")?;
    let code = tracer.until_ended(pid)?;
    Ok((tracer, code))
}

fn pid_of(child: &Child) -> Result<Pid> {
    Ok(Pid::from_raw(i32::try_from(child.id())?))
}

fn start(verb: &[&str], argument: &str) -> Result<Child> {
    let mut command = Command::new(PROGRAM);
    command.arg("inside").args(verb).args((!argument.is_empty()).then_some(argument)).env_clear();
    command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().context("cannot start this program again")
}

/// Becomes a worker as systemd starts it, in a session of its own, when it is let go.
pub fn become_worker(attempt: &str) -> Result<()> {
    wait_for_go()?;
    nix::unistd::setsid().context("cannot begin a session")?;
    Err(Command::new(WORKER).args(["run", attempt]).env_clear().stdin(Stdio::null()).exec()).context("cannot become the worker")
}
