//! The composition root: puts the parts together, recovers, serves, and ends when there is nothing to do.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use backstep_core::settings;
use backstep_engine::Manager;
use backstep_engine::ports::Clock;
use nix::fcntl::{Flock, FlockArg};

use crate::adapters::{NewIds, SpoolMirror, StoreLedger, SystemClock};
use crate::archives::Archives;
use crate::attempts::{Attempts, make_dir};
use crate::authority::Verdict;
use crate::callers::Callers;
use crate::config::Thresholds;
use crate::foreign::Runs;
use crate::inhibit::Inhibitor;
use crate::inventory::InventoryFiles;
use crate::launcher::Launcher;
use crate::objects::{Registry, emit};
use crate::options::Options;
use crate::planner::Planner;
use crate::preferences::PreferencesFile;
use crate::records::{Installed, Records};
use crate::recovery::recover;
use crate::service::{Parts, Service};
use crate::socket::Connected;
use crate::status_file::StatusFile;
use crate::{audit, config, door, foreign, idle, inventory, log, metrics, preferences, rebuild, simulate, socket, upkeep, work};

/// Runs the daemon until it is told to end or has nothing to do.
///
/// Order: lock the state, open the record, connect, recover, serve the objects, take the name, say ready.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let config = config::load(&options.config)?;
    make_dir(&options.state_dir).with_context(|| format!("cannot make {}", options.state_dir.display()))?;
    let _lock = lock_state(&options.state_dir)?;
    audit::tidy(&options.state_dir).context("cannot remove what is left of a backup")?;
    let clock = SystemClock::new()?;
    let attempts = Attempts::open(&options.state_dir)?;
    let runs = Runs::open(&options.state_dir, clock.now().boot)?;
    let host_id = crate::adapters::host_id();
    let connected = socket::connect(&options.bus, &config.limits).await;
    let Connected { connection, inflow, told, strangers } =
        connected.with_context(|| format!("cannot connect to the {} bus", options.bus))?;
    let launcher = launcher(&options, &connection, &attempts);
    let ledger = StoreLedger::open(&options.state_dir, &attempts, &host_id, clock.now())?;
    let (is_read_only, warnings) = (ledger.is_read_only(), ledger.warnings(clock.now()));
    let mirror = SpoolMirror::open(&options.state_dir.join("spool"), &host_id)?;
    let manager = Manager::new(Box::new(ledger), Box::new(mirror), Box::new(clock), Box::new(NewIds));
    let mut manager = manager.with_retention(config.retention).with_limits(config.limits.clone()).with_sources(config.sources);
    // A record that is only read is settled by the version that wrote it.
    if !is_read_only {
        recover(&mut manager, &attempts, &launcher).await?;
        take_configuration(&mut manager, &config.set);
        foreign::take_in_all(&mut manager, &runs, &attempts, &launcher).await?;
    }
    let parts = Parts {
        callers: Callers::new(&connection, inflow).await?,
        planner: planner(&options),
        launcher,
        attempts,
        runs,
        archives: Archives::open(&options.state_dir, config.limits.archive_bytes)?,
        inventory: (!options.simulate).then(|| InventoryFiles::new(&options.state_dir, Path::new("/"))),
        preferences: preferences(&options),
        records: records(&options, config.thresholds),
        archive_days: config.archive_days,
        thresholds: config.thresholds,
        defaults: config.defaults,
        host_id,
        warnings,
        limits: config.limits,
        manager,
        verdict: if options.simulate && !options.ask_polkit { Verdict::Simulated } else { Verdict::Polkit },
        connection,
    };
    let (service, notices) = Service::new(parts);
    preferences::refresh_or_log(&service);
    inventory::refresh(&service).await;
    let registry = Arc::new(Registry::default());
    registry.serve(&service).await.map_err(anyhow::Error::new)?;
    tokio::spawn(door::answer_turned_away(Arc::clone(&service), told));
    tokio::spawn(door::learn_strangers(Arc::clone(&service), strangers));
    tokio::spawn(emit(Arc::clone(&service), registry, notices, StatusFile::new(&options.runtime_dir), Inhibitor::default()));
    let told_to_end = idle::Told::listen().context("cannot listen to signals")?;
    service.connection.request_name(backstep_bus::names::BUS_NAME).await.context("cannot take the bus name")?;
    log::started(env!("CARGO_PKG_VERSION"));
    idle::ready();
    tokio::spawn(work::run(Arc::clone(&service)));
    if let Some(path) = config.metrics_file {
        tokio::spawn(metrics::run(Arc::clone(&service), path));
    }
    tokio::spawn(foreign::watch(Arc::clone(&service)));
    if upkeep::is_due(&options.state_dir) {
        tokio::spawn(upkeep::check(Arc::clone(&service)));
    }
    let patience = (!options.no_idle_exit).then_some(config.idle_exit_s);
    idle::wait(&service, told_to_end, patience).await
}

/// What the administrator chose since the last start is a change-set of its own. A disk that has no room for it keeps nobody from
/// being served: it is taken at the next start.
fn take_configuration(manager: &mut Manager, set: &BTreeMap<String, String>) {
    let text = settings::text(set.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    if let Err(failure) = manager.configure(&text, rebuild::ourselves()) {
        tracing::warn!("cannot record what the configuration says: {failure}");
    }
}

/// One daemon a state directory. The lock ends with the process.
pub fn lock_state(dir: &Path) -> anyhow::Result<Flock<File>> {
    let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(dir.join("lock"))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, errno)| anyhow::anyhow!("another backstepd uses {} ({errno})", dir.display()))
}

fn launcher(options: &Options, connection: &zbus::Connection, attempts: &Attempts) -> Launcher {
    if options.simulate {
        Launcher::simulated(attempts.clone())
    } else if options.no_systemd {
        Launcher::detached(options.worker.clone(), options.state_dir.clone())
    } else {
        Launcher::systemd(connection.clone())
    }
}

fn planner(options: &Options) -> Planner {
    if options.simulate {
        Planner::Simulated(simulate::Universe)
    } else if options.no_systemd {
        Planner::Child(options.planner.clone())
    } else {
        Planner::Socket(options.planner_socket.clone())
    }
}

fn preferences(options: &Options) -> PreferencesFile {
    let system = (!options.simulate).then(|| PathBuf::from(preferences::PATH));
    PreferencesFile::new(options.preferences.clone().or(system))
}

fn records(options: &Options, thresholds: Thresholds) -> Records {
    let installed = if options.simulate { Installed::AsRecorded } else { Installed::Dpkg(PathBuf::from("/var/lib/dpkg/status")) };
    Records::new(options.state_dir.join("store.db"), installed, thresholds)
}
