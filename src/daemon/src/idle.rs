//! When the daemon is ready, watched, and no longer needed.

use std::sync::Arc;
use std::time::Duration;

use backstep_bus::names::BUS_NAME;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::service::Service;

/// How often a working daemon tells systemd that it lives.
const PULSE: Duration = Duration::from_secs(20);
/// How long calls that are under way are waited for at the end.
const LAST_CALLS: Duration = Duration::from_secs(2);
/// How much longer a start may take that looks at the whole record.
const EXTRA_US: u32 = 3_600_000_000;
/// How long systemd waits for a pulse before it restarts the daemon.
const PATIENCE_US: u64 = 90_000_000;

/// Tells systemd that everything is served.
pub fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
}

/// Tells systemd that the start takes longer than usual.
pub fn ask_for_time() {
    tell(&[NotifyState::ExtendTimeoutUsec(EXTRA_US), NotifyState::Status("looking at the whole record")]);
}

/// Signals to end. Before there is this value they kill the daemon, which a start may be at any point; after it they are kept
/// until [`wait`] looks.
#[derive(Debug)]
pub struct Told {
    terminate: Signal,
    interrupt: Signal,
}

impl Told {
    /// From now on. Whoever sees the bus name can tell the daemon to end, so it comes before that.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }
}

/// Waits for a signal to end, or until nothing was needed for `patience` seconds.
pub async fn wait(service: &Arc<Service>, mut told: Told, patience: Option<u64>) -> anyhow::Result<()> {
    tokio::select! {
        _ = told.terminate.recv() => tracing::info!("told to end; workers go on"),
        _ = told.interrupt.recv() => tracing::info!("told to end; workers go on"),
        () = unneeded(service, patience) => tracing::info!("nothing to do: ending until called again"),
        () = replaced(service) => tracing::info!("a new version is installed: ending, so that the next call starts it"),
    }
    tell(&[NotifyState::Stopping]);
    // Whoever calls from now on starts a new daemon; calls that are here already are answered first.
    service.connection.release_name(BUS_NAME).await?;
    let deadline = tokio::time::Instant::now() + LAST_CALLS;
    while service.has_calls() && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    crate::door::settle(service, true);
    Ok(())
}

async fn unneeded(service: &Arc<Service>, patience: Option<u64>) {
    let Some(seconds) = patience else { return std::future::pending().await };
    loop {
        let before = service.activity();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        // Looked at first: what follows counts as use itself.
        let unused = service.activity() == before;
        crate::foreign::refresh(service).await;
        crate::preferences::refresh_or_log(service);
        if let Err(failure) = service.decide(backstep_engine::Manager::expire) {
            tracing::warn!("cannot end old offers: {failure}");
        }
        if unused && service.is_idle() {
            // To ask for the time counts as use itself.
            let now_us = service.read(|manager| manager.time().utc_us);
            let before = service.activity();
            crate::archive::by_age(service, now_us).await;
            service.thresholds.grown(service.records.path());
            crate::upkeep::copy(service).await;
            // Who came meanwhile is served.
            if service.activity() == before && service.is_idle() {
                return;
            }
        }
    }
}

/// Waits until our program file was replaced by an upgrade and nothing needs this process any more. Looked at when
/// a transaction has ended: an upgrade that is not one of ours restarts the unit itself.
async fn replaced(service: &Arc<Service>) {
    loop {
        service.attempt_ended().await;
        if is_replaced() && service.is_idle() {
            return;
        }
    }
}

fn is_replaced() -> bool {
    std::fs::read_link("/proc/self/exe").is_ok_and(|path| path.as_os_str().as_encoded_bytes().ends_with(b" (deleted)"))
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("cannot tell systemd: {error}");
    }
}

/// The pulse of a working daemon; stops when dropped.
pub struct Watchdog {
    pulse: tokio::task::JoinHandle<()>,
}

impl Watchdog {
    /// Asks systemd to watch, and tells it from now on that we live.
    #[must_use]
    pub fn start() -> Self {
        tell(&[NotifyState::Custom(&format!("WATCHDOG_USEC={PATIENCE_US}")), NotifyState::Status("a worker runs")]);
        let pulse = tokio::spawn(async {
            loop {
                tell(&[NotifyState::Watchdog]);
                tokio::time::sleep(PULSE).await;
            }
        });
        Self { pulse }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.pulse.abort();
        // All ones is systemd's "never".
        tell(&[NotifyState::Custom("WATCHDOG_USEC=18446744073709551615"), NotifyState::Status("serving")]);
    }
}
