//! What the archive brings: each path of the package's list as the package shipped it, as far as that is known.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use backstep_apt::lists::{self, StatOverride};
use md5::{Digest, Md5};

use crate::conffiles::Conffiles;
use crate::database::{Database, Package};
use crate::entry::Entries;
use crate::error::{Of, RebuildError, Result};
use crate::former::{Former, Kind, Node};

/// One path of the archive.
#[derive(Debug)]
pub(crate) struct Piece {
    /// As the package names it.
    pub(crate) path: PathBuf,
    /// As the package shipped it.
    pub(crate) node: Node,
    /// Where its content lay.
    pub(crate) from: PathBuf,
    /// The MD5 that the package claims for its content.
    pub(crate) sum: Option<String>,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Payload {
    /// In the order of the list: a folder before what it holds.
    pub(crate) pieces: Vec<Piece>,
    /// Listed and not there, or nothing that an archive can hold.
    pub(crate) missing: Vec<PathBuf>,
}

impl Payload {
    /// Looks at every path of a package.
    pub(crate) fn look(database: &Database<'_>, package: &Package, conffiles: &mut Conffiles) -> Result<Self> {
        let sums: HashMap<PathBuf, String> = lists::md5sums(&database.member(package, "md5sums")?).into_iter().collect();
        let folders: HashSet<&Path> = package.list.iter().filter_map(|path| path.parent()).collect();
        let mut ready: HashMap<PathBuf, Piece> = conffiles.pieces.drain(..).map(|piece| (piece.path.clone(), piece)).collect();
        let mut payload = Self::default();
        for path in &package.list {
            if conffiles.all.contains(path) {
                payload.pieces.extend(ready.remove(path));
                continue;
            }
            let from = database.place(path, package).to_path_buf();
            let found = database.former.look(&from).of(&from)?.filter(|node| node.kind != Kind::Socket);
            match found.map(|node| shipped(node, path, &folders, &database.overrides)) {
                Some(node) => payload.pieces.push(Piece { path: path.clone(), node, from, sum: sums.get(path).cloned() }),
                None => payload.missing.push(path.clone()),
            }
        }
        Ok(payload)
    }

    /// What its files take together, in bytes; hard links count each.
    pub(crate) fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.node.size).sum()
    }

    /// Writes them; answers the files whose content is not what the package claims.
    pub(crate) fn write(&self, former: &dyn Former, mut entries: Entries<'_>) -> Result<Vec<PathBuf>> {
        let (mut altered, mut families) = (Vec::new(), HashMap::<_, PathBuf>::new());
        for piece in &self.pieces {
            if piece.node.kind != Kind::File {
                entries.add(&piece.path, &piece.node).map_err(RebuildError::Write)?;
            } else if let Some(first) = piece.node.family.and_then(|family| families.get(&family)) {
                entries.link(&piece.path, &piece.node, first).map_err(RebuildError::Write)?;
            } else {
                altered.extend(piece.write(former, &mut entries)?.then(|| piece.path.clone()));
                families.extend(piece.node.family.map(|family| (family, piece.path.clone())));
            }
        }
        entries.finish().map_err(RebuildError::Write)?;
        Ok(altered)
    }
}

impl Piece {
    /// Answers whether the content is another than the package claims.
    fn write(&self, former: &dyn Former, entries: &mut Entries<'_>) -> Result<bool> {
        let mut content = Summed { from: former.open(&self.from).of(&self.from)?, sum: Md5::new() };
        entries.file(&self.path, &self.node, &mut content).of(&self.from)?;
        let sum = hex(content.sum);
        Ok(self.sum.as_ref().is_some_and(|claimed| *claimed != sum))
    }
}

/// A path as the package shipped it. A link with the package's own paths behind it stands for a folder: dpkg keeps a
/// link to one where it is.
fn shipped(mut node: Node, path: &Path, folders: &HashSet<&Path>, overrides: &[StatOverride]) -> Node {
    let stands_for_folder = matches!(node.kind, Kind::Symlink(_)) && folders.contains(path);
    if stands_for_folder {
        node = Node { kind: Kind::Directory, size: 0, ..node };
    }
    if stands_for_folder || overrides.iter().any(|one| one.path == path) {
        (node.uid, node.gid, node.mode) = (0, 0, plain_mode(&node));
    }
    node
}

/// The mode that nearly everything is shipped with. dpkg puts the administrator's in its place while it is on record.
const fn plain_mode(node: &Node) -> u32 {
    match node.kind {
        Kind::Directory => 0o755,
        Kind::Symlink(_) => 0o777,
        Kind::File | Kind::Fifo | Kind::CharDevice(..) | Kind::BlockDevice(..) | Kind::Socket if node.mode & 0o111 != 0 => 0o755,
        Kind::File | Kind::Fifo | Kind::CharDevice(..) | Kind::BlockDevice(..) | Kind::Socket => 0o644,
    }
}

/// Hashes everything that is read from it.
struct Summed<R> {
    from: R,
    sum: Md5,
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.sum.update(&buffer[..count]);
        Ok(count)
    }
}

/// The MD5 of a file, in hexadecimal.
pub(crate) fn md5_of(former: &dyn Former, path: &Path) -> io::Result<String> {
    let mut content = Summed { from: former.open(path)?, sum: Md5::new() };
    io::copy(&mut content, &mut io::sink())?;
    Ok(hex(content.sum))
}

fn hex(sum: Md5) -> String {
    sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
