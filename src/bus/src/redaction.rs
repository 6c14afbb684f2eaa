//! What goes with `Redact`.

use backstep_core::redaction::Mode;
use zbus::{DeserializeDict, SerializeDict, Type};

/// How a text is taken out, and what the client says of itself. A closed list of keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub struct RedactOptions {
    /// Only says what would be done.
    #[zvariant(rename = "try")]
    pub only_try: Option<bool>,
    /// The client's name and version.
    pub client: Option<String>,
    /// `cli` or `timer`.
    pub origin: Option<String>,
}

impl RedactOptions {
    /// Whether it is done or only tried.
    #[must_use]
    pub fn mode(&self) -> Mode {
        if self.only_try == Some(true) { Mode::Try } else { Mode::Do }
    }
}

/// What `Redact` answers: the change-set's number, where the text stood and how often, and the transactions.
pub type RedactAnswer = (u64, Vec<(String, u64)>, Vec<String>);
