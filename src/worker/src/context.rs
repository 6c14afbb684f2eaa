//! What all steps of one attempt share.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use backstep_capture::Aftermath;
use backstep_core::{Archive, AttemptId, Failure, Plan};

use crate::before;
use crate::child::Children;
use crate::facts::Facts;
use crate::machine::{AttemptFiles, Machine};
use crate::units::Units;

/// One attempt's surroundings.
pub struct Context {
    /// Where things are.
    pub machine: Machine,
    /// This attempt.
    pub attempt: AttemptId,
    /// The attempt whose capture an undo puts back: this one, or the interrupted one that is undone.
    pub undo_of: AttemptId,
    /// For a plan that restores: the committed attempt whose capture is put back going forward.
    pub restore: Option<AttemptId>,
    /// For a plan that restores: the committed attempts whose captures are put back before it, the newest first.
    pub later: Vec<AttemptId>,
    /// Whether the machine was started again since the attempt that an undo puts back.
    pub rebooted: bool,
    /// What is to be done.
    pub plan: Plan,
    /// Other programs.
    pub children: Box<dyn Children>,
    /// The number under which dpkg inherits the frontend lock.
    pub lock: i32,
    /// The units as the services step left them, so that the check that follows need not ask again.
    pub settled_units: RefCell<Option<Units>>,
    /// How the change left the files, as the services step saw it while it waited for the service manager.
    pub aftermath: RefCell<Option<Aftermath>>,
    /// How apt calls this program back before it changes anything; absent in tests without apt.
    pub hook: Option<String>,
}

/// Shared by the steps, which run one after the other.
pub type Shared = Rc<Context>;

impl Context {
    /// The files of this attempt.
    #[must_use]
    pub fn files(&self) -> AttemptFiles {
        self.machine.attempt(self.attempt)
    }

    /// The folder of the capture that an undo puts back.
    #[must_use]
    pub fn capture(&self) -> PathBuf {
        self.machine.capture(self.undo_of)
    }

    /// Whether this attempt undoes an earlier one, and others may have worked in between.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.attempt != self.undo_of
    }

    /// The archives of the plan.
    pub fn archives(&self) -> impl Iterator<Item = &Archive> {
        self.plan.items.iter().filter_map(|item| item.archive.as_ref())
    }

    /// Where an archive lies once it is fetched.
    #[must_use]
    pub fn archive_path(&self, archive: &Archive) -> String {
        self.machine.kept_archive(archive.sha256).display().to_string()
    }

    /// dpkg's word for every package of the plan.
    #[must_use]
    pub fn words(&self, status: &backstep_apt::status::Status) -> BTreeMap<String, String> {
        self.plan.items.iter().map(|item| (item.package.to_string(), status.text(&item.package))).collect()
    }

    /// The packages that are not as the plan wants them, in words. What a restore brings back is what its capture
    /// says: a package may have had only its configuration then, which no plan can ask for.
    pub fn off_target(&self, facts: &Facts) -> Result<Vec<String>, Failure> {
        let Some(of) = self.restore else { return Ok(facts.off_target(&self.plan)) };
        let mut before = before::read(&self.machine.capture(of))?;
        let words = self.words(&facts.status);
        // Of a package that several changed, the earliest knows what it was.
        for later in self.later.iter().rev() {
            for (package, word) in before::read(&self.machine.capture(*later))?.items {
                before.items.entry(package).or_insert(word);
            }
        }
        // Those that are as they were in the end are no rows of the plan.
        before.items.retain(|package, _| words.contains_key(package) || self.later.is_empty());
        Ok(before.off(&words))
    }

    /// The attempts whose captures a plan that restores puts back, in that order.
    pub fn restored(&self) -> impl Iterator<Item = AttemptId> {
        self.later.iter().copied().chain(self.restore)
    }
}
