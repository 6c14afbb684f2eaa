//! Whether a caller may: polkit, asked about the message's unique bus name and nothing the caller said.
//!
//! Only an explicit yes is yes. root needs no polkit, so that machines without it can be repaired.

use std::collections::HashMap;
use std::time::Duration;

use backstep_core::access::Permission;
use backstep_core::{ErrorCode, Failure};
use zbus::fdo::DBusProxy;
use zbus::names::BusName;
use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags, Subject};

use crate::asked;
use crate::callers::Caller;

/// Whether people may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interaction {
    /// The caller's message allows a dialogue.
    Allowed,
    /// Only what is known already counts.
    Refused,
}

/// polkit on one connection.
#[derive(Debug, Clone)]
pub struct Authority {
    connection: zbus::Connection,
    verdict: Verdict,
    /// How long people have to answer.
    patience: Duration,
}

/// Who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// polkit.
    Polkit,
    /// Nobody: everything is allowed, because nothing can be changed (`--simulate`).
    Simulated,
}

impl Authority {
    /// polkit on this connection.
    #[must_use]
    pub fn new(connection: zbus::Connection, verdict: Verdict, patience: Duration) -> Self {
        Self { connection, verdict, patience }
    }

    /// Asks. `details` are shown to the person who is asked.
    pub async fn check(
        &self,
        caller: &Caller,
        subject: &Subject,
        permission: Permission,
        details: &[(&str, &str)],
        interaction: Interaction,
    ) -> Result<(), Failure> {
        if caller.uid == 0 || self.verdict == Verdict::Simulated {
            return Ok(());
        }
        let answer = tokio::time::timeout(self.patience, self.ask(subject, permission, details, interaction)).await;
        match answer {
            Ok(Ok(())) => self.is_still_here(caller).await,
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::new(ErrorCode::AuthDenied, format!("nobody answered for {permission} in time"))),
        }
    }

    /// A yes is for somebody who waits for it: who left takes no right with them.
    async fn is_still_here(&self, caller: &Caller) -> Result<(), Failure> {
        let gone = |text: String| Failure::new(ErrorCode::AuthDenied, text);
        let cannot = |error: &dyn std::fmt::Display| gone(format!("cannot ask whether the caller is still there: {error}"));
        let name = BusName::try_from(caller.sender.as_str()).map_err(|error| cannot(&error))?;
        let bus = DBusProxy::new(&self.connection).await.map_err(|error| cannot(&error))?;
        match asked::answer(|| bus.name_has_owner(name.clone())).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(gone("the caller left before the answer came".to_owned())),
            Err(error) => Err(cannot(&error)),
        }
    }

    async fn ask(
        &self,
        subject: &Subject,
        permission: Permission,
        details: &[(&str, &str)],
        interaction: Interaction,
    ) -> Result<(), Failure> {
        let unavailable = |error: zbus::Error| Failure::new(ErrorCode::AuthUnavailable, format!("cannot ask polkit: {error}"));
        let authority = AuthorityProxy::new(&self.connection).await.map_err(unavailable)?;
        let details: HashMap<&str, &str> = details.iter().copied().collect();
        let flags = match interaction {
            Interaction::Allowed => CheckAuthorizationFlags::ALLOW_USER_INTERACTION,
            Interaction::Refused => CheckAuthorizationFlags::empty(),
        };
        let answer = authority.check_authorization(subject, permission.as_str(), &details, flags, "").await.map_err(unavailable)?;
        if answer.is_authorized {
            return Ok(());
        }
        let why = if answer.details.contains_key("polkit.dismissed") {
            "the dialogue was dismissed"
        } else if answer.is_challenge {
            "authentication is needed and nobody could be asked"
        } else {
            "not authorised"
        };
        Err(refused(permission, why))
    }
}

/// What an answer that is no yes tells. Not "permission: why": what follows `pin:` is taken for a secret.
fn refused(permission: Permission, why: &str) -> Failure {
    Failure::new(ErrorCode::AuthDenied, format!("{why} ({permission})"))
}

/// The subject of a message's sender: its unique bus name, which cannot be reused or forged.
pub fn subject(header: &zbus::message::Header<'_>) -> Result<Subject, Failure> {
    Subject::new_for_message_header(header).map_err(|error| Failure::new(ErrorCode::AuthDenied, format!("no subject for polkit: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use backstep_core::scrub::scrub;

    #[test]
    fn why_somebody_was_turned_away_is_no_secret() {
        for permission in Permission::ALL {
            let text = refused(*permission, "authentication is needed and nobody could be asked").text;
            assert_eq!(scrub(&text), text);
        }
    }
}
