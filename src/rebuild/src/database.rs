//! What dpkg knew of a package: its stanza, its list, its scripts and the other members of its control archive.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use backstep_apt::lists::{self, Diversion, StatOverride};
use backstep_apt::status::{Conffile, State, Status};
use backstep_core::{PackageId, Version};

use crate::error::{Of, RebuildError, Result};
use crate::former::{Former, bytes};
use crate::names::Names;

const ADMIN: &str = "/var/lib/dpkg";
/// What dpkg makes itself in its folder for a package; the rest comes from the archive.
const OWN: [&str; 1] = ["list"];

/// dpkg's database at that moment.
pub(crate) struct Database<'f> {
    pub(crate) former: &'f dyn Former,
    pub(crate) diversions: Vec<Diversion>,
    pub(crate) overrides: Vec<StatOverride>,
    pub(crate) names: Names,
    status: Vec<u8>,
    /// The names in the folder `info`.
    info: Vec<String>,
}

/// A package as dpkg knew it.
pub(crate) struct Package {
    pub(crate) id: PackageId,
    /// The lines of its stanza.
    pub(crate) stanza: Vec<Vec<u8>>,
    /// Its configuration files as dpkg keeps them, older versions' among them.
    pub(crate) conffiles: Vec<Conffile>,
    /// Its paths, in the order of its archive.
    pub(crate) list: Vec<PathBuf>,
    /// Where its list lies.
    pub(crate) list_path: PathBuf,
    /// Members of its control archive, and where they lie.
    pub(crate) members: BTreeMap<String, PathBuf>,
}

impl<'f> Database<'f> {
    /// Reads it.
    pub(crate) fn read(former: &'f dyn Former) -> Result<Self> {
        let admin = Path::new(ADMIN);
        let raw = |path: &Path| bytes(former, path).of(path);
        let text = |path: &Path| raw(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let info = admin.join("info");
        let names = former.names(&info).of(&info)?;
        Ok(Self {
            former,
            diversions: lists::diversions(&text(&admin.join("diversions"))?),
            overrides: lists::stat_overrides(&text(&admin.join("statoverride"))?),
            names: Names::parse(&text(Path::new("/etc/passwd"))?, &text(Path::new("/etc/group"))?),
            status: raw(&admin.join("status"))?,
            info: names.into_iter().filter_map(|name| name.into_string().ok()).collect(),
        })
    }

    /// A version of a package, if it was unpacked then.
    pub(crate) fn package(&self, id: &PackageId, version: &Version) -> Result<Package> {
        let unknown = || RebuildError::Unknown { package: id.clone(), version: version.clone() };
        let stanza = self.stanza(id).ok_or_else(unknown)?;
        let known = Status::parse(&stanza.join(&b'\n')).map_err(|_| unknown())?;
        let entry = known.get(id).filter(|entry| is_unpacked(entry.state) && entry.version.as_ref() == Some(version));
        let conffiles = entry.ok_or_else(unknown)?.conffiles.clone();
        let files = self.files(id);
        let list_path = files.get("list").cloned().ok_or_else(unknown)?;
        let list = lists::file_list(&bytes(self.former, &list_path).of(&list_path)?);
        let members = files.into_iter().filter(|(member, _)| !OWN.contains(&member.as_str())).collect();
        Ok(Package { id: id.clone(), stanza, conffiles, list, list_path, members })
    }

    fn stanza(&self, id: &PackageId) -> Option<Vec<Vec<u8>>> {
        let lines: Vec<&[u8]> = self.status.split(|byte| *byte == b'\n').collect();
        let (name, arch) = (format!("Package: {}", id.name), format!("Architecture: {}", id.arch));
        let mut stanzas = lines.split(|line| line.is_empty());
        let found = stanzas.find(|stanza| stanza.contains(&name.as_bytes()) && stanza.contains(&arch.as_bytes()))?;
        Some(found.iter().map(|line| line.to_vec()).collect())
    }

    /// Everything in the folder `info` that is a package's, by what stands behind the last dot. A package that may be
    /// installed for several architectures has its architecture in the names.
    fn files(&self, id: &PackageId) -> BTreeMap<String, PathBuf> {
        let of = |owner: &str| owner == id.name.as_str() || owner == id.to_string();
        let one = |name: &String| {
            let (owner, member) = name.rsplit_once('.')?;
            of(owner).then(|| (member.to_owned(), Path::new(ADMIN).join("info").join(name)))
        };
        self.info.iter().filter_map(one).collect()
    }

    /// Where a package's path lies: elsewhere if it is diverted, and not by the package itself.
    pub(crate) fn place<'p>(&'p self, path: &'p Path, package: &Package) -> &'p Path {
        let concerns = |diversion: &&Diversion| diversion.from == path && diversion.package.as_deref() != Some(package.id.name.as_str());
        self.diversions.iter().find(concerns).map_or(path, |diversion| &diversion.to)
    }

    /// A text of a package's control archive; empty if it has none.
    pub(crate) fn member(&self, package: &Package, member: &str) -> Result<String> {
        let Some(path) = package.members.get(member) else { return Ok(String::new()) };
        let read: io::Result<Vec<u8>> = bytes(self.former, path);
        read.of(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}

const fn is_unpacked(state: State) -> bool {
    match state {
        State::Unpacked | State::HalfConfigured | State::TriggersAwaited | State::TriggersPending | State::Installed => true,
        State::NotInstalled | State::ConfigFiles | State::HalfInstalled => false,
    }
}
