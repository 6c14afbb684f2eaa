//! The disk as a power cut left it.
//!
//! Invariants: what a flush that ended before the cut covers is there; of what was written since, each sector is as before
//! or as written, and nothing else. Cuts are made in the order of the log.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use backstep_tests::command;
use backstep_torture::random::Random;

use crate::log::{Entry, SECTOR};

/// What becomes of writes that no flush covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// They are all there: the disk was quick.
    Kept,
    /// None is there.
    Lost,
    /// Each is there or not, or the beginning of it is.
    Mixed,
}

impl Fate {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Mixed, Self::Lost, Self::Kept];
}

/// A disk that follows a log from flush to flush.
pub struct Replay<'a> {
    log: &'a File,
    entries: &'a [Entry],
    path: PathBuf,
    disk: File,
    /// Entries that are on the disk.
    done: usize,
}

impl<'a> Replay<'a> {
    /// Begins with the disk at `path`, which is as it was before the log began and is changed.
    pub fn new(log: &'a File, entries: &'a [Entry], path: &Path) -> Result<Self> {
        let disk = OpenOptions::new().write(true).open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { log, entries, path: path.to_owned(), disk, done: 0 })
    }

    /// Makes `target` the disk after a cut behind the first `cut` entries; answers how many writes were in the balance.
    pub fn cut(&mut self, cut: usize, fate: Fate, random: &mut Random, target: &Path) -> Result<usize> {
        let flushed = last_flush(&self.entries[..cut]);
        ensure!(flushed >= self.done, "the cuts are not in order");
        for entry in &self.entries[self.done..flushed] {
            apply(self.log, &self.disk, entry, entry.sectors)?;
        }
        self.done = flushed;
        command::run("cp", [Path::new("--sparse=always"), Path::new("--reflink=auto"), &self.path, target])?;
        let disk = OpenOptions::new().write(true).open(target)?;
        let open = &self.entries[flushed..cut];
        for entry in open {
            apply(self.log, &disk, entry, survives(entry, fate, random))?;
        }
        Ok(open.iter().filter(|entry| entry.is_write()).count())
    }
}

/// How many entries the last flush among these covers, itself included.
fn last_flush(entries: &[Entry]) -> usize {
    entries.iter().rposition(Entry::is_flush).map_or(0, |at| at + 1)
}

/// How many sectors of an entry are there.
fn survives(entry: &Entry, fate: Fate, random: &mut Random) -> u64 {
    match (fate, random.below(4)) {
        _ if entry.is_durable() => entry.sectors,
        (Fate::Kept, _) | (Fate::Mixed, 0 | 1) => entry.sectors,
        (Fate::Lost, _) | (Fate::Mixed, 2) => 0,
        (Fate::Mixed, _) => random.number() % (entry.sectors + 1),
    }
}

fn apply(log: &File, disk: &File, entry: &Entry, sectors: u64) -> Result<()> {
    if !entry.is_write() || sectors == 0 {
        return Ok(());
    }
    let mut bytes = vec![0; usize::try_from(sectors * SECTOR)?];
    log.read_exact_at(&mut bytes, entry.at).context("cannot read the log")?;
    disk.write_all_at(&bytes, entry.sector * SECTOR).context("cannot write the disk")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::entries;
    use crate::log::tests::written;
    use std::fs;

    /// The first byte of each of four sectors after a cut.
    fn after(cut: usize, fate: Fate) -> Result<[u8; 4]> {
        let folder = tempfile::tempdir()?;
        let (disk, target) = (folder.path().join("disk"), folder.path().join("cut"));
        fs::write(&disk, [0; 2048])?;
        let log = written(&[(0, 0, &[1; 512]), (0, 1, &[]), (1, 0, &[2; 1024]), (3, 2, &[3; 512]), (0, 1, &[]), (0, 0, &[4; 512])])?;
        let entries = entries(&log)?;
        Replay::new(&log, &entries, &disk)?.cut(cut, fate, &mut Random::new(1), &target)?;
        let bytes = fs::read(&target)?;
        Ok([bytes[0], bytes[512], bytes[1024], bytes[1536]])
    }

    #[test]
    fn what_was_flushed_is_there_and_the_rest_as_fate_has_it() -> Result<()> {
        assert_eq!(after(1, Fate::Lost)?, [0, 0, 0, 0]);
        assert_eq!(after(1, Fate::Kept)?, [1, 0, 0, 0]);
        assert_eq!(after(4, Fate::Lost)?, [1, 0, 0, 3], "a durable write needs no flush");
        assert_eq!(after(4, Fate::Kept)?, [1, 2, 2, 3]);
        assert_eq!(after(5, Fate::Lost)?, [1, 2, 2, 3]);
        assert_eq!(after(6, Fate::Kept)?, [4, 2, 2, 3]);
        Ok(())
    }

    #[test]
    fn a_mixed_fate_keeps_loses_and_tears() {
        let (mut random, mut seen) = (Random::new(1), [false; 3]);
        let entry = Entry::wrote(0, 8);
        for _ in 0..100 {
            let sectors = survives(&entry, Fate::Mixed, &mut random);
            seen[if sectors == 0 {
                0
            } else if sectors == 8 {
                1
            } else {
                2
            }] = true;
        }
        assert_eq!(seen, [true; 3]);
    }
}
