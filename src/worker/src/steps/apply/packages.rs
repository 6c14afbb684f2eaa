//! Packages: one run of apt-get, a purge by dpkg where the plan has both removals and purges, then the marks.

use std::fs;
use std::time::Duration;

use backstep_apt::arguments::commands;
use backstep_apt::interrupted::interrupted;
use backstep_apt::status::State;
use backstep_apt::status_fd::{AptLine, apt_line};
use backstep_core::count::counted;
use backstep_core::{ErrorCode, Failure, PackageId, PlanAction};
use backstep_engine::runner::{Done, Stage};

use super::super::permille;
use super::{LONG, marks};
use crate::child::{Call, Ended, Pipe, Unwatched, Watch, Wish};
use crate::context::Context;
use crate::durability::{self, Durability, SYNCED, UNSYNCED};
use crate::facts::{self, Facts};
use crate::prepare;

/// How long what an apt-get that ended by itself left behind is waited for, before it is named and left alone.
const SHORT: Duration = Duration::from_secs(2);
/// How apt names a dpkg that was killed.
const KILLED: [&str; 3] = ["exited unexpectedly", "received a segmentation fault", "received signal"];

/// Changes packages as the plan says.
pub(super) fn change(context: &Context, before: &Facts, killed: &mut bool, stage: &mut Stage<'_>) -> Result<Done, Failure> {
    if is_there(context, before) {
        return marks::set_auto(context).map(|()| Done::already("the packages are as planned"));
    }
    let pipe = Pipe::new()?;
    let commands = commands(&context.plan, pipe.number(), |archive| context.archive_path(archive));
    let durability = durability::choose(&context.machine, &context.plan);
    stage.note(None, durability.to_string())?;
    if !commands.apt_get.is_empty() {
        let arguments = own_options(context, &durability).into_iter().chain(commands.apt_get);
        let call = Call { status: Some(pipe), with_lock: true, guarded: true, ..Call::new("apt-get", arguments) };
        let ran = run_apt(context, call, before, killed, stage);
        // They lie in memory.
        if let Err(error) = prepare::clear(&context.machine) {
            stage.note(Some(ErrorCode::WorkerFailed), format!("cannot clear {}: {error}", context.machine.prepared().display()))?;
        }
        ran?;
    }
    if !commands.dpkg.is_empty() {
        stage.progress(980, "", "purging")?;
        let call = Call { with_lock: true, guarded: true, ..Call::new("dpkg", commands.dpkg) };
        let ended = context.children.run(call, &mut Unwatched)?;
        *killed |= matches!(ended, Ended::Signal(_));
        end_guard(context, stage)?;
    }
    judge(context, before, &Told::default(), None)?;
    marks::set_auto(context)?;
    Ok(Done::applied(format!("{} changed", counted(context.plan.items.len(), "package"))))
}

/// A reinstall looks the same before and after: it is never there already.
fn is_there(context: &Context, facts: &Facts) -> bool {
    context.plan.count(PlanAction::Reinstall) == 0 && facts.off_target(&context.plan).is_empty()
}

fn run_apt(context: &Context, call: Call, before: &Facts, killed: &mut bool, stage: &mut Stage<'_>) -> Result<(), Failure> {
    let log_from = stage_log(context);
    let mut listener = Listener { stage: &mut *stage, told: Told::default() };
    let ended = context.children.run(call, &mut listener);
    let mut told = listener.told;
    told.last_words = last_words(context, log_from);
    *killed = ended.as_ref().map_or(true, |ended| was_killed(*ended, &told));
    settle_strays(context, *killed, stage)?;
    let ended = ended?;
    end_guard(context, stage)?;
    refused(context)?;
    match judge_apt(context, before, &told, ended) {
        Err(_) if stage.cancel_asked() => stage.stop_if_asked(),
        judged => judged,
    }
}

/// The removal half of a purge is all that apt-get does when dpkg purges afterwards.
fn judge_apt(context: &Context, before: &Facts, told: &Told, ended: Ended) -> Result<(), Failure> {
    if context.plan.count(PlanAction::Purge) > 0 && ended.is_success() {
        return Ok(());
    }
    judge(context, before, told, Some(ended))
}

/// Ours come first: what the plan's arguments say about the same wins.
fn own_options(context: &Context, durability: &Durability) -> Vec<String> {
    let mut settings = vec![format!("APT::Keep-Fds::={}", context.lock)];
    if let Some(hook) = &context.hook {
        settings.push(format!("Dir::Bin::dpkg={}", durability::program(hook).display()));
        let option = if *durability == Durability::Barrier { UNSYNCED } else { SYNCED };
        settings.push(format!("Dpkg::Options::={option}{}", context.files().unsynced().display()));
        settings.push(format!("DPkg::Tools::Options::{hook}::Version=3"));
        settings.push(format!("DPkg::Pre-Install-Pkgs::={hook} check-plan {}", context.files().folder().display()));
    }
    settings.into_iter().flat_map(|setting| ["-o".to_owned(), setting]).collect()
}

fn stage_log(context: &Context) -> usize {
    fs::metadata(context.files().output()).map_or(0, |meta| usize::try_from(meta.len()).unwrap_or(0))
}

/// The errors of apt-get itself in its output, without their mark.
fn last_words(context: &Context, log_from: usize) -> Vec<String> {
    let log = fs::read(context.files().output()).unwrap_or_default();
    let log = String::from_utf8_lossy(log.get(log_from..).unwrap_or_default()).into_owned();
    log.lines().filter_map(|line| line.strip_prefix("E: ")).map(str::to_owned).collect()
}

fn was_killed(ended: Ended, told: &Told) -> bool {
    let says = |line: &String| line.starts_with("Sub-process ") && KILLED.iter().any(|sign| line.contains(sign));
    matches!(ended, Ended::Signal(_)) || told.last_words.iter().any(says)
}

fn settle_strays(context: &Context, killed: bool, stage: &mut Stage<'_>) -> Result<(), Failure> {
    let patience = if killed { LONG } else { SHORT };
    match context.children.wait_for_strays(patience, &mut || stage.tick()) {
        Ok(daemons) if daemons.is_empty() => Ok(()),
        Ok(daemons) => stage.note(None, format!("left running: {}", daemons.join(", "))),
        Err(failure) if killed => Err(failure),
        Err(failure) => stage.note(None, failure.text),
    }
}

/// What the hook left when apt was about to do something else than planned.
fn refused(context: &Context) -> Result<(), Failure> {
    match fs::read_to_string(context.files().mismatch()) {
        Ok(text) => Err(Failure::new(ErrorCode::PlanStale, text)),
        Err(_) => Ok(()),
    }
}

/// A guard that cannot tell what it saw is noted: had it gone before the end, the change would have failed.
fn end_guard(context: &Context, stage: &mut Stage<'_>) -> Result<(), Failure> {
    match context.children.end_guard() {
        Ok(None) => {}
        Ok(Some(text)) => stage.note(None, text)?,
        Err(failure) => stage.note(Some(failure.code), failure.text)?,
    }
    unkept(context)
}

/// What the guard could not keep, and therefore refused.
fn unkept(context: &Context) -> Result<(), Failure> {
    let Ok(text) = fs::read_to_string(context.files().refused()) else { return Ok(()) };
    let (code, text) = text.split_once('\n').unwrap_or(("", &text));
    Err(Failure::new(code.parse().unwrap_or(ErrorCode::Internal), text))
}

/// Success is what dpkg's database says.
fn judge(context: &Context, before: &Facts, told: &Told, ended: Option<Ended>) -> Result<(), Failure> {
    let now = facts::read(&context.machine)?;
    let mut off = now.off_target(&context.plan);
    let halves = |facts: &Facts| interrupted(&facts.status, [] as [&str; 0]).map(|half| half.text());
    off.extend(halves(&now).filter(|_| halves(before).is_none()));
    if ended.is_some_and(|ended| !ended.is_success()) {
        off.extend(unseen(context));
        off.extend(untriggered(before, &now));
    }
    if off.is_empty() {
        return Ok(());
    }
    let (code, first) = match (&told.error, ended) {
        (Some((subject, text)), _) if text.contains("script") => (ErrorCode::ScriptFailed, format!("{subject}: {text}")),
        (Some((subject, text)), _) => (ErrorCode::DpkgFailed, format!("{subject}: {text}")),
        (None, Some(ended)) if !ended.is_success() => {
            let said = told.last_words.first().cloned().unwrap_or_else(|| format!("apt-get {ended}"));
            (ErrorCode::DpkgFailed, format!("{said}; {}", off.join("; ")))
        }
        (None, _) => (ErrorCode::DpkgFailed, off.join("; ")),
    };
    Err(Failure::new(code, first))
}

/// A reinstall looks the same before and after, so of one whose apt did not end well it is not known that it was done.
fn unseen(context: &Context) -> Option<String> {
    let reinstalled = context.plan.items.iter().find(|item| item.action == PlanAction::Reinstall)?;
    Some(format!("whether {} was unpacked again is not known", reinstalled.package))
}

/// An apt that does not end well may have left triggers to be run, also of packages that are not in the plan.
fn untriggered(before: &Facts, now: &Facts) -> Vec<String> {
    let waits = |facts: &Facts, id: &PackageId| {
        facts.status.get(id).is_some_and(|entry| matches!(entry.state, State::TriggersAwaited | State::TriggersPending))
    };
    let found = now.status.iter().map(|(id, _)| id).filter(|id| waits(now, id) && !waits(before, id));
    found.map(|id| format!("{id} waits for triggers")).collect()
}

/// What apt said went wrong: the first error of its status lines counts, the others follow from it.
#[derive(Default)]
struct Told {
    error: Option<(String, String)>,
    last_words: Vec<String>,
}

struct Listener<'a, 'b> {
    stage: &'a mut Stage<'b>,
    told: Told,
}

impl Watch for Listener<'_, '_> {
    fn line(&mut self, line: &str) -> Result<(), Failure> {
        match apt_line(line) {
            Some(AptLine::Package { package, percent, text }) => {
                let package = if package == "dpkg-exec" { String::new() } else { package };
                self.stage.progress(permille(percent), &package, &text)
            }
            Some(AptLine::Error { subject, text, .. }) => {
                self.told.error.get_or_insert((subject, text));
                Ok(())
            }
            Some(AptLine::Conffile { path, .. }) => self.stage.note(None, format!("configuration file decided by policy: {path}")),
            Some(AptLine::Download { .. } | AptLine::MediaChange(_)) | None => Ok(()),
        }
    }

    fn tick(&mut self) -> Result<Wish, Failure> {
        self.stage.tick()?;
        Ok(if self.stage.cancel_asked() { Wish::Stop } else { Wish::GoOn })
    }
}
