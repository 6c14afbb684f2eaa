//! Old transactions that leave the record for an archive.

use backstep_core::Failure;
use backstep_core::actor::Actor;
use backstep_core::ignore::{Said, check_comment};
use backstep_core::record_archive::{Moved, RecordArchive};

use super::Manager;

impl Manager {
    /// Lists an archive that was written and lets go what lies in it. The comment says why.
    pub fn archive(&mut self, archive: RecordArchive, comment: String, actor: Actor) -> Result<Moved, Failure> {
        check_comment(&comment)?;
        let at = self.now();
        self.ledger.move_to(&Said { what: archive, comment, actor, at })
    }

    /// Gives the space of what has left the record back to the file system.
    pub fn shrink(&mut self) -> Result<(), Failure> {
        self.ledger.shrink()
    }
}
