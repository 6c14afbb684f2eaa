//! The names in an archive's payload, and what an archive may unpack to.
//!
//! Invariant: whatever the stream says of itself, the memory that its names take is bounded. Absent on purpose: content;
//! headers that dpkg does not know either.

use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Times its own size that an archive may unpack to.
const RATIO: u64 = 300;
/// What an archive of any size may unpack to.
const FLOOR: u64 = 1 << 30;
/// Bytes of one name; the kernel takes no longer path.
const MAX_NAME: u64 = 4096;
/// Bytes of all names: the largest packages have a few.
const MAX_NAMES: usize = 256 << 20;

/// How many bytes an archive of this size may unpack to: more is a bomb.
#[must_use]
pub fn bound(size: u64) -> u64 {
    size.saturating_mul(RATIO).max(FLOOR)
}

/// The paths in a tar stream, absolute and without the root.
pub fn names(from: &mut dyn Read) -> io::Result<Vec<PathBuf>> {
    let mut archive = tar::Archive::new(from);
    let (mut names, mut bytes, mut long) = (Vec::new(), 0, None);
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() {
            long = Some(long_name(&mut entry)?);
        } else if kind.is_gnu_longlink() {
            long_name(&mut entry)?;
        } else if kind.is_pax_local_extensions() || kind.is_pax_global_extensions() {
            return Err(io::Error::other("it has headers that dpkg does not know"));
        } else {
            let name = long.take().unwrap_or_else(|| entry.path_bytes().into_owned());
            bytes += name.len() + size_of::<PathBuf>();
            if bytes > MAX_NAMES {
                return Err(io::Error::other("its names take too much memory"));
            }
            names.push(absolute(Path::new(std::ffi::OsStr::from_bytes(&name))));
        }
    }
    names.retain(|path| path.parent().is_some());
    Ok(names)
}

/// The name that an entry carries for the next one.
fn long_name(entry: &mut tar::Entry<'_, &mut dyn Read>) -> io::Result<Vec<u8>> {
    if entry.size() > MAX_NAME + 1 {
        return Err(io::Error::other(format!("a name of {} bytes", entry.size())));
    }
    let mut name = Vec::new();
    entry.read_to_end(&mut name)?;
    while name.last() == Some(&0) {
        name.pop();
    }
    Ok(name)
}

fn absolute(path: &Path) -> PathBuf {
    Path::new("/").join(path.strip_prefix("./").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: tar::EntryType, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header
    }

    fn read(tar: &[u8]) -> Result<Vec<PathBuf>, String> {
        names(&mut &*tar).map_err(|error| error.to_string())
    }

    #[test]
    fn names_are_absolute_and_long_ones_whole() {
        let long = format!("./usr/{}/x", "l".repeat(200));
        let mut tar = tar::Builder::new(Vec::new());
        for path in ["./", "./usr/", "./usr/a", "etc/b", long.as_str()] {
            let kind = if path.ends_with('/') { tar::EntryType::Directory } else { tar::EntryType::Regular };
            tar.append_data(&mut header(kind, 0), path, io::empty()).expect("append");
        }
        tar.append_link(&mut header(tar::EntryType::Symlink, 0), "./usr/link", "l".repeat(300)).expect("append");
        let names = read(&tar.into_inner().expect("tar")).expect("names");
        let expected = ["/usr", "/usr/a", "/etc/b", long.trim_start_matches('.'), "/usr/link"];
        assert_eq!(names, expected.map(PathBuf::from));
    }

    #[test]
    fn names_without_end_and_headers_that_dpkg_does_not_know_are_refused() {
        for (kind, size, says) in [
            (tar::EntryType::GNULongName, 1 << 40, "a name of 1099511627776 bytes"),
            (tar::EntryType::GNULongLink, 5000, "a name of 5000 bytes"),
            (tar::EntryType::XHeader, 1 << 40, "does not know"),
            (tar::EntryType::XGlobalHeader, 10, "does not know"),
        ] {
            let mut header = header(kind, size);
            header.set_path("x").expect("path");
            header.set_cksum();
            let mut tar = header.as_bytes().to_vec();
            tar.extend_from_slice(&[b'a'; 8192]);
            assert!(read(&tar).expect_err("refused").contains(says), "{kind:?}");
        }
    }

    #[test]
    fn what_an_archive_may_unpack_to_grows_with_it() {
        assert_eq!((bound(1000), bound(1 << 30), bound(u64::MAX)), (1 << 30, 300 << 30, u64::MAX));
    }
}
