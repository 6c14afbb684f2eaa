//! Inodes that were changed in place: mended through their kept link, so that names nobody captured have their content
//! again too.
//!
//! When everything is put back, before any name is. A restore that spares drifted files looks at captured names first,
//! as the transaction left them; it mends the inodes afterwards that nobody else has written to.

use std::path::Path;

use rustix::io::Errno;

use super::metadata::{Times, apply};
use super::{Restored, Restorer};
use crate::content::{self, Sum};
use crate::error::{CaptureError, Context, Result};
use crate::manifest::{Inode, Manifest, Object, Present};
use crate::mounts::Touched;
use crate::node::Node;
use crate::state::{has_digest, is_as_recorded};

impl<'a> Restorer<'a> {
    /// The inodes that may be mended: all, or those that are as the transaction left them, or mended already.
    pub(super) fn inodes_to_mend(&self) -> Result<Vec<&'a Inode>> {
        let all = &self.manifest.inodes;
        let Some(after) = self.after else { return Ok(all.iter().collect()) };
        let mut ours = Vec::new();
        for inode in all {
            if self.is_ours_still(inode, after)? {
                ours.push(inode);
            }
        }
        Ok(ours)
    }

    /// By any captured name that it had when the transaction was over.
    fn is_ours_still(&self, inode: &Inode, after: &Manifest) -> Result<bool> {
        let name = Path::new("(kept link)");
        let node = self.vault.object(inode.link, name)?;
        let same = |present: &&Present| (present.meta.ino, present.meta.btime) == (inode.meta.ino, inode.meta.btime);
        let left = after.entries.iter().filter_map(|entry| entry.present.as_ref()).find(same);
        if left.is_some() && is_as_recorded(Some(&node), left, name)? {
            return Ok(true);
        }
        inode.copy.map_or(Ok(false), |(_, sum)| has_digest(&node, sum, name))
    }

    pub(super) fn mend_inodes(&mut self, inodes: &[&Inode], restored: &mut Restored) -> Result<()> {
        for inode in inodes {
            match self.mend(inode, restored) {
                Ok(true) => self.mended.extend(inode.copy.map(|(copy, _)| (copy, inode.link))),
                Ok(false) => {}
                Err(error) => restored.note(Path::new("(kept link)"), Err(error))?,
            }
        }
        Ok(())
    }

    /// Says whether the kept link is as before again: not when it is being executed. Then its names get the copy.
    fn mend(&self, inode: &Inode, restored: &mut Restored) -> Result<bool> {
        let name = Path::new("(kept link)");
        let mut node = self.vault.object(inode.link, name)?;
        note(self.touched, &node, name)?;
        if let Some((copy, sum)) = inode.copy
            && !(node.facts.size == inode.meta.size && has_digest(&node, sum, name)?)
        {
            if !self.pour(&node, copy, sum, name)? {
                return Ok(false);
            }
            restored.mended += 1;
            self.fuse.burn()?;
            node.refresh(name)?;
        }
        apply(&mut node, &inode.meta, Times::Restore, self.fuse, name)?;
        Ok(true)
    }

    fn pour(&self, into: &Node, copy: Object, sum: Sum, name: &Path) -> Result<bool> {
        let to = match into.reopen(rustix::fs::OFlags::RDWR, name) {
            Ok(to) => to,
            Err(CaptureError::Io { source, .. }) if source.raw_os_error() == Some(Errno::TXTBSY.raw_os_error()) => return Ok(false),
            Err(error) => return Err(error),
        };
        let kept = self.vault.object(copy, name)?.read(name)?;
        if content::sum(&kept).cannot("read", name)? != sum {
            return Err(CaptureError::Damaged { file: name.to_path_buf(), reason: "its kept copy does not have the recorded digest" });
        }
        content::copy(&kept, &to).cannot("write", name)?;
        Ok(true)
    }
}

/// The barrier needs a descriptor that can be opened: any of that file system.
fn note(touched: &Touched, node: &Node, name: &Path) -> Result<()> {
    use std::os::fd::AsFd;
    touched.note(node.as_fd(), name)
}
