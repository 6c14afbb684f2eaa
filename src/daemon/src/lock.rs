//! Taking a lock of this program: one way, with one answer to a panic of another holder.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes the lock. A poisoned one means that a holder panicked, a defect that is reported where it happened; what
/// is guarded here is only ever changed as a whole, so it is still good.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
