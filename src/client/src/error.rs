//! One funnel from errors to people: a message, a hint, an exit code.
//!
//! Exit codes are `ErrorCode::exit_code`, and besides: 0 success, 2 usage, 13 no daemon, 70 a defect, 130 left
//! by Ctrl-C while the transaction goes on.

use std::io;
use std::path::PathBuf;

use backstep_bus::CallError;
use backstep_core::{ErrorCode, Failure};

use crate::package_argument::PackageArgumentError;
use crate::package_list::PackageListError;
use crate::render::escape::escaped;
use crate::render::json;
use crate::ui::{Ink, Ui};

/// Usage: what clap answers, too.
pub(crate) const EXIT_USAGE: u8 = 2;
/// Stopped on request.
pub(crate) const EXIT_CANCELLED: u8 = 11;
/// The daemon cannot be reached.
pub(crate) const EXIT_AWAY: u8 = 13;
/// A defect.
pub(crate) const EXIT_DEFECT: u8 = 70;
/// Left while the transaction goes on.
pub(crate) const EXIT_LEFT: u8 = 130;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// A call gave no answer, or an error.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The daemon did not come back while a transaction was followed.
    #[error("cannot reach backstepd for {seconds} s; transaction {id} may go on")]
    Lost {
        /// For how long.
        seconds: u64,
        /// Which.
        id: String,
    },
    /// An argument is no package.
    #[error(transparent)]
    Package(#[from] PackageArgumentError),
    /// A file that should list packages.
    #[error("cannot take packages from {}", path.display())]
    List {
        /// Which.
        path: PathBuf,
        /// Why.
        source: PackageListError,
    },
    /// Nobody is there to say yes.
    #[error("cannot ask for confirmation without a terminal; add -y to accept the plan")]
    NoTerminal,
    /// A user of no known name.
    #[error("no user {0:?}")]
    UserUnknown(String),
    /// A local archive, a backup or a list of packages cannot be read.
    #[error("cannot open {}", path.display())]
    Archive {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A generated file cannot be written.
    #[error("cannot write to {}", path.display())]
    Generate {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that a command would make is there.
    #[error("{} exists", .0.display())]
    Exists(PathBuf),
    /// A file for an answer cannot be written.
    #[error("cannot write {}", path.display())]
    Target {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The terminal or the pipe does not take what is written.
    #[error("cannot write")]
    Output(#[source] io::Error),
    /// The terminal does not answer.
    #[error("cannot read the answer")]
    Input(#[source] io::Error),
    /// The runtime or its signals cannot be set up.
    #[error("cannot start")]
    Runtime(#[source] io::Error),
}

impl From<zbus::Error> for ClientError {
    fn from(error: zbus::Error) -> Self {
        Self::Call(error.into())
    }
}

impl ClientError {
    /// The exit code.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Call(CallError::Failure(Failure { code, .. })) => code.exit_code(),
            Self::Call(CallError::Away(_)) | Self::Lost { .. } => EXIT_AWAY,
            Self::Call(CallError::Protocol(_)) | Self::Runtime(_) | Self::Output(_) | Self::Generate { .. } => EXIT_DEFECT,
            Self::Package(_) | Self::List { .. } | Self::NoTerminal | Self::Input(_) | Self::Exists(_) => EXIT_USAGE,
            Self::Target { .. } => ErrorCode::DiskFull.exit_code(),
            Self::UserUnknown(_) | Self::Archive { .. } => 3,
        }
    }

    /// Whether it is about one transaction, and another one may do well.
    pub(crate) const fn concerns_one(&self) -> bool {
        matches!(self, Self::Call(CallError::Failure(_)))
    }

    /// What to do about it.
    fn hint(&self) -> Option<String> {
        match self {
            Self::Call(CallError::Failure(failure)) => Some(failure.code.hint().to_owned()),
            Self::Call(CallError::Away(_)) => Some("See 'systemctl status backstepd'.".to_owned()),
            Self::Lost { id, .. } => Some(format!("Pick it up with 'backstep watch {id}'.")),
            Self::Package(_) | Self::List { .. } => Some("See 'backstep install --help' for how packages are written.".to_owned()),
            Self::Call(CallError::Protocol(_)) => Some("The client and the daemon may be of different versions.".to_owned()),
            Self::Exists(_) => Some("Choose another name: nothing is overwritten.".to_owned()),
            Self::Target { .. } => Some("Check the path, its permissions and the space there.".to_owned()),
            Self::NoTerminal
            | Self::UserUnknown(_)
            | Self::Archive { .. }
            | Self::Generate { .. }
            | Self::Output(_)
            | Self::Input(_)
            | Self::Runtime(_) => None,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Call(CallError::Failure(failure)) => failure.code.as_str(),
            Self::Call(CallError::Away(_)) | Self::Lost { .. } => "daemon.away",
            Self::Target { .. } => "file.failed",
            Self::Package(_) | Self::List { .. } | Self::NoTerminal | Self::UserUnknown(_) | Self::Archive { .. } | Self::Exists(_) => {
                ErrorCode::RequestMalformed.as_str()
            }
            Self::Call(CallError::Protocol(_)) | Self::Generate { .. } | Self::Output(_) | Self::Input(_) | Self::Runtime(_) => {
                ErrorCode::Internal.as_str()
            }
        }
    }

    /// The message with its causes.
    fn text(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        escaped(&text)
    }

    /// Tells people and programs; answers the exit code. A reader that went away is no error to tell.
    pub(crate) fn report(&self, ui: &Ui) -> u8 {
        if let Self::Output(error) = self
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            return 0;
        }
        let hint = self.hint();
        if ui.json {
            ui.try_line(&json::error(self.code(), &self.text(), hint.as_deref(), self.exit_code()).to_string());
        }
        complain(ui, &self.text(), hint.as_deref());
        self.exit_code()
    }
}

/// Writes an error and what to do about it.
pub(crate) fn complain(ui: &Ui, text: &str, hint: Option<&str>) {
    ui.warn(&format!("{} {text}", ui.paint_err(Ink::Bad, "Error:")));
    if let Some(hint) = hint {
        ui.warn(&format!("{} {hint}", ui.paint_err(Ink::Dim, "Hint:")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_causes() {
        let failure = ClientError::Call(CallError::Failure(Failure::new(ErrorCode::AuthDenied, "not\u{1b}[1m allowed")));
        assert_eq!(failure.exit_code(), 5);
        assert_eq!(failure.text(), "not\\x1b[1m allowed");
        let archive = ClientError::Archive { path: "/x.deb".into(), source: io::Error::other("gone") };
        assert_eq!((archive.exit_code(), archive.text().as_str()), (3, "cannot open /x.deb: gone"));
        let away = ClientError::from(zbus::Error::FDO(Box::new(zbus::fdo::Error::ServiceUnknown("no name".into()))));
        assert_eq!(away.exit_code(), 13);
    }
}
