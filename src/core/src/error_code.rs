//! Every error a person or program can meet, by a stable code.
//!
//! The code, its D-Bus name, its exit code and its page `docs/errors/<code>.md` never change meaning.

closed_enum! {
    /// What went wrong.
    pub enum ErrorCode("error code") {
        /// The request breaks the interface's rules.
        RequestMalformed = "request.malformed",
        /// An option outside the closed list.
        RequestUnknownOption = "request.unknown-option",
        /// More than the limits allow.
        RequestTooLarge = "request.too-large",
        /// The id was used before for another request.
        RequestDuplicate = "request.duplicate",
        /// More calls than one user, or all, may make at a time.
        RequestThrottled = "request.throttled",
        /// No package of that name is known.
        PackageUnknown = "package.unknown",
        /// The package is not installed.
        PackageNotInstalled = "package.not-installed",
        /// The package is on hold.
        PackageHeld = "package.held",
        /// The package has no such version.
        VersionUnknown = "version.unknown",
        /// No set of packages fulfils the request.
        DepsUnsatisfiable = "deps.unsatisfiable",
        /// An essential or protected package would go.
        PlanEssential = "plan.essential",
        /// A package would go to an earlier version.
        PlanDowngrade = "plan.downgrade",
        /// A part of the plan cannot be undone.
        PlanIrreversible = "plan.irreversible",
        /// The system changed since the plan was made.
        PlanStale = "plan.stale",
        /// The digest is not that of the plan.
        PlanMismatch = "plan.mismatch",
        /// Planning failed.
        PlanFailed = "plan.failed",
        /// The authority said no.
        AuthDenied = "auth.denied",
        /// The authority could not be asked.
        AuthUnavailable = "auth.unavailable",
        /// Another program holds dpkg's lock.
        LockBusy = "lock.busy",
        /// dpkg was interrupted before this transaction.
        DpkgInterrupted = "dpkg.interrupted",
        /// An archive could not be downloaded.
        FetchFailed = "fetch.failed",
        /// An archive is not the one of the plan.
        FetchHashMismatch = "fetch.hash-mismatch",
        /// An archive is not signed by a trusted key.
        TrustUnsigned = "trust.unsigned",
        /// An archive comes from a repository that this machine is not meant to have.
        TrustSource = "trust.source",
        /// A local archive is not a Debian package.
        ArchiveInvalid = "archive.invalid",
        /// Not enough space.
        DiskFull = "disk.full",
        /// A file system that must be written is read-only.
        DiskReadOnly = "disk.read-only",
        /// Undo material could not be secured.
        CaptureFailed = "capture.failed",
        /// A maintainer script failed.
        ScriptFailed = "script.failed",
        /// dpkg or apt failed.
        DpkgFailed = "dpkg.failed",
        /// The result is not that of the plan.
        CheckMismatch = "check.mismatch",
        /// A service that ran before does not run after.
        ServiceFailed = "service.failed",
        /// A check of the administrator's own failed after the change.
        CheckFailed = "check.failed",
        /// What an undo needs is gone.
        UndoMaterial = "undo.material",
        /// An undo failed.
        UndoFailed = "undo.failed",
        /// After an undo something still differs.
        UndoIncomplete = "undo.incomplete",
        /// There is nothing to undo.
        UndoNothing = "undo.nothing",
        /// Later changes stand in the way of an undo.
        UndoConflict = "undo.conflict",
        /// No transaction has that id.
        TransactionUnknown = "transaction.unknown",
        /// No generation has that number.
        GenerationUnknown = "generation.unknown",
        /// No live ignore has that number.
        IgnoreUnknown = "ignore.unknown",
        /// The transaction's state does not allow that.
        TransactionState = "transaction.state",
        /// Too many transactions wait.
        QueueFull = "queue.full",
        /// A transaction needs a person first.
        QueueClosed = "queue.closed",
        /// It failed lately and is left alone for a while.
        BackoffActive = "backoff.active",
        /// Stopped on request.
        Cancelled = "cancelled",
        /// Waited too long.
        Expired = "expired",
        /// The worker ended without a result.
        WorkerLost = "worker.lost",
        /// The worker could not be started.
        WorkerFailed = "worker.failed",
        /// The record could not be read or written.
        StoreFailed = "store.failed",
        /// The record is of a newer version: it is read and not written.
        StoreNewer = "store.newer",
        /// The record is not what was written.
        AuditBroken = "audit.broken",
        /// A defect of Backstep.
        Internal = "internal",
    }
}

closed_enum! {
    /// How bad it is.
    pub enum Severity("severity") {
        /// Worth knowing; the work goes on.
        Warning = "warning",
        /// This request or transaction fails.
        Error = "error",
        /// Backstep itself cannot go on.
        Fatal = "fatal",
    }
}

impl ErrorCode {
    /// The last element of the D-Bus error name: `script.failed` → `ScriptFailed`.
    #[must_use]
    pub fn dbus_name(self) -> String {
        let mut name = String::from("org.backstep1.Error.");
        for word in self.as_str().split(['.', '-']) {
            let mut chars = word.chars();
            name.extend(chars.next().map(|c| c.to_ascii_uppercase()));
            name.push_str(chars.as_str());
        }
        name
    }

    /// The code of a D-Bus error name.
    #[must_use]
    pub fn from_dbus_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.dbus_name() == name)
    }

    /// The client's exit code. The table is part of the interface: 2 usage, 3 not found, 4 impossible, 5 not
    /// allowed, 6 busy, 7 download or trust, 8 space, 9 failed and undone, 10 a person is needed, 11 cancelled,
    /// 12 the world moved, 14 cannot be undone, 70 a defect. (0 is success, 13 no daemon.)
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::RequestMalformed | Self::RequestUnknownOption | Self::RequestTooLarge | Self::RequestDuplicate => 2,
            Self::PackageUnknown
            | Self::PackageNotInstalled
            | Self::VersionUnknown
            | Self::TransactionUnknown
            | Self::GenerationUnknown
            | Self::IgnoreUnknown => 3,
            Self::PackageHeld
            | Self::DepsUnsatisfiable
            | Self::PlanEssential
            | Self::PlanDowngrade
            | Self::PlanFailed
            | Self::ArchiveInvalid => 4,
            Self::AuthDenied | Self::AuthUnavailable => 5,
            Self::LockBusy | Self::QueueFull | Self::QueueClosed | Self::RequestThrottled | Self::BackoffActive => 6,
            Self::FetchFailed | Self::FetchHashMismatch | Self::TrustUnsigned | Self::TrustSource => 7,
            Self::DiskFull | Self::DiskReadOnly => 8,
            Self::CaptureFailed | Self::ScriptFailed | Self::DpkgFailed | Self::CheckMismatch | Self::ServiceFailed | Self::CheckFailed => {
                9
            }
            Self::UndoFailed | Self::UndoIncomplete | Self::WorkerLost | Self::DpkgInterrupted | Self::AuditBroken => 10,
            Self::Cancelled | Self::Expired => 11,
            Self::PlanStale | Self::PlanMismatch | Self::TransactionState => 12,
            Self::PlanIrreversible | Self::UndoMaterial | Self::UndoNothing | Self::UndoConflict => 14,
            Self::WorkerFailed | Self::StoreFailed | Self::StoreNewer | Self::Internal => 70,
        }
    }

    /// How bad it is.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::StoreFailed => Severity::Fatal,
            _ => Severity::Error,
        }
    }

    /// What to do about it, for people, in one sentence.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::RequestMalformed => "See 'backstep help' for the form of a request.",
            Self::RequestUnknownOption => "Leave the option out, or see docs/dbus.md for the list.",
            Self::RequestTooLarge => "Split the request into several transactions.",
            Self::RequestDuplicate => "Use a new id, or send exactly the same request again.",
            Self::RequestThrottled => "Wait a few seconds, then ask again.",
            Self::PackageUnknown => "Check the spelling, or run 'apt update' if the package is new.",
            Self::PackageNotInstalled => "See what is installed with 'dpkg -l'.",
            Self::PackageHeld => "Release it with 'backstep unhold PACKAGE', or add --override-hold.",
            Self::VersionUnknown => "See the versions there are with 'apt list -a PACKAGE'.",
            Self::DepsUnsatisfiable => "Change the request; the packages named above stand in each other's way.",
            Self::PlanEssential => "The system may not work without it; add --allow-remove-essential if you are sure.",
            Self::PlanDowngrade => "Earlier versions may not read newer data; add --allow-downgrade if you are sure.",
            Self::PlanIrreversible => "Look at the undo column of the plan, and add --allow-irreversible to accept it.",
            Self::PlanStale => "Run the command again: it makes a new plan.",
            Self::PlanMismatch => "Read the property PlanDigest again and authorise that.",
            Self::PlanFailed => "See 'journalctl -u backstepd' and 'apt-get check'.",
            Self::AuthDenied => "Ask an administrator, or run the command as root.",
            Self::AuthUnavailable => "Check that polkit runs: 'systemctl status polkit'.",
            Self::LockBusy => "Wait until the other program has ended, or raise --lock-timeout.",
            Self::DpkgInterrupted => "Run 'backstep repair' to see what is half done, and 'dpkg --audit' for details.",
            Self::FetchFailed => "Check the network and the sources, then run 'backstep retry'.",
            Self::FetchHashMismatch => "Run 'apt update'; if it stays, the mirror or the network changes files.",
            Self::TrustUnsigned => "Only repositories signed by a trusted key are used; see apt-secure(8).",
            Self::TrustSource => "Take the repository out of apt's sources, or add it to 'known' in [sources] of the configuration.",
            Self::ArchiveInvalid => "Check the file with 'dpkg-deb --info FILE'.",
            Self::DiskFull => "Free some space and run 'backstep retry'.",
            Self::DiskReadOnly => "Remount the file system for writing, then run 'backstep retry'.",
            Self::CaptureFailed => "Nothing was changed; see 'backstep log ID'.",
            Self::ScriptFailed => "See 'backstep log ID' for the script's output.",
            Self::DpkgFailed => "See 'backstep log ID' for dpkg's output.",
            Self::CheckMismatch => "See 'backstep show ID' for the differences.",
            Self::ServiceFailed => "See 'systemctl status UNIT', or choose --services=warn.",
            Self::CheckFailed => "See 'backstep log ID' for what the check said, or choose --services=warn.",
            Self::UndoMaterial => "Fetch the missing archive into apt's cache, or choose another transaction.",
            Self::UndoFailed => "See 'backstep show ID' for what is left, and 'backstep repair'.",
            Self::UndoIncomplete => "See 'backstep show ID' for the list of differences.",
            Self::UndoNothing => "See 'backstep history' for transactions that can be undone.",
            Self::UndoConflict => {
                "Undo the later transactions first, or with it by 'backstep rollback --to': 'backstep history' lists them."
            }
            Self::TransactionUnknown => "See 'backstep history' for the ids there are.",
            Self::GenerationUnknown => "See 'backstep generation list' for the numbers there are.",
            Self::IgnoreUnknown => "See 'backstep ignore list' for the numbers there are.",
            Self::TransactionState => "See 'backstep show ID' for what the transaction allows now.",
            Self::QueueFull => "Wait until a transaction has ended: 'backstep list'.",
            Self::QueueClosed => "See 'backstep status' for the transaction, and 'backstep repair' for what can be decided.",
            Self::BackoffActive => "See 'backstep backoff list' for why, and 'backstep backoff clear' to let it run again.",
            Self::Cancelled => "Start it again with 'backstep retry ID'.",
            Self::Expired => "Start it again with 'backstep retry ID'.",
            Self::WorkerLost => "See 'backstep show ID' for what became of it, and 'backstep repair' if it needs a decision.",
            Self::WorkerFailed => "See 'journalctl -u backstepd' and 'systemctl status backstep-worker@*'.",
            Self::StoreFailed => "Check space and health of the disk under /var/lib/backstep.",
            Self::StoreNewer => "Install the version of Backstep that wrote the record, or a newer one; reading works meanwhile.",
            Self::AuditBroken => "Keep the file as it is, compare it with a backup, and find out who could write to it.",
            Self::Internal => "Please report it with 'journalctl -u backstepd'.",
        }
    }
}

/// An error with its code and a text for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// The stable code.
    pub code: ErrorCode,
    /// What happened, lower case, no full stop.
    pub text: String,
}

impl Failure {
    /// A failure.
    #[must_use]
    pub fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dbus_names_are_unique_and_lead_back() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_dbus_name(&code.dbus_name()), Some(*code));
        }
        assert_eq!(ErrorCode::ScriptFailed.dbus_name(), "org.backstep1.Error.ScriptFailed");
        assert_eq!(ErrorCode::FetchHashMismatch.dbus_name(), "org.backstep1.Error.FetchHashMismatch");
    }

    #[test]
    fn every_exit_code_is_of_the_documented_table() {
        for code in ErrorCode::ALL {
            assert!([2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 70].contains(&code.exit_code()), "{code}");
        }
    }
}
