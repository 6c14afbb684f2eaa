//! Programs of the administrator's: where they lie, which of them may be run, and that they have an end.
//!
//! Names are those of run-parts(8). Invariants: nothing is run that anybody but root could have written; a program has an end.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::child::Ended;

/// Seconds that one may take, and those it has to end when it is asked to.
const LIMIT: u32 = 60;
const GRACE: u32 = 5;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    /// The name of its file.
    pub(crate) name: String,
    /// Seconds that it may take.
    pub(crate) limit: u32,
    /// Its file.
    pub(crate) path: PathBuf,
}

/// Those of a folder, in the order of their names; none where there is no folder.
pub(crate) fn find(folder: &Path) -> io::Result<Vec<Program>> {
    let mut names = names(folder)?;
    names.sort_unstable();
    Ok(names.into_iter().map(|name| Program { path: folder.join(&name), name, limit: LIMIT }).collect())
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok().filter(|name| is_name(name))));
    names.filter_map(io::Result::transpose).collect()
}

/// Those of run-parts(8): nothing that an editor or dpkg leaves beside a file.
fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

impl Program {
    /// Has it run to its end by `run`, which is told of a program and its arguments. Answers in words why it failed; nothing when it
    /// did not.
    pub(crate) fn run<E>(&self, run: impl FnOnce(&str, [String; 3]) -> Result<Ended, E>) -> Result<Option<String>, E> {
        if let Some(why) = self.unfit() {
            return Ok(Some(format!("was not run: {why}")));
        }
        // It ends what the program has started, too.
        let arguments = [format!("--kill-after={GRACE}"), self.limit.to_string(), self.path.display().to_string()];
        Ok(self.failure(run("timeout", arguments)?))
    }

    /// Why it must not or cannot be run.
    fn unfit(&self) -> Option<String> {
        let folder = self.path.parent().unwrap_or(&self.path);
        let trusted = [folder, &self.path].into_iter().find_map(|path| match fs::metadata(path) {
            Ok(found) if is_ours(&found) => None,
            Ok(_) => Some(format!("others than root may change {}", path.display())),
            Err(error) => Some(format!("cannot examine {}: {error}", path.display())),
        });
        trusted.or_else(|| (!is_program(&self.path)).then(|| format!("{} is no executable file", self.path.display())))
    }

    /// Why it failed, in words; nothing when it did not. timeout(1) says by 124 that the time was over.
    fn failure(&self, ended: Ended) -> Option<String> {
        match ended {
            Ended::Code(0) => None,
            Ended::Code(124) => Some(format!("did not end within {} seconds", self.limit)),
            Ended::Code(137) => Some(format!("was killed, as one is that does not end within {} seconds", self.limit)),
            Ended::Code(_) | Ended::Signal(_) => Some(ended.to_string()),
        }
    }
}

/// Whether nobody but root, and who runs the worker, who is root but in tests, can write to it.
fn is_ours(found: &Metadata) -> bool {
    [0, nix::unistd::geteuid().as_raw()].contains(&found.uid()) && found.mode() & 0o022 == 0
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
