//! What qemu's `blklogwrites` driver wrote down: every write, with its bytes, and every flush, in the order of the disk.
//!
//! The format is that of Linux's dm-log-writes: sectors of 512 bytes; the first is the head, then each entry has a sector
//! for itself and the written bytes after it. Invariants: an entry is whole or all zero, and the first zero is the end.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, bail, ensure};

/// Bytes of a sector of disk and log.
pub const SECTOR: u64 = 512;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// One write or flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The first sector of the disk that it wrote.
    pub sector: u64,
    /// How many sectors.
    pub sectors: u64,
    flags: u64,
    /// Where the bytes are in the log.
    pub at: u64,
}

impl Entry {
    /// A plain write.
    #[cfg(test)]
    pub(crate) const fn wrote(sector: u64, sectors: u64) -> Self {
        Self { sector, sectors, flags: 0, at: 0 }
    }

    /// Whether everything before it is durable once it is there.
    #[must_use]
    pub const fn is_flush(&self) -> bool {
        self.flags & FLUSH != 0
    }

    /// Whether it is durable by itself.
    #[must_use]
    pub const fn is_durable(&self) -> bool {
        self.flags & FUA != 0
    }

    /// Whether it wrote bytes.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        self.sectors > 0 && self.flags & DISCARD == 0
    }
}

/// All entries so far; a log may be read while it grows.
pub fn entries(log: &File) -> Result<Vec<Entry>> {
    let end = log.metadata()?.len();
    let (mut entries, mut at) = (Vec::new(), SECTOR);
    while at + SECTOR <= end {
        let mut head = [0; 32];
        log.read_exact_at(&mut head, at).context("cannot read the log")?;
        if head == [0; 32] {
            break;
        }
        let entry = entry(&head, at + SECTOR)?;
        at = entry.at + if entry.is_write() { entry.sectors * SECTOR } else { 0 };
        ensure!(at <= end, "an entry ends behind the log");
        entries.push(entry);
    }
    Ok(entries)
}

fn entry(head: &[u8; 32], at: u64) -> Result<Entry> {
    let number = |index: usize| -> Result<u64> { Ok(u64::from_le_bytes(head[8 * index..8 * (index + 1)].try_into()?)) };
    let (sector, sectors, flags) = (number(0)?, number(1)?, number(2)?);
    if flags > FLUSH | FUA | DISCARD || (sectors == 0 && flags & FLUSH == 0) {
        bail!("no entry of a log: {head:?}");
    }
    Ok(Entry { sector, sectors, flags, at })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A log with these entries: sector, flags and bytes.
    pub(crate) fn written(entries: &[(u64, u64, &[u8])]) -> Result<File> {
        let log = tempfile::tempfile()?;
        let mut at = SECTOR;
        for (sector, flags, bytes) in entries {
            let sectors = bytes.len() as u64 / SECTOR;
            let head: Vec<u8> = [*sector, sectors, *flags, 0].iter().flat_map(|number| number.to_le_bytes()).collect();
            log.write_all_at(&head, at)?;
            log.write_all_at(bytes, at + SECTOR)?;
            at += SECTOR + bytes.len() as u64;
        }
        log.set_len(at + 64 * SECTOR)?;
        Ok(log)
    }

    #[test]
    fn a_log_is_read_to_its_first_empty_sector() -> Result<()> {
        let log = written(&[(7, 0, &[1; 1024]), (0, FLUSH, &[]), (9, FUA, &[2; 512])])?;
        let read = entries(&log)?;
        let of = |entry: &Entry| (entry.sector, entry.sectors, entry.is_write(), entry.is_flush(), entry.is_durable(), entry.at);
        let found: Vec<_> = read.iter().map(of).collect();
        assert_eq!(found, [(7, 2, true, false, false, 1024), (0, 0, false, true, false, 2560), (9, 1, true, false, true, 3072)]);
        Ok(())
    }

    #[test]
    fn what_is_no_log_is_refused() -> Result<()> {
        let log = written(&[(7, 1 << 40, &[1; 512])])?;
        assert!(entries(&log).is_err());
        Ok(())
    }
}
