//! The world's digest: one value that changes whenever dpkg's database or apt's marks change.

use backstep_core::Digest;
use sha2::{Digest as _, Sha256};

/// SHA-256 over the status file's bytes, a NUL, and the bytes of apt's extended states (absent: none).
#[must_use]
pub fn world(status: &[u8], extended: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(status);
    hash.update([0]);
    hash.update(extended);
    Digest(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_counts_and_they_are_not_joined() {
        assert_ne!(world(b"a", b"b"), world(b"ab", b""));
        assert_ne!(world(b"a", b""), world(b"", b"a"));
        assert_eq!(world(b"", b"").to_string(), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    }
}
