//! The runs that are not on record yet: one document each, named by the transaction.
//!
//! The daemon takes a document away once the run is on record; here none is ever removed.

use std::fs;
use std::io;
use std::path::PathBuf;

use backstep_core::{AttemptId, ErrorCode, Failure, TransactionId};
use backstep_wire::foreign::{self, Foreign};

use crate::durable::replace;
use crate::machine::Machine;
use crate::run::private;

fn path(machine: &Machine, id: TransactionId) -> PathBuf {
    machine.foreign().join(format!("{id}.json"))
}

/// Writes a run's document durably. Whoever watches the folder learns of it, again with every call.
pub(crate) fn write(machine: &Machine, run: &Foreign) -> Result<(), Failure> {
    private(&machine.foreign())?;
    let path = path(machine, run.id());
    let error = |error| Failure::new(ErrorCode::StoreFailed, format!("cannot write {}: {error}", path.display()));
    replace(&path, &foreign::to_bytes(run), 0o600).map_err(error)
}

/// The run that an attempt belongs to, if it is one that is not on record yet.
pub fn of_attempt(machine: &Machine, attempt: AttemptId) -> Result<Option<Foreign>, Failure> {
    if attempt.number == 1 { read(&path(machine, attempt.transaction)) } else { Ok(None) }
}

/// All of them, the oldest first.
pub(crate) fn all(machine: &Machine) -> Result<Vec<Foreign>, Failure> {
    let folder = machine.foreign();
    let error = |error: io::Error| Failure::new(ErrorCode::StoreFailed, format!("cannot list {}: {error}", folder.display()));
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(other) => return Err(error(other)),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(error)?;
    let documents = paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    // One that cannot be read keeps no other from being found; the daemon reports it.
    let mut runs: Vec<Foreign> = documents.filter_map(|path| read(path).ok().flatten()).collect();
    runs.sort_by_key(Foreign::id);
    Ok(runs)
}

/// One that is gone meanwhile is on record.
fn read(path: &PathBuf) -> Result<Option<Foreign>, Failure> {
    let error = |text: String| Failure::new(ErrorCode::StoreFailed, format!("cannot read {}: {text}", path.display()));
    match fs::read(path) {
        Ok(bytes) => foreign::from_bytes(&bytes).map(Some).map_err(|source| error(source.to_string())),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(other) => Err(error(other.to_string())),
    }
}
