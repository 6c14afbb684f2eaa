//! What the guard and the capture wrote, read again after a crash.

use backstep_capture::hostile;

/// The late log, the manifest, the record of changes and the picture of the system.
pub(crate) fn files(bytes: &[u8]) {
    hostile::late_lines(&crate::text(bytes));
    hostile::late_log(bytes);
    hostile::closed_files(bytes);
    hostile::picture(bytes);
}
