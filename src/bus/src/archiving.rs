//! What goes with `Archive`.

use zbus::{DeserializeDict, SerializeDict, Type};

/// What stays in any case, and what the client says of itself. A closed list of keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub struct ArchiveOptions {
    /// The newest so many transactions stay; 1000 when absent.
    pub keep: Option<u32>,
    /// The client's name and version.
    pub client: Option<String>,
    /// `cli` or `timer`.
    pub origin: Option<String>,
}

/// What `Archive` answers: how many transactions and events moved, and to which files.
pub type ArchiveAnswer = (u64, u64, Vec<String>);
