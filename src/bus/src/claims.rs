//! What a client says of itself.

use backstep_core::actor::Origin;
use backstep_core::{ErrorCode, Failure};
use zbus::{DeserializeDict, SerializeDict, Type};

/// Claims, where a method takes nothing else. A closed list of keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub struct Claims {
    /// The client's name and version.
    pub client: Option<String>,
    /// `cli` or `timer`.
    pub origin: Option<String>,
}

/// The door that a caller claims to come through; [`Origin::Dbus`] without a claim.
pub fn claimed(origin: Option<&str>) -> Result<Origin, Failure> {
    match origin {
        None => Ok(Origin::Dbus),
        Some("cli") => Ok(Origin::Cli),
        Some("timer") => Ok(Origin::Timer),
        Some(other) => {
            let clipped: String = other.chars().take(64).collect();
            Err(Failure::new(ErrorCode::RequestMalformed, format!("a client cannot claim the origin {clipped:?}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_claims_to_be_the_daemon() {
        assert_eq!((claimed(None), claimed(Some("timer"))), (Ok(Origin::Dbus), Ok(Origin::Timer)));
        assert_eq!(claimed(Some("daemon")).expect_err("refused").code, ErrorCode::RequestMalformed);
    }
}
