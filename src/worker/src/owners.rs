//! Which package of a change owns a path: by dpkg's lists as they are after it, and as they were before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use backstep_apt::lists::file_list;
use backstep_capture::{CaptureDir, Contents};
use backstep_core::{Failure, PackageId, Plan};

use crate::facts;
use crate::machine::Machine;
use crate::steps::capture_failure;

/// dpkg's lists, from the root.
const LISTS: &str = "var/lib/dpkg/info";

/// The owners of paths; `None` where there is more than one.
pub(crate) struct Owners(BTreeMap<PathBuf, Option<String>>);

impl Owners {
    /// Those of a plan's packages.
    pub(crate) fn of(machine: &Machine, dir: &CaptureDir, plan: &Plan) -> Result<Self, Failure> {
        let kept = Contents::open(dir).map_err(|error| capture_failure(&error))?;
        let mut owners = Self(BTreeMap::new());
        for item in &plan.items {
            for list in lists(&item.package) {
                let before = kept.read(&list, u64::MAX).map_err(|error| capture_failure(&error))?;
                owners.add(&item.package, &before.unwrap_or_default());
                owners.add(&item.package, &facts::bytes(&machine.root().join(&list))?);
            }
        }
        Ok(owners)
    }

    fn add(&mut self, package: &PackageId, list: &[u8]) {
        let package = package.to_string();
        for path in file_list(list) {
            let owner = self.0.entry(path).or_insert_with(|| Some(package.clone()));
            if owner.as_ref() != Some(&package) {
                *owner = None;
            }
        }
    }

    /// The one owner of a path; lists name what lies below `/usr` by its name outside of it, too.
    pub(crate) fn owner(&self, path: &Path) -> Option<String> {
        let outside = path.strip_prefix("/usr").ok().map(|rest| Path::new("/").join(rest));
        let found = self.0.get(path).or_else(|| outside.and_then(|path| self.0.get(&path)));
        found.cloned().flatten()
    }
}

/// A package that may be installed for several architectures has its architecture in the file's name.
fn lists(package: &PackageId) -> [PathBuf; 2] {
    [package.name.to_string(), package.to_string()].map(|name| Path::new(LISTS).join(format!("{name}.list")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{item, plan_of};
    use backstep_capture::{Selection, secure};
    use backstep_core::PlanAction;
    use std::fs;

    #[test]
    fn what_came_what_went_and_what_is_shared_have_their_owners() {
        let folder = tempfile::tempdir().expect("folder");
        let machine = Machine::new(&folder.path().join("root"), folder.path());
        let info = machine.at(LISTS);
        fs::create_dir_all(&info).expect("info");
        fs::write(info.join("old.list"), "/.\n/bin\n/bin/old\n").expect("write");
        let dir = CaptureDir::create(&folder.path().join("capture")).expect("create");
        let selection = Selection { tree: ["/var/lib/dpkg".into()].into(), ..Selection::default() };
        secure(machine.root(), &dir, &selection, &mut |_, _| {}).expect("secure");
        fs::remove_file(info.join("old.list")).expect("remove");
        fs::write(info.join("new:amd64.list"), "/.\n/bin\n/etc/new\n").expect("write");
        let items = vec![item("old:all", PlanAction::Remove, Some("1"), None), item("new:amd64", PlanAction::Install, None, Some("1"))];
        let owners = Owners::of(&machine, &dir, &plan_of(items)).expect("owners");
        let owner = |path: &str| owners.owner(Path::new(path));
        assert_eq!(owner("/usr/bin/old").as_deref(), Some("old:all"));
        assert_eq!(owner("/etc/new").as_deref(), Some("new:amd64"));
        assert_eq!((owner("/usr/bin"), owner("/etc/other")), (None, None));
    }
}
