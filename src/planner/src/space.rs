//! Whether the disk holds what a plan brings, before anything starts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use backstep_core::{ErrorCode, Failure, Plan};

use crate::Outcome;

/// Checks the archives' folder against the download and the root against the growth, with a tenth in reserve;
/// added up where both are one file system. A path that cannot be asked is not judged.
pub(crate) fn check(plan: &Plan, archives: &Path, root: &Path) -> Outcome<()> {
    let growth: u64 = u64::try_from(plan.installed_delta()).unwrap_or(0);
    let mut needs: BTreeMap<u64, (PathBuf, u64)> = BTreeMap::new();
    for (path, bytes) in [(archives, plan.download_bytes), (root, growth)] {
        if let Ok(stat) = rustix::fs::stat(path) {
            needs.entry(stat.st_dev).or_insert_with(|| (path.to_owned(), 0)).1 += bytes;
        }
    }
    needs.into_values().try_for_each(|(path, bytes)| enough(&path, bytes))
}

fn enough(path: &Path, bytes: u64) -> Outcome<()> {
    let needed = bytes.saturating_add(bytes / 10);
    match rustix::fs::statvfs(path) {
        Ok(stat) if needed > stat.f_bavail.saturating_mul(stat.f_frsize) => {
            let (free, needed) = (mib(stat.f_bavail.saturating_mul(stat.f_frsize)), mib(needed));
            Err(Failure::new(ErrorCode::DiskFull, format!("{} has {free} MiB free, {needed} MiB are needed", path.display())))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

const fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}
