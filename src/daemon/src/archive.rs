//! Old transactions leave the record for archives beside it, when somebody says so or by their age.
//!
//! An archive is written beside the daemon's work; only the commit that lists it, and at the end the space that is given back, keep
//! others waiting. Absent on purpose: giving anything up.

use std::sync::Arc;

use backstep_core::actor::Actor;
use backstep_core::record_archive::{Cut, Moved, RecordArchive};
use backstep_core::{ErrorCode, Failure};
use backstep_engine::Manager;
use backstep_store::{Reader, VerifyError};

use crate::service::Service;

/// Transactions of one archive, so that no commit takes long.
const MOST: u32 = 5_000;
/// What stays in any case, so that what is looked at every day is in one file.
pub const KEPT: u32 = 1_000;
const DAY_US: i64 = 86_400_000_000;

/// Moves what had ended before a time, but for the newest `keep`; answers the archives.
pub async fn archive(
    service: &Arc<Service>,
    (before_us, keep): (i64, u32),
    comment: &str,
    actor: &Actor,
) -> Result<Vec<RecordArchive>, Failure> {
    let _call = service.call();
    let mut all = Vec::new();
    while let Some(written) = write(service, Cut { before_us, keep, most: MOST }).await? {
        match service.decide(|manager| manager.archive(written.clone(), comment.to_owned(), actor.clone()))? {
            Moved::Moved => all.push(written),
            Moved::Outdated => {
                return Err(Failure::new(ErrorCode::RequestThrottled, "one of them was changed meanwhile; ask again"));
            }
        }
    }
    if !all.is_empty() {
        service.decide(Manager::shrink)?;
    }
    Ok(all)
}

async fn write(service: &Service, cut: Cut) -> Result<Option<RecordArchive>, Failure> {
    let written = move |store: &std::path::Path| {
        let archive = Reader::open(store).map_err(VerifyError::from).and_then(|reader| reader.write_archive(cut));
        archive.map_err(|error| match error {
            VerifyError::Broken(broken) => Failure::new(ErrorCode::AuditBroken, broken.to_string()),
            VerifyError::Store(error) => Failure::from(&error),
        })
    };
    service.records.with_file(written).await
}

/// The same by age, when the configuration has one. Called when the daemon has nothing else to do; where there is nothing to archive,
/// that is no use of the daemon, which ends then.
pub async fn by_age(service: &Arc<Service>, now_us: i64) {
    let days = service.archive_days;
    if days == 0 {
        return;
    }
    let before_us = now_us - i64::from(days) * DAY_US;
    let actor = crate::rebuild::ourselves();
    if let Err(failure) = archive(service, (before_us, KEPT), &format!("older than {days} days"), &actor).await {
        tracing::warn!("cannot archive old transactions: {failure}");
    }
}
