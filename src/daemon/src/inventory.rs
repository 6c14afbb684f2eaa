//! What dpkg's database says that nobody accounted for: changes that came past every hook become transactions, too.
//!
//! The hooks of dpkg and apt leave what they see in `foreign/`, with who it was. What came past them (no hook, a rescue
//! system, an editor) is found here whenever somebody asks the daemon something: one look at one file tells whether dpkg
//! wrote its database since. Nobody knows who it was then, and it is said so.
//!
//! Invariants: nothing is looked at while somebody changes packages, or has just done so and may still say it; what the
//! record knows of is no drift.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backstep_apt::inventory::{Inventory, mark};
use backstep_apt::quality;
use backstep_apt::status::Status;
use backstep_core::actor::{Actor, Origin};
use backstep_core::drift::Drift;
use backstep_core::{ErrorCode, Failure, PlanAction, TransactionId};
use backstep_engine::drift::{By, Found, Worlds, found};
use backstep_wire::foreign::Process;
use backstep_wire::journal::Line;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::service::Service;

/// How long who changed the database has time to account for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The files that are compared.
#[derive(Debug, Clone)]
pub struct InventoryFiles {
    inventory: PathBuf,
    admin: PathBuf,
    extended_states: PathBuf,
}

/// What a look found.
struct Look {
    before: Option<Inventory>,
    now: Inventory,
}

impl InventoryFiles {
    /// Of a state directory and the system under `root`.
    #[must_use]
    pub fn new(state_dir: &Path, root: &Path) -> Self {
        let (admin, extended_states) = (root.join("var/lib/dpkg"), root.join("var/lib/apt/extended_states"));
        Self { inventory: state_dir.join("inventory"), admin, extended_states }
    }

    /// Whether dpkg wrote its database since it was accounted for, and nobody is about to say so.
    fn is_behind(&self) -> bool {
        let mut head = String::new();
        let read = File::open(&self.inventory).and_then(|file| file.take(256).read_to_string(&mut head));
        if read.is_err() {
            return true;
        }
        let status = self.admin.join("status");
        let settled = fs::metadata(&status).and_then(|meta| meta.modified()).is_ok_and(|at| at.elapsed().is_ok_and(|ago| ago >= PATIENCE));
        settled && mark(&status).is_ok_and(|mark| Inventory::mark_of(&head) != Some(mark.as_str())) && !self.is_locked()
    }

    /// Whether a package manager works.
    fn is_locked(&self) -> bool {
        ["lock-frontend", "lock"].iter().any(|name| File::open(self.admin.join(name)).is_ok_and(|file| is_locked(&file)))
    }

    fn look(&self) -> Result<Look, Failure> {
        let error = |error: std::io::Error| Failure::new(ErrorCode::StoreFailed, format!("cannot look at dpkg's database: {error}"));
        let status = self.admin.join("status");
        let mark = mark(&status).map_err(error)?;
        let bytes = fs::read(&status).map_err(error)?;
        let extended = fs::read(&self.extended_states).unwrap_or_default();
        let parsed = Status::parse(&bytes).map_err(|error| Failure::new(ErrorCode::DpkgInterrupted, error.to_string()))?;
        let before = fs::read_to_string(&self.inventory).ok().and_then(|text| Inventory::parse(&text));
        Ok(Look { before, now: Inventory::of(&parsed, mark, backstep_apt::world(&bytes, &extended)) })
    }

    #[allow(clippy::disallowed_methods)] // Written beside, synced and renamed.
    fn write(&self, inventory: &Inventory) -> Result<(), Failure> {
        use std::io::Write;
        let beside = self.inventory.with_extension("daemon-new");
        let write = || {
            let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            file.write_all(inventory.to_text().as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, &self.inventory)
        };
        write().map_err(|error| Failure::new(ErrorCode::StoreFailed, format!("cannot write {}: {error}", self.inventory.display())))
    }
}

/// Whether another process has a lock on a file, as dpkg and apt take theirs.
fn is_locked(file: &File) -> bool {
    let whole = libc::c_short::try_from(libc::SEEK_SET).unwrap_or(0);
    let kind = libc::c_short::try_from(libc::F_WRLCK).unwrap_or(0);
    let mut asked = libc::flock { l_type: kind, l_whence: whole, l_start: 0, l_len: 0, l_pid: 0 };
    let free = libc::c_short::try_from(libc::F_UNLCK).unwrap_or(0);
    fcntl(file, FcntlArg::F_GETLK(&mut asked)).is_ok_and(|_| asked.l_type != free)
}

/// Takes in what nobody accounted for. What goes wrong is reported, and looked at again the next time.
pub async fn refresh(service: &Service) {
    let Some(files) = service.inventory.clone() else { return };
    if service.read(|manager| manager.running().is_some()) || !service.runs.is_empty() || !files.is_behind() {
        return;
    }
    if let Err(failure) = take_in(service, &files).await {
        tracing::error!("cannot tell what changed without a transaction: {failure}");
    }
}

/// CRASH: between the record and the inventory the same change is found again, and the record knows of it.
async fn take_in(service: &Service, files: &InventoryFiles) -> Result<(), Failure> {
    let Look { before, now } = files.look()?;
    let drifts = before.as_ref().map_or_else(Vec::new, |before| before.drift(&now));
    let drifts = unexplained(service, drifts).await?;
    if let Some(before) = before.filter(|_| !drifts.is_empty()) {
        let worlds = Worlds { before: before.world, after: now.world };
        adopt(service, &drifts, worlds, &files.admin)?;
    }
    files.write(&now)
}

/// What the record knows of is none.
async fn unexplained(service: &Service, drifts: Vec<Drift>) -> Result<Vec<Drift>, Failure> {
    if drifts.is_empty() {
        return Ok(drifts);
    }
    let is_known = |drift: &Drift, last: Option<&str>| {
        let marks = matches!(drift.action, PlanAction::Hold | PlanAction::Unhold);
        !marks && drift.settled && last == drift.to.as_ref().map(|version| version.as_str())
    };
    service
        .records
        .ask(move |reader| {
            let mut left = Vec::new();
            for drift in drifts {
                let recorded = reader.provenance(&drift.package.name, Some(&drift.package.arch))?;
                let known = recorded.first().is_some_and(|of_arch| is_known(&drift, of_arch.last.to.as_deref()));
                left.extend((!known).then_some(drift));
            }
            Ok(left)
        })
        .await
}

fn adopt(service: &Service, drifts: &[Drift], worlds: Worlds, admin: &Path) -> Result<(), Failure> {
    let internal = |text: String| Failure::new(ErrorCode::Internal, text);
    let id = TransactionId::new(uuid::Uuid::now_v7()).map_err(|error| internal(error.to_string()))?;
    let begun = service.read(backstep_engine::Manager::time);
    let description = "changed past every hook of dpkg's and apt's".to_owned();
    let by = By { actor: nobody(), description, process: Process { pid: 0, started: 0 }, begun };
    let undo = |package: &_, action: PlanAction| quality::judge(package, action, action != PlanAction::Install, admin);
    let Found { run, records } = found(id, drifts, by, worlds, &undo);
    let lines: Vec<Line> = (1..).zip(records).map(|(seq, record)| Line { seq, utc_us: begun.utc_us, record }).collect();
    let plan = backstep_wire::plan::to_bytes(&run.plan);
    service.decide(|manager| manager.adopt(&run, plan, &lines)).map(drop)
}

/// Nobody knows who it was; that it is on record is the daemon's doing.
fn nobody() -> Actor {
    Actor {
        uid: 0,
        user: String::new(),
        loginuid: None,
        pid: None,
        sender: String::new(),
        unit: String::new(),
        origin: Origin::Daemon,
        client: "found".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_taken_only_when_dpkg_wrote_and_has_had_its_time() {
        let folder = tempfile::tempdir().expect("folder");
        let files = InventoryFiles::new(folder.path(), folder.path());
        fs::create_dir_all(&files.admin).expect("folder");
        let status = files.admin.join("status");
        fs::write(&status, "Package: a1\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n").expect("status");
        assert!(files.is_behind(), "there is no inventory yet");
        let first = files.look().expect("look");
        assert!(first.before.is_none());
        files.write(&first.now).expect("write");
        assert!(!files.is_behind());
        fs::write(&status, "Package: a1\nStatus: install ok installed\nArchitecture: all\nVersion: 22\n").expect("status");
        assert!(!files.is_behind(), "whoever did that may still say so");
        let earlier = std::time::SystemTime::now() - PATIENCE;
        File::options().write(true).open(&status).and_then(|file| file.set_modified(earlier)).expect("time");
        assert!(files.is_behind());
        let look = files.look().expect("look");
        assert_eq!(look.before.expect("inventory").drift(&look.now).len(), 1);
    }
}
