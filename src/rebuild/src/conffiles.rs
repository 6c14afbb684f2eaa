//! Configuration files as the package shipped them, whatever people made of them.
//!
//! Invariant: a content is called pristine only if it has the MD5 that dpkg keeps for the file.

use std::collections::HashSet;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use backstep_apt::lists;

use crate::database::{Database, Package};
use crate::error::{Of, Result};
use crate::former::{Former, Kind, Node};
use crate::payload::{Piece, md5_of};

/// The names beside a configuration file under which dpkg and ucf keep what a package shipped.
const BESIDE: [&str; 6] = [".dpkg-dist", ".dpkg-new", ".dpkg-old", ".ucf-dist", ".ucf-new", ".ucf-old"];
/// Where ucf keeps them, with colons for slashes.
const UCF: &str = "/var/lib/ucf/cache";
/// How many links lead to a configuration file at most.
const MOST_LINKS: usize = 8;

/// What becomes of a configuration file that was edited, when nothing holds its pristine content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edited {
    /// The archive has it as it was found, and says so: right where the file would be gone otherwise. dpkg takes the
    /// edited content for the package's own then.
    AsFound,
    /// The archive is without it: right where the file is still there, as dpkg then leaves it alone and knows it as
    /// edited.
    LeftOut,
}

/// What became of the configuration files.
#[derive(Debug, Default)]
pub(crate) struct Conffiles {
    /// Those that are pristine, or as they were found.
    pub(crate) pieces: Vec<Piece>,
    /// Those that are as they were found.
    pub(crate) edited: Vec<PathBuf>,
    /// Those of which the archive is without.
    pub(crate) left_out: Vec<PathBuf>,
    /// Every path of which dpkg says that it is a configuration file, older versions' among them.
    pub(crate) all: HashSet<PathBuf>,
}

impl Conffiles {
    /// Looks for all of a package.
    pub(crate) fn find(database: &Database<'_>, package: &Package, decide: &dyn Fn(&Path) -> Edited) -> Result<Self> {
        let shipped = shipped(&database.member(package, "conffiles")?);
        let sums = lists::md5sums(&database.member(package, "md5sums")?);
        let known = package.conffiles.iter().map(|conffile| PathBuf::from(&conffile.path));
        let mut found = Self { all: shipped.iter().cloned().chain(known).collect(), ..Self::default() };
        for path in shipped {
            let sum = package.conffiles.iter().find(|conffile| Path::new(&conffile.path) == path).map(|conffile| conffile.md5.as_str());
            let elsewhere = sums.iter().filter(|(_, other)| Some(other.as_str()) == sum).map(|(path, _)| path.as_path());
            let candidates = candidates(database.place(&path, package), elsewhere);
            found.add(database.former, path, (sum, &candidates), decide)?;
        }
        Ok(found)
    }

    fn add(
        &mut self,
        former: &dyn Former,
        path: PathBuf,
        (sum, candidates): (Option<&str>, &[PathBuf]),
        decide: &dyn Fn(&Path) -> Edited,
    ) -> Result<()> {
        for candidate in candidates {
            if let Some((from, node)) = file(former, candidate).of(candidate)?
                && Some(md5_of(former, &from).of(&from)?.as_str()) == sum
            {
                self.pieces.push(piece(path, node, from));
                return Ok(());
            }
        }
        let found = file(former, &candidates[0]).of(&candidates[0])?;
        match found.filter(|_| decide(&path) == Edited::AsFound) {
            Some((from, node)) => {
                self.edited.push(path.clone());
                self.pieces.push(piece(path, node, from));
            }
            None => self.left_out.push(path),
        }
        Ok(())
    }
}

/// What the package ships: of a file that it only wants removed there is nothing.
fn shipped(member: &str) -> Vec<PathBuf> {
    let lines: Vec<&str> = member.lines().filter(|line| !line.starts_with("remove-on-upgrade ")).collect();
    lists::conffiles(&lines.join("\n"))
}

/// Where the pristine content may lie; first the file itself.
fn candidates<'a>(place: &Path, elsewhere: impl Iterator<Item = &'a Path>) -> Vec<PathBuf> {
    let beside = BESIDE.iter().map(|ending| {
        let mut name = place.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    });
    let colons = place.as_os_str().as_bytes().iter().map(|byte| if *byte == b'/' { b':' } else { *byte }).collect();
    let cached = Path::new(UCF).join(std::ffi::OsString::from_vec(colons));
    [place.to_path_buf()].into_iter().chain(beside).chain([cached]).chain(elsewhere.map(Path::to_path_buf)).collect()
}

/// A file, through the links that people put in its place.
fn file(former: &dyn Former, path: &Path) -> io::Result<Option<(PathBuf, Node)>> {
    let mut at = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        let Some(node) = former.look(&at)? else { return Ok(None) };
        match &node.kind {
            Kind::File => return Ok(Some((at, node))),
            Kind::Symlink(target) => {
                let target = PathBuf::from(std::ffi::OsStr::from_bytes(target));
                at = at.parent().unwrap_or(Path::new("/")).join(target);
            }
            Kind::Directory | Kind::Fifo | Kind::CharDevice(..) | Kind::BlockDevice(..) | Kind::Socket => return Ok(None),
        }
    }
    Ok(None)
}

fn piece(path: PathBuf, node: Node, from: PathBuf) -> Piece {
    // dpkg gives each of them a file of its own.
    Piece { path, node: Node { family: None, ..node }, from, sum: None }
}
