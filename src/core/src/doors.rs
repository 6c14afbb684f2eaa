//! The doors: everything through which somebody outside reaches Backstep, who may use it, and what it reveals.
//!
//! docs/security.md is made from this table. Tests compare it with the D-Bus contract, the policy file, the client's
//! verbs and the files of a running daemon: what has no row fails them.

use crate::access::Permission;

closed_enum! {
    /// A method of our interfaces.
    pub enum Method("method") {
        /// Takes a request.
        CreateTransaction = "CreateTransaction",
        /// Takes, plans and executes one.
        Submit = "Submit",
        /// Finds a transaction.
        GetTransaction = "GetTransaction",
        /// Takes an earlier request again.
        Retry = "Retry",
        /// Lists transactions.
        ListTransactions = "ListTransactions",
        /// How transactions fared.
        GetStatistics = "GetStatistics",
        /// Lists calls that were turned away.
        ListRefusals = "ListRefusals",
        /// Says which versions nobody is offered.
        AddIgnore = "AddIgnore",
        /// Takes that back.
        RemoveIgnore = "RemoveIgnore",
        /// Lists what is ignored.
        ListIgnores = "ListIgnores",
        /// Has work left alone for a while.
        AddBackoff = "AddBackoff",
        /// Takes that back.
        ClearBackoffs = "ClearBackoffs",
        /// Lists what is left alone.
        ListBackoffs = "ListBackoffs",
        /// Takes a text out of the record.
        Redact = "Redact",
        /// Moves old transactions to archives.
        Archive = "Archive",
        /// Has a transaction planned.
        Prepare = "Prepare",
        /// Authorises and queues it.
        Execute = "Execute",
        /// Stops it.
        Cancel = "Cancel",
        /// Goes on with an undo.
        Resume = "Resume",
        /// Undoes what is stuck.
        Undo = "Undo",
        /// Accepts it as it is.
        Accept = "Accept",
        /// Its children's output.
        ReadLog = "ReadLog",
        /// The files it changed.
        ReadFiles = "ReadFiles",
        /// What configuration files held before and after it.
        ReadContents = "ReadContents",
        /// Keeps its undo material.
        Pin = "Pin",
        /// Leaves its undo material to the limits.
        Unpin = "Unpin",
        /// Its whole record.
        GetDocument = "GetDocument",
        /// Why a package is there or not.
        ExplainPackage = "ExplainPackage",
        /// Which transactions changed a file.
        FindFile = "FindFile",
        /// How much undo material is kept.
        GetUndoMaterial = "GetUndoMaterial",
        /// Lists generations.
        ListGenerations = "ListGenerations",
        /// One generation.
        GetGeneration = "GetGeneration",
        /// The rows that were written under one.
        ListChanges = "ListChanges",
        /// Lists what is installed, and through what.
        ListInventory = "ListInventory",
        /// How steps fared.
        GetStepStatistics = "GetStepStatistics",
        /// Which packages changed most.
        GetPackageStatistics = "GetPackageStatistics",
        /// How changes of packages ended before.
        ListRisks = "ListRisks",
        /// Checks the record.
        Verify = "Verify",
        /// Every event.
        Export = "Export",
        /// A copy of the record.
        BackUp = "BackUp",
        /// The record as it was, from itself or a backup.
        Restore = "Restore",
    }
}

/// Who may use a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Everybody who reaches the bus.
    Everybody,
    /// The transaction's owner and root.
    Owner,
    /// The owner and root; others with the permission.
    OwnerOr(Permission),
    /// root, and others with the permission.
    Holder(Permission),
    /// The owner with every permission that the plan needs, and root.
    Plan,
    /// Everybody about themselves; about others root and holders of the permission.
    SelfOr(Permission),
    /// root only: of files by their modes.
    Root,
    /// Everybody on the machine, by file modes.
    Machine,
}

/// Where a door is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A method of the manager.
    ManagerMethod,
    /// A property of the manager.
    ManagerProperty,
    /// A method of a transaction.
    TransactionMethod,
    /// A property of a transaction.
    TransactionProperty,
    /// A signal of a transaction.
    TransactionSignal,
    /// A method of the record.
    RecordMethod,
    /// What the bus itself and its standard interfaces offer.
    Standard,
    /// A verb of the command line.
    Verb,
    /// A file or folder; in names `*` stands for any name.
    File,
    /// A program that only our units and apt start.
    Program,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Door {
    /// Where it is.
    pub place: Place,
    /// Its name.
    pub name: &'static str,
    /// Who may use it.
    pub who: Who,
    /// What it reveals or does.
    pub reveals: &'static str,
}

/// Every door, in the order of the document.
#[must_use]
pub fn doors() -> Vec<Door> {
    let methods = Method::ALL.iter().map(|method| method.door());
    let mut doors: Vec<Door> = methods.chain(OTHERS.iter().copied()).chain(properties()).collect();
    doors.sort_by_key(|door| door.place);
    doors
}

impl Method {
    /// Its row.
    #[must_use]
    pub const fn door(self) -> Door {
        let (place, who, reveals) = self.row();
        Door { place, name: self.as_str(), who, reveals }
    }

    const fn row(self) -> (Place, Who, &'static str) {
        use Place::{ManagerMethod, RecordMethod, TransactionMethod};
        match self {
            Self::CreateTransaction => (
                ManagerMethod,
                Who::Everybody,
                "takes a request, bounded; nothing is planned, no path is opened; a rollback of another's needs view-all",
            ),
            Self::Submit => (ManagerMethod, Who::Plan, "the same, then the unprivileged planner, then as Execute"),
            Self::GetTransaction => (ManagerMethod, Who::Everybody, "whether an id exists, and its object's path"),
            Self::Retry => (ManagerMethod, Who::OwnerOr(Permission::ViewAll), "takes a recorded request again; it needs its own Execute"),
            Self::ListTransactions => (
                ManagerMethod,
                Who::SelfOr(Permission::ViewAll),
                "ids, kinds, states and times of all; packages, texts and users of one's own",
            ),
            Self::GetStatistics => (ManagerMethod, Who::Everybody, "counts and durations of each kind"),
            Self::ListRefusals => (ManagerMethod, Who::SelfOr(Permission::ViewAll), "who was turned away, when, why; of oneself"),
            Self::AddIgnore => (ManagerMethod, Who::Holder(Permission::Ignore), "pins versions away in apt's preferences"),
            Self::RemoveIgnore => (ManagerMethod, Who::Holder(Permission::Ignore), "takes such a pin back"),
            Self::ListIgnores => (
                ManagerMethod,
                Who::SelfOr(Permission::ViewAll),
                "patterns, comments and times, as in the file that apt reads; users of one's own",
            ),
            Self::AddBackoff => (ManagerMethod, Who::Holder(Permission::Backoff), "holds unattended work back for a time"),
            Self::ClearBackoffs => (ManagerMethod, Who::Holder(Permission::Backoff), "lets it run again"),
            Self::ListBackoffs => (
                ManagerMethod,
                Who::SelfOr(Permission::ViewAll),
                "that something is backed off and until when; packages, causes and users of one's own",
            ),
            Self::Redact => (
                ManagerMethod,
                Who::Holder(Permission::Redact),
                "takes a text out of record, documents and logs for good, and says where it stood; who did it and why stays",
            ),
            Self::Archive => (ManagerMethod, Who::Root, "moves old transactions to files beside the record, and says which"),
            Self::Prepare => (TransactionMethod, Who::Owner, "starts the unprivileged planner"),
            Self::Execute => (TransactionMethod, Who::Plan, "queues exactly the plan of the digest"),
            Self::Cancel => (TransactionMethod, Who::OwnerOr(Permission::CancelAny), "stops it; what was changed is undone"),
            Self::Resume => (TransactionMethod, Who::Holder(Permission::ResolveAttention), "goes on with an undo that stopped"),
            Self::Undo => (TransactionMethod, Who::Holder(Permission::ResolveAttention), "undoes what stopped half way"),
            Self::Accept => (TransactionMethod, Who::Holder(Permission::ResolveAttention), "leaves things as they are"),
            Self::ReadLog => (TransactionMethod, Who::OwnerOr(Permission::ViewLogs), "the output of apt, dpkg and maintainer scripts"),
            Self::ReadFiles => {
                (TransactionMethod, Who::OwnerOr(Permission::ViewAll), "which files were changed, by it and by others meanwhile")
            }
            Self::ReadContents => (
                TransactionMethod,
                Who::OwnerOr(Permission::ViewAll),
                "what configuration files held before and after; of files that not everybody on the machine could read, to root only",
            ),
            Self::Pin => (TransactionMethod, Who::Holder(Permission::Pin), "keeps its undo material whatever the limits say"),
            Self::Unpin => (TransactionMethod, Who::Holder(Permission::Pin), "lets the limits decide about its undo material"),
            Self::GetDocument => (TransactionMethod, Who::OwnerOr(Permission::ViewAll), "the whole record of it"),
            Self::ExplainPackage => (
                RecordMethod,
                Who::SelfOr(Permission::ViewAll),
                "whether a package is there and which transactions touched it; texts and users of one's own",
            ),
            Self::FindFile => (
                RecordMethod,
                Who::SelfOr(Permission::ViewAll),
                "which of one's own transactions changed a path, and how; opens no path that a caller named",
            ),
            Self::GetUndoMaterial => (RecordMethod, Who::Everybody, "counts and sizes of undo material, and the limits"),
            Self::ListGenerations => (
                RecordMethod,
                Who::SelfOr(Permission::ViewAll),
                "numbers, times and sizes of all change-sets; packages, texts and users of one's own",
            ),
            Self::GetGeneration => (RecordMethod, Who::SelfOr(Permission::ViewAll), "the same of one"),
            Self::ListChanges => (RecordMethod, Who::OwnerOr(Permission::ViewAll), "every row of the record that was written under one"),
            Self::ListInventory => (
                RecordMethod,
                Who::SelfOr(Permission::ViewAll),
                "what is installed, as dpkg tells everybody; which transactions made it so, of one's own",
            ),
            Self::GetStepStatistics => (RecordMethod, Who::Everybody, "counts and durations of each kind's steps"),
            Self::GetPackageStatistics => (RecordMethod, Who::SelfOr(Permission::ViewAll), "packages and how often they changed"),
            Self::ListRisks => (
                RecordMethod,
                Who::SelfOr(Permission::ViewAll),
                "how often changes of packages failed, when last and with which code; of one's own transactions",
            ),
            Self::Verify => (RecordMethod, Who::Holder(Permission::ViewAll), "reads the whole record; how many events, and its last hash"),
            Self::Export => (RecordMethod, Who::Holder(Permission::AuditExport), "every event, into the caller's pipe"),
            Self::BackUp => (RecordMethod, Who::Holder(Permission::AuditExport), "a copy of the record, into the caller's pipe"),
            Self::Restore => (RecordMethod, Who::Root, "reads the caller's backup; a verified record as it was, into the caller's pipe"),
        }
    }
}

/// Properties of a transaction that everybody may read.
const PUBLIC: &[&str] = &[
    "Id",
    "Kind",
    "State",
    "Status",
    "Attempts",
    "QueuePosition",
    "Permille",
    "CreatedAt",
    "QueuedAt",
    "StartedAt",
    "FinishedAt",
    "Duration",
    "RemainingSeconds",
    "Cancellable",
    "PointOfNoReturn",
    "Actions",
    "Pinned",
];

/// Properties of a transaction that read empty for others than those in the row.
const PRIVATE: &[&str] = &[
    "Description",
    "Tags",
    "User",
    "Uid",
    "Origin",
    "Client",
    "Reverts",
    "Retries",
    "RevertedBy",
    "Plan",
    "PlanDigest",
    "PlanSummary",
    "PlanWarnings",
    "Method",
    "DownloadBytes",
    "InstalledDelta",
    "Irreversible",
    "Steps",
    "Phase",
    "CurrentPackage",
    "ErrorCode",
    "ErrorText",
    "Differences",
    "WaitsFor",
];

fn properties() -> impl Iterator<Item = Door> {
    let door = |who, reveals| move |name: &&'static str| Door { place: Place::TransactionProperty, name, who, reveals };
    let public = PUBLIC.iter().map(door(Who::Everybody, "where it stands; no package, text or user"));
    public.chain(PRIVATE.iter().map(door(Who::OwnerOr(Permission::ViewAll), "packages, texts or users; reads empty for others")))
}

const fn row(place: Place, name: &'static str, who: Who, reveals: &'static str) -> Door {
    Door { place, name, who, reveals }
}

const fn property(name: &'static str, reveals: &'static str) -> Door {
    row(Place::ManagerProperty, name, Who::Everybody, reveals)
}

const fn signal(name: &'static str, who: Who, reveals: &'static str) -> Door {
    row(Place::TransactionSignal, name, who, reveals)
}

const fn verb(name: &'static str, who: Who, reveals: &'static str) -> Door {
    row(Place::Verb, name, who, reveals)
}

const fn file(name: &'static str, who: Who, reveals: &'static str) -> Door {
    row(Place::File, name, who, reveals)
}

const CHANGES: &str = "CreateTransaction, Prepare, ListRisks, Execute";

const OTHERS: &[Door] = &[
    property("Version", "the daemon's version"),
    property("HostId", "the machine's id, hashed for this program"),
    property("Warnings", "what is wrong with the record: when and how it was written again, ids of documents that were refused"),
    property("Active", "paths of transactions that a worker has"),
    property("Queue", "paths of transactions that wait, in order"),
    property("Attention", "paths of transactions that need a person"),
    signal("StateChanged", Who::Everybody, "id and state"),
    signal("StepChanged", Who::Everybody, "id, step and its state"),
    signal("Progress", Who::Everybody, "id and permille"),
    signal("ErrorOccurred", Who::Owner, "code and text; sent to the owner's connection only"),
    signal("Finished", Who::Everybody, "id, state and error code"),
    row(Place::Standard, "org.freedesktop.DBus.Properties.Get", Who::Everybody, "as the property's row says"),
    row(Place::Standard, "org.freedesktop.DBus.Properties.GetAll", Who::Everybody, "as the properties' rows say"),
    row(Place::Standard, "org.freedesktop.DBus.Properties.PropertiesChanged", Who::Everybody, "public values; private ones by name"),
    row(Place::Standard, "org.freedesktop.DBus.Introspectable", Who::Everybody, "the interfaces; ids of transactions with an object"),
    row(
        Place::Standard,
        "org.freedesktop.DBus.ObjectManager",
        Who::Everybody,
        "objects with their properties, as the properties' rows say",
    ),
    row(Place::Standard, "org.freedesktop.DBus.Peer", Who::Everybody, "that the daemon answers; the machine's id"),
    row(Place::Standard, "org.freedesktop.DBus.Properties.Set", Who::Root, "no property can be set"),
    verb("install", Who::Plan, CHANGES),
    verb("remove", Who::Plan, CHANGES),
    verb("purge", Who::Plan, CHANGES),
    verb("update", Who::Plan, CHANGES),
    verb("upgrade", Who::Plan, CHANGES),
    verb("full-upgrade", Who::Plan, CHANGES),
    verb("autoremove", Who::Plan, CHANGES),
    verb("downgrade", Who::Plan, CHANGES),
    verb("reinstall", Who::Plan, CHANGES),
    verb("hold", Who::Plan, CHANGES),
    verb("unhold", Who::Plan, CHANGES),
    verb("rollback", Who::Plan, CHANGES),
    verb("plan", Who::Everybody, "CreateTransaction, Prepare, ListRisks, Cancel; of a rollback of another's for holders of view-all"),
    verb("cancel", Who::OwnerOr(Permission::CancelAny), "Cancel"),
    verb("retry", Who::OwnerOr(Permission::ViewAll), "Retry, then as a change"),
    verb("pin", Who::Holder(Permission::Pin), "Pin"),
    verb("unpin", Who::Holder(Permission::Pin), "Unpin"),
    verb("diff", Who::OwnerOr(Permission::ViewAll), "ReadContents"),
    verb("blame", Who::SelfOr(Permission::ViewAll), "FindFile"),
    verb("status", Who::Everybody, "the manager's properties, GetUndoMaterial, ListBackoffs"),
    verb("list", Who::SelfOr(Permission::ViewAll), "ListTransactions"),
    verb(
        "history",
        Who::SelfOr(Permission::ViewAll),
        "ListTransactions, narrowed by hidden facts only to what one sees; with --denied ListRefusals",
    ),
    verb("why", Who::SelfOr(Permission::ViewAll), "ExplainPackage"),
    verb("inventory", Who::SelfOr(Permission::ViewAll), "ListInventory"),
    verb("timeline", Who::SelfOr(Permission::ViewAll), "ListGenerations"),
    verb("generation", Who::SelfOr(Permission::ViewAll), "ListGenerations; GetGeneration and ListChanges"),
    verb("audit", Who::Holder(Permission::ViewAll), "Verify; Export, with its own action; writes with the caller's rights"),
    verb("backup", Who::Holder(Permission::AuditExport), "BackUp; writes with the caller's rights"),
    verb("redact", Who::Holder(Permission::Redact), "Redact"),
    verb("archive", Who::Root, "Archive"),
    verb("restore", Who::Root, "Restore; reads and writes with the caller's rights"),
    verb("show", Who::OwnerOr(Permission::ViewAll), "the transaction's properties; with --document GetDocument; with --files ReadFiles"),
    verb("log", Who::OwnerOr(Permission::ViewLogs), "ReadLog"),
    verb("watch", Who::Everybody, "the transaction's properties and signals"),
    verb("stats", Who::Everybody, "GetStatistics, GetStepStatistics"),
    verb("backoff", Who::Holder(Permission::Backoff), "AddBackoff, ClearBackoffs; ListBackoffs for everybody"),
    verb("ignore", Who::Holder(Permission::Ignore), "AddIgnore, RemoveIgnore; ListIgnores for everybody"),
    verb(
        "report",
        Who::SelfOr(Permission::ViewAll),
        "ListTransactions, GetStatistics, GetStepStatistics, GetPackageStatistics; writes with the caller's rights",
    ),
    verb("repair", Who::Holder(Permission::ResolveAttention), "properties; Resume, Undo or Accept"),
    verb("transaction", Who::Everybody, "the same verbs, by noun"),
    verb("generate", Who::Everybody, "writes man pages and completions where the caller says, with the caller's rights"),
    file("/var/lib/backstep", Who::Root, "the folder of everything below"),
    file("/var/lib/backstep/lock", Who::Root, "which daemon runs"),
    file("/var/lib/backstep/store.db*", Who::Root, "the record"),
    file("/var/lib/backstep/reserve", Who::Root, "nothing: space for the record's last words on a full disk"),
    file("/var/lib/backstep/spool", Who::Root, "the mirror of the record"),
    file("/var/lib/backstep/spool/new", Who::Root, "requests that came as files; not read yet"),
    file("/var/lib/backstep/spool/inflight", Who::Root, "documents of transactions that have not ended"),
    file("/var/lib/backstep/spool/done", Who::Root, "documents of those that have"),
    file("/var/lib/backstep/spool/invalid", Who::Root, "files that were no requests"),
    file("/var/lib/backstep/spool/tmp", Who::Root, "documents being written"),
    file("/var/lib/backstep/spool/head.json", Who::Root, "which event the documents are of, at least"),
    file("/var/lib/backstep/spool/*/*.json", Who::Root, "one transaction's document"),
    file("/var/lib/backstep/store.backup-*", Who::Root, "a copy of the record on its way into a caller's pipe"),
    file("/var/lib/backstep/store.restore-*", Who::Root, "the folder of a record that is put together for a caller's pipe"),
    file("/var/lib/backstep/store.restore-*/*", Who::Root, "the backup's copy, and the record that is made of it"),
    file("/var/lib/backstep/record-archive", Who::Root, "old transactions that have left the record"),
    file("/var/lib/backstep/record-archive/*", Who::Root, "some of them, a record of their own"),
    file("/var/lib/backstep/attempts", Who::Root, "the folder of attempts"),
    file("/var/lib/backstep/attempts/*", Who::Root, "what one worker is told, does and says"),
    file("/var/lib/backstep/attempts/*/plan.json", Who::Root, "the frozen plan"),
    file("/var/lib/backstep/attempts/*/order.json", Who::Root, "what the worker is told"),
    file("/var/lib/backstep/attempts/*/attempt.jsonl", Who::Root, "the worker's journal"),
    file("/var/lib/backstep/attempts/*/output.log", Who::Root, "what apt, dpkg and maintainer scripts write"),
    file("/var/lib/backstep/attempts/*/output.log.zst", Who::Root, "the same of an attempt that has ended, compressed"),
    file("/var/lib/backstep/attempts/*/files.jsonl", Who::Root, "which files were changed, by the change and by others"),
    file("/var/lib/backstep/attempts/*/pinned", Who::Root, "that its undo material is kept whatever the limits say"),
    file("/var/lib/backstep/attempts/*/lock", Who::Root, "whether the worker lives"),
    file("/var/lib/backstep/attempts/*/cancel", Who::Root, "that somebody asked to stop"),
    file("/var/lib/backstep/attempts/*/revoked", Who::Root, "that a later attempt took this one's place"),
    file("/var/lib/backstep/attempts/*/mismatch", Who::Root, "what apt was about to do that is not in the plan"),
    file("/var/lib/backstep/attempts/*/watch-over", Who::Root, "a named pipe: that the guard's watch is over"),
    file("/var/lib/backstep/attempts/*/refused", Who::Root, "what the guard could not keep, so that the change was refused"),
    file("/var/lib/backstep/attempts/*/unguarded", Who::Root, "why the change ran without a guard"),
    file("/var/lib/backstep/attempts/*/guard.jsonl", Who::Root, "of a plain run of apt: dpkg's calls and what their guards saw"),
    file("/var/lib/backstep/attempts/*/unsynced", Who::Root, "that what was unpacked is not durable yet"),
    file("/var/lib/backstep/attempts/*/early", Who::Root, "how much was put back before the system started"),
    file("/var/lib/backstep/attempts/*/foreign.json", Who::Root, "of a plain run of apt: what its hook wrote down before"),
    file("/var/lib/backstep/inventory", Who::Root, "what dpkg's database was when it was last accounted for"),
    file("/var/lib/backstep/inventory.lock", Who::Root, "who accounts for it"),
    file("/var/lib/backstep/foreign", Who::Root, "plain runs of apt that the daemon has not taken in yet"),
    file("/var/lib/backstep/foreign/*", Who::Root, "one of them"),
    file("/var/lib/backstep/attempts/*/.*", Who::Root, "one of these being written"),
    file("/var/lib/backstep/capture", Who::Root, "undo material: copies of the system's files"),
    file("/var/lib/backstep/capture/.lock", Who::Root, "that a worker may need undo material"),
    file("/var/lib/backstep/capture/*", Who::Root, "of one attempt"),
    file("/var/lib/backstep/capture/*/manifest", Who::Root, "how every captured path was"),
    file("/var/lib/backstep/capture/*/post-image", Who::Root, "how the commit left them"),
    file("/var/lib/backstep/capture/*/others.json", Who::Root, "which units of other packages the change stopped"),
    file("/var/lib/backstep/capture/*/before.json", Who::Root, "units, packages and alternatives before"),
    file("/var/lib/backstep/capture/*/late", Who::Root, "what was kept just before it was changed"),
    file("/var/lib/backstep/capture/*/walk", Who::Root, "the metadata of the whole system before"),
    file("/var/lib/backstep/capture/*/changes", Who::Root, "what was found to have changed"),
    file("/var/lib/backstep/capture/*/contents.jsonl", Who::Root, "what configuration files held before and after"),
    file("/var/lib/backstep/capture/*/objects", Who::Root, "the kept files"),
    file("/var/lib/backstep/capture/*/displaced", Who::Root, "what an undo moved aside"),
    file("/var/lib/backstep/archives", Who::Root, "archives in the daemon's keeping"),
    file("/run/backstep-worker", Who::Root, "archives made ready for dpkg, while a worker runs"),
    file("/run/backstep-worker/*.deb", Who::Root, "one of them"),
    file("/run/backstep", Who::Machine, "the folder of the public file"),
    file("/run/backstep/status.json", Who::Machine, "paths of active, waiting and stuck transactions: what the manager's properties say"),
    file("/run/backstep-planner.sock", Who::Root, "questions to the planner"),
    file("/etc/backstep/backstep.toml", Who::Machine, "the configuration; written by root"),
    file("/etc/backstep/backstep.toml.d/*.toml", Who::Machine, "the same"),
    file(
        "/etc/backstep/check/*.d/*",
        Who::Machine,
        "the administrator's own checks, which root runs after a change; none that others may write",
    ),
    file(
        "/etc/backstep/hook.d/*",
        Who::Machine,
        "the administrator's hooks, which root runs when a transaction has ended; none that others may write",
    ),
    file("/etc/apt/preferences.d/backstep.pref", Who::Machine, "what is ignored; written by the daemon, read by apt"),
    row(Place::Program, "backstepd", Who::Root, "the daemon; flags are for tests"),
    row(Place::Program, "backstep-worker run", Who::Root, "carries out an attempt whose order and plan are in the state folder"),
    row(Place::Program, "backstep-worker check-plan", Who::Root, "apt's hook: compares apt's list with the plan"),
    row(Place::Program, "backstep-worker dpkg-after", Who::Root, "dpkg's hook: writes down what a run by hand changed"),
    row(Place::Program, "backstep-worker hooks", Who::Root, "runs the administrator's hooks for a transaction that has ended"),
    row(Place::Program, "backstep-worker guard", Who::Root, "keeps files of the system in an attempt's capture just before they change"),
    row(Place::Program, "backstep-worker under-guard", Who::Root, "puts itself under the guard on its standard input and becomes apt"),
    row(
        Place::Program,
        "backstep-dpkg",
        Who::Root,
        "what apt calls in dpkg's place. In a transaction it decides when writes become durable and takes the plan's archives, in a \
         plain run of apt by root it goes under a guard; then, and for everybody else at once, it becomes dpkg",
    ),
    row(
        Place::Program,
        "backstep-recover",
        Who::Root,
        "puts the captured files of an attempt that a power cut ended back, before the system starts",
    ),
    row(Place::Program, "backstep-planner", Who::Root, "answers one question on its standard input, without privileges"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_door_has_two_rows_and_every_row_says_something() {
        let all = doors();
        let names: BTreeSet<_> = all.iter().map(|door| (door.place, door.name)).collect();
        assert_eq!(names.len(), all.len());
        assert!(all.iter().all(|door| !door.reveals.is_empty() && !door.reveals.contains('|')));
    }
}
