//! Packages made again from what they were on a system, when no archive of them is left.
//!
//! What dpkg knows of a package and what lay at its paths becomes an archive that dpkg takes for the same version. Where
//! the system differs from what the package shipped, the archive is made as it was shipped, as far as that is known:
//!
//! | on the system | in the archive |
//! |---|---|
//! | an edited configuration file | its pristine content, found by the MD5 that dpkg keeps; else as [`Edited`] says |
//! | a file that is diverted | at the package's own path |
//! | an owner and a mode by `dpkg-statoverride` | root's, 0755 for folders and programs, else 0644: what was shipped is on no record |
//! | a link where the package has a folder (merged `/usr`, or somebody's own) | a folder |
//! | several names of one file | hard links |
//! | a listed path that is not there | nothing |
//!
//! Invariants: the version, the dependencies and the scripts are the package's own; the control file says that the archive
//! was rebuilt and from which transaction ([`MARK`]), and dpkg keeps that as long as the package is installed; the
//! same material gives the same bytes; nothing is compressed, as the archive is used once, on this machine.
//!
//! Absent on purpose: running a program (`dpkg-deb` would need a copy of the whole tree, with its owners); extended
//! attributes, which archives of Debian have not: scripts set them; where the material comes from ([`Former`]).

#![cfg_attr(test, allow(clippy::disallowed_methods))]

mod conffiles;
mod container;
mod control;
mod database;
mod entry;
mod error;
mod former;
mod names;
mod payload;
mod rebuilder;

pub use conffiles::Edited;
pub use control::MARK;
pub use error::RebuildError;
pub use former::{Former, Kind, Node};
pub use rebuilder::{Rebuilder, Rebuilt, Wanted};
