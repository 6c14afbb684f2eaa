//! Archives: whether a file is the one of the plan, and keeping it for a later undo.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use backstep_core::{Archive, ArchiveSource, Digest, ErrorCode, Failure, PackageId, Version};
use sha2::{Digest as _, Sha256};

use crate::durable::remove;
use crate::machine::Machine;

/// Whether a file is the archive of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// It is.
    Same,
    /// There is no such file.
    Absent,
    /// It is another one, or a part of it.
    Other,
}

/// Compares a file with an archive by size, then by content.
pub fn compare(path: &Path, archive: &Archive) -> Result<Match, Failure> {
    let unreadable = |error: io::Error| Failure::new(ErrorCode::FetchFailed, format!("cannot read {}: {error}", path.display()));
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Match::Absent),
        Err(error) => return Err(unreadable(error)),
    };
    if file.metadata().map_err(unreadable)?.len() != archive.size {
        return Ok(Match::Other);
    }
    let same = hash(&mut file).map_err(unreadable)? == archive.sha256;
    Ok(if same { Match::Same } else { Match::Other })
}

/// SHA-256 of what can be read.
pub fn hash(from: &mut dyn Read) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(Digest(hash.finalize().into())),
            count => hash.update(&buffer[..count]),
        }
    }
}

/// Makes `to` the same file as `from`, which was compared and which only root writes to: a hard link, or a copy where
/// that is not possible. Already there is fine when it is the archive; another file there is replaced.
pub fn keep(from: &Path, to: &Path, archive: &Archive) -> Result<(), Failure> {
    if is_same_file(from, to) || is_there(to, archive)? {
        return Ok(());
    }
    if fs::hard_link(from, to).is_ok() { Ok(()) } else { copy(from, to, archive) }
}

/// Copies an archive from a place whose owner may write to it at any time: what is compared are the bytes that are
/// copied. Already there is fine when it is the archive; another file there is replaced.
pub fn copy(from: &Path, to: &Path, archive: &Archive) -> Result<(), Failure> {
    if is_there(to, archive)? {
        return Ok(());
    }
    let error = |error: io::Error| Failure::new(ErrorCode::FetchFailed, format!("cannot keep {}: {error}", to.display()));
    let part = part_of(to);
    if copy_and_hash(from, &part).map_err(error)? == archive.sha256 {
        return fs::rename(&part, to).map_err(error);
    }
    fs::remove_file(&part).map_err(error)?;
    Err(Failure::new(ErrorCode::FetchHashMismatch, format!("{} is not the archive of the plan", archive.file_name)))
}

/// Whether the archive is there; what else is there under its name goes.
fn is_there(to: &Path, archive: &Archive) -> Result<bool, Failure> {
    match compare(to, archive)? {
        Match::Same => return Ok(true),
        Match::Absent => return Ok(false),
        Match::Other => {}
    }
    let error = |error: io::Error| Failure::new(ErrorCode::FetchFailed, format!("cannot remove {}: {error}", to.display()));
    fs::remove_file(to).map(|()| false).map_err(error)
}

/// Two names of one file need no comparison of content.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()));
    matches!((id(one), id(other)), (Ok(one), Ok(other)) if one == other)
}

/// Copies what can be read, durably, and answers its digest.
fn copy_and_hash(from: &Path, to: &Path) -> io::Result<Digest> {
    let (mut from, mut to) = (File::open(from)?, File::create(to)?);
    let digest = hash(&mut Tee { from: &mut from, to: &mut to })?;
    to.sync_all()?;
    Ok(digest)
}

/// Writes everything that is read from it.
pub(crate) struct Tee<R, W> {
    pub(crate) from: R,
    pub(crate) to: W,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.to.write_all(&buffer[..count])?;
        Ok(count)
    }
}

fn part_of(path: &Path) -> PathBuf {
    path.with_extension("part")
}

/// Keeps the archive of a version that goes away, when apt's cache has it, and names it.
pub fn keep_old(machine: &Machine, file_name: &str) -> io::Result<()> {
    let path = machine.apt_archives().join(file_name);
    let Ok(mut file) = File::open(&path) else { return Ok(()) };
    let sha256 = hash(&mut file)?;
    let kept = machine.kept_archive(sha256);
    if !kept.exists() {
        fs::hard_link(&path, kept)?;
    }
    name(machine, file_name, sha256)
}

/// Names an archive of the plan. One that was rebuilt gets no name: nobody shall take it for the package's own.
pub fn name_original(machine: &Machine, archive: &Archive) -> io::Result<()> {
    match archive.source {
        ArchiveSource::Rebuilt => Ok(()),
        ArchiveSource::Repository | ArchiveSource::Local | ArchiveSource::Kept => name(machine, &archive.file_name, archive.sha256),
    }
}

/// The name of a version's archive, as apt names archives: a colon would be a device on other file systems.
#[must_use]
pub fn file_name(package: &PackageId, version: &Version) -> String {
    format!("{}_{}_{}.deb", package.name, version.as_str().replace(':', "%3a"), package.arch)
}

/// Lets a kept archive be found by its package and version: `by-name/<name>_<version>_<arch>.deb`, as apt names
/// archives. The newest archive of a name wins.
pub fn name(machine: &Machine, file_name: &str, sha256: Digest) -> io::Result<()> {
    let folder = machine.archives().join("by-name");
    match fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let target = Path::new("..").join(format!("{sha256}.deb"));
    let (link, part) = (folder.join(file_name), folder.join(format!(".{file_name}.part")));
    if fs::read_link(&link).is_ok_and(|named| named == target) {
        return Ok(());
    }
    remove(&part)?;
    symlink(target, &part)?;
    fs::rename(part, link)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::archive;

    #[test]
    fn only_the_very_bytes_are_the_archive() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.deb");
        let wanted = archive("a.deb", b"content");
        assert_eq!(compare(&path, &wanted), Ok(Match::Absent));
        for (bytes, expected) in [(&b"conte"[..], Match::Other), (b"CONTENT", Match::Other), (b"content", Match::Same)] {
            fs::write(&path, bytes).expect("write");
            assert_eq!(compare(&path, &wanted), Ok(expected));
        }
    }

    #[test]
    fn keeping_twice_is_keeping_once() {
        let folder = tempfile::tempdir().expect("folder");
        let (from, to) = (folder.path().join("a.deb"), folder.path().join("kept.deb"));
        fs::write(&from, b"content").expect("write");
        let wanted = archive("a.deb", b"content");
        assert_eq!((keep(&from, &to, &wanted), keep(&from, &to, &wanted)), (Ok(()), Ok(())));
        assert_eq!(fs::read(&to).expect("kept"), b"content");
    }

    #[test]
    fn what_was_there_before_is_not_trusted() {
        let folder = tempfile::tempdir().expect("folder");
        let (from, to) = (folder.path().join("a.deb"), folder.path().join("kept.deb"));
        let wanted = archive("a.deb", b"content");
        fs::write(&from, b"content").expect("write");
        for keeping in [keep, copy] {
            fs::write(&to, b"CONTENT").expect("write");
            assert_eq!(keeping(&from, &to, &wanted), Ok(()));
            assert_eq!(fs::read(&to).expect("kept"), b"content");
            fs::remove_file(&to).expect("remove");
        }
    }

    #[test]
    fn what_is_compared_are_the_bytes_that_are_kept() {
        let folder = tempfile::tempdir().expect("folder");
        let (from, to) = (folder.path().join("a.deb"), folder.path().join("kept.deb"));
        fs::write(&from, b"CHANGED").expect("write");
        let copied = copy(&from, &to, &archive("a.deb", b"content"));
        assert_eq!(copied.map_err(|failure| failure.code), Err(ErrorCode::FetchHashMismatch));
        assert!(!to.exists() && !part_of(&to).exists());
    }

    #[test]
    fn the_newest_archive_of_a_name_is_the_one_that_is_found() {
        let root = tempfile::tempdir().expect("folder");
        let machine = Machine::new(root.path(), &root.path().join("state"));
        fs::create_dir_all(machine.archives()).expect("folder");
        for byte in [1, 1, 2] {
            name(&machine, "a_1_all.deb", Digest([byte; 32])).expect("name");
            let named = fs::read_link(machine.archives().join("by-name/a_1_all.deb")).expect("link");
            assert_eq!(named, Path::new("..").join(format!("{}.deb", Digest([byte; 32]))));
        }
        let rebuilt = Archive { source: ArchiveSource::Rebuilt, ..archive("b_1_all.deb", b"rebuilt") };
        name_original(&machine, &rebuilt).expect("no name");
        name_original(&machine, &Archive { source: ArchiveSource::Kept, ..archive("c_1_all.deb", b"own") }).expect("name");
        let names = fs::read_dir(machine.archives().join("by-name")).expect("folder").map(|entry| entry.expect("name").file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        assert_eq!(names, ["a_1_all.deb", "c_1_all.deb"]);
    }
}
