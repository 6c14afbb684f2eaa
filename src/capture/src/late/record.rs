//! One record of the late log: a line of text like the manifest's.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::manifest::{Entry, Inode, Listing, Present, Renaming, entry, field, object, push_entry, push_object, unescape};
use crate::node::Time;

/// What the log tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// One more store, by its mount point; they are numbered on from the manifest's.
    Store(PathBuf),
    /// A path inside a tree that is left alone.
    Excluded(PathBuf),
    /// What was at a path. The first for a path counts.
    Path(Entry),
    /// Every name that was in a known directory is known by now.
    Closed(PathBuf),
    /// An inode was about to be changed in place.
    Inode(Inode),
    /// A directory was about to be renamed.
    Renaming(Renaming),
}

/// As a line without its end.
pub(crate) fn encode(record: &Record) -> String {
    let mut line = String::with_capacity(256);
    match record {
        Record::Store(point) => marked(&mut line, 'S', point),
        Record::Excluded(path) => marked(&mut line, 'X', path),
        Record::Closed(path) => marked(&mut line, 'L', path),
        Record::Path(entry) => push_entry(&mut line, entry),
        Record::Inode(inode) => push_inode(&mut line, inode),
        Record::Renaming(renaming) => {
            marked(&mut line, 'R', &renaming.from);
            field(&mut line, renaming.to.as_os_str().as_bytes());
            line.push_str(&format!("\t{}\t{}.{}", renaming.ino, renaming.btime.0, renaming.btime.1));
        }
    }
    line
}

fn marked(line: &mut String, mark: char, path: &Path) {
    line.push(mark);
    field(line, path.as_os_str().as_bytes());
}

/// The link, then a nameless entry with the copy.
fn push_inode(line: &mut String, inode: &Inode) {
    line.push_str("I\t");
    push_object(line, inode.link);
    line.push('\t');
    let (object, digest) = inode.copy.map_or((None, None), |(object, sum)| (Some(object), Some(sum)));
    let present = Some(Present { meta: inode.meta.clone(), listing: Listing::Open, digest, object });
    push_entry(line, &Entry { path: PathBuf::new(), present });
}

/// The inverse of [`encode`]; none when it is not what that writes.
pub(crate) fn decode(line: &str) -> Option<Record> {
    let (mark, rest) = line.split_once('\t')?;
    Some(match mark {
        "S" => Record::Store(path(rest)?),
        "X" => Record::Excluded(path(rest)?),
        "L" => Record::Closed(path(rest)?),
        "I" => Record::Inode(inode(rest)?),
        "R" => Record::Renaming(renaming(rest)?),
        _ => Record::Path(entry(line)?),
    })
}

fn path(text: &str) -> Option<PathBuf> {
    Some(PathBuf::from(OsString::from_vec(unescape(text)?)))
}

fn inode(text: &str) -> Option<Inode> {
    let (link, line) = text.split_once('\t')?;
    let present = entry(line)?.present?;
    Some(Inode { link: object(link)?, copy: present.object.zip(present.digest), meta: present.meta })
}

fn renaming(text: &str) -> Option<Renaming> {
    let mut fields = text.split('\t');
    let (from, to) = (path(fields.next()?)?, path(fields.next()?)?);
    let ino = fields.next()?.parse().ok()?;
    let (seconds, nanos) = fields.next()?.split_once('.')?;
    let btime = Time(seconds.parse().ok()?, nanos.parse().ok()?);
    fields.next().is_none().then_some(Renaming { from, to, ino, btime })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::manifest::{How, Object};
    use crate::node::{Kind, Meta};

    pub(crate) fn samples() -> Vec<Record> {
        let odd = || PathBuf::from(OsString::from_vec(b"a/\xff\t\n%".to_vec()));
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
            target: Vec::new(),
            xattrs: vec![(b"user.a=,".to_vec(), vec![0, 10, 255])],
        };
        let link = Object { how: How::Linked, store: 1, number: 24_000 };
        let copy = Object { how: How::Copied, store: 0, number: 25_000 };
        let present = Present { meta: meta.clone(), listing: Listing::Linked, digest: None, object: Some(link) };
        vec![
            Record::Store("/boot".into()),
            Record::Excluded(odd()),
            Record::Closed(odd()),
            Record::Path(Entry { path: odd(), present: None }),
            Record::Path(Entry { path: odd(), present: Some(present) }),
            Record::Inode(Inode { link, copy: None, meta: meta.clone() }),
            Record::Inode(Inode { link, copy: Some((copy, [7; 32])), meta }),
            Record::Renaming(Renaming { from: odd(), to: "b".into(), ino: 7, btime: Time(8, 9) }),
        ]
    }

    #[test]
    fn every_record_survives() {
        for record in samples() {
            assert_eq!(decode(&encode(&record)), Some(record));
        }
        for bad in ["", "S", "I\tL0:1", "R\ta\tb\t1\t2", "R\ta\tb\t1\t2.3\tx", "?\ta"] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }
}
