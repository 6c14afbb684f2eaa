//! What is done for the record while nobody waits: the check of the whole after an interruption, and a copy of it.
//!
//! Both read on a connection of their own. Absent on purpose: mending. Damage that is found ends the daemon, and the next
//! start writes the record again from what is left.

use std::path::Path;
use std::sync::Arc;

use backstep_core::Failure;
use backstep_store::{Reader, StoreError, due};

use crate::rebuild;
use crate::service::Service;

/// Whether the whole record is to be checked: not after a clean end. To be asked before a thread is started for it, which
/// an idle daemon does not have.
#[must_use]
pub fn is_due(state_dir: &Path) -> bool {
    due::is_due(&rebuild::store_path(state_dir))
}

/// Checks the whole record.
pub async fn check(service: Arc<Service>) {
    let _call = service.call();
    let checked = service.records.with_file(|store| Ok(look(store))).await;
    match checked {
        Ok(Ok(())) => {}
        Ok(Err(error)) if error.is_damage() => {
            tracing::error!("ending, so that a new start writes the record again");
            std::process::exit(70);
        }
        Ok(Err(error)) => tracing::warn!("cannot check the record: {error}"),
        Err(failure) => tracing::warn!("cannot check the record: {failure}"),
    }
}

fn look(store: &Path) -> Result<(), StoreError> {
    match Reader::open(store).and_then(|reader| reader.check()) {
        Ok(()) => due::done(store),
        Err(error) => {
            if error.is_damage() {
                rebuild::suspect(store, &error);
            }
            Err(error)
        }
    }
}

/// Keeps a copy of the record, at most once a day. Called when the daemon has nothing else to do.
pub async fn copy(service: &Arc<Service>) {
    let _call = service.call();
    let kept = service.records.with_file(|store| rebuild::keep_copy(store).map_err(|error| internal(&error))).await;
    if let Err(failure) = kept {
        tracing::warn!("cannot keep a copy of the record: {failure}");
    }
}

fn internal(error: &anyhow::Error) -> Failure {
    Failure::new(backstep_core::ErrorCode::StoreFailed, format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_that_the_check_finds_is_remembered_and_a_whole_record_is_done_with() {
        let dir = tempfile::tempdir().expect("folder");
        let path = rebuild::store_path(dir.path());
        let stamp = backstep_core::Stamp { utc_us: 1, monotonic_us: 1, boot: backstep_core::BootId([1; 16]) };
        let run = backstep_store::Run { id: uuid::Uuid::now_v7().to_string(), version: "1".into(), pid: 1, at: stamp };
        backstep_store::Store::open(&path, &run).and_then(backstep_store::Store::close).expect("make");
        due::suspect(&path).expect("mark");
        look(&path).expect("whole");
        assert!(!due::is_due(&path));
        let mut bytes = std::fs::read(&path).expect("read");
        let middle = bytes.len() / 2 / 4096 * 4096;
        bytes[middle..middle + 4096].fill(0xA5);
        std::fs::write(&path, bytes).expect("write");
        assert!(look(&path).expect_err("damaged").is_damage());
        assert!(due::is_suspected(&path));
    }
}
