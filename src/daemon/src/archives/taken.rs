//! Copies of one request's archives on their way into the record, and how many of them there may be at a time.
//!
//! Invariant: a copy whose request does not come into the record is gone when this value is, also when nobody waited for
//! the copying to end.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use backstep_core::{ErrorCode, Failure, LocalArchive};

use super::Archives;
use crate::lock::lock;

/// Requests of one user whose archives are copied at a time. A file system that never answers keeps a thread each.
const OF_ONE_USER: u32 = 4;
/// Of all users.
const OF_ALL: u32 = 16;

/// Who copies.
#[derive(Debug, Default)]
pub(super) struct Copying(Mutex<BTreeMap<u32, Load>>);

#[derive(Debug, Default, Clone, Copy)]
struct Load {
    requests: u32,
    bytes: u64,
}

/// One request's place among those that copy.
#[derive(Debug)]
pub(super) struct Place {
    copying: Arc<Copying>,
    uid: u32,
    bytes: u64,
}

impl Copying {
    /// Takes a place for a request with so many bytes.
    pub(super) fn begin(self: &Arc<Self>, uid: u32, bytes: u64) -> Result<Place, Failure> {
        let mut loads = lock(&self.0);
        let all: u32 = loads.values().map(|load| load.requests).sum();
        let own = loads.get(&uid).copied().unwrap_or_default();
        if own.requests >= OF_ONE_USER || all >= OF_ALL {
            let text = format!("archives of {} requests of this user are being copied, and of {all} in all", own.requests);
            return Err(Failure::new(ErrorCode::RequestThrottled, text));
        }
        loads.insert(uid, Load { requests: own.requests + 1, bytes: own.bytes.saturating_add(bytes) });
        Ok(Place { copying: Arc::clone(self), uid, bytes })
    }
}

impl Place {
    /// Bytes of everything that this user has copied at the moment.
    pub(super) fn bytes_of_user(&self) -> u64 {
        lock(&self.copying.0).get(&self.uid).map_or(0, |load| load.bytes)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut loads = lock(&self.copying.0);
        if let Some(load) = loads.get_mut(&self.uid) {
            load.requests -= 1;
            load.bytes = load.bytes.saturating_sub(self.bytes);
        }
        loads.retain(|_, load| load.requests > 0);
    }
}

/// Copies without a name. They are removed with the value, unless they are kept.
#[derive(Debug)]
pub struct Taken {
    store: Archives,
    copies: Vec<(PathBuf, LocalArchive)>,
    _place: Place,
}

impl Taken {
    pub(super) fn new(store: Archives, place: Place) -> Self {
        Self { store, copies: Vec::new(), _place: place }
    }

    pub(super) fn copy(&mut self, descriptor: OwnedFd, size: u64) -> Result<(), Failure> {
        self.copies.push(self.store.copy(descriptor, size)?);
        Ok(())
    }

    /// What was copied, in the caller's order.
    #[must_use]
    pub fn archives(&self) -> Vec<LocalArchive> {
        self.copies.iter().map(|(_, archive)| archive.clone()).collect()
    }

    /// Names the copies by their content: their request is on record.
    ///
    /// CRASH: before this the request has no archives and its plan fails; the copies are removed at the next start.
    pub fn keep(mut self) -> io::Result<()> {
        for (copy, archive) in std::mem::take(&mut self.copies) {
            fs::rename(copy, self.store.path(&archive.sha256))?;
        }
        File::open(&self.store.dir)?.sync_all()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        for (copy, _) in &self.copies {
            if let Err(error) = fs::remove_file(copy) {
                tracing::warn!("cannot remove {}: {error}", copy.display());
            }
        }
    }
}
