//! From what a package was to an archive of it.

use std::path::{Path, PathBuf};

use backstep_core::{PackageId, TransactionId, Version};

use crate::conffiles::{Conffiles, Edited};
use crate::container::{Container, Target};
use crate::control;
use crate::database::Database;
use crate::entry::Entries;
use crate::error::RebuildError;
use crate::former::Former;
use crate::payload::Payload;

/// What is to be made again.
pub struct Wanted<'a> {
    /// Which package.
    pub package: &'a PackageId,
    /// Which version: the one that was unpacked then.
    pub version: &'a Version,
    /// The transaction whose undo material it is made from.
    pub from: TransactionId,
    /// Bytes that its files may take together; nothing is written when they would take more.
    pub room: u64,
    /// What becomes of a configuration file that was edited, when nothing holds its pristine content.
    pub edited: &'a dyn Fn(&Path) -> Edited,
}

/// How an archive differs from the one that the package came from, as far as can be told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rebuilt {
    /// Paths of the package that were not there.
    pub missing: Vec<PathBuf>,
    /// Files whose content is not what the package claims.
    pub altered: Vec<PathBuf>,
    /// Configuration files that are as they were found.
    pub edited: Vec<PathBuf>,
    /// Configuration files that the archive is without.
    pub left_out: Vec<PathBuf>,
}

impl Rebuilt {
    /// Whether every file is there and is the package's own.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.altered.is_empty() && self.edited.is_empty() && self.left_out.is_empty()
    }
}

/// Makes packages again, from one moment.
pub struct Rebuilder<'f> {
    database: Database<'f>,
}

impl<'f> Rebuilder<'f> {
    /// Reads dpkg's database of that moment.
    pub fn new(former: &'f dyn Former) -> Result<Self, RebuildError> {
        Database::read(former).map(|database| Self { database })
    }

    /// Writes the archive of a package, from where `out` is. On an error what was written is of no use.
    pub fn rebuild(&self, wanted: &Wanted<'_>, out: &mut dyn Target) -> Result<Rebuilt, RebuildError> {
        let (database, names) = (&self.database, &self.database.names);
        let package = database.package(wanted.package, wanted.version)?;
        let mut conffiles = Conffiles::find(database, &package, wanted.edited)?;
        let payload = Payload::look(database, &package, &mut conffiles)?;
        let (bytes, room) = (payload.bytes(), wanted.room);
        if bytes > room {
            return Err(RebuildError::NoRoom { package: package.id, bytes, room });
        }
        let mut container = Container::begin(out).map_err(RebuildError::Write)?;
        container.member("control.tar", |out| control::write(database, &package, &conffiles, wanted.from, Entries::begin(out, names)))?;
        let altered = container.member("data.tar", |out| payload.write(database.former, Entries::begin(out, names)))?;
        Ok(Rebuilt { missing: payload.missing, altered, edited: conffiles.edited, left_out: conffiles.left_out })
    }
}

impl From<std::io::Error> for RebuildError {
    fn from(error: std::io::Error) -> Self {
        Self::Write(error)
    }
}
