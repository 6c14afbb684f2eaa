//! Names that a run is about to make, told by names: numbered symbolic links whose targets are the paths.
//!
//! What was appended to the log and not synced is lost when the power goes, and the name that it spoke of may be there all the
//! same: a journal keeps the order of names, and a file's content may come later than both. A link is a name, so whenever
//! something is there that was made after it on the same file system, it is there, too. That holds on ext4 and xfs; on btrfs
//! unless somebody synced just the new file. Each costs microseconds, a sync milliseconds.
//!
//! Absent on purpose: names on other file systems than the capture's; for them the log is synced.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use super::record::Record;
use crate::dir::make_private;
use crate::error::{CaptureError, Context, Result};
use crate::manifest::Entry;
use crate::prune::list;

const FOLDER: &str = "born";

/// Those of one capture.
pub(crate) struct Births {
    folder: PathBuf,
    device: u64,
    next: u64,
}

impl Births {
    /// Opens or creates them and says what is told; goes on after it.
    pub(crate) fn open(capture: &Path) -> Result<(Self, Vec<Record>)> {
        let folder = capture.join(FOLDER);
        make_private(&folder)?;
        let device = fs::metadata(&folder).cannot("examine", &folder)?.dev();
        let links = numbered(&folder)?;
        let next = links.last().map_or(0, |(number, _)| number + 1);
        Ok((Self { folder, device, next }, told(&links)?))
    }

    /// Tells of a name, which will be made in a folder on this device. Answers whether it could: no link is as long as the
    /// longest paths.
    pub(crate) fn note(&mut self, path: &Path, device: u64) -> Result<bool> {
        if device != self.device {
            return Ok(false);
        }
        let link = self.folder.join(self.next.to_string());
        match symlink(path, &link) {
            Ok(()) => self.next += 1,
            Err(error) if error.kind() == io::ErrorKind::InvalidFilename => return Ok(false),
            Err(error) => return Err(error).cannot("create", &link),
        }
        Ok(true)
    }

    /// Forgets them: the log is durable.
    pub(crate) fn end(self) -> Result<()> {
        fs::remove_dir_all(&self.folder).cannot("remove", &self.folder)
    }
}

/// As the log's records; those that it has, too, tell nothing new.
pub(crate) fn read(capture: &Path) -> Result<Vec<Record>> {
    told(&numbered(&capture.join(FOLDER))?)
}

fn told(links: &[(u64, PathBuf)]) -> Result<Vec<Record>> {
    let paths = links.iter().map(|(_, link)| fs::read_link(link).cannot("read", link));
    paths.map(|path| Ok(Record::Path(Entry { path: path?, present: None }))).collect()
}

/// In the order in which they were made.
fn numbered(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let number = |link: &Path| link.file_name()?.to_str()?.parse().ok();
    let damaged = |link: &Path| CaptureError::Damaged { file: link.to_path_buf(), reason: "it is no number" };
    let links = list(folder)?.into_iter().map(|link| Ok((number(&link).ok_or_else(|| damaged(&link))?, link)));
    let mut links = links.collect::<Result<Vec<_>>>()?;
    links.sort_unstable();
    Ok(links)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(capture: &Path) -> Vec<PathBuf> {
        let path = |record| if let Record::Path(Entry { path, present: None }) = record { path } else { panic!("{record:?}") };
        read(capture).expect("read").into_iter().map(path).collect()
    }

    #[test]
    fn names_are_told_in_order_until_they_are_forgotten() {
        let capture = tempfile::tempdir().expect("folder");
        let device = fs::metadata(capture.path()).expect("examine").dev();
        assert_eq!(paths(capture.path()), [""; 0].map(PathBuf::from));
        let (mut births, _) = Births::open(capture.path()).expect("open");
        for number in 0..11 {
            assert!(births.note(Path::new(&format!("var/{number}")), device).expect("note"));
        }
        assert!(!births.note(Path::new("boot/x"), device + 1).expect("on another file system"));
        assert!(!births.note(Path::new(&"x/".repeat(2500)), device).expect("too long"));
        let (mut again, told) = Births::open(capture.path()).expect("open again");
        assert_eq!(told, read(capture.path()).expect("read"));
        assert!(again.note(Path::new("var/last"), device).expect("note"));
        let mut expected: Vec<PathBuf> = (0..11).map(|number| PathBuf::from(format!("var/{number}"))).collect();
        expected.push("var/last".into());
        assert_eq!(paths(capture.path()), expected);
        again.end().expect("end");
        assert_eq!(paths(capture.path()), [""; 0].map(PathBuf::from));
    }
}
