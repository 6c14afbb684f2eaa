//! The plan's rows, from libapt's marks.

use std::collections::HashMap;
use std::path::Path;

use backstep_apt::quality;
use backstep_apt::status::State;
use backstep_core::{Archive, ArchiveSource, ErrorCode, Failure, Kind, PackageId, PlanAction, PlanItem, Reason};
use rust_apt::{Cache, Package, Version};

use crate::Outcome;
use crate::configuration::Configuration;
use crate::intent::Intent;
use crate::local::LocalArchives;
use crate::snapshot::Snapshot;

/// What is said of an archive that no repository ever had.
const REBUILT: &str = "rebuilt from undo material";

/// The installed packages' automatic marks before anything was marked, by libapt's number.
pub(crate) struct AutoMarks {
    before: HashMap<usize, (PackageId, bool)>,
}

impl AutoMarks {
    /// Reads them; must run before the first mark.
    pub(crate) fn read(cache: &Cache, snapshot: &Snapshot) -> Self {
        let installed = snapshot.status.iter().filter(|(_, entry)| entry.state != State::ConfigFiles && entry.state != State::NotInstalled);
        let before = installed
            .filter_map(|(id, _)| find(cache, id).map(|package| (package.index(), (id.clone(), package.is_auto_installed()))))
            .collect();
        Self { before }
    }

    fn of(&self, package: &Package<'_>) -> bool {
        self.before.get(&package.index()).is_some_and(|(_, auto)| *auto)
    }
}

/// A package by the identity that dpkg gives it: `all` is filed under the native architecture.
pub(crate) fn find<'c>(cache: &'c Cache, id: &PackageId) -> Option<Package<'c>> {
    match id.arch.as_str() {
        "all" => cache.get(id.name.as_str()),
        arch => cache.get(&format!("{}:{arch}", id.name)),
    }
}

/// Everything the rows are made of.
pub(crate) struct Rows<'r, 'c> {
    pub(crate) cache: &'c Cache,
    pub(crate) configuration: &'r Configuration,
    pub(crate) snapshot: &'r Snapshot,
    pub(crate) local: &'r LocalArchives,
    pub(crate) auto: &'r AutoMarks,
    pub(crate) kind: Kind,
    pub(crate) intent: &'r Intent,
    pub(crate) unused: &'r [usize],
}

impl<'c> Rows<'_, 'c> {
    /// The rows of the packages that are marked, in the order of their records: apt's lists may be compressed, and
    /// going back in one means to read it again from its beginning.
    pub(crate) fn items(&self, packages: &[Package<'c>]) -> Outcome<Vec<PlanItem>> {
        let record = |package: &&Package<'c>| {
            let offers = package.install_version().and_then(|version| version.version_files().find(|f| f.package_file().is_downloadable()));
            offers.map_or((0, 0), |file| (file.package_file().index(), file.index()))
        };
        let mut ordered: Vec<&Package<'c>> = packages.iter().collect();
        ordered.sort_by_cached_key(record);
        ordered.into_iter().filter_map(|package| self.item(package).transpose()).collect()
    }

    /// Marks of packages that stay as they are otherwise.
    pub(crate) fn marks(&self, items: &[PlanItem]) -> Outcome<Vec<(PackageId, bool)>> {
        let untouched = |id: &PackageId| !items.iter().any(|item| item.package.name == id.name && same_place(&item.package, id));
        let now = |id: &PackageId| find(self.cache, id).map(|package| package.is_auto_installed());
        let changed = self.auto.before.values().filter_map(|(id, before)| Some((id.clone(), now(id)?)).filter(|(_, now)| now != before));
        Ok(changed.filter(|(id, _)| untouched(id)).collect())
    }

    /// Bytes that are not in apt's folder already.
    pub(crate) fn download_bytes(&self, items: &[PlanItem]) -> u64 {
        let folder = self.configuration.archives();
        let missing = |archive: &&Archive| archive.source == ArchiveSource::Repository && !is_complete(&folder, archive);
        items.iter().filter_map(|item| item.archive.as_ref()).filter(missing).map(|archive| archive.size).sum()
    }

    fn item(&self, package: &Package<'c>) -> Outcome<Option<PlanItem>> {
        let installed = package.installed();
        let target = package.install_version();
        let Some(action) = action(package, installed.as_ref(), target.as_ref()) else { return Ok(None) };
        let to = target.as_ref().filter(|_| action.needs_archive());
        let id = self.identity(package, to.or(installed.as_ref()))?;
        let leftovers = self.snapshot.status.get(&id);
        let from = match &installed {
            Some(now) => Some(parse(now.version())?),
            None if action == PlanAction::Purge => leftovers.and_then(|entry| entry.version.clone()),
            None => None,
        };
        let size = |version: Option<&Version<'_>>| version.map_or(0, |v| i64::try_from(v.installed_size()).unwrap_or(i64::MAX));
        Ok(Some(PlanItem {
            action,
            reason: self.reason(package, action),
            to: to.map(|version| parse(version.version())).transpose()?,
            archive: to.map(|version| self.archive(version)).transpose()?,
            installed_delta: size(to).saturating_sub(size(installed.as_ref())),
            auto_before: self.auto.of(package),
            auto_after: to.is_some() && package.is_auto_installed(),
            essential: installed.is_some() && (package.is_essential() || leftovers.is_some_and(|entry| entry.essential || entry.protected)),
            leftovers: installed.is_none() && self.has_leftovers(&id),
            undo: quality::judge(&id, action, installed.is_some(), &self.configuration.admin()),
            from,
            package: id,
        }))
    }

    /// Whether an earlier removal left configuration files, under whichever architecture.
    fn has_leftovers(&self, id: &PackageId) -> bool {
        let mut known = self.snapshot.status.named(id.name.as_str());
        known.any(|(known, entry)| entry.state == State::ConfigFiles && same_place(id, known))
    }

    /// Name and architecture of the version; of what dpkg still knows when only configuration files are left.
    fn identity(&self, package: &Package<'_>, version: Option<&Version<'_>>) -> Outcome<PackageId> {
        let name = parse(package.name())?;
        let known = |arch: &str| arch == package.arch() || (arch == "all" && package.arch() == self.snapshot.native.as_str());
        let leftovers = || self.snapshot.status.named(package.name()).map(|(id, _)| id.arch.clone()).find(|arch| known(arch.as_str()));
        match version {
            Some(version) => Ok(PackageId { name, arch: parse(version.arch())? }),
            None => Ok(PackageId { name, arch: leftovers().map_or_else(|| parse(package.arch()), Ok)? }),
        }
    }

    fn reason(&self, package: &Package<'_>, action: PlanAction) -> Reason {
        let goes = matches!(action, PlanAction::Remove | PlanAction::Purge);
        match self.kind {
            Kind::Rollback => Reason::Reverted,
            _ if self.intent.requested.contains(&package.index()) => Reason::Requested,
            _ if self.unused.contains(&package.index()) => Reason::Unused,
            _ if goes => Reason::Conflict,
            Kind::Upgrade | Kind::FullUpgrade if action != PlanAction::Install => Reason::Upgrade,
            _ => Reason::Dependency,
        }
    }

    /// The archive of a version: one that was handed over, else the first trusted source's, else any source's.
    fn archive(&self, version: &Version<'c>) -> Outcome<Archive> {
        let file_name = file_name(version.parent().name(), version.version(), version.arch());
        if let Some(local) = self.local.files.iter().find(|file| is_of(self.cache, version, &file.path)) {
            let (source, sha256, size) = (local.source, local.sha256, local.size);
            let origin = if source == ArchiveSource::Rebuilt { REBUILT } else { "" }.to_owned();
            return Ok(Archive { source, origin, file_name, size, sha256, trusted: false });
        }
        let none = || Failure::new(ErrorCode::FetchFailed, format!("no source offers {} {}", version.parent().name(), version.version()));
        let mut offers: Vec<_> = version.version_files().filter(|file| file.package_file().is_downloadable()).collect();
        offers.sort_by_key(|file| !file.package_file().index_file().is_trusted());
        let offer = offers.first().ok_or_else(none)?;
        let source = offer.package_file();
        let sha256 = offer.lookup().hash_find("sha256".to_owned()).and_then(|text| text.parse().ok());
        let unhashed =
            || Failure::new(ErrorCode::TrustUnsigned, format!("the source of {} gives no SHA-256 for it", version.parent().name()));
        Ok(Archive {
            source: ArchiveSource::Repository,
            origin: origin(&source),
            file_name,
            size: version.size(),
            sha256: sha256.ok_or_else(unhashed)?,
            trusted: source.index_file().is_trusted(),
        })
    }
}

/// Whether the archive at this path is one of this version.
pub(crate) fn is_of(cache: &Cache, version: &Version<'_>, path: &str) -> bool {
    cache.get(path).is_some_and(|pseudo| pseudo.provides().any(|provider| provider.version().index() == version.index()))
}

/// One package under two architectures' names when a change of version moves it to or from `all`.
fn same_place(left: &PackageId, right: &PackageId) -> bool {
    left.arch == right.arch || left.arch.as_str() == "all" || right.arch.as_str() == "all"
}

fn action<'c>(package: &Package<'_>, installed: Option<&Version<'c>>, target: Option<&Version<'c>>) -> Option<PlanAction> {
    if package.marked_delete() {
        return match (package.marked_purge(), installed) {
            (true, _) => Some(PlanAction::Purge),
            (false, Some(_)) => Some(PlanAction::Remove),
            (false, None) => None,
        };
    }
    if !package.marked_install() && !package.marked_reinstall() {
        return None;
    }
    match (installed, target) {
        (None, _) => Some(PlanAction::Install),
        (Some(now), Some(next)) if next > now => Some(PlanAction::Upgrade),
        (Some(now), Some(next)) if next < now => Some(PlanAction::Downgrade),
        (Some(_), _) => Some(PlanAction::Reinstall),
    }
}

/// `Debian:12/stable`: origin, release and suite as far as the source says them.
fn origin(source: &rust_apt::PackageFile<'_>) -> String {
    let origin = source.origin().or_else(|| source.site()).unwrap_or_default();
    match source.archive().or_else(|| source.codename()) {
        Some(suite) => format!("{origin}/{suite}"),
        None => origin.to_owned(),
    }
}

fn parse<T: std::str::FromStr>(text: &str) -> Outcome<T>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| Failure::new(ErrorCode::PlanFailed, error.to_string()))
}

/// The name apt gives an archive in its folder.
pub(crate) fn file_name(name: &str, version: &str, arch: &str) -> String {
    format!("{}_{}_{}.deb", quote(name, "_:"), quote(version, "_:"), quote(arch, "_:."))
}

fn quote(text: &str, bad: &str) -> String {
    let mut quoted = String::new();
    for byte in text.bytes() {
        if byte <= b' ' || byte >= 0x7f || byte == b'%' || bad.as_bytes().contains(&byte) {
            quoted.push_str(&format!("%{byte:02x}"));
        } else {
            quoted.push(char::from(byte));
        }
    }
    quoted
}

fn is_complete(folder: &Path, archive: &Archive) -> bool {
    std::fs::metadata(folder.join(&archive.file_name)).is_ok_and(|meta| meta.len() == archive.size)
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn archives_are_named_as_apt_names_them() {
        assert_eq!(file_name("bsdutils", "1:2.38.1-5+deb12u3", "amd64"), "bsdutils_1%3a2.38.1-5+deb12u3_amd64.deb");
        assert_eq!(file_name("ca-certificates", "20230311+deb12u1", "all"), "ca-certificates_20230311+deb12u1_all.deb");
    }
}
