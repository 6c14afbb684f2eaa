//! A local apt repository of test packages.
//!
//! Purpose: a folder of archives with its index, which a machine can use as a package source. Invariants: the index
//! is written anew after every change, so that `apt-get update` sees it. Absent on purpose: signatures; the source
//! is marked as trusted.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::command;
use crate::package::Package;

/// How a machine's apt gets the archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Into apt's archive folder first, as from a server.
    Copy,
    /// Straight from the repository's folder.
    File,
}

/// A flat repository in a temporary folder of the host.
#[derive(Debug)]
pub struct Repository {
    folder: TempDir,
}

impl Repository {
    /// Builds the packages and their index.
    pub fn new(packages: &[Package]) -> Result<Self> {
        let repository = Self { folder: tempfile::tempdir().context("cannot make a folder for the repository")? };
        repository.add(packages)?;
        Ok(repository)
    }

    /// Builds more packages, or other ones of the same name, and writes the index anew.
    pub fn add(&self, packages: &[Package]) -> Result<()> {
        for package in packages {
            package.build(self.path())?;
        }
        self.write_index()
    }

    /// Takes an archive away and writes the index anew.
    pub fn remove(&self, package: &Package) -> Result<()> {
        let archive = self.archive(package);
        fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))?;
        self.write_index()
    }

    /// The repository's folder on the host.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where the archive of a package is on the host.
    #[must_use]
    pub fn archive(&self, package: &Package) -> PathBuf {
        self.path().join(package.file_name())
    }

    /// The line for `sources.list` of a machine that has the repository at `folder`.
    #[must_use]
    pub fn source_line(folder: &str, transport: Transport) -> String {
        let scheme = match transport {
            Transport::Copy => "copy",
            Transport::File => "file",
        };
        format!("deb [trusted=yes] {scheme}:{folder} ./\n")
    }

    fn write_index(&self) -> Result<()> {
        let mut scan = command::host("dpkg-scanpackages", ["--multiversion", "."]);
        let index = command::output(scan.current_dir(self.path()))?.success()?.stdout;
        fs::write(self.path().join("Packages"), index).context("cannot write the index")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_lists_every_version() -> Result<()> {
        let repository = Repository::new(&[Package::new("bs-a", "1"), Package::new("bs-a", "2")])?;
        repository.add(&[Package::new("bs-b", "1")])?;
        repository.remove(&Package::new("bs-a", "1"))?;
        let index = fs::read_to_string(repository.path().join("Packages"))?;
        let files: Vec<_> = index.lines().filter(|line| line.starts_with("Filename: ")).collect();
        assert_eq!(files, ["Filename: ./bs-a_2_all.deb", "Filename: ./bs-b_1_all.deb"]);
        Ok(())
    }
}
