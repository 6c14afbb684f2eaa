//! Many marks at once: libapt looks for unneeded packages once at the end, not after each mark.
//!
//! Unsafe code, for a call that rust-apt does not make safe. Without it a request for a thousand packages takes a minute
//! instead of seconds; rust-apt offers no safe form.

use rust_apt::Cache;

/// Does `work` as one group of marks, as apt-get does.
#[allow(unsafe_code)]
pub(crate) fn grouped<R>(cache: &Cache, work: impl FnOnce() -> R) -> R {
    // SAFETY: the group refers to the cache and must not outlive it. `cache` is borrowed for this whole call, and
    // the group is dropped before it returns, also when `work` panics.
    let group = unsafe { cache.depcache().action_group() };
    let result = work();
    drop(group);
    result
}
