//! Errors across the bus: a [`Failure`] on one side is the same [`Failure`] on the other.

use backstep_core::{ErrorCode, Failure};
use zbus::message::{Header, Message};
use zbus::names::ErrorName;
use zbus::{DBusError, fdo};

/// A failure as a method's error reply: its name is the code's, its message the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", failure.text)]
pub struct BusError {
    /// The failure.
    pub failure: Failure,
    name: String,
}

impl BusError {
    /// An error of this code and text.
    #[must_use]
    pub fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Failure::new(code, text).into()
    }
}

impl From<Failure> for BusError {
    fn from(failure: Failure) -> Self {
        Self { name: failure.code.dbus_name(), failure }
    }
}

impl From<zbus::Error> for BusError {
    /// What the bus library itself reports while a method is served is a defect or a bus that went away.
    fn from(error: zbus::Error) -> Self {
        Self::new(ErrorCode::Internal, format!("cannot use the bus: {error}"))
    }
}

impl DBusError for BusError {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<Message> {
        Message::error(call, self.name()).build(&(self.failure.text.as_str(),))
    }

    fn name(&self) -> ErrorName<'_> {
        ErrorName::from_str_unchecked(&self.name)
    }

    fn description(&self) -> Option<&str> {
        Some(&self.failure.text)
    }
}

/// Why a call gave no answer, for callers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The daemon answered with an error.
    #[error(transparent)]
    Failure(Failure),
    /// Nobody answered: the bus cannot be reached, or the daemon is not there and cannot be started.
    #[error("cannot reach backstepd: {0}")]
    Away(#[source] zbus::Error),
    /// An answer outside the contract.
    #[error("cannot understand backstepd: {0}")]
    Protocol(#[source] zbus::Error),
}

impl CallError {
    /// The error's code; `None` for what is no answer of the daemon.
    #[must_use]
    pub const fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Failure(failure) => Some(failure.code),
            Self::Away(_) | Self::Protocol(_) => None,
        }
    }

    /// Whether the daemon could not be reached; it may be back in a moment.
    #[must_use]
    pub const fn is_away(&self) -> bool {
        matches!(self, Self::Away(_))
    }
}

impl From<fdo::Error> for CallError {
    fn from(error: fdo::Error) -> Self {
        match error {
            fdo::Error::ZBus(error) => error.into(),
            error => zbus::Error::FDO(Box::new(error)).into(),
        }
    }
}

impl From<zbus::Error> for CallError {
    fn from(error: zbus::Error) -> Self {
        match &error {
            zbus::Error::MethodError(name, text, _) => from_reply(name.as_str(), text.as_deref().unwrap_or_default(), &error),
            zbus::Error::FDO(inner) => from_fdo(inner, &error),
            zbus::Error::InputOutput(_) | zbus::Error::Connection(..) | zbus::Error::Handshake(_) | zbus::Error::Address(_) => {
                Self::Away(error)
            }
            _ => Self::Protocol(error),
        }
    }
}

fn from_reply(name: &str, text: &str, error: &zbus::Error) -> CallError {
    if let Some(code) = ErrorCode::from_dbus_name(name) {
        return CallError::Failure(Failure::new(code, text));
    }
    // systemd answers for a unit that cannot be started on behalf of the bus.
    if name.starts_with("org.freedesktop.systemd1.") {
        return CallError::Away(error.clone());
    }
    CallError::Protocol(error.clone())
}

fn from_fdo(inner: &fdo::Error, error: &zbus::Error) -> CallError {
    use fdo::Error as E;
    let failure = |code, text: &str| CallError::Failure(Failure::new(code, text));
    match inner {
        E::AccessDenied(text) => failure(ErrorCode::AuthDenied, text),
        E::InteractiveAuthorizationRequired(text) => failure(ErrorCode::AuthDenied, text),
        E::InvalidArgs(text) => failure(ErrorCode::RequestMalformed, text),
        E::LimitsExceeded(text) => failure(ErrorCode::RequestTooLarge, text),
        E::UnknownObject(text) => failure(ErrorCode::TransactionUnknown, text),
        E::ServiceUnknown(_)
        | E::NameHasNoOwner(_)
        | E::NoReply(_)
        | E::NoServer(_)
        | E::Disconnected(_)
        | E::Timeout(_)
        | E::TimedOut(_)
        | E::IOError(_)
        | E::SpawnExecFailed(_)
        | E::SpawnForkFailed(_)
        | E::SpawnChildExited(_)
        | E::SpawnChildSignaled(_)
        | E::SpawnFailed(_)
        | E::SpawnFailedToSetup(_)
        | E::SpawnConfigInvalid(_)
        | E::SpawnServiceNotValid(_)
        | E::SpawnServiceNotFound(_)
        | E::SpawnPermissionsInvalid(_)
        | E::SpawnFileInvalid(_)
        | E::SpawnNoMemory(_) => CallError::Away(error.clone()),
        _ => CallError::Protocol(error.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over_the_wire(failure: Failure) -> CallError {
        let call = Message::method_call("/org/backstep1", "GetTransaction").build(&()).expect("call");
        let reply = BusError::from(failure).create_reply(&call.header()).expect("reply");
        zbus::Error::from(reply).into()
    }

    #[test]
    fn every_code_survives_the_bus() {
        for code in ErrorCode::ALL {
            match over_the_wire(Failure::new(*code, "cannot do it")) {
                CallError::Failure(back) => assert_eq!(back, Failure::new(*code, "cannot do it")),
                other => panic!("{code}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_daemon_that_is_not_there_is_told_from_one_that_refuses() {
        let away: CallError = fdo::Error::ServiceUnknown("no such name".into()).into();
        assert!(away.is_away());
        let denied: CallError = fdo::Error::AccessDenied("policy".into()).into();
        assert_eq!(denied.code(), Some(ErrorCode::AuthDenied));
    }
}
