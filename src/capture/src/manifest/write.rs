//! Writing a manifest: streamed to a new file, synced, then named; so a named one was complete.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::code::{HEADER, TRAILER, escape, hex};
use super::{Entry, How, Listing, Manifest, Object, Picture, Present};
use crate::error::{Context, Result};
use crate::node::{Kind, Meta, Time, Xattr};

/// Writes a picture into a capture's directory and makes it durable.
pub(crate) fn save(dir: &Path, picture: Picture, manifest: &Manifest) -> Result<()> {
    let path = dir.join(picture.file_name());
    let new = path.with_extension("new");
    write(&new, manifest).cannot("write", &new)?;
    fs::rename(&new, &path).cannot("name", &path)?;
    File::open(dir).and_then(|dir| dir.sync_all()).cannot("sync", dir)
}

fn write(path: &Path, manifest: &Manifest) -> io::Result<()> {
    let mut out = Summed::create(path)?;
    let mut line = String::with_capacity(512);
    out.line(&mut line, |line| line.push_str(HEADER))?;
    for (mark, paths) in [('S', &manifest.stores), ('X', &manifest.excluded)] {
        for path in paths {
            out.line(&mut line, |line| {
                line.push(mark);
                field(line, path.as_os_str().as_bytes());
            })?;
        }
    }
    for entry in &manifest.entries {
        out.line(&mut line, |line| push_entry(line, entry))?;
    }
    out.finish(manifest.entries.len())
}

/// A file of lines that ends with their number and checksum.
pub(crate) struct Summed {
    inner: BufWriter<File>,
    hasher: Sha256,
}

impl Summed {
    /// Makes the file anew, readable by its owner only.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        Ok(Self { inner: BufWriter::with_capacity(256 * 1024, file), hasher: Sha256::new() })
    }

    /// Writes one line; `line` is only there to be used again.
    pub(crate) fn line(&mut self, line: &mut String, fill: impl FnOnce(&mut String)) -> io::Result<()> {
        line.clear();
        fill(line);
        line.push('\n');
        self.hasher.update(line.as_bytes());
        self.inner.write_all(line.as_bytes())
    }

    /// Writes the last line and syncs the file.
    pub(crate) fn finish(mut self, count: usize) -> io::Result<()> {
        let mut line = format!("{TRAILER}\t{count}\t");
        hex(&self.hasher.finalize(), &mut line);
        line.push('\n');
        self.inner.write_all(line.as_bytes())?;
        self.inner.flush()?;
        self.inner.get_ref().sync_all()
    }
}

/// Appends an entry, without the end of the line.
pub(crate) fn push_entry(line: &mut String, entry: &Entry) {
    let path = entry.path.as_os_str().as_bytes();
    match &entry.present {
        None => {
            line.push('-');
            field(line, path);
        }
        Some(present) => {
            line.push(kind_letter(present.meta.kind));
            field(line, path);
            push_meta(line, &present.meta);
            push_kept(line, present);
            push_xattrs(line, &present.meta.xattrs);
        }
    }
}

fn push_meta(line: &mut String, meta: &Meta) {
    let time = |Time(seconds, nanos): Time| format!("{seconds}.{nanos}");
    let text = format!(
        "\t{:o}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}:{}",
        meta.mode,
        meta.uid,
        meta.gid,
        meta.size,
        time(meta.mtime),
        time(meta.ctime),
        time(meta.btime),
        meta.ino,
        meta.rdev.0,
        meta.rdev.1
    );
    line.push_str(&text);
    field(line, &meta.target);
}

fn push_kept(line: &mut String, present: &Present) {
    line.push('\t');
    line.push(match present.listing {
        Listing::Open => '-',
        Listing::Linked => 'l',
        Listing::Copied => 'c',
    });
    line.push('\t');
    if let Some(digest) = &present.digest {
        hex(digest, line);
    }
    line.push('\t');
    if let Some(object) = present.object {
        push_object(line, object);
    }
}

/// Appends where content is kept.
pub(crate) fn push_object(line: &mut String, Object { how, store, number }: Object) {
    let how = match how {
        How::Linked => 'L',
        How::Copied => 'C',
    };
    line.push_str(&format!("{how}{store}:{number}"));
}

fn push_xattrs(line: &mut String, xattrs: &[Xattr]) {
    line.push('\t');
    for (at, (name, value)) in xattrs.iter().enumerate() {
        if at > 0 {
            line.push(',');
        }
        escape(name, line);
        line.push('=');
        escape(value, line);
    }
}

/// Appends a field of bytes.
pub(crate) fn field(line: &mut String, bytes: &[u8]) {
    line.push('\t');
    escape(bytes, line);
}

/// The letter of a type in our files.
pub(crate) const fn kind_letter(kind: Kind) -> char {
    match kind {
        Kind::File => 'f',
        Kind::Directory => 'd',
        Kind::Symlink => 'l',
        Kind::Fifo => 'p',
        Kind::Socket => 's',
        Kind::CharDevice => 'c',
        Kind::BlockDevice => 'b',
    }
}
