//! The notification filter: which calls of the tree stop and wait for the guard's answer.

use std::os::fd::RawFd;

use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall, get_api};
use rustix::fs::OFlags;

use crate::arch;
use crate::calls::{self, Deed, Flags};

/// Which changes are announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Changes of what exists, and new names.
    All,
    /// Only changes of what exists: calls that can only make a new name run free, which is cheaper. An open that may
    /// create is announced all the same.
    Existing,
}

/// The level of libseccomp (2.6) and kernel (5.19) at which only a fatal signal ends the wait for an answer. Below, any signal
/// with a handler does: the call begins again and is announced again, or fails with `EINTR` if the handler wants that.
const WAITS_UNDISTURBED: u32 = 7;

/// Opening with one of these may change something.
const WRITING: [OFlags; 4] = [OFlags::WRONLY, OFlags::RDWR, OFlags::TRUNC, OFlags::CREATE];

/// Loads the filter on the calling thread and returns what keeps it, and the listener for the guard.
pub(crate) fn load(scope: Scope) -> Result<(ScmpFilterContext, RawFd), SeccompError> {
    without_younger()?.load()?;
    let filter = build(scope)?;
    filter.load()?;
    let listener = filter.get_notify_fd()?;
    Ok((filter, listener))
}

fn build(scope: Scope) -> Result<ScmpFilterContext, SeccompError> {
    let mut filter = ScmpFilterContext::new(ScmpAction::Allow)?;
    arch::cover(&mut filter)?;
    // An architecture that is not known here would be unguarded: it gets no system calls.
    filter.set_act_badarch(ScmpAction::Errno(rustix::io::Errno::NOSYS.raw_os_error()))?;
    filter.set_ctl_nnp(false)?.set_ctl_optimize(2)?;
    if get_api() >= WAITS_UNDISTURBED {
        filter.set_ctl_waitkill(true)?;
    }
    for (name, errno) in calls::REFUSED {
        rule(&mut filter, ScmpAction::Errno(errno), name, &[])?;
    }
    for (name, deed) in calls::ANNOUNCED {
        announce(&mut filter, name, deed, scope)?;
    }
    Ok(filter)
}

fn announce(filter: &mut ScmpFilterContext, name: &str, deed: Deed, scope: Scope) -> Result<(), SeccompError> {
    match (deed, scope) {
        (Deed::Create(_), Scope::Existing) => Ok(()),
        (Deed::Open(_, Flags::Arg(arg)), _) => {
            let bits = WRITING.iter().map(|flag| opens_with(arg, *flag, scope));
            bits.into_iter().try_for_each(|compare| rule(filter, ScmpAction::Notify, name, &[compare]))
        }
        _ => rule(filter, ScmpAction::Notify, name, &[]),
    }
}

/// An exclusive open cannot touch what exists.
fn opens_with(arg: usize, flag: OFlags, scope: Scope) -> ScmpArgCompare {
    let wanted = u64::from(flag.bits());
    let mask = match scope {
        Scope::All => wanted,
        Scope::Existing => wanted | u64::from(OFlags::EXCL.bits()),
    };
    // Argument numbers are small.
    ScmpArgCompare::new(arg as u32, ScmpCompareOp::MaskedEqual(mask), wanted)
}

fn rule(filter: &mut ScmpFilterContext, action: ScmpAction, name: &str, compare: &[ScmpArgCompare]) -> Result<(), SeccompError> {
    match ScmpSyscall::from_name(name) {
        Ok(call) => filter.add_rule_conditional(action, call, compare).map(drop),
        Err(_) if calls::number_of_new(name).is_some() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Calls that this libseccomp is too old to know, as on a kernel that is as old: programs fall back to older calls.
/// It cannot translate their numbers, so this is a filter of its own, for the native architecture.
fn without_younger() -> Result<ScmpFilterContext, SeccompError> {
    let mut filter = ScmpFilterContext::new(ScmpAction::Allow)?;
    filter.set_act_badarch(ScmpAction::Allow)?.set_ctl_nnp(false)?;
    let names = calls::ANNOUNCED.iter().map(|(name, _)| name).chain(calls::REFUSED.iter().map(|(name, _)| name));
    let unknown = names.filter(|name| ScmpSyscall::from_name(name).is_err());
    for number in unknown.filter_map(|name| calls::number_of_new(name)) {
        filter.add_rule(ScmpAction::Errno(rustix::io::Errno::NOSYS.raw_os_error()), ScmpSyscall::from(number))?;
    }
    Ok(filter)
}
