//! The receipt: what is not as the capture says.

use std::ffi::OsString;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::after::{by_parent, open};
use crate::content;
use crate::dir::{CaptureDir, ELSEWHERE};
use crate::error::{Context, Result};
use crate::gaps::Gaps;
use crate::manifest::{Entry, How, Listing, Manifest, Object, Present};
use crate::node::{Kind, Node, names};
use crate::parallel::each;
use crate::root::{Root, absolute};
use crate::state::{has_digest, is_device};
use crate::store::Vault;

/// In what way a path differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// It should be there and is not.
    Missing,
    /// It should not be there and is.
    Unexpected,
    /// It is of another type.
    Type,
    /// Its permission bits differ.
    Mode,
    /// Its owner or group differs.
    Owner,
    /// Its extended attributes (capabilities, access lists, labels) differ.
    Xattrs,
    /// Its content differs, or the kept content was itself written to.
    Content,
    /// The link points elsewhere.
    Target,
    /// The device has other numbers.
    Device,
    /// It cannot be looked at any more, which its owner, who is not root, can have made so.
    Unseeable,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Missing => "missing",
            Self::Unexpected => "unexpected",
            Self::Type => "type",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Xattrs => "extended attributes",
            Self::Content => "content",
            Self::Target => "link target",
            Self::Device => "device numbers",
            Self::Unseeable => "it cannot be looked at",
        })
    }
}

/// One way in which one path differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// Which path, absolute, as seen in the root.
    pub path: PathBuf,
    /// How.
    pub what: What,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}

/// Compares everything captured with what is there now; sorted, empty when all is as it was. Modification times
/// are restored but not compared.
pub fn compare(root: &Path, dir: &CaptureDir) -> Result<Vec<Difference>> {
    let root = Root::open(root)?;
    let manifest = dir.manifest()?;
    let vault = Vault::open(dir, &manifest.stores)?;
    let gaps = Gaps::new(&root);
    let comparer = Comparer { gaps: &gaps, root: &root, vault: &vault, manifest: &manifest };
    let jobs = by_parent(manifest.entries.iter().map(|entry| entry.path.as_path()));
    let work = |_: &mut (), (parent, paths): &(PathBuf, Vec<&Path>)| comparer.directory(parent, paths);
    let found = each(&jobs, |_| 1, || (), work, &mut |_, _| {}, (0, jobs.len() as u64))?;
    let mut found: Vec<Difference> = found.into_iter().flatten().collect();
    found.sort();
    Ok(found)
}

struct Comparer<'a> {
    gaps: &'a Gaps<'a>,
    root: &'a Root,
    vault: &'a Vault,
    manifest: &'a Manifest,
}

impl Comparer<'_> {
    fn directory(&self, parent: &Path, paths: &[&Path]) -> Result<Vec<Difference>> {
        let fd = self.gaps.or_leave_out(parent, self.root.exact(parent))?;
        let mut found = Vec::new();
        for path in paths {
            let Some(entry) = self.manifest.find(path) else { continue };
            let unseeable = || vec![Difference { path: absolute(path), what: What::Unseeable }];
            let differences = fd.as_ref().map(|fd| self.gaps.or_leave_out(path, self.differences(fd.as_ref(), entry)));
            found.extend(differences.transpose()?.flatten().unwrap_or_else(unseeable));
        }
        Ok(found)
    }

    fn differences(&self, parent: Option<&OwnedFd>, entry: &Entry) -> Result<Vec<Difference>> {
        let node = open(parent, &entry.path)?;
        let whats = self.entry(entry, node.as_ref())?;
        let found = whats.into_iter().map(|what| Difference { path: absolute(&entry.path), what });
        Ok(found.chain(self.intruders(entry, node.as_ref())?).collect())
    }

    fn entry(&self, entry: &Entry, node: Option<&Node>) -> Result<Vec<What>> {
        match (node, &entry.present) {
            (None, None) => Ok(Vec::new()),
            (Some(_), None) => Ok(vec![What::Unexpected]),
            (None, Some(_)) => Ok(vec![What::Missing]),
            (Some(node), Some(present)) if node.facts.kind != present.meta.kind => Ok(vec![What::Type]),
            (Some(node), Some(present)) => self.details(entry, node, present),
        }
    }

    fn details(&self, entry: &Entry, node: &Node, present: &Present) -> Result<Vec<What>> {
        let (now, before) = (node.meta(&entry.path)?, &present.meta);
        let mut whats = Vec::new();
        let mut check = |differs: bool, what| {
            if differs {
                whats.push(what)
            }
        };
        check(before.kind != Kind::Symlink && now.mode != before.mode, What::Mode);
        check((now.uid, now.gid) != (before.uid, before.gid), What::Owner);
        check(now.xattrs != before.xattrs, What::Xattrs);
        check(before.kind == Kind::Symlink && now.target != before.target, What::Target);
        check(is_device(before.kind) && now.rdev != before.rdev, What::Device);
        if let Some(object) = present.object {
            check(!self.same_content(entry, node, present, object)?, What::Content);
        }
        Ok(whats)
    }

    fn same_content(&self, entry: &Entry, node: &Node, present: &Present, object: Object) -> Result<bool> {
        if node.facts.size != present.meta.size {
            return Ok(false);
        }
        if node.facts.is_still(&present.meta) && node.facts.ctime == present.meta.ctime {
            return Ok(true);
        }
        match (present.digest, object.how) {
            (Some(digest), How::Linked | How::Copied) => has_digest(node, digest, &entry.path),
            (None, How::Linked | How::Copied) => self.same_as_object(entry, node, present, object),
        }
    }

    fn same_as_object(&self, entry: &Entry, node: &Node, present: &Present, object: Object) -> Result<bool> {
        let kept = self.vault.object(object, &entry.path)?;
        if is_spoiled(&kept, present) {
            return Ok(false);
        }
        if kept.facts.same_inode(&node.facts) {
            return Ok(true);
        }
        content::same(&kept.read(&entry.path)?, &node.read(&entry.path)?).cannot("compare", &entry.path)
    }

    fn intruders(&self, entry: &Entry, node: Option<&Node>) -> Result<Vec<Difference>> {
        let listed = entry.present.as_ref().is_some_and(|present| present.listing != Listing::Open);
        let Some(node) = node.filter(|node| listed && node.facts.kind == Kind::Directory) else { return Ok(Vec::new()) };
        let intruders = intruders(self.manifest, &entry.path, node)?;
        let path = |name: OsString| absolute(&entry.path.join(name));
        Ok(intruders.into_iter().map(|name| Difference { path: path(name), what: What::Unexpected }).collect())
    }
}

/// Whether a linked object was itself written to, so that the content before is lost: links share their inode.
pub(crate) fn is_spoiled(kept: &Node, present: &Present) -> bool {
    kept.facts.size != present.meta.size || kept.facts.mtime != present.meta.mtime
}

/// Names in a listed directory that were not there before.
pub(crate) fn intruders(manifest: &Manifest, path: &Path, node: &Node) -> Result<Vec<OsString>> {
    let is_known = |below: &Path| manifest.find(below).is_some() || manifest.excludes(below);
    let mut found = names(node.as_fd(), ".", path)?;
    found.retain(|name| name != ELSEWHERE && !is_known(&path.join(name)));
    Ok(found)
}
