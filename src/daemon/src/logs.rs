//! What children wrote, small: of a log of an attempt that has ended, `output.log.zst` beside it holds what was there then.
//!
//! The file is in zstd's seekable format: frames of 128 KiB and a table of them at the end, which `zstd -d` reads, too.
//!
//! Invariants: the log keeps its name, its length and its inode, so that who reads it goes on reading, and a process that a script left
//! behind goes on writing at its end. Its space is given back as a hole, after the compressed bytes are on the disk. What lies
//! before the end of the compressed part is read from there, the rest from the log itself. Absent on purpose: giving anything up.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, fallocate};

use crate::attempts::write_durably;

/// A smaller log takes no fewer blocks afterwards.
const WORTHWHILE: u64 = 16 << 10;
const FRAME: usize = 128 << 10;
/// zstd's own default.
const LEVEL: i32 = 3;
const TABLE_MAGIC: u32 = 0x184D_2A5E;
const FOOTER_MAGIC: u32 = 0x8F92_EAB1;
const FOOTER: usize = 9;
const ENTRY: usize = 8;

/// A frame: where it begins in the log, and where it lies in the compressed file.
struct Frame {
    at: u64,
    length: u64,
    place: u64,
    size: u64,
}

fn beside(log: &Path) -> PathBuf {
    log.with_extension("log.zst")
}

/// Compresses a log that nobody is expected to write to any more; answers whether it did.
///
/// CRASH: before the compressed file has its name, the log is whole; from then on it is read from there, hole or not.
pub fn compress(log: &Path) -> io::Result<bool> {
    let file = OpenOptions::new().read(true).write(true).open(log)?;
    let length = file.metadata()?.len();
    if length < WORTHWHILE || beside(log).exists() {
        return Ok(false);
    }
    let packed = packed(&file, length)?;
    let (folder, name) = (log.parent().unwrap_or(Path::new(".")), beside(log));
    write_durably(folder, &name.file_name().unwrap_or_default().to_string_lossy(), &packed)?;
    let length = i64::try_from(length).map_err(io::Error::other)?;
    // Where a file system cannot do that, nothing is gained and nothing lost.
    match fallocate(&file, FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, length) {
        Ok(()) => Ok(true),
        Err(nix::errno::Errno::EOPNOTSUPP) => std::fs::remove_file(name).map(|()| false),
        Err(errno) => Err(errno.into()),
    }
}

fn packed(file: &File, length: u64) -> io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    compressor.include_checksum(true)?;
    let (mut packed, mut table, mut at) = (Vec::new(), Vec::new(), 0);
    while at < length {
        let mut piece = vec![0; FRAME.min(usize::try_from(length - at).unwrap_or(FRAME))];
        file.read_exact_at(&mut piece, at)?;
        let frame = compressor.compress(&piece)?;
        table.push((frame.len(), piece.len()));
        packed.extend(frame);
        at += piece.len() as u64;
    }
    packed.extend(written(&table)?);
    Ok(packed)
}

fn written(table: &[(usize, usize)]) -> io::Result<Vec<u8>> {
    let number = |count: usize| u32::try_from(count).map(u32::to_le_bytes).map_err(io::Error::other);
    let mut bytes = [TABLE_MAGIC.to_le_bytes(), number(table.len() * ENTRY + FOOTER)?].concat();
    for (size, length) in table {
        bytes.extend([number(*size)?, number(*length)?].concat());
    }
    bytes.extend(number(table.len())?);
    bytes.push(0);
    bytes.extend(FOOTER_MAGIC.to_le_bytes());
    Ok(bytes)
}

/// At most so many bytes of a log from an offset on, wherever they are.
pub fn read(log: &Path, from: u64, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(packed) = open(&beside(log))? {
        for frame in frames(&packed)?.iter().filter(|frame| frame.at + frame.length > from && frame.at < from.saturating_add(limit)) {
            let piece = unpacked(&packed, frame)?;
            let begin = usize::try_from(from.saturating_sub(frame.at)).unwrap_or(piece.len());
            bytes.extend(&piece[begin..]);
        }
        bytes.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    let rest = limit - bytes.len() as u64;
    if rest > 0 {
        let end = from + bytes.len() as u64;
        let mut file = File::open(log)?;
        io::Seek::seek(&mut file, io::SeekFrom::Start(end))?;
        file.take(rest).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Puts the bytes back where they were and takes the compressed file away; answers whether there was one.
pub fn expand(log: &Path) -> io::Result<bool> {
    let Some(packed) = open(&beside(log))? else { return Ok(false) };
    let file = OpenOptions::new().write(true).open(log)?;
    for frame in frames(&packed)? {
        file.write_all_at(&unpacked(&packed, &frame)?, frame.at)?;
    }
    file.sync_data()?;
    std::fs::remove_file(beside(log)).map(|()| true)
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

fn unpacked(packed: &File, frame: &Frame) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(frame.size).map_err(io::Error::other)?];
    packed.read_exact_at(&mut bytes, frame.place)?;
    let piece = zstd::bulk::decompress(&bytes, usize::try_from(frame.length).map_err(io::Error::other)?)?;
    if piece.len() as u64 == frame.length { Ok(piece) } else { Err(damaged()) }
}

/// The frames of a compressed file, by the table at its end.
fn frames(packed: &File) -> io::Result<Vec<Frame>> {
    let end = packed.metadata()?.len();
    let mut footer = [0; FOOTER];
    packed.read_exact_at(&mut footer, end.checked_sub(FOOTER as u64).ok_or_else(damaged)?)?;
    let (count, magic) = (number(&footer[..4]), number(&footer[5..]));
    let size = u64::from(count) * ENTRY as u64;
    if magic != FOOTER_MAGIC || footer[4] != 0 || size + FOOTER as u64 > end {
        return Err(damaged());
    }
    let mut table = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    packed.read_exact_at(&mut table, end - FOOTER as u64 - size)?;
    let (mut frames, mut at, mut place) = (Vec::new(), 0, 0);
    for entry in table.chunks_exact(ENTRY) {
        let (size, length) = (u64::from(number(&entry[..4])), u64::from(number(&entry[4..])));
        if length > FRAME as u64 || place + size > end {
            return Err(damaged());
        }
        frames.push(Frame { at, length, place, size });
        (at, place) = (at + length, place + size);
    }
    Ok(frames)
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the compressed log is not what was written")
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    /// What apt and dpkg write, over and over with other names.
    fn text(lines: u32) -> Vec<u8> {
        let mut text = Vec::new();
        for number in 0..lines {
            let (name, version) = (number.wrapping_mul(2_654_435_761) % 9_973, number % 89);
            writeln!(text, "Selecting previously unselected package libfoo{name}.").expect("write");
            writeln!(text, "Preparing to unpack .../{number:03}-libfoo{name}_{version}.4-1_amd64.deb ...").expect("write");
            writeln!(text, "Unpacking libfoo{name}:amd64 ({version}.4-1) ...").expect("write");
            writeln!(text, "Setting up libfoo{name}:amd64 ({version}.4-1) ...").expect("write");
        }
        text
    }

    #[test]
    fn a_compressed_log_is_a_fifth_and_is_read_as_before() {
        let folder = tempfile::tempdir().expect("folder");
        let log = folder.path().join("output.log");
        for lines in [100, 4_000] {
            let text = text(lines);
            std::fs::write(&log, &text).expect("write");
            let blocks = std::fs::metadata(&log).expect("log").blocks();
            assert!(compress(&log).expect("compress") && !compress(&log).expect("again"));
            let packed = std::fs::metadata(beside(&log)).expect("packed").len();
            assert!(packed * 5 <= text.len() as u64, "{packed} of {}", text.len());
            let after = std::fs::metadata(&log).expect("log");
            assert!(after.len() == text.len() as u64 && after.blocks() * 4 <= blocks.max(33), "{} of {blocks} blocks", after.blocks());
            assert_eq!(read(&log, 0, u64::MAX >> 1).expect("all"), text);
            // Somebody goes on writing.
            File::options().append(true).open(&log).and_then(|mut file| file.write_all(b"late\n")).expect("append");
            let whole = [text.as_slice(), b"late\n"].concat();
            for (from, limit) in [(0, 10), (70, 65_536), (131_000, 300), (text.len() - 3, 6), (text.len(), 99), (whole.len(), 9)] {
                let from = from.min(whole.len());
                let expected = &whole[from..(from + limit).min(whole.len())];
                assert_eq!(read(&log, from as u64, limit as u64).expect("piece"), expected, "{from}");
            }
            assert!(expand(&log).expect("expand"));
            assert!(!beside(&log).exists() && std::fs::read(&log).expect("read") == whole);
            assert!(!expand(&log).expect("nothing to do"));
        }
    }

    #[test]
    fn a_crash_before_the_hole_shows_nothing() {
        let folder = tempfile::tempdir().expect("folder");
        let log = folder.path().join("output.log");
        let text = text(300);
        std::fs::write(&log, &text).expect("write");
        let file = File::open(&log).expect("open");
        std::fs::write(beside(&log), packed(&file, text.len() as u64).expect("pack")).expect("write");
        assert_eq!(read(&log, 5, 50_000).expect("read"), &text[5..text.len().min(50_005)]);
        assert!(expand(&log).expect("expand"));
        assert_eq!(std::fs::read(&log).expect("read"), text);
    }

    #[test]
    fn what_is_damaged_is_said_and_a_small_log_stays() {
        let folder = tempfile::tempdir().expect("folder");
        let log = folder.path().join("output.log");
        std::fs::write(&log, "little").expect("write");
        assert!(!compress(&log).expect("small"));
        std::fs::write(&log, text(300)).expect("write");
        compress(&log).expect("compress");
        let whole = std::fs::read(beside(&log)).expect("read");
        for place in [40, whole.len() - 1, whole.len() - 5, whole.len() - 9, whole.len() - 14] {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x41;
            std::fs::write(beside(&log), bytes).expect("write");
            assert!(read(&log, 0, 60_000).is_err(), "{place}");
        }
        for length in [0, 5, 30] {
            std::fs::write(beside(&log), &whole[..length]).expect("write");
            assert!(read(&log, 0, 60_000).is_err(), "{length}");
        }
    }
}
