//! Sync calls that answer success at once.
//!
//! dpkg syncs every file that it unpacks. When undo material is durable before and one `syncfs` comes after, none of it
//! is needed. The filter stays with the thread and all that it starts, for life: it belongs right before an `exec` of a
//! process whose end is waited for, not into a program that goes on.

use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpFilterContext, ScmpSyscall};

use crate::{SuperviseError, arch};

/// Everything that asks for durability and changes nothing else.
const SYNC_CALLS: [&str; 6] = ["fsync", "fdatasync", "sync", "syncfs", "sync_file_range", "msync"];

/// From now on the sync calls of this thread, and of every process it starts, succeed without doing anything.
///
/// Needs root (or `CAP_SYS_ADMIN`): `no_new_privs` is left alone, because maintainer scripts may start set-uid programs.
/// Cannot be taken back.
///
/// # Errors
/// [`SuperviseError::Filter`]; then nothing has changed.
pub fn suppress_sync() -> Result<(), SuperviseError> {
    filter().and_then(|filter| filter.load()).map_err(SuperviseError::Filter)
}

fn filter() -> Result<ScmpFilterContext, SeccompError> {
    let mut filter = ScmpFilterContext::new(ScmpAction::Allow)?;
    arch::cover(&mut filter)?;
    // A program of an architecture that nobody thought of may sync: that costs time, not safety.
    filter.set_act_badarch(ScmpAction::Allow)?.set_ctl_nnp(false)?;
    for name in SYNC_CALLS {
        filter.add_rule(ScmpAction::Errno(0), ScmpSyscall::from_name(name)?)?;
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::io::{Read as _, Seek as _};

    use super::*;

    #[test]
    fn every_sync_call_of_every_architecture_is_in_the_filter() {
        let mut text = tempfile::tempfile().unwrap();
        filter().unwrap().export_pfc(&text).unwrap();
        text.rewind().unwrap();
        let mut rules = String::new();
        text.read_to_string(&mut rules).unwrap();
        for name in SYNC_CALLS {
            let covered = rules.matches(&format!("syscall \"{name}\"")).count();
            assert_eq!(covered, arch::all().len(), "{name} in {rules}");
        }
        assert!(!rules.contains("KILL"), "{rules}");
    }
}
