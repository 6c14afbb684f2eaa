//! A picture as a file: directories with their names, numbers in as few bytes as they need, then a checksum.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{Directory, Fact, Part, Walk};
use crate::error::{CaptureError, Context, Result};

pub(crate) const FILE_NAME: &str = "walk";
pub(crate) const HEADER: &[u8] = b"backstep-walk 1\n";
const SUM: usize = 32;

pub(super) fn save(walk: &Walk, dir: &Path) -> Result<()> {
    let path = dir.join(FILE_NAME);
    let new = path.with_extension("new");
    let bytes = encode(walk);
    let write = || {
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()
    };
    write().cannot("write", &new)?;
    fs::rename(&new, &path).cannot("name", &path)?;
    File::open(dir).and_then(|dir| dir.sync_all()).cannot("sync", dir)
}

pub(super) fn load(dir: &Path) -> Result<Option<Walk>> {
    let path = dir.join(FILE_NAME);
    match fs::read(&path) {
        Ok(bytes) => decode(&bytes).map(Some).ok_or(CaptureError::Damaged { file: path, reason: "it is not as it was written" }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).cannot("read", &path),
    }
}

pub(crate) fn encode(walk: &Walk) -> Vec<u8> {
    let mut out = HEADER.to_vec();
    out.reserve(walk.count() * 56);
    number(&mut out, walk.order.len() as u64);
    for (part, directory) in walk.directories() {
        text(&mut out, directory.path.as_os_str().as_bytes());
        number(&mut out, (directory.end - directory.start) as u64);
        for fact in part.facts(directory) {
            text(&mut out, part.name(fact).as_bytes());
            for value in [fact.ino, fact.size, fact.mode.into(), fact.uid.into(), fact.gid.into(), fact.nlink.into()] {
                number(&mut out, value);
            }
            out.extend_from_slice(&fact.mtime.to_le_bytes());
            // Mostly the same or close.
            number(&mut out, zigzag(fact.ctime.wrapping_sub(fact.mtime)));
        }
    }
    // A picture without gaps ends here, as those of earlier versions do.
    for (path, why) in &walk.gaps {
        text(&mut out, path.as_os_str().as_bytes());
        text(&mut out, why.as_bytes());
    }
    let sum = Sha256::digest(&out);
    out.extend_from_slice(&sum);
    out
}

pub(crate) fn decode(bytes: &[u8]) -> Option<Walk> {
    let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(SUM)?)?;
    if Sha256::digest(body).as_slice() != sum {
        return None;
    }
    let mut reader = Reader(body.strip_prefix(HEADER)?);
    let mut part = Part::default();
    for _ in 0..reader.number()? {
        let path = PathBuf::from(std::ffi::OsString::from_vec(reader.text()?.to_vec()));
        let start = part.facts.len();
        for _ in 0..reader.number()? {
            let fact = reader.fact(&mut part.names)?;
            part.facts.push(fact);
        }
        part.directories.push(Directory { path, start, end: part.facts.len() });
    }
    let mut gaps = BTreeMap::new();
    while !reader.0.is_empty() {
        let path = PathBuf::from(std::ffi::OsString::from_vec(reader.text()?.to_vec()));
        gaps.insert(path, String::from_utf8(reader.text()?.to_vec()).ok()?);
    }
    Some(Walk::of(vec![part], gaps))
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn zigzag(value: i64) -> u64 {
    (value.wrapping_shl(1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    fn fact(&mut self, names: &mut Vec<u8>) -> Option<Fact> {
        let bytes = self.text()?;
        let (name, name_length) = (u32::try_from(names.len()).ok()?, u16::try_from(bytes.len()).ok()?);
        names.extend_from_slice(bytes);
        let (ino, size) = (self.number()?, self.number()?);
        let (mode, uid, gid, nlink) = (self.small()?, self.small()?, self.small()?, self.small()?);
        let mtime = i64::from_le_bytes(self.take(8)?.try_into().ok()?);
        let ctime = mtime.wrapping_add(unzigzag(self.number()?));
        Some(Fact { ino, size, mtime, ctime, mode, uid, gid, nlink, name, name_length })
    }
}
