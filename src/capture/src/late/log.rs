//! The late log: records are appended, each with its length and a checksum of its bytes and its place.
//!
//! Invariants: what a record speaks of was durable before the record is; everything before a durable record is
//! durable. A crash leaves a torn tail, which is everything from the first record that does not check out: it is
//! ignored when the log is read and cut off when it is opened for writing. What it told was not done yet.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::record::{Record, decode, encode};
use crate::error::{CaptureError, Context, Result};

pub(crate) const FILE_NAME: &str = "late";
pub(crate) const HEADER: &[u8] = b"backstep-late 1\n";
/// Length, then the beginning of the checksum.
const FRAME: usize = 4 + SUM;
const SUM: usize = 8;
/// Records that may be lost are made durable this often, when there are calls.
const LAZILY: Duration = Duration::from_secs(1);

/// The log, open for appending.
pub(crate) struct Log {
    file: File,
    path: PathBuf,
    end: u64,
    durable: u64,
    synced_at: Instant,
}

impl Log {
    /// Opens or creates the log of a capture and says what is in it. A torn tail is cut off.
    pub(crate) fn open(dir: &Path) -> Result<(Self, Vec<Record>)> {
        let path = dir.join(FILE_NAME);
        let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).cannot("open", &path)?;
        let (records, end) = parse(&fs::read(&path).cannot("read", &path)?).map_err(|reason| damaged(&path, reason))?;
        let mut log = Self { file, path, end, durable: 0, synced_at: Instant::now() };
        log.begin().cannot("write", &log.path)?;
        File::open(dir).and_then(|dir| dir.sync_all()).cannot("sync", dir)?;
        Ok((log, records))
    }

    fn begin(&mut self) -> io::Result<()> {
        self.file.set_len(self.end)?;
        if self.end == 0 {
            self.file.write_all_at(HEADER, 0)?;
            self.end = HEADER.len() as u64;
        }
        self.file.sync_all()?;
        self.durable = self.end;
        Ok(())
    }

    /// Appends records; they are not durable yet. Says where they end.
    pub(crate) fn append(&mut self, records: &[Record]) -> Result<u64> {
        let mut bytes = Vec::new();
        for record in records {
            frame(encode(record).as_bytes(), self.end + bytes.len() as u64, &mut bytes);
        }
        let written = self.file.write_all_at(&bytes, self.end);
        if written.is_err() {
            // A half-written record (the disk is full) must not stand between this and the next.
            self.file.set_len(self.end).cannot("cut", &self.path)?;
        }
        written.cannot("write", &self.path)?;
        self.end += bytes.len() as u64;
        Ok(self.end)
    }

    /// Makes everything up to a place durable.
    pub(crate) fn sync_to(&mut self, end: u64) -> Result<()> {
        if end <= self.durable {
            return Ok(());
        }
        // The length must not be known beforehand: because it grows, the journal of ext4 and xfs commits with it
        // the names that were made before.
        self.file.sync_data().cannot("sync", &self.path)?;
        self.durable = self.end;
        self.synced_at = Instant::now();
        Ok(())
    }

    /// Makes everything durable.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.sync_to(self.end)
    }

    /// Makes everything durable if that was not done for a while.
    pub(crate) fn sync_lazily(&mut self) -> Result<()> {
        if self.durable < self.end && self.synced_at.elapsed() >= LAZILY { self.sync() } else { Ok(()) }
    }
}

/// Reads the log of a capture; empty when there is none. A torn tail does not count.
pub(crate) fn read(dir: &Path) -> Result<Vec<Record>> {
    let path = dir.join(FILE_NAME);
    match fs::read(&path) {
        Ok(bytes) => parse(&bytes).map(|(records, _)| records).map_err(|reason| damaged(&path, reason)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).cannot("read", &path),
    }
}

fn damaged(path: &Path, reason: &'static str) -> CaptureError {
    CaptureError::Damaged { file: path.to_path_buf(), reason }
}

pub(crate) fn frame(line: &[u8], at: u64, out: &mut Vec<u8>) {
    let length = u32::try_from(line.len()).expect("a path and its attributes are shorter than 4 GiB");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&sum(line, at));
    out.extend_from_slice(line);
}

/// The place is part of it: bytes of an earlier log never pass for a record.
fn sum(line: &[u8], at: u64) -> [u8; SUM] {
    let mut hasher = Sha256::new();
    hasher.update(at.to_le_bytes());
    hasher.update(line);
    let mut sum = [0; SUM];
    sum.copy_from_slice(&hasher.finalize()[..SUM]);
    sum
}

/// The records, and where the last whole one ends.
pub(crate) fn parse(bytes: &[u8]) -> Result<(Vec<Record>, u64), &'static str> {
    let mut records = Vec::new();
    if !bytes.starts_with(HEADER) {
        // Torn while it was created, or made by a version to come.
        let torn = HEADER.starts_with(bytes) || bytes.iter().all(|byte| *byte == 0);
        return if torn { Ok((records, 0)) } else { Err("its version is unknown") };
    }
    let mut at = HEADER.len();
    while let Some(line) = whole(bytes, at) {
        let text = std::str::from_utf8(line).map_err(|_| "a record of it is malformed")?;
        records.push(decode(text).ok_or("a record of it is malformed")?);
        at += FRAME + line.len();
    }
    Ok((records, at as u64))
}

/// The record at a place; none when it is not whole.
fn whole(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let (head, rest) = bytes.get(at..)?.split_at_checked(FRAME)?;
    let (length, expected) = head.split_at(4);
    let length = u32::from_le_bytes(length.try_into().ok()?);
    let line = rest.get(..usize::try_from(length).ok()?)?;
    (sum(line, at as u64) == expected).then_some(line)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods)]
mod tests {
    use super::super::record::tests::samples;
    use super::*;

    fn written(dir: &Path) -> Vec<u8> {
        let (mut log, found) = Log::open(dir).unwrap();
        assert_eq!(found, []);
        for record in samples() {
            let end = log.append(&[record]).unwrap();
            log.sync_to(end).unwrap();
        }
        fs::read(dir.join(FILE_NAME)).unwrap()
    }

    #[test]
    fn a_log_cut_anywhere_keeps_its_whole_records_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = written(dir.path());
        assert_eq!(read(dir.path()).unwrap(), samples());
        let mut most = 0;
        for cut in 0..=bytes.len() {
            fs::write(dir.path().join(FILE_NAME), &bytes[..cut]).unwrap();
            let (mut log, found) = Log::open(dir.path()).unwrap();
            assert_eq!(found, samples()[..found.len()], "cut at {cut}");
            assert!(found.len() >= most, "cut at {cut}");
            most = found.len();
            log.append(&samples()[..1]).unwrap();
            let expected: Vec<Record> = found.iter().chain(&samples()[..1]).cloned().collect();
            assert_eq!(read(dir.path()).unwrap(), expected, "cut at {cut}");
        }
        assert_eq!(most, samples().len());
    }

    #[test]
    fn a_last_record_of_zeros_or_with_any_wrong_byte_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = written(dir.path());
        let last = FRAME + encode(samples().last().unwrap()).len();
        for at in bytes.len() - last..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1;
            assert_eq!(parse(&wrong).unwrap().0, samples()[..samples().len() - 1], "byte {at}");
            wrong[at..].fill(0);
            assert_eq!(parse(&wrong).unwrap().0, samples()[..samples().len() - 1], "zeros from {at}");
        }
    }

    #[test]
    fn another_version_is_no_torn_log() {
        assert!(parse(b"backstep-late 2\n").is_err());
        assert_eq!(parse(&[0; 40]), Ok((Vec::new(), 0)));
    }
}
