//! The system that lies below a folder, as it is now.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use backstep_rebuild::{Former, Kind, Node};

/// How many links are followed on one way.
const MOST_LINKS: u32 = 40;

/// The system below a folder; nobody but its owner may change it meanwhile.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// The system below `root`.
    #[must_use]
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    /// Where a path lies: its parents' links are followed as if the folder were the root.
    fn place(&self, path: &Path) -> io::Result<PathBuf> {
        let mut ahead: VecDeque<OsString> = names(path).collect();
        let (mut at, mut links) = (PathBuf::new(), 0);
        while let Some(name) = ahead.pop_front() {
            if name == ".." {
                at.pop();
                continue;
            }
            let next = at.join(&name);
            match fs::read_link(self.root.join(&next)) {
                Ok(target) if !ahead.is_empty() => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(io::Error::other("too many links lead there"));
                    }
                    if target.is_absolute() {
                        at.clear();
                    }
                    names(&target).collect::<Vec<_>>().into_iter().rev().for_each(|name| ahead.push_front(name));
                }
                Ok(_) | Err(_) => at = next,
            }
        }
        Ok(self.root.join(at))
    }
}

/// The names on the way, without the root and dots.
fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir)).map(|part| part.as_os_str().to_owned())
}

impl Former for Tree {
    fn look(&self, path: &Path) -> io::Result<Option<Node>> {
        let place = self.place(path)?;
        match fs::symlink_metadata(&place) {
            Ok(meta) => node(&place, &meta).map(Some),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + '_>> {
        File::open(self.place(path)?).map(|file| Box::new(file) as Box<dyn Read>)
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(self.place(&folder.join("."))?)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
    }
}

fn node(place: &Path, meta: &Metadata) -> io::Result<Node> {
    let family = (meta.is_file() && meta.nlink() > 1).then(|| (meta.dev(), meta.ino()));
    let (mode, uid, gid) = (meta.mode() & 0o7777, meta.uid(), meta.gid());
    Ok(Node { kind: kind(place, meta)?, mode, uid, gid, size: meta.len(), mtime: meta.mtime(), family })
}

fn kind(place: &Path, meta: &Metadata) -> io::Result<Kind> {
    let kind = meta.file_type();
    let (major, minor) = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
    Ok(if kind.is_file() {
        Kind::File
    } else if kind.is_dir() {
        Kind::Directory
    } else if kind.is_symlink() {
        Kind::Symlink(fs::read_link(place)?.into_os_string().into_vec())
    } else if kind.is_fifo() {
        Kind::Fifo
    } else if kind.is_char_device() {
        Kind::CharDevice(major, minor)
    } else if kind.is_block_device() {
        Kind::BlockDevice(major, minor)
    } else {
        Kind::Socket
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_on_the_way_lead_nowhere_else() {
        let folder = tempfile::tempdir().expect("folder");
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("usr/lib")).expect("folders");
        fs::write(root.join("usr/lib/a"), "inside").expect("file");
        fs::write(folder.path().join("a"), "outside").expect("file");
        symlink("usr/lib", root.join("lib")).expect("link");
        symlink("/usr", root.join("all")).expect("link");
        symlink("../../..", root.join("usr/up")).expect("link");
        symlink("loop", root.join("loop")).expect("link");
        let tree = Tree::new(&root);
        let text = |path: &str| io::read_to_string(tree.open(Path::new(path)).expect("open")).expect("read");
        for path in ["/lib/a", "/all/lib/a", "/usr/up/lib/a", "/lib/../lib/a"] {
            assert_eq!(text(path), "inside", "{path}");
        }
        let kind = |path: &str| tree.look(Path::new(path)).expect("look").map(|node| node.kind);
        assert_eq!(kind("/lib"), Some(Kind::Symlink(b"usr/lib".to_vec())));
        assert_eq!((kind("/lib/b"), kind("/lib/a/b"), kind("/usr/up/a")), (None, None, None));
        assert!(tree.look(Path::new("/loop/a")).is_err());
        assert_eq!(tree.names(Path::new("/lib")).expect("names"), ["a"]);
    }
}
