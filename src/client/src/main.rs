//! `backstep`: the command line of Backstep.
//!
//! Everything goes over D-Bus to `backstepd`. Absent on purpose: any other way to the packages or to the
//! record, also when the daemon is away.

mod agent;
mod args;
mod commands;
mod error;
mod follow;
mod inlet;
mod moment;
mod package_argument;
mod package_list;
mod record_args;
mod render;
mod session;
mod ui;
mod upkeep_args;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;
use crate::error::ClientError;
use crate::ui::Ui;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ui = Ui::from_environment(&cli.global);
    match run(cli, &ui) {
        Ok(code) => code.into(),
        Err(error) => error.report(&ui).into(),
    }
}

/// Answers the exit code of a command that ran; see [`error`] for the table.
fn run(cli: Cli, ui: &Ui) -> Result<u8, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ClientError::Runtime)?;
    let result = runtime.block_on(commands::run(cli, ui));
    // A thread that waits for an answer on the terminal must not keep the program.
    runtime.shutdown_background();
    result
}
