//! The command line. Flags are for tests; the units call `run <attempt>`, apt calls `check-plan <folder>` in our own
//! runs, and `apt-before` and `apt-after` in everybody else's, and dpkg `dpkg-after` where no apt is; a unit calls `hooks` for a transaction that has
//! ended; the worker calls itself for the guard and for what goes under it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use backstep_core::id::IdError;
use backstep_core::{AttemptId, TransactionId};

use crate::guard::keep::Guarded;

/// How to call the program.
pub const USAGE: &str = "usage: backstep-worker run <attempt> [--state-dir DIR] [--root DIR]\n       backstep-worker check-plan <folder>\n       \
     backstep-worker guard <folder> <capture> [apt-refused | apt-goes-on]\n       backstep-worker under-guard <folder> <program> [argument]...\n       \
     backstep-worker apt-before | apt-after | dpkg-after\n       backstep-worker hooks <transaction>";

/// How a guard is told that it guards a plain run of apt, and what becomes of a change that it cannot keep.
pub(crate) const APT_REFUSED: &str = "apt-refused";
/// The same, when the change goes on.
pub(crate) const APT_GOES_ON: &str = "apt-goes-on";

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// Carry out an attempt.
    Run {
        /// Which.
        attempt: AttemptId,
        /// Backstep's state.
        state: PathBuf,
        /// The system's root.
        root: PathBuf,
    },
    /// Guard what the other end of standard input hands over.
    Guard {
        /// The attempt's folder.
        folder: PathBuf,
        /// Its capture.
        capture: PathBuf,
        /// Whose change it is.
        guarded: Guarded,
    },
    /// Go under the guard at the other end of standard input and become a program.
    UnderGuard {
        /// The attempt's folder.
        folder: PathBuf,
        /// The program.
        program: OsString,
        /// Its arguments.
        arguments: Vec<OsString>,
    },
    /// Compare what apt says on standard input with the plan of an attempt.
    CheckPlan {
        /// The attempt's folder.
        folder: PathBuf,
    },
    /// Keep undo material for what apt says on standard input.
    AptBefore,
    /// Write down what became of it.
    AptAfter,
    /// Write down what a plain run of dpkg changed.
    DpkgAfter,
    /// Run the administrator's hooks.
    Hooks {
        /// Of what they are told.
        transaction: TransactionId,
    },
}

/// Reads the arguments, the program's name left out.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Verb, String> {
    let words: Vec<OsString> = arguments.into_iter().collect();
    let verb = words.first().and_then(|verb| verb.to_str());
    match (verb, words.get(1..).unwrap_or_default()) {
        (Some("run"), [attempt, rest @ ..]) => run(attempt, rest),
        (Some("check-plan"), [folder]) => Ok(Verb::CheckPlan { folder: folder.into() }),
        (Some("guard"), [folder, capture, whose @ ..]) => {
            Ok(Verb::Guard { folder: folder.into(), capture: capture.into(), guarded: guarded(whose)? })
        }
        (Some("under-guard"), [folder, program, arguments @ ..]) => {
            Ok(Verb::UnderGuard { folder: folder.into(), program: program.clone(), arguments: arguments.to_vec() })
        }
        (Some("apt-before"), []) => Ok(Verb::AptBefore),
        (Some("apt-after"), []) => Ok(Verb::AptAfter),
        (Some("dpkg-after"), []) => Ok(Verb::DpkgAfter),
        (Some("hooks"), [transaction]) => Ok(Verb::Hooks { transaction: id(transaction)? }),
        _ => Err(USAGE.to_owned()),
    }
}

fn id<T: FromStr<Err = IdError>>(word: &OsString) -> Result<T, String> {
    word.to_str().ok_or_else(|| USAGE.to_owned())?.parse().map_err(|error: IdError| error.to_string())
}

fn guarded(words: &[OsString]) -> Result<Guarded, String> {
    match words {
        [] => Ok(Guarded::Own),
        [word] if word == APT_REFUSED => Ok(Guarded::AptRefused),
        [word] if word == APT_GOES_ON => Ok(Guarded::AptGoesOn),
        _ => Err(USAGE.to_owned()),
    }
}

fn run(attempt: &OsString, rest: &[OsString]) -> Result<Verb, String> {
    let attempt = id(attempt)?;
    let (mut state, mut root) = (PathBuf::from("/var/lib/backstep"), PathBuf::from("/"));
    for pair in rest.chunks(2) {
        match pair {
            [flag, value] if flag == "--state-dir" => state = value.into(),
            [flag, value] if flag == "--root" => root = value.into(),
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(Verb::Run { attempt, state, root })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<Verb, String> {
        parse(text.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_verbs_are_read_and_nothing_else() {
        let id = "01936b2e-7c1a-7d3e-9f10-0123456789ab-1";
        let run = Verb::Run { attempt: id.parse().expect("id"), state: "/s".into(), root: "/".into() };
        assert_eq!(words(&format!("run {id} --state-dir /s")), Ok(run));
        for (word, guarded) in [("", Guarded::Own), (APT_REFUSED, Guarded::AptRefused), (APT_GOES_ON, Guarded::AptGoesOn)] {
            let guard = Verb::Guard { folder: "/x".into(), capture: "/y".into(), guarded };
            assert_eq!(words(&format!("guard /x /y {word}")), Ok(guard));
        }
        let become_apt = Verb::UnderGuard { folder: "/x".into(), program: "apt-get".into(), arguments: vec!["--".into()] };
        assert_eq!(words("under-guard /x apt-get --"), Ok(become_apt));
        assert_eq!(words("check-plan /x"), Ok(Verb::CheckPlan { folder: "/x".into() }));
        assert_eq!((words("apt-before"), words("apt-after")), (Ok(Verb::AptBefore), Ok(Verb::AptAfter)));
        assert_eq!((words("dpkg-after"), words("dpkg-after x").is_err()), (Ok(Verb::DpkgAfter), true));
        assert_eq!(
            words("hooks 01936b2e-7c1a-7d3e-9f10-0123456789ab"),
            Ok(Verb::Hooks { transaction: "01936b2e-7c1a-7d3e-9f10-0123456789ab".parse().expect("id") })
        );
        for bad in [
            "hooks",
            "hooks ../x",
            "hooks 01936b2e-7c1a-7d3e-9f10-0123456789ab-1",
            "",
            "apt-before x",
            "run",
            "run x",
            "check-plan",
            "check-plan a b",
            "guard a",
            "guard a b c",
            "guard a b apt-refused c",
            "under-guard a",
            "undo x",
        ] {
            assert!(words(bad).is_err(), "{bad}");
        }
        assert!(words(&format!("run {id} --root")).is_err());
        assert!(words(&format!("run {id} --shell /bin/sh")).is_err());
    }
}
