//! What configuration files held before and after a change, so that people can be shown what became of them.
//!
//! Kept a second time beside the undo material, because what is there afterwards is kept nowhere else, and given up with
//! it. A file that not everybody could read, before or after, is marked: who asks later may be anybody.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use backstep_capture::{CaptureDir, Change, Contents, FileChange, FileKind, Side};
use backstep_core::{ErrorCode, Failure};
use backstep_wire::contents::{Content, ContentRow, to_line};

use crate::durable::replace;
use crate::machine::Machine;
use crate::steps::capture_failure;

/// Its name in a capture's folder.
pub const NAME: &str = "contents.jsonl";

/// Where configuration files are.
const CONFIGURATION: &str = "/etc";
/// Larger files are told as that.
const MAX_FILE: u64 = 256 << 10;
/// Texts of one change together; what goes beyond is told as large.
const MAX_TEXTS: usize = 8 << 20;

/// Writes down what the configuration files that the change left with another content held, into the capture.
pub(crate) fn record(machine: &Machine, dir: &CaptureDir, found: &[FileChange]) -> Result<(), Failure> {
    let wanted: Vec<&FileChange> = found.iter().filter(|change| is_wanted(change)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let kept = Contents::open(dir).map_err(|error| capture_failure(&error))?;
    let modes = found.iter().filter_map(|change| Some((change.path.as_path(), change.before.as_ref()?.mode))).collect();
    let (mut lines, mut room) = (Vec::new(), MAX_TEXTS);
    for change in wanted {
        let before = change.before.as_ref().map(|side| held(side, |limit| kept.read(&change.path, limit).ok().flatten()));
        let after = change.after.as_ref().map(|side| held(side, |limit| now(machine, &change.path, limit).ok()));
        let row = bounded(ContentRow::new(&change.path, is_private(machine, change, &modes), before, after), &mut room);
        lines.extend(to_line(&row));
    }
    let path = dir.path().join(NAME);
    let error = |error| Failure::new(ErrorCode::WorkerFailed, format!("cannot write {}: {error}", path.display()));
    replace(&path, &lines, 0o600).map_err(error)
}

fn is_wanted(change: &FileChange) -> bool {
    let holds = |side: &Option<Side>| side.as_ref().is_some_and(|side| matches!(side.kind, FileKind::File | FileKind::Symlink));
    let differs = match change.change {
        Change::Created | Change::RenamedFrom(_) | Change::Replaced | Change::Written | Change::Removed => true,
        Change::Metadata => false,
    };
    !change.by_others && change.path.starts_with(CONFIGURATION) && differs && (holds(&change.before) || holds(&change.after))
}

/// What a path held; `read` answers at most so many bytes of it, if they are known at all.
fn held(side: &Side, read: impl Fn(u64) -> Option<Vec<u8>>) -> Content {
    match (side.kind, &side.target) {
        (FileKind::Symlink, Some(target)) => Content::Link(target.to_string_lossy().into_owned()),
        (FileKind::File, _) if side.size > MAX_FILE => Content::Large,
        // One byte more than is taken, so that what grew has another digest.
        (FileKind::File, _) => side.sha256.zip(read(MAX_FILE + 1)).map_or(Content::Unknown, |(sum, bytes)| text(sum, bytes)),
        _ => Content::Other,
    }
}

fn text(sum: [u8; 32], bytes: Vec<u8>) -> Content {
    if backstep_wire::digest(&bytes).0 != sum {
        return Content::Unknown;
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Content::Text(text),
        Ok(_) | Err(_) => Content::Binary,
    }
}

fn now(machine: &Machine, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let path = machine.root().join(path.strip_prefix("/").unwrap_or(path));
    // What was put there since must be neither followed nor waited for.
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Keeps texts as long as there is room for them.
fn bounded(row: ContentRow, room: &mut usize) -> ContentRow {
    if let Some(left) = room.checked_sub(row.bytes()) {
        *room = left;
        return row;
    }
    let large =
        |content: Option<Content>| content.map(|content| if matches!(content, Content::Text(_)) { Content::Large } else { content });
    ContentRow { before: large(row.before), after: large(row.after), ..row }
}

/// Whether somebody on the machine could not read it, before or after: by its own mode, or by that of a folder on the
/// way as it is now, or as it was when it is gone.
fn is_private(machine: &Machine, change: &FileChange, modes: &HashMap<&Path, u32>) -> bool {
    let is_closed = |side: &Option<Side>| side.as_ref().is_some_and(|side| side.kind == FileKind::File && side.mode & 0o004 == 0);
    let is_shut = |folder: &Path| {
        let now = std::fs::symlink_metadata(machine.root().join(folder.strip_prefix("/").unwrap_or(folder))).map(|meta| meta.mode());
        let before = modes.get(folder).copied();
        let all = now.ok().into_iter().chain(before).map(|mode| mode & 0o001 == 0).reduce(|one, other| one || other);
        // Nobody knows: then it is not for everybody.
        all.unwrap_or(true)
    };
    is_closed(&change.before) || is_closed(&change.after) || change.path.ancestors().skip(1).any(is_shut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use backstep_capture::{Aftermath, Selection, secure};
    use backstep_wire::contents::from_line;

    struct Place {
        folder: tempfile::TempDir,
        machine: Machine,
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("folder");
            let root = folder.path().join("root");
            fs::create_dir_all(root.join("etc/shut")).expect("etc");
            for (path, mode) in [("", 0o755), ("etc", 0o755), ("etc/shut", 0o750)] {
                fs::set_permissions(root.join(path), Permissions::from_mode(mode)).expect("mode");
            }
            let machine = Machine::new(&root, &folder.path().join("state"));
            Self { folder, machine }
        }

        fn write(&self, path: &str, content: &[u8], mode: u32) {
            let path = self.machine.at(path);
            fs::write(&path, content).expect("write");
            fs::set_permissions(path, Permissions::from_mode(mode)).expect("mode");
        }

        /// What is recorded of a change to a captured `/etc`.
        fn recorded(&self, change: impl FnOnce(&Self)) -> Vec<ContentRow> {
            let dir = CaptureDir::create(&self.folder.path().join("capture")).expect("create");
            let selection = Selection { copy: ["/etc".into()].into(), ..Selection::default() };
            secure(self.machine.root(), &dir, &selection, &mut |_, _| {}).expect("secure");
            change(self);
            let found = Aftermath::look(self.machine.root(), &dir).and_then(|found| found.save_changes(&dir)).expect("changes");
            record(&self.machine, &dir, &found).expect("record");
            let bytes = fs::read(dir.path().join(NAME)).unwrap_or_default();
            bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| from_line(line).expect("row")).collect()
        }
    }

    fn text(text: &str) -> Option<Content> {
        Some(Content::Text(text.into()))
    }

    fn of<'r>(rows: &'r [ContentRow], path: &str) -> &'r ContentRow {
        rows.iter().find(|row| row.path == path).unwrap_or_else(|| panic!("no {path} in {rows:?}"))
    }

    #[test]
    fn both_sides_of_every_sort_are_told() {
        let place = Place::new();
        place.write("etc/a", b"one\n", 0o644);
        place.write("etc/gone", b"\xff", 0o644);
        place.write("etc/same", b"x", 0o644);
        std::os::unix::fs::symlink("a", place.machine.at("etc/link")).expect("link");
        let rows = place.recorded(|place| {
            place.write("etc/a", b"two\n", 0o644);
            place.write("etc/same", b"x", 0o600);
            place.write("etc/new", b"a\0b", 0o644);
            place.write("etc/big", &vec![b'x'; 1 + usize::try_from(MAX_FILE).expect("size")], 0o644);
            fs::remove_file(place.machine.at("etc/gone")).expect("remove");
            fs::remove_file(place.machine.at("etc/link")).expect("remove");
            std::os::unix::fs::symlink("b", place.machine.at("etc/link")).expect("link");
        });
        let link = |target: &str| Some(Content::Link(target.into()));
        let sides = |path: &str| (of(&rows, path).before.clone(), of(&rows, path).after.clone());
        assert_eq!(sides("/etc/a"), (text("one\n"), text("two\n")));
        assert_eq!(sides("/etc/gone"), (Some(Content::Binary), None));
        assert_eq!(sides("/etc/new"), (None, Some(Content::Binary)));
        assert_eq!(sides("/etc/big"), (None, Some(Content::Large)));
        assert_eq!(sides("/etc/link"), (link("a"), link("b")));
        assert_eq!(rows.len(), 5, "{rows:?}");
        assert!(rows.iter().all(|row| !row.private), "{rows:?}");
    }

    #[test]
    fn what_somebody_could_not_read_is_private() {
        let place = Place::new();
        for (path, mode) in [("etc/opened", 0o640), ("etc/closed", 0o644), ("etc/free", 0o644), ("etc/shut/in", 0o644)] {
            place.write(path, b"one", mode);
        }
        fs::create_dir(place.machine.at("etc/left")).expect("mkdir");
        fs::set_permissions(place.machine.at("etc/left"), Permissions::from_mode(0o700)).expect("mode");
        place.write("etc/left/in", b"one", 0o644);
        let rows = place.recorded(|place| {
            for (path, mode) in [("etc/opened", 0o644), ("etc/closed", 0o640), ("etc/free", 0o644), ("etc/shut/in", 0o644)] {
                place.write(path, b"two", mode);
            }
            fs::remove_dir_all(place.machine.at("etc/left")).expect("remove");
        });
        let private: Vec<&str> = rows.iter().filter(|row| row.private).map(|row| row.path.as_str()).collect();
        assert_eq!(private, ["/etc/closed", "/etc/left/in", "/etc/opened", "/etc/shut/in"]);
        assert!(!of(&rows, "/etc/free").private);
    }

    #[test]
    fn texts_have_room_for_so_much_and_no_more() {
        let row = || ContentRow::new(Path::new("/etc/x"), false, text("abc"), Some(Content::Binary));
        let mut room = 5;
        assert_eq!(bounded(row(), &mut room), row());
        let second = bounded(row(), &mut room);
        assert_eq!((second.before, second.after, room), (Some(Content::Large), Some(Content::Binary), 2));
    }
}
