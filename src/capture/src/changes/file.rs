//! The record as a file: lines of tab-separated fields like the manifest's, closed by their number and a checksum.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::{Change, FileChange, Side};
use crate::error::{CaptureError, Context, Result};
use crate::manifest::{Summed, checked_body, escape, field, hex, kind_letter, kind_of, unescape, unhex};

pub(crate) const FILE_NAME: &str = "changes";
pub(crate) const HEADER: &str = "backstep-changes 1";

pub(super) fn save(dir: &Path, changes: &[FileChange]) -> Result<()> {
    let path = dir.join(FILE_NAME);
    let new = path.with_extension("new");
    write(&new, changes).cannot("write", &new)?;
    fs::rename(&new, &path).cannot("name", &path)?;
    File::open(dir).and_then(|dir| dir.sync_all()).cannot("sync", dir)
}

fn write(path: &Path, changes: &[FileChange]) -> io::Result<()> {
    let (mut out, mut line) = (Summed::create(path)?, String::new());
    out.line(&mut line, |line| line.push_str(HEADER))?;
    for change in changes {
        out.line(&mut line, |line| push(line, change))?;
    }
    out.finish(changes.len())
}

fn push(line: &mut String, change: &FileChange) {
    let from = if let Change::RenamedFrom(from) = &change.change { from.as_os_str().as_bytes() } else { b"" };
    line.push(letter(&change.change));
    line.push_str(if change.by_others { "\tothers" } else { "\tours" });
    field(line, change.path.as_os_str().as_bytes());
    field(line, from);
    push_side(line, change.before.as_ref());
    push_side(line, change.after.as_ref());
}

fn push_side(line: &mut String, side: Option<&Side>) {
    line.push('\t');
    let Some(side) = side else { return };
    line.push_str(&format!("{}:{:o}:{}:{}:{}:", kind_letter(side.kind), side.mode, side.uid, side.gid, side.size));
    side.sha256.iter().for_each(|sum| hex(sum, line));
    line.push(':');
    escape(side.target.as_ref().map_or(b"", |target| target.as_os_str().as_bytes()), line);
}

pub(super) fn load(dir: &Path) -> Result<Option<Vec<FileChange>>> {
    let path = dir.join(FILE_NAME);
    match fs::read(&path) {
        Ok(bytes) => parse(&bytes).map(Some).map_err(|reason| CaptureError::Damaged { file: path, reason }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).cannot("read", &path),
    }
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<FileChange>, &'static str> {
    let (body, count) = checked_body(bytes)?;
    let mut lines = std::str::from_utf8(body).map_err(|_| "it is not text")?.lines();
    if lines.next() != Some(HEADER) {
        return Err("its version is unknown");
    }
    let changes: Vec<FileChange> = lines.map(change).collect::<Option<_>>().ok_or("a line of it is malformed")?;
    if changes.len() == count { Ok(changes) } else { Err("lines are missing") }
}

fn change(line: &str) -> Option<FileChange> {
    let mut fields = line.split('\t');
    let mark = fields.next()?;
    let by_others = match fields.next()? {
        "others" => true,
        "ours" => false,
        _ => return None,
    };
    let (path, from) = (path(fields.next()?)?, path(fields.next()?)?);
    let change = change_of(mark, from)?;
    let (before, after) = (side(fields.next()?)?, side(fields.next()?)?);
    fields.next().is_none().then_some(FileChange { path, change, before, after, by_others })
}

fn path(text: &str) -> Option<PathBuf> {
    Some(PathBuf::from(OsString::from_vec(unescape(text)?)))
}

fn side(text: &str) -> Option<Option<Side>> {
    if text.is_empty() {
        return Some(None);
    }
    let mut fields = text.splitn(7, ':');
    let kind = kind_of(fields.next()?)?;
    let mode = u32::from_str_radix(fields.next()?, 8).ok()?;
    let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let size = fields.next()?.parse().ok()?;
    let sum = fields.next()?;
    let sha256 = if sum.is_empty() { None } else { Some(unhex(sum)?) };
    let target = path(fields.next()?)?;
    let target = (kind == super::FileKind::Symlink).then_some(target);
    Some(Some(Side { kind, mode, uid, gid, size, sha256, target }))
}

const fn letter(change: &Change) -> char {
    match change {
        Change::Created => '+',
        Change::RenamedFrom(_) => '>',
        Change::Replaced => '!',
        Change::Written => '~',
        Change::Removed => '-',
        Change::Metadata => 'm',
    }
}

fn change_of(mark: &str, from: PathBuf) -> Option<Change> {
    Some(match mark {
        "+" => Change::Created,
        ">" => Change::RenamedFrom(from),
        "!" => Change::Replaced,
        "~" => Change::Written,
        "-" => Change::Removed,
        "m" => Change::Metadata,
        _ => return None,
    })
}
