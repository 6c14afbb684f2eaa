//! The command line's grammar. Man pages and completions are made from it.

use std::path::PathBuf;

use backstep_core::actor::Origin;
use backstep_core::request::{ConffilePolicy, OnFailure, ServicePolicy};
use backstep_core::{Kind, Tag, TransactionState, UnknownName};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::moment::{Moment, Since};
use crate::record_args::{
    ArchiveArgs, AuditVerb, BackupArgs, BlameArgs, DiffArgs, GenerationVerb, GenerationsArgs, InventoryArgs, REDACT_HELP, RedactArgs,
    ReportArgs, RestoreArgs, StatsArgs, WhyArgs,
};
use crate::upkeep_args::{BackoffVerb, IgnoreVerb};

const AFTER: &str = "\
Exit status:
  0 success, nothing to do   2 usage                  3 not found
  4 impossible               5 not allowed            6 busy
  7 download or trust        8 space                  9 failed and undone
  10 a person is needed      11 cancelled             12 the system moved
  13 no daemon               14 cannot be undone      70 a defect
  130 left with Ctrl-C while the transaction goes on

Plain runs of apt are transactions too: `history` shows them and `rollback` undoes them. The hooks that record them \
are 05backstep and 95backstep in /etc/apt/apt.conf.d; what happens when they cannot keep undo material is \
on-failure in section [apt] of /etc/backstep/backstep.toml: \"go-on\" or \"refuse\". What their scripts change outside the \
packages' files and /etc is kept, too, once /etc/apt/apt.conf.d/06backstep-guard is a link to \
/usr/share/backstep/apt-guard.conf.";

const PACKAGES_HELP: &str = "\
Packages are written NAME, NAME:ARCH, NAME=VERSION or NAME:ARCH=VERSION. A sign at the end asks for another \
action than the command's: NAME- removes, NAME_ purges, NAME+ installs. A + is a sign only where installing is \
not what the command does anyway, and never in a name that ends in ++ (g++ is a name); write NAME:ARCH for a \
name that ends in one +, such as memtest86+. A path with a slash (./hello.deb) is a local archive.";

const INVENTORY_HELP: &str = "\
What changes packages without being asked of Backstep is on record, too, each as a transaction and a generation of its \
own: runs of apt and of dpkg with who ran them, by hooks in /etc/apt/apt.conf.d and /etc/dpkg/dpkg.cfg.d; what came \
past the hooks (BY is \"found\") when the daemon next looks, and then nobody knows who it was. `backstep rollback` \
undoes them by packages.";

/// One of a closed enum's names: completions offer them, and the error of another word lists them.
pub(crate) fn one_of<T>(names: impl Iterator<Item = &'static str>) -> impl TypedValueParser<Value = T>
where
    T: std::str::FromStr<Err = UnknownName> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| name.parse())
}

/// Longer than it takes systemd to find that the daemon hangs (90 s) and to start it anew.
const PATIENCE: u64 = 180;

/// Undo for apt: package changes as transactions that complete or are undone.
#[derive(Debug, Parser)]
#[command(name = "backstep", version, after_help = AFTER, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Print JSON for programs: one object or array, or one object a line for watch and --each
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print results and errors only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Show no progress
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,
    /// The bus: system, session or an address
    #[arg(long, global = true, hide = true, value_name = "ADDRESS", default_value = "system")]
    pub(crate) bus: String,
    /// How long the daemon may be away while a transaction is followed
    #[arg(long, global = true, hide = true, value_name = "SECONDS", default_value_t = PATIENCE)]
    pub(crate) patience: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Change(ChangeVerb),
    /// Show what a command would do, and change nothing
    Plan {
        #[command(subcommand)]
        verb: ChangeVerb,
    },
    /// Stop a transaction; what it changed is undone
    Cancel(IdArgs),
    /// Ask for the same as an ended transaction again
    Retry(RetryArgs),
    /// Show what the daemon does, what waits and what needs a person
    Status,
    /// List transactions that have not ended
    List(ListArgs),
    /// Show one transaction with its packages, steps and differences
    Show(ShowArgs),
    /// Show what apt, dpkg and maintainer scripts said
    Log(LogArgs),
    /// List all transactions, newest first
    History(HistoryArgs),
    /// Follow a running transaction
    Watch(WatchArgs),
    /// Show how each kind of transaction fared, and which steps take long
    Stats(StatsArgs),
    /// Show which transaction brought a package, and on whose request
    Why(WhyArgs),
    /// List packages that plain apt or dpkg changed last, past Backstep
    #[command(after_help = INVENTORY_HELP)]
    Inventory(InventoryArgs),
    /// Show how a transaction changed configuration files, line by line
    Diff(DiffArgs),
    /// Show which transactions changed a file, and with which package
    Blame(BlameArgs),
    /// Keep the undo material of a transaction, whatever the limits say
    Pin(IdArgs),
    /// Leave the undo material of a transaction to the limits again
    Unpin(IdArgs),
    /// List what changed the system, a line per generation, newest first
    Timeline(GenerationsArgs),
    /// List the change-sets of the record, or show one
    Generation {
        #[command(subcommand)]
        verb: GenerationVerb,
    },
    /// Check the record, or write it out for other programs
    Audit {
        #[command(subcommand)]
        verb: AuditVerb,
    },
    /// Write a page to look at: timeline, durations, failures, most-changed packages
    Report(ReportArgs),
    /// Copy the whole record to a new file while it is in use
    Backup(BackupArgs),
    /// Take a text out of the record for good: a name, a secret
    #[command(after_help = REDACT_HELP)]
    Redact(RedactArgs),
    /// Move old transactions to files beside the record, where they are read as before (root)
    Archive(ArchiveArgs),
    /// Make a verified record of the one in use, or of a backup, as it is or was (root)
    Restore(RestoreArgs),
    /// Leave packages that failed alone for a while, or let them run again
    Backoff {
        #[command(subcommand)]
        verb: BackoffVerb,
    },
    /// Say which versions nobody is offered, also not by apt
    Ignore {
        #[command(subcommand)]
        verb: IgnoreVerb,
    },
    /// Show what is half done, and decide how a transaction goes on
    Repair(RepairArgs),
    /// The same commands, by noun and verb
    Transaction {
        #[command(subcommand)]
        verb: TransactionVerb,
    },
    /// Write man pages or completions
    #[command(hide = true)]
    Generate {
        /// What to write
        what: Generated,
        /// Where to; made when absent
        dir: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ChangeVerb {
    /// Install packages
    #[command(after_help = PACKAGES_HELP)]
    Install(PackagesArgs),
    /// Remove packages; their configuration stays
    #[command(after_help = PACKAGES_HELP)]
    Remove(PackagesArgs),
    /// Remove packages with their configuration
    #[command(after_help = PACKAGES_HELP)]
    Purge(PackagesArgs),
    /// Bring installed packages to their newest version
    #[command(after_help = PACKAGES_HELP)]
    Update(PackagesArgs),
    /// Bring all packages to their newest version without removing any
    Upgrade(ChangeOptions),
    /// Bring all packages to their newest version, removals allowed
    FullUpgrade(ChangeOptions),
    /// Remove packages that nothing needs any more
    Autoremove(ChangeOptions),
    /// Bring packages to an earlier version: NAME=VERSION
    Downgrade(PackagesArgs),
    /// Unpack and configure installed packages again
    Reinstall(PackagesArgs),
    /// Keep packages at their version
    Hold(PackagesArgs),
    /// Let held packages move again
    Unhold(PackagesArgs),
    /// Undo a finished transaction by a new one
    Rollback(RollbackArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum TransactionVerb {
    /// List transactions that have not ended
    List(ListArgs),
    /// Show one transaction
    Show(ShowArgs),
    /// Undo a finished transaction by a new one
    Rollback(RollbackArgs),
    /// Stop a transaction
    Cancel(IdArgs),
    /// Show its log
    Log(LogArgs),
    /// Follow it
    Watch(WatchArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PackagesArgs {
    /// Packages
    #[arg(required_unless_present = "from", value_name = "PACKAGE")]
    pub(crate) packages: Vec<String>,
    /// Read packages from a file, or from standard input when it is -: one a line, or ended by NUL, or a JSON array
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// Make a transaction of each package: what fails leaves the others
    #[arg(long)]
    pub(crate) each: bool,
    #[command(flatten)]
    pub(crate) options: ChangeOptions,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    #[command(flatten)]
    pub(crate) target: RollbackTarget,
    /// Only these of its packages: NAME or NAME:ARCH
    #[arg(value_name = "PACKAGE", requires = "id")]
    pub(crate) packages: Vec<String>,
    #[command(flatten)]
    pub(crate) options: ChangeOptions,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct RollbackTarget {
    /// The transaction: its id or the last digits of it
    pub(crate) id: Option<String>,
    /// The last one that completed
    #[arg(long)]
    pub(crate) last: bool,
    /// The last one that failed and left differences
    #[arg(long)]
    pub(crate) last_failed: bool,
    /// The first one since a time, or this one, and all that came after it: 2h, 2026-11-01, "2026-11-01 14:30" or an id
    #[arg(long, value_name = "TIME|ID")]
    pub(crate) to: Option<Since>,
}

/// How a change is made.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ChangeOptions {
    #[command(flatten)]
    pub(crate) run: RunOptions,
    /// Why, for the record
    #[arg(short = 'm', long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
    /// A word to find it again by, such as ticket:4711 or env=prod; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<Tag>,
    /// Install recommended packages too
    #[arg(long, overrides_with = "no_install_recommends")]
    pub(crate) install_recommends: bool,
    /// Do not install recommended packages
    #[arg(long)]
    pub(crate) no_install_recommends: bool,
    /// Also remove what is no longer needed
    #[arg(long)]
    pub(crate) autoremove: bool,
    /// Accept earlier versions
    #[arg(long)]
    pub(crate) allow_downgrade: bool,
    /// Accept the removal of essential packages
    #[arg(long)]
    pub(crate) allow_remove_essential: bool,
    /// Change packages on hold
    #[arg(long)]
    pub(crate) override_hold: bool,
    /// Accept a plan of which a part cannot be undone
    #[arg(long)]
    pub(crate) allow_irreversible: bool,
    /// When a step fails: rollback or leave
    #[arg(long, value_name = "POLICY", value_parser = one_of::<OnFailure>(OnFailure::ALL.iter().map(|one| one.as_str())), hide_possible_values = true)]
    pub(crate) on_failure: Option<OnFailure>,
    /// When a service or a check of your own fails afterwards: off, warn or undo
    #[arg(long, value_name = "POLICY", value_parser = one_of::<ServicePolicy>(ServicePolicy::ALL.iter().map(|one| one.as_str())), hide_possible_values = true)]
    pub(crate) services: Option<ServicePolicy>,
    /// Of changed configuration files: keep or replace
    #[arg(long, value_name = "POLICY", value_parser = one_of::<ConffilePolicy>(ConffilePolicy::ALL.iter().map(|one| one.as_str())), hide_possible_values = true)]
    pub(crate) conffiles: Option<ConffilePolicy>,
    /// Wait so long for another program's lock
    #[arg(long, value_name = "SECONDS")]
    pub(crate) lock_timeout: Option<u32>,
    /// Its place in the queue; higher runs first
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(crate) priority: Option<i32>,
    /// The timer's claim of its origin
    #[arg(long, hide = true)]
    pub(crate) timer: bool,
}

/// How a transaction is led to its end.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct RunOptions {
    /// Answer yes to the plan
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Show the plan and stop
    #[arg(long, alias = "simulate")]
    pub(crate) dry_run: bool,
    /// Leave as soon as the transaction is queued
    #[arg(long)]
    pub(crate) no_wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct IdArgs {
    /// The transaction: its id or the last digits of it
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    /// The transaction: its id or the last digits of it
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) run: RunOptions,
    /// Why, for the record
    #[arg(short = 'm', long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only of this kind
    #[arg(long, value_parser = one_of::<Kind>(Kind::ALL.iter().map(|one| one.as_str())), hide_possible_values = true)]
    pub(crate) kind: Option<Kind>,
    /// Only in this state
    #[arg(long, value_parser = one_of::<TransactionState>(TransactionState::ALL.iter().map(|one| one.as_str())), hide_possible_values = true)]
    pub(crate) state: Option<TransactionState>,
    /// Only those that touch this package
    #[arg(long, value_name = "NAME")]
    pub(crate) package: Option<String>,
    /// Only those with this tag
    #[arg(long)]
    pub(crate) tag: Option<Tag>,
    /// Only those of this user: a name or a number
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Only those that came through this door: cli, dbus, spool, timer or daemon
    #[arg(long, value_parser = one_of::<Origin>(Origin::ALL.iter().map(|one| one.as_str())), hide_possible_values = true)]
    pub(crate) origin: Option<Origin>,
    /// Only those requested since then: 30d, 12h, 2026-11-01 or "2026-11-01 14:30"
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Moment>,
    /// Only those requested before then
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<Moment>,
    /// Only those with this text in their comment; three characters at least
    #[arg(long)]
    pub(crate) text: Option<String>,
    /// At most so many: 50 when absent, 500 at most
    #[arg(long, short = 'n', value_name = "NUMBER")]
    pub(crate) limit: Option<u32>,
    /// Only those older than this transaction
    #[arg(long, value_name = "ID")]
    pub(crate) before: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    pub(crate) list: ListArgs,
    /// Instead, who was turned away: malformed, denied and throttled calls
    #[arg(long, conflicts_with_all = ["kind", "state", "package", "before", "origin", "since", "until", "text", "tag"])]
    pub(crate) denied: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The transaction: its id or the last digits of it
    pub(crate) id: String,
    /// Print the whole record as the daemon keeps it, in JSON
    #[arg(long)]
    pub(crate) document: bool,
    /// Show the files it changed instead, and those that others changed meanwhile
    #[arg(long, conflicts_with = "document")]
    pub(crate) files: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// The transaction: its id or the last digits of it
    pub(crate) id: String,
    /// Go on until the transaction has ended
    #[arg(short, long)]
    pub(crate) follow: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The transaction: its id or the last digits of it; the running one when absent
    pub(crate) id: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    /// A transaction that needs a decision: its id or the last digits of it
    #[arg(required_if_eq_any([("resume", "true"), ("undo", "true"), ("accept", "true")]))]
    pub(crate) id: Option<String>,
    #[command(flatten)]
    pub(crate) decision: Decision,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct Decision {
    /// Go on where it stopped
    #[arg(long)]
    pub(crate) resume: bool,
    /// Undo what it changed
    #[arg(long)]
    pub(crate) undo: bool,
    /// Leave things as they are
    #[arg(long)]
    pub(crate) accept: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Generated {
    /// One man page a command
    Man,
    /// For bash, zsh and fish
    Completions,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_kind_has_a_verb_of_its_name() {
        let command = Cli::command();
        for kind in Kind::ALL {
            assert!(command.find_subcommand(kind.as_str()).is_some(), "{kind}");
            let plan = command.find_subcommand("plan").expect("plan");
            assert!(plan.find_subcommand(kind.as_str()).is_some(), "plan {kind}");
        }
    }

    #[test]
    fn lines_people_type_are_taken_and_others_are_not() {
        let parses = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();
        for line in [
            "backstep install hello nano- g++ c=1.2",
            "backstep install -y -m why hello --json",
            "backstep plan full-upgrade --services off",
            "backstep rollback --last -y",
            "backstep transaction rollback 0123456789ab",
            "backstep rollback 0123456789ab hello libc6:amd64 -y",
            "backstep rollback --to 2h",
            "backstep rollback --to 0123456789ab --dry-run",
            "backstep history --kind install --state rolled-back -n 3",
            "backstep history --since 30d --until 2026-11-01 --origin timer --text nightly",
            "backstep history --denied --user root -n 3",
            "backstep history --tag ticket:4711",
            "backstep list --tag env=prod",
            "backstep install hello --tag ticket:4711 --tag env=prod",
            "backstep rollback --last --tag ticket:4711",
            "backstep -q --bus unix:path=/x status",
            "backstep repair 0123456789ab --undo",
            "backstep stats --since 30d",
            "backstep why libc6:amd64",
            "backstep diff 0123456789ab",
            "backstep diff 0123456789ab /etc/ssh",
            "backstep blame /etc/passwd -n 3",
            "backstep pin 0123456789ab",
            "backstep unpin 0123456789ab",
            "backstep audit verify",
            "backstep audit export --format csv --after 5 events.csv",
            "backstep audit export --format otlp",
            "backstep backup /root/record.db",
            "backstep backup --to 2026-11-01 then.db",
            "backstep restore --from record.db --to 2026-11-01T12:00 --into then.db",
            "backstep restore --event 5 --into then.db",
            "backstep redact -m why --dry-run",
            "backstep archive --before 730d --keep 50 -m 2024",
            "backstep redact -y -m why name.txt",
            "backstep ignore add linux-image-* g++=1? -m why --until 30d --suite sid",
            "backstep backoff add * --until 8h -m freeze",
            "backstep backoff clear jq --kind upgrade",
            "backstep backoff clear --all",
            "backstep backoff list",
            "backstep ignore list --all",
            "backstep ignore remove 3 4",
            "backstep inventory --all",
            "backstep timeline -n 5",
            "backstep generation list --before 12",
            "backstep generation show 12",
            "backstep upgrade --priority -5",
        ] {
            assert!(parses(line), "{line}");
        }
        for line in [
            "backstep",
            "backstep install",
            "backstep rollback",
            "backstep rollback 01 --last",
            "backstep rollback --to 2h --last",
            "backstep rollback --to soon",
            "backstep rollback 01 hello --to 2h",
            "backstep history --kind explode",
            "backstep history --origin door",
            "backstep history --since tomorrow",
            "backstep history --denied --kind install",
            "backstep list --denied",
            "backstep history --denied --tag a",
            "backstep history --tag Prod",
            "backstep install hello --tag -y",
            "backstep install hello --tag a,B",
            "backstep upgrade hello",
            "backstep repair --undo",
            "backstep why",
            "backstep diff",
            "backstep blame",
            "backstep pin",
            "backstep audit export --format xml",
            "backstep backup",
            "backstep backup --to 1d --event 5 then.db",
            "backstep restore --to 1d --event 5 --into then.db",
            "backstep restore --to 1d then.db",
            "backstep redact name.txt",
            "backstep archive",
            "backstep archive --before then",
            "backstep generation",
            "backstep generation show last",
            "backstep repair 01 --undo --accept",
            "backstep show 01 --files --document",
            "backstep install hello --on-failure maybe",
        ] {
            assert!(!parses(line), "{line}");
        }
    }
}
