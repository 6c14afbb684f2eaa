//! Questions to the record that take their time: each on a connection and a thread of its own, so that neither the
//! manager nor the bus waits for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use backstep_apt::status::Status;
use backstep_core::{ErrorCode, Failure, PackageId, PackageName};
use backstep_store::{Reader, StoreError};
use tokio::sync::Semaphore;

use crate::config::Thresholds;

/// Questions at a time.
const QUESTIONS: usize = 4;

/// Where packages are looked up.
#[derive(Debug, Clone)]
pub enum Installed {
    /// dpkg's status file.
    Dpkg(PathBuf),
    /// Nowhere: nothing is ever changed, and so the record is right (`--simulate`).
    AsRecorded,
}

/// A version that is installed, by architecture.
pub type Versions = Vec<(String, String)>;

/// The record's readers.
#[derive(Debug, Clone)]
pub struct Records {
    store: PathBuf,
    installed: Installed,
    thresholds: Thresholds,
    turns: Arc<Semaphore>,
}

impl Records {
    /// Readers of this file.
    #[must_use]
    pub fn new(store: PathBuf, installed: Installed, thresholds: Thresholds) -> Self {
        Self { store, installed, thresholds, turns: Arc::new(Semaphore::new(QUESTIONS)) }
    }

    /// The record's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.store
    }

    /// Asks the record; waits for a turn. A slow answer is said in the journal, by the name of who asked.
    pub async fn ask<R, F>(&self, look: F) -> Result<R, Failure>
    where
        R: Send + 'static,
        F: FnOnce(&Reader) -> Result<R, StoreError> + Send + 'static,
    {
        let (store, thresholds) = (self.store.clone(), self.thresholds);
        self.run(move || {
            let begun = Instant::now();
            let answer = Reader::open(&store).and_then(|reader| look(&reader));
            thresholds.asked(std::any::type_name::<F>(), begun);
            answer.map_err(|error| {
                if matches!(error, StoreError::Corrupt { .. }) {
                    crate::rebuild::suspect(&store, &error);
                }
                Failure::from(&error)
            })
        })
        .await
    }

    /// Gives the record's file to something that blocks; waits for a turn.
    pub async fn with_file<R, F>(&self, work: F) -> Result<R, Failure>
    where
        R: Send + 'static,
        F: FnOnce(&Path) -> Result<R, Failure> + Send + 'static,
    {
        let store = self.store.clone();
        self.run(move || work(&store)).await
    }

    /// Runs something that blocks; waits for a turn.
    pub async fn run<R, F>(&self, work: F) -> Result<R, Failure>
    where
        R: Send + 'static,
        F: FnOnce() -> Result<R, Failure> + Send + 'static,
    {
        let internal = |text: String| Failure::new(ErrorCode::Internal, text);
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|error| internal(error.to_string()))?;
        let answer = tokio::task::spawn_blocking(move || {
            let answer = work();
            drop(turn);
            answer
        });
        answer.await.unwrap_or_else(|error| Err(internal(format!("asking the record failed: {error}"))))
    }

    /// Every package that dpkg has, by name, with its word; `None` when nobody looks.
    pub async fn packages(&self) -> Result<Option<Vec<(PackageId, String)>>, Failure> {
        let Installed::Dpkg(path) = self.installed.clone() else { return Ok(None) };
        self.run(move || {
            let failed = |text: String| Failure::new(ErrorCode::PlanFailed, format!("cannot read {}: {text}", path.display()));
            let bytes = std::fs::read(&path).map_err(|error| failed(error.to_string()))?;
            let status = Status::parse(&bytes).map_err(|error| failed(error.to_string()))?;
            let there = status.iter().filter(|(id, _)| status.fact(id).version.is_some() && !status.fact(id).config_files);
            Ok(Some(there.map(|(id, entry)| (id.clone(), entry.text())).collect()))
        })
        .await
    }

    /// The versions of a package that are installed now; `None` when nobody looks.
    pub async fn installed(&self, name: PackageName) -> Result<Option<Versions>, Failure> {
        let Installed::Dpkg(path) = self.installed.clone() else { return Ok(None) };
        self.run(move || {
            let failed = |text: String| Failure::new(ErrorCode::PlanFailed, format!("cannot read {}: {text}", path.display()));
            let bytes = std::fs::read(&path).map_err(|error| failed(error.to_string()))?;
            let status = Status::parse(&bytes).map_err(|error| failed(error.to_string()))?;
            let named = status.named(name.as_str()).filter(|(_, entry)| entry.is_settled());
            Ok(Some(named.filter_map(|(id, entry)| Some((id.arch.to_string(), entry.version.as_ref()?.to_string()))).collect()))
        })
        .await
    }
}
