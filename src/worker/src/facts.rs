//! What dpkg and apt say now, read anew every time: never cached as fact.

use std::fs;
use std::io;
use std::path::Path;

use backstep_apt::extended_states::ExtendedStates;
use backstep_apt::status::Status;
use backstep_core::recovery::{Standing, classify};
use backstep_core::{Architecture, Digest, ErrorCode, Failure, Plan, PlanItem};
use backstep_engine::runner::World;

use crate::machine::Machine;

/// dpkg's database and apt's marks at one moment.
#[derive(Debug, Clone)]
pub struct Facts {
    /// dpkg's database.
    pub status: Status,
    /// apt's marks.
    pub marks: ExtendedStates,
    /// Of both.
    pub world: Digest,
}

/// Reads both files.
pub fn read(machine: &Machine) -> Result<Facts, Failure> {
    let status_bytes = bytes(&machine.status())?;
    let extended = bytes(&machine.extended_states())?;
    let status = Status::parse(&status_bytes).map_err(|error| Failure::new(ErrorCode::DpkgInterrupted, error.to_string()))?;
    let native = native(&status)?;
    let marks = ExtendedStates::parse(&String::from_utf8_lossy(&extended), &native);
    Ok(Facts { status, marks, world: backstep_apt::world::world(&status_bytes, &extended) })
}

/// dpkg's own architecture is the native one.
fn native(status: &Status) -> Result<Architecture, Failure> {
    let found = status.named("dpkg").find(|(_, entry)| entry.version.is_some()).map(|(package, _)| package.arch.clone());
    found.ok_or_else(|| Failure::new(ErrorCode::DpkgInterrupted, "cannot tell the native architecture: dpkg's database does not name dpkg"))
}

/// An absent file is empty, as dpkg and apt see it.
pub fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Failure::new(ErrorCode::WorkerFailed, format!("cannot read {}: {error}", path.display()))),
    }
}

impl Facts {
    /// Where an item stands between its plan's two ends.
    #[must_use]
    pub fn standing(&self, item: &PlanItem) -> Standing {
        classify(item, &self.status.fact(&item.package))
    }

    /// The items that are not as the plan wants them, in words.
    #[must_use]
    pub fn off_target(&self, plan: &Plan) -> Vec<String> {
        let off = plan.items.iter().filter(|item| self.standing(item) != Standing::Target);
        off.map(|item| format!("{} is {} instead of {}", item.package, self.status.text(&item.package), wanted(item))).collect()
    }

    /// The marks that are not as the plan wants them, in words.
    #[must_use]
    pub fn off_marks(&self, plan: &Plan) -> Vec<String> {
        let off = wanted_marks(plan).into_iter().filter(|(package, auto)| self.marks.is_auto(package) != *auto);
        off.map(|(package, auto)| format!("{package} is not marked as {}", if auto { "automatic" } else { "manual" })).collect()
    }
}

fn wanted(item: &PlanItem) -> String {
    item.to.as_ref().map_or_else(|| item.action.to_string(), |version| format!("installed {version}"))
}

/// Every mark the plan decides: of packages that are installed afterwards, and those that change alone.
#[must_use]
pub fn wanted_marks(plan: &Plan) -> Vec<(&backstep_core::PackageId, bool)> {
    let items = plan.items.iter().filter(|item| item.action.needs_archive()).map(|item| (&item.package, item.auto_after));
    items.chain(plan.marks.iter().map(|(package, auto)| (package, *auto))).collect()
}

/// The world of a machine.
pub struct MachineWorld(pub Machine);

impl World for MachineWorld {
    fn digest(&self) -> Result<Digest, Failure> {
        Ok(backstep_apt::world::world(&bytes(&self.0.status())?, &bytes(&self.0.extended_states())?))
    }
}
