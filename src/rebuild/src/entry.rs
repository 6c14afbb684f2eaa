//! One entry of the inner archives, as dpkg writes them: GNU's form, names from `./` on, byte for byte.

use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tar::{Builder, EntryType, Header};

use crate::former::{Kind, Node};
use crate::names::Names;

/// The room for a name in a header.
const NAME: usize = 100;
/// The name of what only carries a longer one.
const LONG: &[u8] = b"././@LongLink";

/// The entries of an inner archive.
pub(crate) struct Entries<'a> {
    builder: Builder<&'a mut dyn Write>,
    names: &'a Names,
}

impl<'a> Entries<'a> {
    /// Begins with none.
    pub(crate) fn begin(out: &'a mut dyn Write, names: &'a Names) -> Self {
        Self { builder: Builder::new(out), names }
    }

    /// Adds something without content.
    pub(crate) fn add(&mut self, path: &Path, node: &Node) -> io::Result<()> {
        let mut header = self.header(node, kind(&node.kind));
        if let Kind::CharDevice(major, minor) | Kind::BlockDevice(major, minor) = node.kind {
            header.set_device_major(major)?;
            header.set_device_minor(minor)?;
        }
        let target: &[u8] = if let Kind::Symlink(target) = &node.kind { target } else { b"" };
        self.append(header, &name(path, &node.kind), target, &mut io::empty())
    }

    /// Adds a file; its content must have the node's size.
    pub(crate) fn file(&mut self, path: &Path, node: &Node, content: &mut dyn Read) -> io::Result<()> {
        let mut header = self.header(node, EntryType::Regular);
        header.set_size(node.size);
        let mut counted = Exactly { from: content.take(node.size), left: node.size };
        self.append(header, &name(path, &node.kind), b"", &mut counted)
    }

    /// Adds one more name of a file that was added.
    pub(crate) fn link(&mut self, path: &Path, node: &Node, first: &Path) -> io::Result<()> {
        let header = self.header(node, EntryType::Link);
        self.append(header, &name(path, &node.kind), &name(first, &node.kind), &mut io::empty())
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.builder.finish()
    }

    fn header(&self, node: &Node, kind: EntryType) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(node.mode);
        header.set_uid(node.uid.into());
        header.set_gid(node.gid.into());
        header.set_mtime(u64::try_from(node.mtime).unwrap_or(0));
        header.set_size(0);
        if let Some(gnu) = header.as_gnu_mut() {
            // A name that has no room is left out: dpkg takes the number then.
            put(&mut gnu.uname, self.names.user(node.uid).unwrap_or_default().as_bytes());
            put(&mut gnu.gname, self.names.group(node.gid).unwrap_or_default().as_bytes());
        }
        header
    }

    fn append(&mut self, mut header: Header, name: &[u8], target: &[u8], content: &mut dyn Read) -> io::Result<()> {
        self.long(EntryType::GNULongName, name)?;
        self.long(EntryType::GNULongLink, target)?;
        if let Some(gnu) = header.as_gnu_mut() {
            put(&mut gnu.name, &name[..name.len().min(NAME)]);
            put(&mut gnu.linkname, &target[..target.len().min(NAME)]);
        }
        header.set_cksum();
        self.builder.append(&header, content)
    }

    fn long(&mut self, kind: EntryType, name: &[u8]) -> io::Result<()> {
        if name.len() <= NAME {
            return Ok(());
        }
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        if let Some(gnu) = header.as_gnu_mut() {
            put(&mut gnu.name, LONG);
        }
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(name.len() as u64 + 1);
        header.set_cksum();
        self.builder.append(&header, name.chain(&b"\0"[..]))
    }
}

/// Fills a field from its beginning; what has no room is not put there.
fn put(field: &mut [u8], bytes: &[u8]) {
    if bytes.len() <= field.len() {
        field[..bytes.len()].copy_from_slice(bytes);
    }
}

fn name(path: &Path, kind: &Kind) -> Vec<u8> {
    let relative = path.strip_prefix("/").unwrap_or(path).as_os_str().as_bytes();
    let end: &[u8] = if *kind == Kind::Directory && !relative.is_empty() { b"/" } else { b"" };
    [b"./", relative, end].concat()
}

const fn kind(kind: &Kind) -> EntryType {
    match kind {
        Kind::Directory => EntryType::Directory,
        Kind::Symlink(_) => EntryType::Symlink,
        Kind::Fifo => EntryType::Fifo,
        Kind::CharDevice(..) => EntryType::Char,
        Kind::BlockDevice(..) => EntryType::Block,
        Kind::File | Kind::Socket => EntryType::Regular,
    }
}

/// Reads so many bytes, or fails: an entry that is shorter than its header says would shift all that follow.
struct Exactly<R> {
    from: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        if count == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than it was"));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::path::PathBuf;

    fn node(kind: Kind, size: u64) -> Node {
        Node { kind, mode: 0o644, uid: 0, gid: 42, size, mtime: 7, family: None }
    }

    #[test]
    fn names_of_any_length_and_bytes_come_through() {
        let (odd, long) = (PathBuf::from(OsStr::from_bytes(b"/a/\xff\n")), PathBuf::from(format!("/{}", "n".repeat(255))));
        let names = Names::parse("root:x:0:", "shadow:x:42:");
        let mut out: Vec<u8> = Vec::new();
        let mut entries = Entries::begin(&mut out, &names);
        entries.add(Path::new("/"), &node(Kind::Directory, 0)).expect("root");
        entries.file(&odd, &node(Kind::File, 3), &mut &b"abc"[..]).expect("file");
        entries.link(&long, &node(Kind::File, 3), &odd).expect("link");
        entries.add(Path::new("/s"), &node(Kind::Symlink(vec![b't'; 200]), 0)).expect("symlink");
        entries.finish().expect("finish");
        let mut archive = tar::Archive::new(out.as_slice());
        let mut seen = Vec::new();
        for entry in archive.entries().expect("entries") {
            let entry = entry.expect("entry");
            assert_eq!((entry.header().groupname(), entry.header().mtime().expect("time")), (Ok(Some("shadow")), 7));
            seen.push((entry.path_bytes().into_owned(), entry.link_name_bytes().map(std::borrow::Cow::into_owned)));
        }
        let long = format!("./{}", "n".repeat(255)).into_bytes();
        let odd = b"./a/\xff\n".to_vec();
        assert_eq!(seen, [(b"./".to_vec(), None), (odd.clone(), None), (long, Some(odd)), (b"./s".to_vec(), Some(vec![b't'; 200]))]);
    }

    #[test]
    fn a_file_that_became_shorter_is_no_entry() {
        let (names, mut out) = (Names::default(), Vec::new());
        let mut entries = Entries::begin(&mut out, &names);
        let added = entries.file(Path::new("/a"), &node(Kind::File, 4), &mut &b"abc"[..]);
        assert_eq!(added.map_err(|error| error.kind()), Err(io::ErrorKind::UnexpectedEof));
    }
}
