//! What will be done: frozen when it is made, authorised by its digest, executed as it is.

use crate::id::{Digest, TransactionId};
use crate::package::{PackageId, Version};
use crate::request::{Kind, Options};

closed_enum! {
    /// What happens to one package.
    pub enum PlanAction("plan action") {
        /// It was not installed and will be.
        Install = "install",
        /// It goes to a later version.
        Upgrade = "upgrade",
        /// It goes to an earlier version.
        Downgrade = "downgrade",
        /// The same version is unpacked and configured again.
        Reinstall = "reinstall",
        /// It goes; its configuration files stay.
        Remove = "remove",
        /// It goes with its configuration files, or what an earlier removal left goes.
        Purge = "purge",
        /// It will be kept at its version.
        Hold = "hold",
        /// It may move again.
        Unhold = "unhold",
    }
}

impl PlanAction {
    /// Whether an archive is unpacked for it.
    #[must_use]
    pub const fn needs_archive(self) -> bool {
        match self {
            Self::Install | Self::Upgrade | Self::Downgrade | Self::Reinstall => true,
            Self::Remove | Self::Purge | Self::Hold | Self::Unhold => false,
        }
    }

    /// What a rollback by packages does instead; `None` where nothing is to be done: a reinstall changed no version.
    #[must_use]
    pub const fn inverse(self) -> Option<Self> {
        match self {
            Self::Install => Some(Self::Purge),
            Self::Upgrade => Some(Self::Downgrade),
            Self::Downgrade => Some(Self::Upgrade),
            Self::Remove | Self::Purge => Some(Self::Install),
            Self::Hold => Some(Self::Unhold),
            Self::Unhold => Some(Self::Hold),
            Self::Reinstall => None,
        }
    }

    /// The order of plan tables: what takes away comes first.
    #[must_use]
    pub const fn rank(self) -> u8 {
        match self {
            Self::Purge => 0,
            Self::Remove => 1,
            Self::Downgrade => 2,
            Self::Install => 3,
            Self::Upgrade => 4,
            Self::Reinstall => 5,
            Self::Hold => 6,
            Self::Unhold => 7,
        }
    }
}

closed_enum! {
    /// Why a package is part of the plan.
    pub enum Reason("reason") {
        /// The caller named it.
        Requested = "requested",
        /// Another package needs or recommends it.
        Dependency = "dependency",
        /// It stands in another package's way or loses what it needs.
        Conflict = "conflict",
        /// Nothing needs it any more.
        Unused = "unused",
        /// It is part of a whole-system upgrade.
        Upgrade = "upgrade",
        /// It brings an earlier state back.
        Reverted = "reverted",
    }
}

/// How well a package's change can be undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UndoQuality {
    /// Every file and fact of the package comes back.
    Exact,
    /// Files and facts come back; something outside may not.
    BestEffort(String),
    /// It cannot be brought back.
    Impossible(String),
}

impl UndoQuality {
    /// The stable name: `exact`, `best-effort` or `impossible`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::BestEffort(_) => "best-effort",
            Self::Impossible(_) => "impossible",
        }
    }

    /// Why it is not exact.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Exact => None,
            Self::BestEffort(why) | Self::Impossible(why) => Some(why),
        }
    }
}

closed_enum! {
    /// Where an archive comes from.
    pub enum ArchiveSource("archive source") {
        /// A configured, authenticated repository.
        Repository = "repository",
        /// Handed over with the request.
        Local = "local",
        /// Kept by an earlier transaction.
        Kept = "kept",
        /// Made again from undo material, because no archive of it is left.
        Rebuilt = "rebuilt",
    }
}

/// The archive a package is unpacked from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Where from.
    pub source: ArchiveSource,
    /// For people: the repository's origin and suite, for example `Debian:12/stable`; of one that was rebuilt that it
    /// was; empty for others.
    pub origin: String,
    /// The file's name in apt's archive folder, for example `hello_2.10-3_amd64.deb`; no slash.
    pub file_name: String,
    /// Bytes.
    pub size: u64,
    /// From the signed index, or of the copy that was handed over.
    pub sha256: Digest,
    /// Whether the index it comes from is signed by a trusted key.
    pub trusted: bool,
}

/// What happens to one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanItem {
    /// Which package; the architecture is the package's own (`all` included) at the version that is or will be installed.
    pub package: PackageId,
    /// What happens.
    pub action: PlanAction,
    /// Why.
    pub reason: Reason,
    /// The version installed now; for a purge of a removed package, the version its configuration is of.
    pub from: Option<Version>,
    /// The version installed afterwards.
    pub to: Option<Version>,
    /// What it is unpacked from; present exactly when the action needs one.
    pub archive: Option<Archive>,
    /// Change of disk use in bytes, as the packages claim it.
    pub installed_delta: i64,
    /// Marked as automatically installed before.
    pub auto_before: bool,
    /// Marked as automatically installed afterwards.
    pub auto_after: bool,
    /// Essential or protected.
    pub essential: bool,
    /// Before, it was not installed, and configuration files of an earlier installation were there.
    pub leftovers: bool,
    /// How well this can be undone.
    pub undo: UndoQuality,
}

/// How the apply step makes the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// apt and dpkg change packages.
    Packages,
    /// dpkg's selections change, nothing else.
    Marks,
    /// The files captured by this transaction are put back, after those of [`Plan::restores`].
    Restore(TransactionId),
}

impl Method {
    /// The stable name: `packages`, `marks` or `restore`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Packages => "packages",
            Self::Marks => "marks",
            Self::Restore(_) => "restore",
        }
    }
}

/// A frozen plan. Its bytes are what is digested, authorised and executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The transaction it belongs to: no plan can be used for another.
    pub transaction: TransactionId,
    /// The request's kind.
    pub kind: Kind,
    /// SHA-256 of the request's bytes.
    pub request: Digest,
    /// Digest of dpkg's status file and apt's marks when the plan was made.
    pub world: Digest,
    /// How the change is made.
    pub method: Method,
    /// The request's choices.
    pub options: Options,
    /// The packages, ordered by [`PlanAction::rank`], then by name.
    pub items: Vec<PlanItem>,
    /// Marks that change without any other change: package and whether it is automatic afterwards.
    pub marks: Vec<(PackageId, bool)>,
    /// Bytes to download.
    pub download_bytes: u64,
    /// With [`Method::Restore`]: the transactions whose files are put back before, the newest first.
    pub restores: Vec<TransactionId>,
    /// For people: what they should know before they say yes.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.marks.is_empty()
    }

    /// Whether a part of it cannot be undone.
    #[must_use]
    pub fn is_irreversible(&self) -> bool {
        self.items.iter().any(|item| matches!(item.undo, UndoQuality::Impossible(_)))
    }

    /// Whether it takes an essential or protected package away.
    #[must_use]
    pub fn removes_essential(&self) -> bool {
        self.items.iter().any(|item| item.essential && matches!(item.action, PlanAction::Remove | PlanAction::Purge))
    }

    /// Whether it unpacks an archive that no trusted key vouches for.
    #[must_use]
    pub fn has_untrusted_archive(&self) -> bool {
        self.items.iter().any(|item| item.archive.as_ref().is_some_and(|a| a.source == ArchiveSource::Local || !a.trusted))
    }

    /// Change of disk use in bytes, as the packages claim it.
    #[must_use]
    pub fn installed_delta(&self) -> i64 {
        self.items.iter().map(|item| item.installed_delta).sum()
    }

    /// How many items have this action.
    #[must_use]
    pub fn count(&self, action: PlanAction) -> usize {
        self.items.iter().filter(|item| item.action == action).count()
    }

    /// One line for dialogues and logs: counts and at most five names, what is taken away first.
    #[must_use]
    pub fn summary(&self) -> String {
        if self.is_empty() {
            return "nothing to do".to_owned();
        }
        let counts: Vec<String> = PlanAction::ALL
            .iter()
            .map(|action| (self.count(*action), action))
            .filter(|(count, _)| *count > 0)
            .map(|(count, action)| format!("{count} to {action}"))
            .collect();
        let names: Vec<&str> = self.items.iter().take(5).map(|item| item.package.name.as_str()).collect();
        let more = if self.items.len() > names.len() { ", …" } else { "" };
        if names.is_empty() { format!("{} marks", self.marks.len()) } else { format!("{} ({}{more})", counts.join(", "), names.join(", ")) }
    }

    /// Puts the items into their order; part of making a plan, so that equal plans have equal bytes.
    pub fn sort(&mut self) {
        self.items.sort_by(|a, b| (a.action.rank(), &a.package).cmp(&(b.action.rank(), &b.package)));
        self.marks.sort();
    }
}
