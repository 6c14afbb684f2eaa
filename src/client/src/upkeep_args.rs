//! The arguments of commands that say what is to be left alone.

use backstep_core::Kind;
use clap::{Args, Subcommand};

use crate::args::one_of;
use crate::moment::Moment;

pub(crate) const IGNORE_HELP: &str = "\
An ignored version is offered to nobody: not by backstep, and not by apt, which reads it as a pin of priority -1 in \
/etc/apt/preferences.d/backstep.pref. That file is written from the record; edits of it are lost. What is installed \
stays installed. Who names a version (NAME=VERSION) gets it all the same. Patterns are NAME, NAME:ARCH or \
NAME=VERSION, with * and ? in names and versions; quote them.

An ignore with an end is over at that time for backstep, and within the hour after it for apt.";

#[derive(Debug, Subcommand)]
pub(crate) enum IgnoreVerb {
    /// Offer no version that fits to anybody
    #[command(after_help = IGNORE_HELP)]
    Add(IgnoreAddArgs),
    /// List what is ignored
    List(IgnoreListArgs),
    /// Take ignores back
    Remove(IgnoreRemoveArgs),
}

#[derive(Debug, Args)]
pub(crate) struct IgnoreAddArgs {
    /// Packages: NAME, NAME:ARCH or NAME=VERSION, with * and ?
    #[arg(required = true, value_name = "PATTERN")]
    pub(crate) patterns: Vec<String>,
    /// Why, for the record and for apt's file
    #[arg(short = 'm', long, value_name = "TEXT", required = true)]
    pub(crate) comment: String,
    /// When it ends: 30d or 12h from now, 2026-11-01 or "2026-11-01 14:30"
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<Moment>,
    /// Only versions of this suite or codename: trixie-backports
    #[arg(long, conflicts_with = "from")]
    pub(crate) suite: Option<String>,
    /// Only versions of sources that say they are of this origin: Debian
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) from: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct IgnoreListArgs {
    /// Also those that are over or were taken back
    #[arg(long, short)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct IgnoreRemoveArgs {
    /// Their numbers
    #[arg(required = true, value_name = "NUMBER")]
    pub(crate) numbers: Vec<u64>,
    /// Why, for the record
    #[arg(short = 'm', long, value_name = "TEXT", default_value = "")]
    pub(crate) comment: String,
}

pub(crate) const BACKOFF_HELP: &str = "\
A package whose transaction failed is left alone by what runs unattended (backstep-upgrade.timer): after the first \
failure for an hour, twice as long with every further one in a row and when something had to be undone, a week at \
most, and a tenth more or less by chance. Upgrades leave it out and say so in their plan. Its next success ends \
that. Whoever asks for it by hand is warned and served. `*` is the whole system.";

#[derive(Debug, Subcommand)]
pub(crate) enum BackoffVerb {
    /// List what is left alone
    #[command(after_help = BACKOFF_HELP)]
    List(BackoffListArgs),
    /// Have packages left alone by what runs unattended
    #[command(after_help = BACKOFF_HELP)]
    Add(BackoffAddArgs),
    /// Let it run again
    Clear(BackoffClearArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BackoffListArgs {
    /// Also those that are over or were ended
    #[arg(long, short)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BackoffAddArgs {
    /// Packages, or * for the whole system
    #[arg(required = true, value_name = "PACKAGE")]
    pub(crate) subjects: Vec<String>,
    /// Only transactions of this kind
    #[arg(long, value_parser = one_of::<Kind>(Kind::ALL.iter().map(|one| one.as_str())), hide_possible_values = true)]
    pub(crate) kind: Option<Kind>,
    /// How long: 30d or 12h from now, 2026-11-01 or "2026-11-01 14:30"; a year at most
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Moment,
    /// Why, for the record
    #[arg(short = 'm', long, value_name = "TEXT")]
    pub(crate) comment: String,
}

#[derive(Debug, Args)]
pub(crate) struct BackoffClearArgs {
    /// Packages, or * for what is set for the whole system
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "PACKAGE")]
    pub(crate) subjects: Vec<String>,
    /// Everything that is backed off
    #[arg(long)]
    pub(crate) all: bool,
    /// Only transactions of this kind
    #[arg(long, value_parser = one_of::<Kind>(Kind::ALL.iter().map(|one| one.as_str())), hide_possible_values = true)]
    pub(crate) kind: Option<Kind>,
    /// Why, for the record
    #[arg(short = 'm', long, value_name = "TEXT", default_value = "")]
    pub(crate) comment: String,
}
