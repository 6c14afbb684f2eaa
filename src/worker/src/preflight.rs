//! What must hold before anything is done, checked while the frontend lock is held: nothing can change under it.

use std::fs;
use std::io;
use std::path::Path;

use backstep_apt::interrupted::interrupted;
use backstep_capture::{CaptureDir, drifted};
use backstep_core::recovery::Standing;
use backstep_core::{ErrorCode, Failure, Method, Plan};
use nix::sys::statvfs::{FsFlags, statvfs};

use crate::context::Context;
use crate::facts::{self, Facts};
use crate::machine::Machine;
use crate::simulation;
use crate::steps::capture_failure;

/// Room for logs, journals and the database beside what the plan needs.
const SPARE: u64 = 32 << 20;

/// Checks dpkg's state, the plan against the world, and the disks.
pub fn check(context: &Context) -> Result<Facts, Failure> {
    let facts = facts::read(&context.machine)?;
    match context.plan.method {
        Method::Packages => not_interrupted(&context.machine, &facts)?,
        Method::Restore(_) => not_interrupted_since(context)?,
        Method::Marks => {}
    }
    fresh(context, &facts)?;
    room(&context.machine, &context.plan)?;
    Ok(facts)
}

fn not_interrupted(machine: &Machine, facts: &Facts) -> Result<(), Failure> {
    let updates = names(&machine.at("var/lib/dpkg/updates"))?;
    match interrupted(&facts.status, updates.iter().map(String::as_str)) {
        Some(found) => Err(Failure::new(ErrorCode::DpkgInterrupted, found.text())),
        None => Ok(()),
    }
}

/// A restore takes back what the reverted change left of dpkg's database, interrupted or not; but not what dpkg has
/// written down since.
fn not_interrupted_since(context: &Context) -> Result<(), Failure> {
    let updates = Path::new("/var/lib/dpkg/updates");
    let (Some(of), false) = (context.restored().next(), names(&context.machine.at("var/lib/dpkg/updates"))?.is_empty()) else {
        return Ok(());
    };
    let dir = CaptureDir::open(&context.machine.capture(of)).map_err(|error| capture_failure(&error))?;
    let drifted = drifted(context.machine.root(), &dir).map_err(|error| capture_failure(&error))?;
    if drifted.iter().any(|path| path.starts_with(updates)) {
        return Err(Failure::new(ErrorCode::DpkgInterrupted, "dpkg was interrupted since while it wrote its database"));
    }
    Ok(())
}

/// What dpkg left undone when it was stopped, in words: it takes its notes beside the database away when they are in it.
/// Until then it is not its last word, whatever it says of the packages.
pub fn unfinished(machine: &Machine) -> Result<Option<String>, Failure> {
    let left = names(&machine.at("var/lib/dpkg/updates"))?;
    Ok((!left.is_empty()).then(|| "dpkg was stopped while it wrote its database".to_owned()))
}

fn names(folder: &Path) -> Result<Vec<String>, Failure> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::new(ErrorCode::WorkerFailed, format!("cannot read {}: {error}", folder.display()))),
    };
    Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

fn fresh(context: &Context, facts: &Facts) -> Result<(), Failure> {
    let plan = &context.plan;
    if facts.world == plan.world {
        return Ok(());
    }
    match plan.method {
        Method::Restore(_) => Err(Failure::new(ErrorCode::PlanStale, "the system changed since the plan was made")),
        Method::Marks => not_at_before(plan, facts),
        Method::Packages => {
            not_at_before(plan, facts)?;
            let arguments = backstep_apt::arguments::fetch(plan, 2, |archive| context.archive_path(archive));
            simulation::check(context.children.as_ref(), &arguments, plan)
        }
    }
}

/// A package that is neither as the plan found it nor as it would leave it belongs to another world.
fn not_at_before(plan: &Plan, facts: &Facts) -> Result<(), Failure> {
    match plan.items.iter().find(|item| facts.standing(item) == Standing::Half) {
        Some(item) => {
            let text = format!("the system changed since the plan was made: {} is {}", item.package, facts.status.text(&item.package));
            Err(Failure::new(ErrorCode::PlanStale, text))
        }
        None => Ok(()),
    }
}

/// Enough room, and no file system that cannot be written.
fn room(machine: &Machine, plan: &Plan) -> Result<(), Failure> {
    let grown = u64::try_from(plan.installed_delta()).unwrap_or(0);
    let needed = (plan.download_bytes + grown) / 10 * 11 + SPARE;
    for folder in [machine.at("usr"), machine.at("var"), machine.at("etc"), machine.archives()] {
        let Ok(space) = statvfs(&folder) else { continue };
        if space.flags().contains(FsFlags::ST_RDONLY) {
            return Err(Failure::new(ErrorCode::DiskReadOnly, format!("{} is on a read-only file system", folder.display())));
        }
        let free = space.blocks_available() * space.fragment_size();
        if free < needed {
            let text = format!("{} has {} MB free, {} MB are needed", folder.display(), free >> 20, needed >> 20);
            return Err(Failure::new(ErrorCode::DiskFull, text));
        }
    }
    Ok(())
}
