//! A root folder with namespaces of its own: whatever runs in it sees only it, and ends when its first process does.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use backstep_tests::command::{self, Output};
use backstep_tests::wait::wait_until;

/// How long one command may take.
const PATIENCE: Duration = Duration::from_secs(150);
/// Where the program that the tests are made of is in a cell.
pub const PROGRAM: &str = "/srv/kills/backstep-kills";
/// What the first process of a cell does: mounts, then becomes the command. In a boot of its own nothing is in `/run`.
const ENTER: &str = r#"set -e
mount --bind "$2" "$1/srv/kills"
mount -t proc proc "$1/proc"
if [ -n "$3" ]; then
    mount -t tmpfs tmpfs "$1/run"
    echo "$3" >"$1/run/boot_id"
    mount --bind "$1/run/boot_id" "$1/proc/sys/kernel/random/boot_id"
fi
root=$1
shift 3
exec chroot "$root" "$@""#;
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A root folder.
#[derive(Debug, Clone)]
pub struct Cell {
    root: PathBuf,
    boot: String,
}

impl Cell {
    /// The one in this folder.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned(), boot: String::new() }
    }

    /// The same in a boot of its own.
    #[must_use]
    pub fn in_boot(self, number: u32) -> Self {
        Self { boot: format!("00000000-0000-4000-8000-{number:012}"), ..self }
    }

    /// Runs a command as its first process. Errors: it did not end with 0, or not in time; then all of it was killed.
    pub fn check<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Result<String> {
        Ok(self.run(words)?.success()?.stdout)
    }

    fn run<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Result<Output> {
        let words: Vec<&str> = words.into_iter().collect();
        let program = std::env::current_exe()?;
        let folder = program.parent().context("a program lies in a folder")?;
        let (said, error) = (tempfile::NamedTempFile::new()?, tempfile::NamedTempFile::new()?);
        let unshare = ["--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, "sh"].map(Path::new);
        let words_as_paths = words.iter().map(Path::new);
        let mut command =
            command::host("unshare", unshare.into_iter().chain([self.root.as_path(), folder, Path::new(&self.boot)]).chain(words_as_paths));
        command.env_clear().env("PATH", PATH).env("LC_ALL", "C.UTF-8").env("DEBIAN_FRONTEND", "noninteractive");
        let mut child = command.stdout(said.reopen()?).stderr(error.reopen()?).spawn().context("cannot start unshare")?;
        let status = wait(&mut child);
        let text = |file: &tempfile::NamedTempFile| std::fs::read(file.path()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let (stdout, stderr) = (text(&said)?, text(&error)?);
        match status {
            Ok(status) => Ok(Output { command: words.join(" "), status, stdout, stderr }),
            Err(late) => bail!("{}: {late:#}\n{stdout}\n{stderr}", words.join(" ")),
        }
    }
}

/// Killing the first process kills all: the kernel does it.
fn wait(child: &mut Child) -> Result<std::process::ExitStatus> {
    let ended = wait_until("it has ended", PATIENCE, || Ok(child.try_wait()?));
    if ended.is_err() {
        child.kill()?;
        child.wait()?;
    }
    ended
}
