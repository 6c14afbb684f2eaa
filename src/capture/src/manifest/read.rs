//! Reading a manifest: nothing of it is believed before its checksum is.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::str::{FromStr, Split};

use sha2::{Digest as _, Sha256};

use super::code::{HEADER, TRAILER, unescape, unhex};
use super::{Entry, How, Listing, Manifest, Object, Picture, Present};
use crate::error::{CaptureError, Context, Result};
use crate::node::{Kind, Meta, Time, Xattr};

/// Reads a picture back; none when it was never completed.
pub(crate) fn load(dir: &Path, picture: Picture) -> Result<Option<Manifest>> {
    let path = dir.join(picture.file_name());
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).cannot("read", &path),
    };
    parse(&bytes).map(Some).map_err(|reason| CaptureError::Damaged { file: path, reason })
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Manifest, &'static str> {
    let (body, count) = checked_body(bytes)?;
    let body = std::str::from_utf8(body).map_err(|_| "it is not text")?;
    let mut lines = body.lines();
    if lines.next() != Some(HEADER) {
        return Err("its version is unknown");
    }
    let mut manifest = Manifest::default();
    for line in lines {
        take_line(line, &mut manifest).ok_or("a line of it is malformed")?;
    }
    if manifest.entries.len() != count {
        return Err("entries are missing");
    }
    if !manifest.entries.is_sorted_by(|one, next| one.path < next.path) {
        return Err("its entries are out of order");
    }
    Ok(manifest)
}

/// Everything before the last line, when that line vouches for it.
pub(crate) fn checked_body(bytes: &[u8]) -> Result<(&[u8], usize), &'static str> {
    let open = bytes.strip_suffix(b"\n").ok_or("its end is missing")?;
    let start = open.iter().rposition(|byte| *byte == b'\n').ok_or("its end is missing")? + 1;
    let last = std::str::from_utf8(&open[start..]).map_err(|_| "its end is missing")?;
    let mut fields = last.split('\t');
    if fields.next() != Some(TRAILER) {
        return Err("its end is missing");
    }
    let count = fields.next().and_then(|count| count.parse().ok()).ok_or("its end is malformed")?;
    let sum = fields.next().and_then(unhex).ok_or("its end is malformed")?;
    if Sha256::digest(&bytes[..start]).as_slice() != sum {
        return Err("its checksum does not match");
    }
    Ok((&bytes[..start], count))
}

/// Reads one entry's line.
pub(crate) fn entry(line: &str) -> Option<Entry> {
    let mut manifest = Manifest::default();
    take_line(line, &mut manifest)?;
    manifest.entries.pop()
}

fn take_line(line: &str, manifest: &mut Manifest) -> Option<()> {
    let mut fields = line.split('\t');
    let mark = fields.next()?;
    let path = path(fields.next()?)?;
    match mark {
        "S" => manifest.stores.push(path),
        "X" => manifest.excluded.push(path),
        "-" => manifest.entries.push(Entry { path, present: None }),
        _ => manifest.entries.push(Entry { path, present: Some(present(kind_of(mark)?, &mut fields)?) }),
    }
    fields.next().is_none().then_some(())
}

fn path(text: &str) -> Option<PathBuf> {
    Some(PathBuf::from(OsString::from_vec(unescape(text)?)))
}

fn present(kind: Kind, fields: &mut Split<'_, char>) -> Option<Present> {
    let mut meta = Meta {
        kind,
        mode: u32::from_str_radix(fields.next()?, 8).ok()?,
        uid: number(fields)?,
        gid: number(fields)?,
        size: number(fields)?,
        mtime: time(fields.next()?)?,
        ctime: time(fields.next()?)?,
        btime: time(fields.next()?)?,
        ino: number(fields)?,
        rdev: pair(fields.next()?, ':')?,
        target: unescape(fields.next()?)?,
        xattrs: Vec::new(),
    };
    let listing = listing(fields.next()?)?;
    let digest = optional(fields.next()?, unhex)?;
    let object = optional(fields.next()?, object)?;
    meta.xattrs = xattrs(fields.next()?)?;
    Some(Present { meta, listing, digest, object })
}

fn number<T: FromStr>(fields: &mut Split<'_, char>) -> Option<T> {
    fields.next()?.parse().ok()
}

/// An empty field is nothing; any other must be readable.
fn optional<T>(text: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    if text.is_empty() { Some(None) } else { read(text).map(Some) }
}

fn pair<A: FromStr, B: FromStr>(text: &str, between: char) -> Option<(A, B)> {
    let (one, other) = text.split_once(between)?;
    Some((one.parse().ok()?, other.parse().ok()?))
}

fn time(text: &str) -> Option<Time> {
    let (seconds, nanos) = pair(text, '.')?;
    Some(Time(seconds, nanos))
}

fn listing(text: &str) -> Option<Listing> {
    match text {
        "-" => Some(Listing::Open),
        "l" => Some(Listing::Linked),
        "c" => Some(Listing::Copied),
        _ => None,
    }
}

/// Reads what [`push_object`](super::push_object) wrote.
pub(crate) fn object(text: &str) -> Option<Object> {
    let how = match text.get(..1)? {
        "L" => How::Linked,
        "C" => How::Copied,
        _ => return None,
    };
    let (store, number) = pair(&text[1..], ':')?;
    Some(Object { how, store, number })
}

fn xattrs(text: &str) -> Option<Vec<Xattr>> {
    let one = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        Some((unescape(name)?, unescape(value)?))
    };
    if text.is_empty() { Some(Vec::new()) } else { text.split(',').map(one).collect() }
}

/// Reads what [`kind_letter`](super::kind_letter) says.
pub(crate) fn kind_of(mark: &str) -> Option<Kind> {
    let kinds = [Kind::File, Kind::Directory, Kind::Symlink, Kind::Fifo, Kind::Socket, Kind::CharDevice, Kind::BlockDevice];
    let mut letters = mark.chars();
    let letter = letters.next()?;
    letters.next().is_none().then_some(())?;
    kinds.into_iter().find(|kind| super::write::kind_letter(*kind) == letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let meta = Meta {
            kind: Kind::File,
            mode: 0o4755,
            uid: 1,
            gid: 2,
            size: 3,
            mtime: Time(-4, 5),
            ctime: Time(6, 7),
            btime: Time(8, 9),
            ino: u64::MAX,
            rdev: (1, 3),
            target: b"a\tb".to_vec(),
            xattrs: vec![(b"user.a=,".to_vec(), vec![0, 10, 255]), (b"user.b".to_vec(), Vec::new())],
        };
        let object = Some(Object { how: How::Linked, store: 1, number: 24_000 });
        let present = Some(Present { meta, listing: Listing::Copied, digest: Some([7; 32]), object });
        let odd = PathBuf::from(OsString::from_vec(b"b/\xff\n%".to_vec()));
        let entries = vec![Entry { path: "a".into(), present: None }, Entry { path: odd, present }];
        Manifest { stores: vec![PathBuf::new(), "/boot".into()], excluded: vec!["x y".into()], entries, ..Manifest::default() }
    }

    #[test]
    fn a_manifest_keeps_everything() {
        let dir = tempfile::tempdir().expect("dir");
        super::super::save(dir.path(), Picture::Before, &sample()).expect("save");
        assert_eq!(load(dir.path(), Picture::Before).expect("load"), Some(sample()));
        assert_eq!(load(dir.path(), Picture::After).expect("load"), None);
    }

    #[test]
    fn any_flipped_byte_and_any_cut_is_noticed() {
        let dir = tempfile::tempdir().expect("dir");
        super::super::save(dir.path(), Picture::Before, &sample()).expect("save");
        let bytes = fs::read(dir.path().join("manifest")).expect("read");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(parse(&changed).is_err(), "byte {at} flipped");
            assert!(parse(&bytes[..at]).is_err(), "cut at {at}");
        }
    }
}
