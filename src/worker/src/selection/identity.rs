//! Whether dpkg sees in an archive that a caller brought the package that the plan says.
//!
//! What people saw, and said yes to, is what libapt read. dpkg reads archives in its own way, so it is asked before anything
//! is changed. Absent on purpose: archives of repositories, which their index names by their digest.

use backstep_core::{ArchiveSource, ErrorCode, Failure, PlanItem};

use crate::child::{Call, Ended, output};
use crate::context::Context;

/// What dpkg says of an archive, in the order of [`wanted`].
const FORMAT: &str = "--showformat=${Package} ${Version} ${Architecture}\\n";
/// Bytes of it that are read.
const MOST: u64 = 4096;

/// Asks dpkg about each archive that was handed over.
pub(super) fn check(context: &Context) -> Result<(), Failure> {
    let is_local = |item: &&PlanItem| item.archive.as_ref().is_some_and(|archive| archive.source == ArchiveSource::Local);
    for item in context.plan.items.iter().filter(is_local) {
        let Some(archive) = &item.archive else { continue };
        let path = context.archive_path(archive);
        let call = Call::new("dpkg-deb", ["--show".to_owned(), FORMAT.to_owned(), path]);
        let (ended, said) = output(context.children.as_ref(), call, MOST)?;
        let said = String::from_utf8_lossy(&said).into_owned();
        if ended != Ended::Code(0) || said.trim_end_matches('\n') != wanted(item) {
            return Err(Failure::new(ErrorCode::ArchiveInvalid, format!("dpkg does not see {} in its archive", item.package)));
        }
    }
    Ok(())
}

fn wanted(item: &PlanItem) -> String {
    let version = item.to.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("{} {version} {}", item.package.name, item.package.arch)
}
