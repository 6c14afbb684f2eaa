//! The record of files: what an attempt changed, kept with the attempt when its undo material is given up.

use std::path::Path;

use backstep_capture::{Aftermath, CaptureDir, Change, FileChange, FileKind, Side};
use backstep_core::{AttemptId, ErrorCode, Failure, Plan};
use backstep_wire::files::{FileRow, FileSide, to_line};

use crate::contents;
use crate::durable::replace;
use crate::left_out;
use crate::machine::Machine;
use crate::owners::Owners;
use crate::steps::capture_failure;

/// How many paths of others are named in words.
const NAMED: usize = 5;

/// Writes what an attempt changed since its capture into the attempt's folder, durably, and the contents of configuration
/// files into the capture; answers a summary.
pub(crate) fn record(
    machine: &Machine,
    attempt: AttemptId,
    plan: &Plan,
    dir: &CaptureDir,
    aftermath: Aftermath,
) -> Result<String, Failure> {
    let unseen = left_out::of_files(aftermath.left_out());
    let found = aftermath.save_changes(dir).map_err(|error| capture_failure(&error))?;
    let owners = Owners::of(machine, dir, plan)?;
    let lines: Vec<u8> = found.iter().flat_map(|change| to_line(&row(change, &owners))).collect();
    let path = machine.attempt(attempt).files();
    let error = |error| Failure::new(ErrorCode::WorkerFailed, format!("cannot write {}: {error}", path.display()));
    contents::record(machine, dir, &found)?;
    replace(&path, &lines, 0o600).map_err(error)?;
    Ok([Some(summary(&found)), unseen].into_iter().flatten().collect::<Vec<_>>().join("; "))
}

fn summary(found: &[FileChange]) -> String {
    let ours = |name: &str| found.iter().filter(|change| !change.by_others && word(&change.change) == name).count();
    let counts: Vec<String> = ["created", "renamed", "replaced", "written", "removed", "metadata"]
        .into_iter()
        .map(|name| (name, ours(name)))
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    let text = if counts.is_empty() { "files: none changed".to_owned() } else { format!("files: {}", counts.join(", ")) };
    format!("{text}{}", of_others(found))
}

fn of_others(found: &[FileChange]) -> String {
    let others: Vec<&Path> = found.iter().filter(|change| change.by_others).map(|change| change.path.as_path()).collect();
    let named: Vec<String> = others.iter().take(NAMED).map(|path| path.display().to_string()).collect();
    match others.len() {
        0 => String::new(),
        count => format!("; {count} changed by others meanwhile: {}{}", named.join(", "), if count > NAMED { ", …" } else { "" }),
    }
}

fn row(change: &FileChange, owners: &Owners) -> FileRow {
    let from = match &change.change {
        Change::RenamedFrom(path) => Some(path.to_string_lossy().into_owned()),
        Change::Created | Change::Replaced | Change::Written | Change::Removed | Change::Metadata => None,
    };
    FileRow {
        from,
        before: change.before.as_ref().map(side),
        after: change.after.as_ref().map(side),
        by_others: change.by_others,
        package: owners.owner(&change.path),
        ..FileRow::new(&change.path, word(&change.change))
    }
}

const fn word(change: &Change) -> &'static str {
    match change {
        Change::Created => "created",
        Change::RenamedFrom(_) => "renamed",
        Change::Replaced => "replaced",
        Change::Written => "written",
        Change::Removed => "removed",
        Change::Metadata => "metadata",
    }
}

fn side(side: &Side) -> FileSide {
    FileSide {
        kind: kind(side.kind).to_owned(),
        mode: format!("{:04o}", side.mode),
        uid: side.uid,
        gid: side.gid,
        size: side.size,
        sha256: side.sha256.map(|sum| backstep_core::Digest(sum).to_string()),
        target: side.target.as_ref().map(|target| target.to_string_lossy().into_owned()),
    }
}

const fn kind(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symlink",
        FileKind::Fifo => "fifo",
        FileKind::Socket => "socket",
        FileKind::CharDevice => "char-device",
        FileKind::BlockDevice => "block-device",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(path: &str, change: Change, by_others: bool) -> FileChange {
        FileChange { path: path.into(), change, before: None, after: None, by_others }
    }

    #[test]
    fn the_summary_counts_ours_and_names_those_of_others() {
        let ours = [change("/a", Change::Created, false), change("/b", Change::RenamedFrom("/c".into()), false)];
        assert_eq!(summary(&ours), "files: 1 created, 1 renamed");
        assert_eq!(summary(&[change("/x", Change::Written, true)]), "files: none changed; 1 changed by others meanwhile: /x");
        let many: Vec<FileChange> = (0..7).map(|n| change(&format!("/{n}"), Change::Removed, true)).collect();
        assert!(summary(&many).ends_with("7 changed by others meanwhile: /0, /1, /2, /3, /4, …"), "{}", summary(&many));
    }
}
