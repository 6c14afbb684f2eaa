//! The command line. Flags are for tests; the units call `run <attempt>`, apt calls `check-plan <folder>` in our own
//! runs, and `apt-before` and `apt-after` in everybody else's.

use std::path::PathBuf;

use backstep_core::AttemptId;

/// How to call the program.
pub const USAGE: &str = "usage: backstep-worker run <attempt> [--state-dir DIR] [--root DIR]\n       backstep-worker check-plan <folder>
       backstep-worker apt-before | apt-after";

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
    /// Compare what apt says on standard input with the plan of an attempt.
    CheckPlan {
        /// The attempt's folder.
        folder: PathBuf,
    },
    /// Keep undo material for what apt says on standard input.
    AptBefore,
    /// Write down what became of it.
    AptAfter,
}

/// Reads the arguments, the program's name left out.
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Verb, String> {
    let mut rest = arguments.into_iter();
    match (rest.next().as_deref(), rest.next()) {
        (Some("run"), Some(attempt)) => run(&attempt, rest),
        (Some("check-plan"), Some(folder)) if rest.next().is_none() => Ok(Verb::CheckPlan { folder: folder.into() }),
        (Some("apt-before"), None) => Ok(Verb::AptBefore),
        (Some("apt-after"), None) => Ok(Verb::AptAfter),
        _ => Err(USAGE.to_owned()),
    }
}

fn run(attempt: &str, mut rest: impl Iterator<Item = String>) -> Result<Verb, String> {
    let attempt = attempt.parse().map_err(|error: backstep_core::id::IdError| error.to_string())?;
    let (mut state, mut root) = (PathBuf::from("/var/lib/backstep"), PathBuf::from("/"));
    while let Some(flag) = rest.next() {
        let value = rest.next().map(PathBuf::from).ok_or(USAGE)?;
        match flag.as_str() {
            "--state-dir" => state = value,
            "--root" => root = value,
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(Verb::Run { attempt, state, root })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<Verb, String> {
        parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_verbs_are_read_and_nothing_else() {
        let id = "01936b2e-7c1a-7d3e-9f10-0123456789ab-1";
        let run = Verb::Run { attempt: id.parse().expect("id"), state: "/s".into(), root: "/".into() };
        assert_eq!(words(&format!("run {id} --state-dir /s")), Ok(run));
        assert_eq!(words("check-plan /x"), Ok(Verb::CheckPlan { folder: "/x".into() }));
        assert_eq!((words("apt-before"), words("apt-after")), (Ok(Verb::AptBefore), Ok(Verb::AptAfter)));
        for bad in ["", "apt-before x", "run", "run x", "check-plan", "check-plan a b", "undo x"] {
            assert!(words(bad).is_err(), "{bad}");
        }
        assert!(words(&format!("run {id} --root")).is_err());
        assert!(words(&format!("run {id} --shell /bin/sh")).is_err());
    }
}
