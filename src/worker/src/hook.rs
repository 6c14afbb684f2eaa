//! The hook that apt calls before it changes anything: what apt is about to do must be the plan. Then it is written down
//! which archives of the plan apt means.
//!
//! apt passes its list on standard input and stops when the hook fails; the reason goes into the attempt's folder,
//! where the apply step finds it.

use std::fs;
use std::io::Read;
use std::path::Path;

use backstep_apt::pre_install_pkgs::{self, Change, Purge};
use backstep_core::{ErrorCode, Failure, Plan};

use crate::durable::replace;
use crate::machine::{AttemptFiles, Machine};
use crate::order::{OrderError, read_plan};
use crate::prepare::{self, Meant, Named};

/// Compares what apt says with the plan of the attempt in `folder`.
pub fn check_plan(machine: &Machine, folder: &Path, input: &mut dyn Read) -> Result<(), Failure> {
    let files = AttemptFiles::in_folder(folder);
    let checked = plan(&files).and_then(|plan| compare(&plan, input)).and_then(|named| {
        let error = |error| Failure::new(ErrorCode::WorkerFailed, format!("cannot say which archives are meant: {error}"));
        prepare::tell(machine, &named).map_err(error)
    });
    if let Err(failure) = &checked {
        let error = |error| Failure::new(ErrorCode::WorkerFailed, format!("cannot say why: {error}"));
        replace(&files.mismatch(), failure.text.as_bytes(), 0o600).map_err(error)?;
    }
    checked
}

fn plan(files: &AttemptFiles) -> Result<Plan, Failure> {
    let read = |source| OrderError::Read { path: files.order().display().to_string(), source };
    let order = backstep_wire::order::from_bytes(&fs::read(files.order()).map_err(read)?).map_err(OrderError::from)?;
    Ok(read_plan(files, &order)?)
}

fn compare(plan: &Plan, input: &mut dyn Read) -> Result<Named, Failure> {
    let stale = |text: String| Failure::new(ErrorCode::PlanStale, text);
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes).map_err(|error| stale(format!("cannot read what apt is about to do: {error}")))?;
    let items = pre_install_pkgs::parse(&String::from_utf8_lossy(&bytes)).map_err(|error| stale(error.to_string()))?;
    pre_install_pkgs::compare(plan, &items).map_err(|mismatch| stale(mismatch.to_string()))?;
    let changes = pre_install_pkgs::changes(&items, Purge::No).map_err(|error| stale(error.to_string()))?;
    Ok(changes.into_iter().filter_map(|change| named(plan, change)).collect())
}

/// The path that apt has an archive from, and which of the plan's it is.
fn named(plan: &Plan, change: Change) -> Option<(String, Meant)> {
    let item = plan.items.iter().find(|item| item.package == change.package)?;
    Some((change.archive?.into_os_string().into_string().ok()?, item.archive.as_ref()?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{archive, attempt, item, plan_of};
    use backstep_core::{Direction, PlanAction, Retention};
    use backstep_wire::order::Order;

    fn written(folder: &Path) {
        let files = AttemptFiles::in_folder(folder);
        let mut aa = item("aa:all", PlanAction::Install, None, Some("1"));
        aa.archive = Some(archive("aa_1_all.deb", b"aa"));
        let bytes = backstep_wire::plan::to_bytes(&plan_of(vec![aa]));
        let order = Order {
            attempt: attempt(1),
            plan: backstep_wire::digest(&bytes),
            direction: Direction::Forward,
            restore: None,
            later: Vec::new(),
            retention: Retention::default(),
        };
        fs::write(files.plan(), bytes).expect("plan");
        fs::write(files.order(), backstep_wire::order::to_bytes(&order)).expect("order");
    }

    #[test]
    fn apt_may_do_the_plan_and_nothing_else() {
        let folder = tempfile::tempdir().expect("folder");
        written(folder.path());
        let machine = Machine::new(folder.path(), &folder.path().join("state"));
        let head = "VERSION 3\nAPT::Architecture=amd64\n\n";
        let same = format!("{head}aa - - none < 1 all none /x/a.deb\naa - - none < 1 all none **CONFIGURE**\n");
        assert_eq!(check_plan(&machine, folder.path(), &mut same.as_bytes()), Ok(()));
        let unpacked = prepare::ready(&machine, vec!["/x/a.deb".into()]).expect("told");
        let kept = machine.kept_archive(archive("", b"aa").sha256);
        assert_eq!(fs::read_link(&unpacked[0]).expect("link"), kept, "the plan's, whatever apt has there");
        let more = format!("{same}bb 1 all none > - - none **REMOVE**\n");
        assert_eq!(check_plan(&machine, folder.path(), &mut more.as_bytes()).expect_err("more").code, ErrorCode::PlanStale);
        let why = fs::read_to_string(AttemptFiles::in_folder(folder.path()).mismatch()).expect("reason");
        assert!(why.contains("bb:all"), "{why}");
    }
}
