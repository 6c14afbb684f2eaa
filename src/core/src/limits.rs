//! Bounds on what a caller may send. Beyond them a request is refused before anything is stored.

/// Packages named in one request.
pub const MAX_ITEMS: usize = 1_000;
/// Local archives in one request.
pub const MAX_LOCAL_ARCHIVES: usize = 64;
/// Bytes of a description or comment.
pub const MAX_TEXT: usize = 256;
/// Characters that a search for text needs: fewer find everything and no index helps.
pub const MIN_TEXT: usize = 3;
/// Transactions one user may have waiting for preparation, authorisation or their turn.
pub const MAX_OPEN_PER_UID: usize = 8;
/// Transactions all users together may have waiting.
pub const MAX_OPEN: usize = 64;
/// Worker attempts after which a person decides.
pub const MAX_ATTEMPTS: u32 = 3;
/// Bytes of all local archives of one request.
pub const MAX_ARCHIVE_BYTES: u64 = 2 << 30;
