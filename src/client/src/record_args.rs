//! The arguments of commands that ask the record as a whole.

use clap::{Args, Subcommand};

use crate::moment::Moment;

#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// The package: NAME or NAME:ARCH
    pub(crate) package: String,
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
