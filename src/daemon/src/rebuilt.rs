//! Archives of versions of which none is left, made again from undo material.
//!
//! Invariants: only a rollback by packages asks for them, and only for what it would have to download or cannot have at
//! all; what was kept goes before; what a plan does not use is removed at once, and what it uses when its transaction has
//! ended. A rebuilt archive that is not all that the package shipped is used only if nobody offers the package's own.
//!
//! Here, and not in the worker, because the plan names each archive by its content.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use backstep_capture::{CaptureDir, CaptureError, Contents, FileKind};
use backstep_core::causes::said;
use backstep_core::{
    ArchiveSource, AttemptId, Digest, ErrorCode, Failure, LocalArchive, Method, PackageId, Plan, PlanItem, Scope, TransactionId, Version,
};
use backstep_engine::manager::Question;
use backstep_rebuild::{Edited, Former, Kind, Node, RebuildError, Rebuilder, Rebuilt, Wanted};
use backstep_wire::planner::Answer;

use crate::archives::Archives;
use crate::attempts::Attempts;

/// How many paths are named of those that are not as a package shipped them.
const NAMED: usize = 5;

/// A version that is nowhere but in the undo material of the transaction that took it away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    package: PackageId,
    version: Version,
    from: TransactionId,
}

/// An archive that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// It.
    pub archive: LocalArchive,
    lost: Lost,
    rebuilt: Rebuilt,
}

/// What a rollback takes its packages back to, if no archive of it was kept: the versions before the first transaction.
#[must_use]
pub fn lost(question: &Question, archives: &Archives) -> Vec<Lost> {
    let part = question.request.scope() == Some(Scope::Part);
    let named = |item: &PlanItem| question.request.items.iter().any(|one| one.name == item.package.name);
    let mut lost = BTreeMap::new();
    // The newest first: of a package that several changed the last one met was the first.
    for plan in question.later.iter().chain(&question.revert).map(|revert| &revert.plan) {
        for item in plan.items.iter().filter(|item| item.from != item.to && (!part || named(item))) {
            lost.insert(item.package.clone(), item.from.clone().map(|version| (version, plan.transaction)));
        }
    }
    let gone = lost.into_iter().filter_map(|(package, before)| before.map(|(version, from)| Lost { package, version, from }));
    gone.filter(|lost| !archives.has_kept(&lost.package, &lost.version)).collect()
}

/// Whether an answer would be another one with rebuilt archives.
#[must_use]
pub fn is_needed(answer: &Answer, lost: &[Lost]) -> bool {
    match answer {
        Ok(plan) => plan.method == Method::Packages && plan.items.iter().any(|item| lost.iter().any(|lost| lost.is_downloaded(item))),
        Err(failure) => failure.code == ErrorCode::UndoMaterial && !lost.is_empty(),
    }
}

impl Lost {
    fn is_downloaded(&self, item: &PlanItem) -> bool {
        let downloaded = item.archive.as_ref().is_some_and(|archive| archive.source == ArchiveSource::Repository);
        downloaded && item.package == self.package && item.to.as_ref() == Some(&self.version)
    }
}

/// Makes what can be made; why others cannot be goes into the log. It takes its time.
#[must_use]
pub fn make(lost: &[Lost], attempts: &Attempts, archives: &Archives) -> Vec<Made> {
    let mut of_transaction: BTreeMap<TransactionId, Vec<&Lost>> = BTreeMap::new();
    lost.iter().for_each(|lost| of_transaction.entry(lost.from).or_default().push(lost));
    let mut made = Vec::new();
    for (from, lost) in of_transaction {
        let dir = CaptureDir::at(&attempts.capture(AttemptId { transaction: from, number: 1 }));
        if let Err(failure) = make_from(&dir, &lost, archives, &mut made) {
            tracing::warn!("no archive was rebuilt from the undo material of {from}: {failure}");
        }
    }
    made
}

fn make_from(dir: &CaptureDir, lost: &[&Lost], archives: &Archives, made: &mut Vec<Made>) -> Result<(), Failure> {
    let captured = Captured(Contents::open(dir).map_err(|error| Failure::new(ErrorCode::UndoMaterial, said(&error)))?);
    let rebuilder = Rebuilder::new(&captured).map_err(|error| failure(&error))?;
    for lost in lost {
        let room = archives.room()?;
        let wanted = Wanted { package: &lost.package, version: &lost.version, from: lost.from, room, edited: &edited };
        match archives.make(|out| rebuilder.rebuild(&wanted, out).map_err(|error| failure(&error))) {
            Ok((archive, rebuilt)) => made.push(Made { archive, lost: (*lost).clone(), rebuilt }),
            Err(failure) => tracing::warn!("{} {} was not rebuilt: {failure}", lost.package, lost.version),
        }
    }
    Ok(())
}

/// A file that is still there stays as it is, and dpkg goes on knowing that it was edited; one that is not comes back as it
/// was. That it is there does not change until the plan is carried out: purging a package makes the plan stale.
fn edited(path: &Path) -> Edited {
    match fs::symlink_metadata(path) {
        Ok(_) => Edited::LeftOut,
        Err(_) => Edited::AsFound,
    }
}

fn failure(error: &RebuildError) -> Failure {
    let full = |error: &io::Error| matches!(error.raw_os_error(), Some(nix::libc::ENOSPC | nix::libc::EDQUOT));
    let code = match error {
        RebuildError::NoRoom { .. } => ErrorCode::DiskFull,
        RebuildError::Write(source) if full(source) => ErrorCode::DiskFull,
        RebuildError::Unknown { .. } | RebuildError::Read { .. } | RebuildError::Write(_) => ErrorCode::UndoMaterial,
    };
    Failure::new(code, said(error))
}

impl Made {
    /// Whether it has everything that the package shipped, as it was shipped.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.rebuilt.is_whole()
    }

    fn is_in(&self, plan: &Plan) -> bool {
        digests(plan).any(|sha256| sha256 == self.archive.sha256)
    }

    /// In which way it is not what the package shipped.
    fn doubts(&self) -> Vec<String> {
        let Rebuilt { missing, altered, edited, left_out } = &self.rebuilt;
        let kinds = [
            (missing, "was not there"),
            (altered, "was changed since it was installed"),
            (edited, "is as it was edited"),
            (left_out, "stays as it is now"),
        ];
        let told = kinds.into_iter().filter(|(paths, _)| !paths.is_empty()).map(|(paths, what)| {
            let named: Vec<_> = paths.iter().take(NAMED).map(|path| path.display().to_string()).collect();
            let more = if paths.len() > NAMED { ", …" } else { "" };
            format!("rebuilt {}: {}{more}: {what}", self.lost.package.name, named.join(", "))
        });
        told.collect()
    }
}

/// Says in a plan what of it was rebuilt, and what is known to be different.
pub fn tell(plan: &mut Plan, made: &[Made]) {
    let used: Vec<&Made> = made.iter().filter(|made| made.is_in(plan)).collect();
    if used.is_empty() {
        return;
    }
    let names: Vec<String> = used.iter().map(|made| format!("{} {}", made.lost.package.name, made.lost.version)).collect();
    plan.warnings.push(format!("rebuilt from undo material, because no archive was kept: {}", names.join(", ")));
    plan.warnings.extend(used.iter().flat_map(|made| made.doubts()));
}

/// The rebuilt archives of a plan.
#[must_use]
pub fn archives_of(plan: &Plan) -> Vec<LocalArchive> {
    let archives = plan.items.iter().filter_map(|item| item.archive.as_ref());
    let rebuilt = archives.filter(|archive| archive.source == ArchiveSource::Rebuilt);
    rebuilt.map(|archive| LocalArchive { sha256: archive.sha256, size: archive.size }).collect()
}

fn digests(plan: &Plan) -> impl Iterator<Item = Digest> {
    plan.items.iter().filter_map(|item| item.archive.as_ref()).map(|archive| archive.sha256)
}

/// A capture as the system that it was taken of.
struct Captured(Contents);

impl Former for Captured {
    fn look(&self, path: &Path) -> io::Result<Option<Node>> {
        let Some(held) = self.0.look(path) else { return Ok(None) };
        let kind = match held.kind {
            FileKind::File => Kind::File,
            FileKind::Directory => Kind::Directory,
            FileKind::Symlink => Kind::Symlink(held.target),
            FileKind::Fifo => Kind::Fifo,
            FileKind::Socket => Kind::Socket,
            FileKind::CharDevice => Kind::CharDevice(held.device.0, held.device.1),
            FileKind::BlockDevice => Kind::BlockDevice(held.device.0, held.device.1),
        };
        let (mode, uid, gid) = (held.mode, held.uid, held.gid);
        Ok(Some(Node { kind, mode, uid, gid, size: held.size, mtime: held.mtime, family: held.family }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + '_>> {
        let opened: Result<_, CaptureError> = self.0.open_file(path);
        opened.map(|file| Box::new(file) as Box<dyn Read>).map_err(|error| io::Error::other(said(&error)))
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        Ok(self.0.names(folder))
    }
}

#[cfg(test)]
mod tests;
