//! The content of regular files: copied (by reference where the file system can), hashed, compared.
//!
//! Holes stay holes. A digest is the SHA-256 of the content as it reads, holes as zeros.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;

use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

/// SHA-256 of a content.
pub(crate) type Sum = [u8; 32];

const BLOCK: usize = 128 * 1024;

/// Makes `to` read as `from` does and says the digest. Both are regular; what `to` held is replaced.
pub(crate) fn copy(mut from: &File, mut to: &File) -> io::Result<Sum> {
    to.set_len(0)?;
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return sum(from);
    }
    from.seek(SeekFrom::Start(0))?;
    to.seek(SeekFrom::Start(0))?;
    let mut hasher = Sha256::new();
    let length = each_block(from, |at, data| {
        hasher.update(data.bytes());
        match data {
            Block::Data(bytes) => {
                to.seek(SeekFrom::Start(at))?;
                to.write_all(bytes)
            }
            Block::Zeros(_) => Ok(()),
        }
    })?;
    to.set_len(length)?;
    Ok(hasher.finalize().into())
}

/// The digest of a file's content.
pub(crate) fn sum(mut file: &File) -> io::Result<Sum> {
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = Sha256::new();
    each_block(file, |_, data| {
        hasher.update(data.bytes());
        Ok(())
    })?;
    Ok(hasher.finalize().into())
}

/// Whether two files read the same.
pub(crate) fn same(mut one: &File, mut other: &File) -> io::Result<bool> {
    let length = one.metadata()?.len();
    if length != other.metadata()?.len() {
        return Ok(false);
    }
    one.seek(SeekFrom::Start(0))?;
    other.seek(SeekFrom::Start(0))?;
    let (mut left, mut right) = (buffer(length), buffer(length));
    loop {
        let count = one.read(&mut left)?;
        if count == 0 {
            return Ok(true);
        }
        match other.read_exact(&mut right[..count]) {
            Ok(()) if left[..count] == right[..count] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

static ZEROS: [u8; BLOCK] = [0; BLOCK];

enum Block<'a> {
    Data(&'a [u8]),
    Zeros(usize),
}

impl Block<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Data(bytes) => bytes,
            Self::Zeros(count) => &ZEROS[..*count],
        }
    }
}

fn buffer(length: u64) -> Vec<u8> {
    vec![0; usize::try_from(length).map_or(BLOCK, |length| length.saturating_add(1).min(BLOCK))]
}

/// Walks through a file, data and holes, and says its length.
fn each_block(file: &File, mut take: impl FnMut(u64, Block<'_>) -> io::Result<()>) -> io::Result<u64> {
    let metadata = file.metadata()?;
    let mut buffer = buffer(metadata.len());
    if metadata.blocks().saturating_mul(512) >= metadata.len() {
        return data_until(file, 0, u64::MAX, &mut buffer, &mut take);
    }
    let mut at = 0;
    while at < metadata.len() {
        let Some((start, end)) = next_data(file, at)? else { break };
        zeros_until(at, start, &mut take)?;
        at = data_until(file, start, end, &mut buffer, &mut take)?;
        if at < end {
            return Ok(at);
        }
    }
    zeros_until(at, metadata.len(), &mut take)?;
    Ok(metadata.len().max(at))
}

fn next_data(file: &File, at: u64) -> io::Result<Option<(u64, u64)>> {
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
        Ok(start) => Ok(Some((start, rustix::fs::seek(file, rustix::fs::SeekFrom::Hole(start))?))),
        Err(Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn data_until(
    mut file: &File,
    start: u64,
    end: u64,
    buffer: &mut [u8],
    take: &mut impl FnMut(u64, Block<'_>) -> io::Result<()>,
) -> io::Result<u64> {
    file.seek(SeekFrom::Start(start))?;
    let mut at = start;
    while at < end {
        let most = usize::try_from(end - at).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = file.read(&mut buffer[..most])?;
        if count == 0 {
            break;
        }
        take(at, Block::Data(&buffer[..count]))?;
        at += count as u64;
    }
    Ok(at)
}

fn zeros_until(mut at: u64, end: u64, take: &mut impl FnMut(u64, Block<'_>) -> io::Result<()>) -> io::Result<()> {
    while at < end {
        let count = usize::try_from(end - at).map_or(BLOCK, |left| left.min(BLOCK));
        take(at, Block::Zeros(count))?;
        at += count as u64;
    }
    Ok(())
}
