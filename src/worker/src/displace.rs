//! Setting aside what others made in `/etc` after an attempt was interrupted, before its undo would remove it.
//!
//! An undo removes every path in a copied tree that was not there before. Right after the change all of them are the
//! change's; long after, some are somebody's work. Those that no package of the plan owns are moved into the
//! capture's folder, `displaced/`, where they stay: a capture that has any is not given up.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use backstep_apt::lists;
use backstep_capture::{CaptureDir, What, compare};
use backstep_core::{ErrorCode, Failure};
use backstep_engine::runner::{MAX_DIFFERENCES, Stage};

use crate::child::{Call, Unwatched};
use crate::context::Context;
use crate::steps::capture_failure;

/// The folder of a capture for what an undo moved aside.
pub(crate) const DISPLACED: &str = "displaced";

const TREE: &str = "/etc";
/// How the names begin that an interrupted restore leaves.
const OWN: &str = ".backstep";

/// Sets aside and notes what is not the plan's. Errors: something could neither be moved nor copied; it is still
/// where it was.
pub fn displace(context: &Context, dir: &CaptureDir, stage: &mut Stage<'_>) -> Result<(), Failure> {
    let owned = owned(context)?;
    let found = compare(context.machine.root(), dir).map_err(|error| capture_failure(&error))?;
    let new = found.into_iter().filter(|difference| difference.what == What::Unexpected).map(|difference| difference.path);
    let theirs: Vec<PathBuf> = new.filter(|path| path.starts_with(TREE) && !is_own(path) && !owned.contains(path)).collect();
    for (count, path) in theirs.iter().enumerate() {
        let place = set_aside(context, path)?;
        if count < MAX_DIFFERENCES {
            stage.note(None, format!("{} was not there before and lies in {} now", path.display(), place.display()))?;
        }
    }
    Ok(())
}

fn is_own(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(OWN.as_bytes()))
}

/// What the packages of the plan own now; the change brought it.
fn owned(context: &Context) -> Result<BTreeSet<PathBuf>, Failure> {
    let mut owned = BTreeSet::new();
    for item in &context.plan.items {
        for name in [item.package.name.to_string(), item.package.to_string()] {
            let list = crate::facts::bytes(&context.machine.at("var/lib/dpkg/info").join(format!("{name}.list")))?;
            owned.extend(lists::file_list(&list));
        }
    }
    Ok(owned)
}

fn set_aside(context: &Context, path: &Path) -> Result<PathBuf, Failure> {
    let text = |why: String| Failure::new(ErrorCode::UndoConflict, format!("cannot set {} aside: {why}", path.display()));
    let error = |error: io::Error| text(error.to_string());
    let place = free_place(&context.capture().join(DISPLACED).join(path.strip_prefix("/").unwrap_or(path)));
    let folder = place.parent().unwrap_or(&place);
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(error)?;
    let from = context.machine.at(&path.to_string_lossy());
    match fs::rename(&from, &place) {
        Ok(()) => {}
        // Gone already: nothing is lost.
        Err(gone) if gone.kind() == io::ErrorKind::NotFound => {}
        // The restore removes the one that stays.
        Err(other) if other.kind() == io::ErrorKind::CrossesDevices => {
            let call = Call::new("cp", ["-a", "--", &from.to_string_lossy(), &place.to_string_lossy()]);
            let ended = context.children.run(call, &mut Unwatched)?;
            if !ended.is_success() {
                return Err(text(format!("cp {ended}")));
            }
        }
        Err(other) => return Err(error(other)),
    }
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(error)?;
    Ok(place)
}

/// The name, with a number where something lies under it from an earlier time.
fn free_place(wanted: &Path) -> PathBuf {
    let numbered = |number: u32| {
        let mut name = wanted.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{number}"));
        wanted.with_file_name(name)
    };
    let places = std::iter::once(wanted.to_path_buf()).chain((1..u32::MAX).map(numbered));
    let mut free = places.filter(|place| fs::symlink_metadata(place).is_err());
    free.next().unwrap_or_else(|| wanted.to_path_buf())
}
