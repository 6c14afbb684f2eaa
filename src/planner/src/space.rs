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
            let (free, needed) = in_words(stat.f_bavail.saturating_mul(stat.f_frsize), needed);
            Err(Failure::new(ErrorCode::DiskFull, format!("{} has {free} free, {needed} are needed", path.display())))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Both in the largest unit that tells them apart; what is free is rounded down, what is needed up.
fn in_words(free: u64, needed: u64) -> (String, String) {
    let tells = |shift: &u32| needed.div_ceil(1 << shift) > (free >> shift) && needed >> shift > 0;
    let (shift, unit) = if tells(&20) { (20, "MiB") } else { (10, "KiB") };
    (format!("{} {unit}", free >> shift), format!("{} {unit}", needed.div_ceil(1 << shift)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_is_never_said_to_be_what_is_needed() {
        let words = |free, needed| {
            let (free, needed) = in_words(free, needed);
            format!("{free} free, {needed} are needed")
        };
        assert_eq!(words(300 << 10, 310 << 10), "300 KiB free, 310 KiB are needed");
        assert_eq!(words(5 << 20, (5 << 20) + 1), "5 MiB free, 6 MiB are needed");
        assert_eq!(words(0, 1), "0 KiB free, 1 KiB are needed");
        assert_eq!(words(300, 9 << 20), "0 MiB free, 9 MiB are needed");
    }
}
