//! Work: starts whose turn it is and follows it.

use std::sync::Arc;

use backstep_core::{AttemptId, Failure};
use backstep_engine::manager::Launch;

use crate::follow::follow;
use crate::idle;
use crate::service::Service;

/// Starts workers as the manager decides, for ever.
pub async fn run(service: Arc<Service>) {
    if let Some(attempt) = service.read(backstep_engine::Manager::running) {
        tracing::info!(TRANSACTION = %attempt.transaction, "following the worker of {attempt} again");
        attend(&service, attempt).await;
    }
    loop {
        match service.decide(backstep_engine::Manager::next_launch) {
            Ok(Some(launch)) => start(&service, launch).await,
            Ok(None) => service.work().await,
            Err(failure) => {
                tracing::error!("cannot start the next transaction: {failure}");
                service.work().await;
            }
        }
    }
}

async fn start(service: &Arc<Service>, launch: Launch) {
    let attempt = launch.order.attempt;
    match begin(service, &launch).await {
        Ok(()) => attend(service, attempt).await,
        Err(failure) => {
            tracing::error!(TRANSACTION = %attempt.transaction, "cannot start the worker of {attempt}: {failure}");
            // The service manager may have taken the job and lost only the answer.
            let revoked = service.attempts.revoke(attempt);
            if revoked.is_err() || service.launcher.is_alive(attempt).await {
                return attend(service, attempt).await;
            }
            if let Err(failure) = service.decide(|manager| manager.launch_failed(attempt, &failure.text)) {
                tracing::error!("cannot record that: {failure}");
            }
        }
    }
}

async fn begin(service: &Service, launch: &Launch) -> Result<(), Failure> {
    service.attempts.prepare(launch)?;
    service.launcher.start(launch.order.attempt).await
}

/// The watchdog watches only while there is work, so that an idle daemon never wakes.
async fn attend(service: &Arc<Service>, attempt: AttemptId) {
    let watchdog = idle::Watchdog::start();
    service.thresholds.attended(attempt, follow(Arc::clone(service), attempt)).await;
    mask(service, attempt).await;
    drop(watchdog);
    service.end_attempt();
}

/// Takes the secrets out of what the attempt's children wrote, and compresses it. While they run their output is as they write it.
async fn mask(service: &Arc<Service>, attempt: AttemptId) {
    let attempts = service.attempts.clone();
    let masked = tokio::task::spawn_blocking(move || {
        attempts.mask_log(attempt)?;
        Ok::<_, Failure>(attempts.compress_log(attempt))
    });
    match masked.await.map_err(|error| error.to_string()).and_then(|masked| masked.map_err(|failure| failure.to_string())) {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => tracing::warn!(TRANSACTION = %attempt.transaction, "cannot compress the log of {attempt}: {failure}"),
        Err(text) => tracing::error!(TRANSACTION = %attempt.transaction, "cannot take secrets out of the log of {attempt}: {text}"),
    }
}
