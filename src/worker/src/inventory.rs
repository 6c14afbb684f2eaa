//! The inventory: what dpkg's database was when it was last accounted for, and what plain dpkg made of it since.
//!
//! Whoever ends a change that is on record accounts for it with [`account`]: our own runs and the hooks of apt's. After
//! a plain run of dpkg its hook finds what is different and leaves it in `foreign/` for the daemon, as a run of its own
//! with who ran dpkg. The hook reads one file when nothing changed, and speaks to nobody.
//!
//! CRASH: between the run and the inventory the next look finds the same change again; the daemon knows by its record
//! that it happened already.

use std::fs::{self, File};
use std::io::ErrorKind;

use backstep_apt::inventory::Inventory;
use backstep_apt::quality;
use backstep_core::{ErrorCode, Failure, PlanAction, Stamp};
use backstep_engine::drift::{By, Found, Worlds, found};
use backstep_wire::foreign::Process;
use backstep_wire::journal::{Line, to_line};
use nix::fcntl::{Flock, FlockArg};

use crate::durable::replace;
use crate::facts;
use crate::foreign::{begin, process, runs};
use crate::journal;
use crate::machine::Machine;
use crate::run::private;

/// Accounts for the database as it is: what led to it is on record, or was there before the record.
pub fn account(machine: &Machine) -> Result<(), Failure> {
    let _lock = lock(machine)?;
    write(machine, &now(machine)?)
}

/// The hook after a plain run of dpkg: leaves what it changed for the daemon.
pub fn after_dpkg(machine: &Machine) -> Result<(), Failure> {
    let _lock = lock(machine)?;
    let text = match fs::read_to_string(machine.inventory()) {
        Err(missing) if missing.kind() == ErrorKind::NotFound => String::new(),
        read => read.map_err(|error| failure(machine, &error))?,
    };
    if Inventory::mark_of(&text) == Some(mark(machine)?.as_str()) {
        return Ok(());
    }
    let now = now(machine)?;
    // Without an inventory there is nothing to compare with; one that is not whole is none.
    let drifts = Inventory::parse(&text).map_or_else(Vec::new, |before| before.drift(&now));
    if !drifts.is_empty() {
        let before = Inventory::parse(&text).map_or(now.world, |before| before.world);
        let undo = |package: &_, action: PlanAction| quality::judge(package, action, action != PlanAction::Install, &machine.admin());
        leave(machine, &found(begin::new_id()?, &drifts, by()?, Worlds { before, after: now.world }, &undo))?;
    }
    write(machine, &now)
}

fn lock(machine: &Machine) -> Result<Flock<File>, Failure> {
    private(&machine.foreign())?;
    let path = machine.inventory().with_extension("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(|error| failure(machine, &error))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| failure(machine, &errno.into()))
}

fn failure(machine: &Machine, error: &std::io::Error) -> Failure {
    Failure::new(ErrorCode::StoreFailed, format!("cannot use {}: {error}", machine.inventory().display()))
}

/// dpkg replaces its database with every write.
fn mark(machine: &Machine) -> Result<String, Failure> {
    backstep_apt::inventory::mark(&machine.status()).map_err(|error| failure(machine, &error))
}

/// The mark is taken first: a write in between is found the next time.
fn now(machine: &Machine) -> Result<Inventory, Failure> {
    let mark = mark(machine)?;
    let facts = facts::read(machine)?;
    Ok(Inventory::of(&facts.status, mark, facts.world))
}

fn write(machine: &Machine, inventory: &Inventory) -> Result<(), Failure> {
    replace(&machine.inventory(), inventory.to_text().as_bytes(), 0o600).map_err(|error| failure(machine, &error))
}

/// dpkg, who runs it, and since when.
fn by() -> Result<By, Failure> {
    let nobody = || Failure::new(ErrorCode::Internal, "cannot tell which process is dpkg");
    let process: Process = process::apt().ok_or_else(nobody)?;
    let now = begin::now()?;
    // The kernel counts a hundred ticks a second.
    let ago = now.monotonic_us.saturating_sub(i64::try_from(process.started).unwrap_or(0).saturating_mul(10_000)).max(0);
    let begun = Stamp { utc_us: now.utc_us - ago, monotonic_us: now.monotonic_us - ago, boot: now.boot };
    let description = process::described(&process::command_line(process.pid));
    Ok(By { actor: process::actor(process.pid), description, process, begun })
}

/// The attempt's folder first, its document last: by that the daemon finds it.
fn leave(machine: &Machine, Found { run, records }: &Found) -> Result<(), Failure> {
    let files = machine.attempt(run.attempt());
    private(files.folder())?;
    let utc_us = journal::utc_us();
    let lines = (1..).zip(records).map(|(seq, record)| Line { seq, utc_us, record: record.clone() });
    let lines: Vec<u8> = lines.flat_map(|line| to_line(&line)).collect();
    let error =
        |error: std::io::Error| Failure::new(ErrorCode::StoreFailed, format!("cannot write into {}: {error}", files.folder().display()));
    replace(&files.plan(), &backstep_wire::plan::to_bytes(&run.plan), 0o600).map_err(error)?;
    replace(&files.journal(), &lines, 0o600).map_err(error)?;
    runs::write(machine, run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::bytes;
    use backstep_wire::journal::Record;

    const DPKG: &str = "Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\n";

    struct Place {
        _folder: tempfile::TempDir,
        machine: Machine,
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("folder");
            let machine = Machine::new(&folder.path().join("root"), &folder.path().join("state"));
            fs::create_dir_all(machine.admin()).expect("folder");
            let place = Self { _folder: folder, machine };
            place.dpkg_says("");
            place
        }

        fn dpkg_says(&self, stanza: &str) {
            let new = self.machine.admin().join("status-new");
            fs::write(&new, format!("{DPKG}{stanza}")).expect("status");
            fs::rename(new, self.machine.status()).expect("status");
        }

        fn left(&self) -> Vec<(String, Record)> {
            let runs = runs::all(&self.machine).expect("runs");
            let of = |run: &backstep_wire::foreign::Foreign| {
                let lines = journal::read(&self.machine.attempt(run.attempt()).journal()).expect("journal").0;
                let items = run.plan.items.iter().map(|item| format!("{} {}", item.action, item.package)).collect::<Vec<_>>();
                (items.join(", "), lines.last().expect("a last word").record.clone())
            };
            runs.iter().map(of).collect()
        }
    }

    fn tool(version: &str, state: &str) -> String {
        format!("Package: tool\nStatus: install ok {state}\nArchitecture: all\nVersion: {version}\n")
    }

    #[test]
    fn the_first_look_accounts_and_later_ones_tell_what_changed_once() {
        let place = Place::new();
        after_dpkg(&place.machine).expect("first");
        assert_eq!(place.left(), []);
        place.dpkg_says(&tool("1", "installed"));
        after_dpkg(&place.machine).expect("second");
        after_dpkg(&place.machine).expect("nothing new");
        let world = backstep_apt::world::world(&bytes(&place.machine.status()).expect("status"), b"");
        assert_eq!(place.left(), [("install tool:all".to_owned(), Record::Committed { world })]);
        let run = runs::all(&place.machine).expect("runs").remove(0);
        assert_eq!(run.actor.origin, backstep_core::actor::Origin::Apt);
        assert!(run.begun.utc_us <= journal::utc_us() && !run.request.description.is_empty(), "{run:?}");
        assert_eq!(run.request.validate(), Ok(()));
    }

    #[test]
    fn what_is_accounted_for_is_no_drift_and_what_is_half_done_is_said() {
        let place = Place::new();
        account(&place.machine).expect("account");
        place.dpkg_says(&tool("1", "installed"));
        account(&place.machine).expect("account");
        after_dpkg(&place.machine).expect("hook");
        assert_eq!(place.left(), []);
        place.dpkg_says(&tool("2", "half-configured"));
        after_dpkg(&place.machine).expect("hook");
        let left = place.left();
        let [(items, Record::Left { code, text, .. })] = left.as_slice() else { panic!("{left:?}") };
        assert_eq!((items.as_str(), *code, text.as_str()), ("upgrade tool:all", ErrorCode::DpkgFailed, "tool:all is half-configured 2"));
    }

    #[test]
    fn a_torn_inventory_is_made_anew() {
        let place = Place::new();
        account(&place.machine).expect("account");
        let text = fs::read_to_string(place.machine.inventory()).expect("text");
        fs::write(place.machine.inventory(), &text[..text.len() - 3]).expect("torn");
        place.dpkg_says(&tool("1", "installed"));
        after_dpkg(&place.machine).expect("hook");
        assert_eq!(place.left(), [], "nobody knows what it was before");
        assert!(Inventory::parse(&fs::read_to_string(place.machine.inventory()).expect("text")).is_some());
    }
}
