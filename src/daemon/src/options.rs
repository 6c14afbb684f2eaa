//! The daemon's command line. Everything a test needs to change is a flag; the environment changes nothing.

use std::path::PathBuf;

use clap::Parser;

/// Runs package transactions that can be undone, and serves them on D-Bus.
#[derive(Debug, Clone, Parser)]
#[command(name = "backstepd", version)]
pub struct Options {
    /// The bus to serve: `system`, `session` or an address.
    #[arg(long, default_value = "system")]
    pub bus: String,
    /// The record, the spool, attempts and undo material.
    #[arg(long, default_value = "/var/lib/backstep")]
    pub state_dir: PathBuf,
    /// Public facts while the daemon is away.
    #[arg(long, default_value = "/run/backstep")]
    pub runtime_dir: PathBuf,
    /// The configuration file; drop-ins lie beside it in `<file>.d/*.toml`.
    #[arg(long, default_value = "/etc/backstep/backstep.toml")]
    pub config: PathBuf,
    /// What is ignored, for apt; without `--simulate` the file that apt reads.
    #[arg(long)]
    pub preferences: Option<PathBuf>,
    /// Change nothing: a made-up set of packages behind the real interface, for developers of clients.
    #[arg(long)]
    pub simulate: bool,
    /// With `--simulate`: ask the bus's polkit all the same, as tests of rights need it.
    #[arg(long, requires = "simulate")]
    pub ask_polkit: bool,
    /// Start the worker and the planner as children instead of systemd units.
    #[arg(long)]
    pub no_systemd: bool,
    /// The worker's program, without systemd.
    #[arg(long, default_value = "/usr/libexec/backstep/backstep-worker")]
    pub worker: PathBuf,
    /// The planner's program, without systemd.
    #[arg(long, default_value = "/usr/libexec/backstep/backstep-planner")]
    pub planner: PathBuf,
    /// The planner's socket, with systemd.
    #[arg(long, default_value = "/run/backstep-planner.sock")]
    pub planner_socket: PathBuf,
    /// Stay when there is nothing to do.
    #[arg(long)]
    pub no_idle_exit: bool,
}
