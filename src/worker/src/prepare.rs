//! Archives made ready for dpkg: the same members in the same order, the payload no longer compressed.
//!
//! Whoever lists a payload has to decompress it anyway, on every core at once; dpkg, which would do it again, one
//! archive after the other, finds it done. Ready archives lie in memory (`/run`) and are made from bytes that were
//! compared with the plan.
//!
//! apt does not know of them: it names archives of its own cache, or the kept ones. When it says what it is about to do,
//! [`tell`] writes down which archive of the plan it means by which path, and what stands in dpkg's place takes that one.
//!
//! Invariants: what is found under its name is whole; whatever apt's cache holds, dpkg unpacks what was compared with the
//! plan.
//!
//! Absent on purpose: failure. An archive that cannot be made ready is handed to dpkg as it is.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use backstep_apt::container::{HEADER, MAGIC, NAME, SIZE, member};
use backstep_core::{Archive, Digest};
use serde::{Deserialize, Serialize};

use crate::durable::replace;
use crate::machine::Machine;

/// What stands before the folder of links that apt gives dpkg when there are more than a few archives.
const RECURSIVE: &str = "--recursive";
/// Where [`tell`] writes, in the folder of ready archives.
const NAMED: &str = "named.json";
/// The names of a payload that is compressed.
const COMPRESSED: [&str; 5] = ["data.tar.xz", "data.tar.zst", "data.tar.gz", "data.tar.bz2", "data.tar.lzma"];
/// The most that is taken of `/run`, in bytes.
const MOST: u64 = 512 << 20;
/// Which part of the free space of `/run` is taken at most.
const SHARE: u64 = 4;

/// The place of ready archives, empty at first; what an earlier worker left is gone.
pub(crate) struct Place {
    folder: PathBuf,
    /// How many bytes may still be written.
    left: AtomicU64,
}

impl Place {
    /// None where there is no room for it.
    pub(crate) fn make(machine: &Machine) -> Option<Self> {
        clear(machine).ok()?;
        let folder = machine.prepared();
        DirBuilder::new().mode(0o700).create(&folder).ok()?;
        let space = nix::sys::statvfs::statvfs(&folder).ok()?;
        let free = space.blocks_available().saturating_mul(space.fragment_size());
        Some(Self { folder, left: AtomicU64::new((free / SHARE).min(MOST)) })
    }

    /// Begins with the head of an archive; none if it has an unusual one, or its payload is not compressed.
    pub(crate) fn begin(&self, archive: &Path, sha256: Digest) -> Option<Preparing<'_>> {
        let head = head(&mut File::open(archive).ok()?).ok()??;
        let path = self.folder.join(format!("{sha256}.deb"));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft(&path)).ok()?;
        file.write_all(&head).ok()?;
        Some(Preparing { place: self, path, file, payload: head.len() as u64, written: 0, failed: false })
    }

    fn take(&self, bytes: u64) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

fn draft(path: &Path) -> PathBuf {
    path.with_extension("draft")
}

/// The archives that apt names, by their paths.
pub type Named = BTreeMap<String, Meant>;

/// An archive of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meant {
    /// Its SHA-256.
    sha256: String,
    /// Its name, which dpkg tells people.
    name: String,
}

impl From<&Archive> for Meant {
    fn from(archive: &Archive) -> Self {
        Self { sha256: archive.sha256.to_string(), name: archive.file_name.clone() }
    }
}

/// Writes down which archives apt means by the paths that it will call dpkg with.
pub fn tell(machine: &Machine, named: &Named) -> io::Result<()> {
    let folder = machine.prepared();
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    replace(&folder.join(NAMED), &serde_json::to_vec(named)?, 0o600)
}

/// What dpkg is called with: each archive that apt names is the one of the plan, ready if it is, else as it is kept.
/// Nothing changes when nothing was told.
pub fn ready(machine: &Machine, arguments: Vec<OsString>) -> io::Result<Vec<OsString>> {
    let named: Named = match fs::read(machine.prepared().join(NAMED)) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(arguments),
        Err(error) => return Err(error),
    };
    let mut meant = Vec::with_capacity(arguments.len());
    for argument in arguments {
        let is_folder = meant.last().is_some_and(|last| last == RECURSIVE);
        meant.push(if is_folder { folder(machine, &named, Path::new(&argument))? } else { one(machine, &named, argument)? });
    }
    Ok(meant)
}

/// One argument of dpkg, which may be an archive's path.
fn one(machine: &Machine, named: &Named, argument: OsString) -> io::Result<OsString> {
    let Some(meant) = argument.to_str().and_then(|path| named.get(path)) else { return Ok(argument) };
    let link = machine.prepared().join(&meant.name);
    put(&best(machine, meant)?, &link)?;
    Ok(link.into_os_string())
}

/// A folder like apt's, in which it puts a link to each of many archives, with names that give their order.
fn folder(machine: &Machine, named: &Named, apts: &Path) -> io::Result<OsString> {
    let name = apts.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let ours = machine.prepared().join(name);
    DirBuilder::new().recursive(true).mode(0o700).create(&ours)?;
    for entry in fs::read_dir(apts)? {
        let entry = entry?;
        let archive = fs::read_link(entry.path())?;
        let meant = archive.to_str().and_then(|path| named.get(path)).map(|meant| best(machine, meant));
        put(&meant.unwrap_or(Ok(archive))?, &ours.join(entry.file_name()))?;
    }
    Ok(ours.into_os_string())
}

/// Where an archive lies ready, else where it is kept.
fn best(machine: &Machine, meant: &Meant) -> io::Result<PathBuf> {
    let sha256 = meant.sha256.parse().map_err(io::Error::other)?;
    let ready = machine.prepared().join(format!("{sha256}.deb"));
    Ok(if ready.is_file() { ready } else { machine.kept_archive(sha256) })
}

fn put(archive: &Path, link: &Path) -> io::Result<()> {
    match symlink(archive, link) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::remove_file(link).and_then(|()| symlink(archive, link)),
        made => made,
    }
}

/// Removes all ready archives.
pub(crate) fn clear(machine: &Machine) -> io::Result<()> {
    match fs::remove_dir_all(machine.prepared()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// An archive that is being made ready: what is written to it is its payload. Writing never fails.
pub(crate) struct Preparing<'a> {
    place: &'a Place,
    path: PathBuf,
    file: File,
    /// Where the payload begins, behind its header.
    payload: u64,
    written: u64,
    failed: bool,
}

impl Preparing<'_> {
    /// Ends the payload, which must be whole: the archive is ready then, unless it was given up.
    pub(crate) fn finish(mut self) {
        if !self.failed {
            // Without its name it is not used, and that is all the harm.
            self.end().unwrap_or_default();
        }
    }

    fn end(&mut self) -> io::Result<()> {
        if !self.written.is_multiple_of(2) {
            self.file.write_all(b"\n")?;
        }
        let size = format!("{:<10}", self.written);
        if size.len() != SIZE.len() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.file.write_all_at(size.as_bytes(), self.payload - HEADER as u64 + SIZE.start as u64)?;
        fs::rename(draft(&self.path), &self.path)
    }
}

impl Write for Preparing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written += bytes.len() as u64;
        if !self.failed && (!self.place.take(bytes.len() as u64) || self.file.write_all(bytes).is_err()) {
            self.failed = true;
            // Given up: what is there already would only take memory. That it stays is no harm, either.
            self.file.set_len(0).unwrap_or_default();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Everything of an archive up to its payload, with the header of one that is not compressed. None if the archive is not
/// `debian-binary`, `control.tar*` and a compressed `data.tar*` alone: one that is signed stays as it is.
fn head(archive: &mut File) -> io::Result<Option<Vec<u8>>> {
    let mut head = vec![0; MAGIC.len()];
    archive.read_exact(&mut head)?;
    if head != MAGIC {
        return Ok(None);
    }
    for expected in ["debian-binary", "control.tar"] {
        let header = header(archive)?;
        let Some((_, size)) = member(&header).filter(|(name, _)| name.starts_with(expected)) else { return Ok(None) };
        head.extend(header);
        io::copy(&mut archive.take(size + size % 2), &mut head)?;
    }
    let mut last = header(archive)?;
    let Some((_, size)) = member(&last).filter(|(name, _)| COMPRESSED.contains(name)) else { return Ok(None) };
    if archive.metadata()?.len() > archive.stream_position()? + size + size % 2 {
        return Ok(None);
    }
    archive.seek(SeekFrom::Start(0))?;
    last[NAME].copy_from_slice(b"data.tar        ");
    head.extend(last);
    Ok(Some(head))
}

fn header(archive: &mut File) -> io::Result<[u8; HEADER]> {
    let mut header = [0; HEADER];
    archive.read_exact(&mut header).map(|()| header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    struct Rig {
        folder: tempfile::TempDir,
        machine: Machine,
    }

    impl Rig {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("folder");
            fs::create_dir_all(folder.path().join("run")).expect("run");
            let machine = Machine::new(folder.path(), &folder.path().join("state"));
            Self { folder, machine }
        }

        /// A real archive, built by dpkg-deb.
        fn archive(&self, compression: &str) -> PathBuf {
            let (tree, path) = (self.folder.path().join("tree"), self.folder.path().join(format!("{compression}.deb")));
            fs::create_dir_all(tree.join("DEBIAN")).expect("tree");
            fs::create_dir_all(tree.join("usr/share/x")).expect("tree");
            let control = "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: x\n";
            fs::write(tree.join("DEBIAN/control"), control).expect("control");
            fs::write(tree.join("usr/share/x/file"), vec![b'x'; 70_001]).expect("file");
            let built =
                Command::new("dpkg-deb").arg(format!("-Z{compression}")).arg("--build").args([&tree, &path]).output().expect("dpkg-deb");
            assert!(built.status.success(), "{built:?}");
            path
        }

        fn place(&self) -> Place {
            Place::make(&self.machine).expect("place")
        }
    }

    fn said(option: &str, archive: &Path) -> Vec<u8> {
        let said = Command::new("dpkg-deb").arg(option).arg(archive).output().expect("dpkg-deb");
        assert!(said.status.success(), "{said:?}");
        said.stdout
    }

    #[test]
    fn a_ready_archive_is_the_same_to_dpkg() {
        let rig = Rig::new();
        for compression in ["xz", "gzip", "zstd"] {
            let (archive, place) = (rig.archive(compression), rig.place());
            let mut preparing = place.begin(&archive, Digest([1; 32])).expect("begun");
            let payload = said("--fsys-tarfile", &archive);
            payload.chunks(1000).for_each(|chunk| preparing.write_all(chunk).expect("write"));
            let ready = preparing.path.clone();
            preparing.finish();
            assert_eq!(said("--fsys-tarfile", &ready), payload);
            assert_eq!(said("--ctrl-tarfile", &ready), said("--ctrl-tarfile", &archive));
            let bytes = fs::read(&ready).expect("read");
            assert!(bytes.windows(payload.len()).any(|part| part == payload), "it is not compressed");
        }
    }

    #[test]
    fn what_is_unusual_is_left_as_it_is() {
        let rig = Rig::new();
        let plain = rig.archive("none");
        assert!(rig.place().begin(&plain, Digest([1; 32])).is_none(), "not compressed");
        let signed = rig.archive("xz");
        let mut bytes = fs::read(&signed).expect("read");
        bytes.extend(format!("{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\nxx", "_gpgorigin", 0, 0, 0, 100_644, 2).bytes());
        fs::write(&signed, bytes).expect("write");
        assert!(rig.place().begin(&signed, Digest([1; 32])).is_none(), "signed");
        fs::write(&signed, "no archive at all").expect("write");
        assert!(rig.place().begin(&signed, Digest([1; 32])).is_none(), "no archive");
    }

    #[test]
    fn what_does_not_fit_is_given_up_without_a_failure() {
        let rig = Rig::new();
        let (archive, place) = (rig.archive("xz"), rig.place());
        place.left.store(1000, Ordering::Relaxed);
        let mut preparing = place.begin(&archive, Digest([1; 32])).expect("begun");
        preparing.write_all(&[0; 999]).expect("write");
        preparing.write_all(&[0; 2]).expect("write");
        let path = preparing.path.clone();
        preparing.finish();
        assert!(!path.exists(), "it has no name");
        assert_eq!(fs::metadata(draft(&path)).expect("file").len(), 0, "it takes no memory");
        assert!(place.take(1) && !place.take(1), "what was not taken is there for others");
    }

    #[test]
    fn dpkg_takes_what_was_compared_wherever_apt_has_it_from() {
        let rig = Rig::new();
        let (archive, place) = (rig.archive("xz"), rig.place());
        let called = |archives: [&Path; 2]| -> Vec<OsString> {
            [Path::new("--unpack"), archives[0], archives[1]].map(|word| word.as_os_str().to_owned()).to_vec()
        };
        let apts = called([Path::new("/cache/one.deb"), Path::new("/cache/two.deb")]);
        let now = || ready(&rig.machine, apts.clone()).expect("named");
        let lies = |name| fs::read_link(rig.machine.prepared().join(name)).expect("link");
        assert_eq!(now(), apts, "nothing was told");
        let (one, two) = (crate::testing::archive("one_1_all.deb", b"one"), crate::testing::archive("two_1_all.deb", b"two"));
        let named = [("/cache/one.deb".to_owned(), Meant::from(&one)), ("/cache/two.deb".to_owned(), Meant::from(&two))];
        tell(&rig.machine, &Named::from(named)).expect("told");
        let mut preparing = place.begin(&archive, one.sha256).expect("begun");
        io::copy(&mut said("--fsys-tarfile", &archive).as_slice(), &mut preparing).expect("payload");
        let ours =
            called(["one_1_all.deb", "two_1_all.deb"].map(|name| rig.machine.prepared().join(name)).each_ref().map(PathBuf::as_path));
        assert_eq!(now(), ours, "dpkg tells people their names");
        assert_eq!(lies("one_1_all.deb"), rig.machine.kept_archive(one.sha256), "it is not whole yet");
        let path = preparing.path.clone();
        preparing.finish();
        assert_eq!(now(), ours);
        assert_eq!([lies("one_1_all.deb"), lies("two_1_all.deb")], [path, rig.machine.kept_archive(two.sha256)]);
        fs::write(rig.machine.prepared().join(NAMED), "{").expect("write");
        assert!(ready(&rig.machine, apts.clone()).is_err(), "what cannot be read is not guessed");
    }

    #[test]
    fn many_archives_come_as_a_folder_of_links_and_are_those_that_were_compared_too() {
        let rig = Rig::new();
        drop(rig.place());
        let apts = rig.folder.path().join("apt-dpkg-install-x1y2z3");
        fs::create_dir(&apts).expect("folder");
        let one = crate::testing::archive("one_1_all.deb", b"one");
        for (name, target) in [("0-one_1_all.deb", "/cache/one.deb"), ("1-other_1_all.deb", "/cache/other.deb")] {
            symlink(target, apts.join(name)).expect("link");
        }
        tell(&rig.machine, &Named::from([("/cache/one.deb".to_owned(), Meant::from(&one))])).expect("told");
        let call = ["--unpack", "--auto-deconfigure", "--recursive"].map(OsString::from);
        let called = [&call[..], &[apts.clone().into_os_string()]].concat();
        let ours = rig.machine.prepared().join("apt-dpkg-install-x1y2z3");
        for _ in 0..2 {
            let now = ready(&rig.machine, called.clone()).expect("named");
            assert_eq!(now, [&call[..], &[ours.clone().into_os_string()]].concat());
            assert_eq!(fs::read_link(ours.join("0-one_1_all.deb")).expect("link"), rig.machine.kept_archive(one.sha256));
            assert_eq!(fs::read_link(ours.join("1-other_1_all.deb")).expect("link"), Path::new("/cache/other.deb"), "it was not told");
        }
        assert_eq!(fs::read_link(apts.join("0-one_1_all.deb")).expect("link"), Path::new("/cache/one.deb"), "apt's own is left alone");
    }

    #[test]
    fn what_an_earlier_worker_left_is_gone() {
        let rig = Rig::new();
        let left = rig.place().folder.join("left.deb");
        fs::write(&left, "x").expect("write");
        let place = rig.place();
        assert!(!left.exists() && place.folder.is_dir());
        clear(&rig.machine).expect("clear");
        assert!(!place.folder.exists());
        clear(&rig.machine).expect("again");
    }
}
