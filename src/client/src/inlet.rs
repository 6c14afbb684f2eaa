//! Large answers: the daemon writes into a pipe while its call goes on, and a thread reads it.

use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use zbus::Fd;

use crate::error::ClientError;

/// Makes a call that writes into a pipe, and reads it on another thread; answers both.
///
/// What went wrong with the reader is told before what that made of the call.
pub(crate) async fn piped<A, R, F>(
    call: impl FnOnce(Fd<'static>) -> F,
    read: impl FnOnce(File) -> Result<R, ClientError> + Send + 'static,
) -> Result<(A, R), ClientError>
where
    F: Future<Output = zbus::Result<A>>,
    R: Send + 'static,
{
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| ClientError::Runtime(errno.into()))?;
    let reading = tokio::task::spawn_blocking(move || read(File::from(reader)));
    // Our copy of the write end goes with the call, or the reader would wait for ever.
    let answer = call(Fd::from(writer)).await;
    let read = reading.await.map_err(|error| ClientError::Runtime(io::Error::other(error)))?;
    let read = read?;
    Ok((answer?, read))
}

/// A file that is made for an answer, and goes again when the answer does not come whole. Never one that was there.
#[derive(Debug)]
pub(crate) struct Target {
    path: PathBuf,
    file: File,
    whole: bool,
}

impl Target {
    /// Makes the file, for its owner only.
    pub(crate) fn create(path: &Path) -> Result<Self, ClientError> {
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = opened.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => ClientError::Exists(path.to_owned()),
            _ => ClientError::Target { path: path.to_owned(), source },
        })?;
        Ok(Self { path: path.to_owned(), file, whole: false })
    }

    /// Takes everything that comes; answers how many bytes.
    pub(crate) fn fill(&mut self, mut from: impl Read) -> Result<u64, ClientError> {
        io::copy(&mut from, &mut self.file).map_err(|source| self.failed(source))
    }

    /// Makes the file durable and keeps it.
    pub(crate) fn keep(mut self) -> Result<(), ClientError> {
        self.file.sync_all().map_err(|source| self.failed(source))?;
        self.whole = true;
        Ok(())
    }

    fn failed(&self, source: io::Error) -> ClientError {
        ClientError::Target { path: self.path.clone(), source }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.whole
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            writeln!(io::stderr().lock(), "cannot remove {}: {error}", self.path.display()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_kept_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("copy");
        let mut target = Target::create(&path).expect("create");
        assert_eq!(target.fill(&b"abc"[..]).expect("fill"), 3);
        assert!(matches!(Target::create(&path), Err(ClientError::Exists(_))));
        drop(target);
        assert!(!path.exists());
        let mut target = Target::create(&path).expect("create");
        target.fill(&b"abc"[..]).expect("fill");
        target.keep().expect("keep");
        assert_eq!(std::fs::read(&path).expect("read"), b"abc");
        assert!(matches!(Target::create(&folder.path().join("no/such")), Err(ClientError::Target { .. })));
    }

    #[test]
    fn what_goes_wrong_with_the_file_is_told_first() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        let failing = |_| Err::<(), _>(ClientError::Output(io::Error::other("full")));
        let call = |_fd| async { Err::<(), _>(zbus::Error::InvalidReply) };
        let error = runtime.block_on(piped(call, failing)).expect_err("error");
        assert!(matches!(error, ClientError::Output(_)), "{error}");
    }
}
