//! Writing a file so that a crash leaves the old one or the new one, never half of one; and removing one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Removes a file; one that is gone already is fine.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Puts bytes under a name: beside, synced, renamed, and the folder synced.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".backstep-new");
    let new = path.with_file_name(name);
    let mut file = File::options().write(true).create(true).truncate(true).mode(mode).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(new, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_removed() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a");
        fs::write(&path, "x").expect("write");
        for _ in 0..2 {
            remove(&path).expect("remove");
            assert!(!path.exists());
        }
        assert!(remove(folder.path()).is_err(), "a folder is no file");
    }

    #[test]
    fn the_new_content_takes_the_place_of_the_old_and_nothing_stays_beside() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a");
        for content in ["one", "two"] {
            replace(&path, content.as_bytes(), 0o600).expect("write");
            assert_eq!(fs::read_to_string(&path).expect("read"), content);
        }
        assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 1);
    }
}
