//! Versioned JSON formats between Backstep's own processes: request, plan, order, journal, planner's pipe.
//!
//! Each format is a set of private mirror structs that convert to and from `backstep-core`'s types; unknown
//! fields and unknown names are errors. Absent on purpose: files, sockets and every other kind of I/O.

mod text;

pub mod attempt;
pub mod contents;
pub mod files;
pub mod foreign;
pub mod journal;
pub mod order;
pub mod plan;
pub mod planner;
pub mod request;
pub mod texts;

use backstep_core::Digest;
use sha2::{Digest as _, Sha256};

/// Why bytes are not a document of ours.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Not JSON, not of this shape, or with a name outside its enumeration.
    #[error("cannot read the {what}: {source}")]
    Json {
        /// Which format.
        what: &'static str,
        /// What is wrong and where.
        source: serde_json::Error,
    },
    /// A version this program does not know.
    #[error("the {what} has version {version}, this program knows {known}")]
    Version {
        /// Which format.
        what: &'static str,
        /// The version found.
        version: u32,
        /// The version known.
        known: u32,
    },
}

/// SHA-256 of some bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

fn json<'a, T: serde::Deserialize<'a>>(what: &'static str, bytes: &'a [u8]) -> Result<T, WireError> {
    serde_json::from_slice(bytes).map_err(|source| WireError::Json { what, source })
}

fn check_version(what: &'static str, version: u32, known: u32) -> Result<(), WireError> {
    if version == known { Ok(()) } else { Err(WireError::Version { what, version, known }) }
}

/// Serialising our own structs cannot fail: they have string keys and no failing impls.
fn bytes_of<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain structs with string keys always serialise")
}
