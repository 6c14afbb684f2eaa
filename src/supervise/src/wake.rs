//! Waking the guard on the processor of the process that waits for it, and the other way round: they take turns and
//! never run at once, and waking another processor takes longer than the answer. `unsafe`, for a call that no library wraps.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::ioctl::{IntegerSetter, Opcode, ioctl, opcode};

/// `SECCOMP_IOCTL_NOTIF_SET_FLAGS`
const SET_FLAGS: Opcode = opcode::write::<u64>(b'!', 4);
/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`
const SYNC_WAKE_UP: usize = 1;

/// Asks for it; kernels before 6.6 do not know how, and all works without.
#[expect(unsafe_code, reason = "no library wraps this ioctl, and it saves about half of what a notification costs")]
pub(crate) fn take_turns(listener: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: the kernel takes the argument of this request as a number and touches no memory of ours.
    match unsafe { ioctl(listener, IntegerSetter::<SET_FLAGS>::new_usize(SYNC_WAKE_UP)) } {
        Ok(()) | Err(Errno::INVAL | Errno::NOTTY) => Ok(()),
        Err(errno) => Err(errno),
    }
}
