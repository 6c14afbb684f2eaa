//! The arguments of commands that ask the record as a whole.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::moment::Moment;

#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// The package: NAME or NAME:ARCH
    pub(crate) package: String,
}

#[derive(Debug, Args)]
pub(crate) struct InventoryArgs {
    /// Every installed package, not only those
    #[arg(long, short)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The transaction: its id or the last digits of it
    pub(crate) id: String,
    /// Only this configuration file, or those below this folder
    pub(crate) path: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BlameArgs {
    /// The file
    pub(crate) path: PathBuf,
    /// At most so many changes: 50 when absent, 500 at most
    #[arg(long, short = 'n', value_name = "NUMBER")]
    pub(crate) limit: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct GenerationsArgs {
    /// At most so many: 50 when absent, 500 at most
    #[arg(long, short = 'n', value_name = "NUMBER")]
    pub(crate) limit: Option<u32>,
    /// Only those older than this generation
    #[arg(long, value_name = "NUMBER")]
    pub(crate) before: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GenerationVerb {
    /// List generations, newest first
    List(GenerationsArgs),
    /// Show one generation and every row that was written under it
    Show(GenerationArgs),
}

#[derive(Debug, Args)]
pub(crate) struct GenerationArgs {
    /// The generation's number
    pub(crate) number: u64,
}

#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// Only what ended since then: 30d, 12h, 2026-11-01 or "2026-11-01 14:30"
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Moment>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditVerb {
    /// Check that the record is what was written; say the first place where it is not
    Verify,
    /// Write every event of the record, for other programs
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// How: jsonl (an object a line), csv, or otlp (OpenTelemetry)
    #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
    pub(crate) format: ExportFormat,
    /// Only events after the one with this number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) after: u64,
    /// A new file to write to; standard output when absent
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ExportFormat {
    /// An object a line
    Jsonl,
    /// Comma-separated values with a line of names
    Csv,
    /// OpenTelemetry's log records as JSON, a request a line
    Otlp,
}

impl ExportFormat {
    /// Its name on the bus.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Otlp => "otlp",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// As one page of HTML that needs no server and no network
    #[arg(long, required = true)]
    pub(crate) html: bool,
    /// Only what was requested or ended since then: 30d, 12h, 2026-11-01 or "2026-11-01 14:30"
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Moment>,
    /// A new file to write to; standard output when absent
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// A new file to write to; never one that is there, never the record in use
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) into: PathBuf,
    /// A backup to read; the record in use when absent
    #[arg(long, value_name = "BACKUP")]
    pub(crate) from: Option<PathBuf>,
    /// With everything up to then: 30d, 12h, 2026-11-01 or 2026-11-01T14:30
    #[arg(long, value_name = "TIME", conflicts_with = "event")]
    pub(crate) to: Option<Moment>,
    /// With everything up to the event with this number
    #[arg(long, value_name = "NUMBER")]
    pub(crate) event: Option<u64>,
}

pub(crate) const REDACT_HELP: &str = "\
The text is read from FILE or from standard input, and not from the command line, where others could see it; a line end at its end is \
no part of it. It goes out of comments, messages, names of users, requests, documents and logs, for good; [redacted NUMBER] stands there, \
and 'backstep generation show NUMBER' says who did it, when and why. What was done stays, and so does the proof of it: 'backstep \
audit verify' says how much was redacted. Copies elsewhere (backups, exports, store.db.schema-*, journald) keep the text, and who can \
guess it can still confirm the guess by the hash.";

#[derive(Debug, Args)]
pub(crate) struct RedactArgs {
    /// A file with the text; - and none are standard input
    pub(crate) file: Option<PathBuf>,
    /// Why, for the record
    #[arg(short = 'm', long, value_name = "TEXT", required = true)]
    pub(crate) comment: String,
    /// Only say where it is
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do it without asking
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ArchiveArgs {
    /// What had ended by then: 730d, 2026-01-01 or "2026-01-01 14:30"
    #[arg(long, value_name = "TIME")]
    pub(crate) before: Moment,
    /// The newest so many transactions stay in any case
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    pub(crate) keep: u32,
    /// Why, for the record
    #[arg(short = 'm', long, value_name = "TEXT", default_value = "")]
    pub(crate) comment: String,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// A new file to write to, an SQLite database afterwards
    pub(crate) file: PathBuf,
    /// The record as it was then: 30d, 12h, 2026-11-01 or "2026-11-01 14:30"
    #[arg(long, value_name = "TIME", conflicts_with = "event")]
    pub(crate) to: Option<Moment>,
    /// The record as it was after the event with this number
    #[arg(long, value_name = "NUMBER")]
    pub(crate) event: Option<u64>,
}
