//! The administrator's own checks: programs that say whether the machine does its work after a change.
//!
//! They lie in two folders: one of `required.d` that fails undoes the change, one of `wanted.d` is only told of. They run after
//! everything else was found well, those that are required first, each folder in the order of names.

use backstep_core::{ErrorCode, Failure};

use crate::child::{Call, Children, Watch};
use crate::machine::Machine;
use crate::programs::{self, Program};

const FOLDERS: [(&str, Weight); 2] = [("etc/backstep/check/required.d", Weight::Required), ("etc/backstep/check/wanted.d", Weight::Wanted)];

/// What hangs on a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// The change is undone when it fails.
    Required,
    /// Its failure is recorded.
    Wanted,
}

impl Weight {
    /// The word for people.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Wanted => "wanted",
        }
    }
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    /// What hangs on it.
    pub(crate) weight: Weight,
    program: Program,
}

/// All that there are, in the order in which they are run.
pub(crate) fn find(machine: &Machine) -> Result<Vec<Check>, Failure> {
    let mut checks = Vec::new();
    for (folder, weight) in FOLDERS {
        let folder = machine.at(folder);
        let failed = |error| Failure::new(ErrorCode::CheckFailed, format!("cannot list {}: {error}", folder.display()));
        checks.extend(programs::find(&folder).map_err(failed)?.into_iter().map(|program| Check { weight, program }));
    }
    Ok(checks)
}

impl Check {
    /// The name of its file.
    pub(crate) fn name(&self) -> &str {
        &self.program.name
    }

    /// Runs it to its end. Answers in words why it failed; nothing when it did not.
    pub(crate) fn run(&self, children: &dyn Children, watch: &mut dyn Watch) -> Result<Option<String>, Failure> {
        self.program.run(|program, arguments| children.run(Call::new(program, arguments), watch))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::child::{Processes, Unwatched};
    use crate::testing::{attempt, install};

    struct Place {
        root: tempfile::TempDir,
        children: Processes,
    }

    impl Place {
        fn new() -> Self {
            let root = tempfile::tempdir().expect("root");
            for (folder, _) in FOLDERS {
                fs::create_dir_all(root.path().join(folder)).expect("folder");
            }
            let environment = vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
            let children = Processes::new(environment, attempt(1).transaction, &root.path().join("output.log"));
            Self { root, children }
        }

        fn at(&self, weight: Weight, name: &str) -> PathBuf {
            let (folder, _) = FOLDERS.into_iter().find(|(_, other)| *other == weight).expect("folder");
            self.root.path().join(folder).join(name)
        }

        fn script(&self, weight: Weight, name: &str, mode: &str, text: &str) {
            install(self.root.path(), &self.at(weight, name), mode, text);
        }

        fn found(&self) -> Vec<Check> {
            find(&Machine::new(self.root.path(), self.root.path())).expect("find")
        }

        /// What each answers, after its weight and name.
        fn run(&self) -> Vec<String> {
            let run = |check: Check| {
                let program = Program { limit: 1, ..check.program.clone() };
                let answer = Check { program, ..check.clone() }.run(&self.children, &mut Unwatched).expect("run");
                let answer = answer.map(|why| why.replace(&format!("{}/", self.root.path().display()), ""));
                format!("{} {} {}", check.weight.as_str(), check.name(), answer.as_deref().unwrap_or("passed"))
            };
            self.found().into_iter().map(run).collect()
        }
    }

    #[test]
    fn the_required_are_first_and_each_folder_is_in_the_order_of_names() {
        let place = Place::new();
        for (weight, name) in [(Weight::Wanted, "10-a"), (Weight::Required, "20_b"), (Weight::Required, "10-c")] {
            symlink("/bin/true", place.at(weight, name)).expect("link");
        }
        for name in ["10-c~", "10-c.dpkg-dist", ".hidden", "a b", "\u{e4}"] {
            symlink("/bin/false", place.at(Weight::Required, name)).expect("link");
        }
        assert_eq!(place.run(), ["required 10-c passed", "required 20_b passed", "wanted 10-a passed"]);
    }

    #[test]
    fn without_folders_there_are_none() {
        let root = tempfile::tempdir().expect("root");
        assert_eq!(find(&Machine::new(root.path(), root.path())).expect("find"), []);
    }

    #[test]
    fn a_failure_is_told_by_its_code_or_signal_and_one_without_an_end_is_ended_with_what_it_started() {
        let place = Place::new();
        place.script(Weight::Required, "code", "755", "#!/bin/sh\necho not well\nexit 3\n");
        place.script(Weight::Required, "endless", "755", "#!/bin/sh\nsleep 300 | sleep 300\n");
        place.script(Weight::Required, "signal", "755", "#!/bin/sh\nkill -TERM $$\n");
        let begun = Instant::now();
        let answers =
            ["required code ended with code 3", "required endless did not end within 1 seconds", "required signal was ended by signal 15"];
        assert_eq!(place.run(), answers);
        assert!(begun.elapsed() < Duration::from_secs(30), "what it started was waited for");
        assert_eq!(fs::read_to_string(place.root.path().join("output.log")).expect("log"), "not well\n");
    }

    #[test]
    fn what_others_could_have_written_or_is_no_program_is_not_run() {
        let place = Place::new();
        let text = "#!/bin/sh\nexit 0\n";
        place.script(Weight::Required, "no-program", "644", text);
        place.script(Weight::Required, "open", "775", text);
        symlink("nowhere", place.at(Weight::Required, "dangling")).expect("link");
        place.script(Weight::Wanted, "fine", "755", text);
        let folder = |mode| fs::set_permissions(place.at(Weight::Wanted, ""), fs::Permissions::from_mode(mode)).expect("mode");
        let required = [
            "required dangling was not run: cannot examine etc/backstep/check/required.d/dangling: No such file or directory (os error 2)",
            "required no-program was not run: etc/backstep/check/required.d/no-program is no executable file",
            "required open was not run: others than root may change etc/backstep/check/required.d/open",
        ];
        assert_eq!(place.run(), [&required[..], &["wanted fine passed"]].concat());
        folder(0o777);
        assert_eq!(place.run()[3], "wanted fine was not run: others than root may change etc/backstep/check/wanted.d");
    }
}
