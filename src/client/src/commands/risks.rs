//! What the record knows of a plan's packages, for who is shown the plan.
//!
//! It is told where it is known, and never in the way: no answer, an error, and an older daemon are no risks.

use std::collections::BTreeSet;
use std::time::Duration;

use backstep_bus::record::RiskRow;
use backstep_bus::{PlanRow, TransactionProperties};
use backstep_core::limits;

use crate::error::ClientError;
use crate::session::Session;

/// A plan is not kept from who waits for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// How changes of the plan's packages ended before, in the plan's order; of the first 1000 packages.
pub(crate) async fn risks(session: &Session, planned: &TransactionProperties) -> Vec<RiskRow> {
    let packages = packages(&planned.plan);
    if packages.is_empty() {
        return Vec::new();
    }
    let asked = async { Ok::<_, ClientError>(session.record().await?.list_risks(&packages).await?) };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(rows)) => rows,
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

/// Each package once, whatever its architectures, with the version that comes, or else goes. Marks are no risk.
fn packages(plan: &[PlanRow]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let changes = plan.iter().filter(|row| !matches!(row.action.as_str(), "hold" | "unhold"));
    let packages = changes.map(|row| format!("{}={}", row.package, if row.to.is_empty() { &row.from } else { &row.to }));
    packages.filter(|package| seen.insert(package.clone())).take(limits::MAX_ITEMS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::plan::tests::row;

    #[test]
    fn each_package_is_asked_for_once_with_the_version_that_it_is_about() {
        let foreign = PlanRow { arch: "i386".into(), ..row("upgrade", "libc6", "2.35", "2.36", 1) };
        let plan =
            [row("remove", "nano", "7.2-1", "", 0), row("upgrade", "libc6", "2.35", "2.36", 1), foreign, row("hold", "vim", "9", "9", 0)];
        assert_eq!(packages(&plan), ["nano=7.2-1", "libc6=2.36"]);
        let many: Vec<PlanRow> = (0..1_001).map(|n| row("install", &format!("p{n}"), "", "1", 0)).collect();
        assert_eq!(packages(&many).len(), limits::MAX_ITEMS);
    }
}
