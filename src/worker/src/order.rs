//! Reading what the worker was started for, and refusing what does not fit together.

use std::fs;
use std::path::Path;

use backstep_core::{AttemptId, ErrorCode, Failure, Plan};
use backstep_wire::WireError;
use backstep_wire::order::{self, Order};

use crate::machine::AttemptFiles;

/// Why an order cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// A document cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A document is not of its format.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The order lies in the folder of another attempt.
    #[error("the order is for attempt {0}")]
    OtherAttempt(AttemptId),
    /// The plan's bytes are not those that were authorised.
    #[error("the plan is not the one that was authorised")]
    OtherPlan,
    /// The plan belongs to another transaction.
    #[error("the plan belongs to another transaction")]
    OtherTransaction,
}

impl From<OrderError> for Failure {
    fn from(error: OrderError) -> Self {
        let code = match &error {
            OrderError::Read { .. } | OrderError::Wire(_) | OrderError::OtherAttempt(_) => ErrorCode::WorkerFailed,
            OrderError::OtherPlan | OrderError::OtherTransaction => ErrorCode::PlanMismatch,
        };
        Self::new(code, error.to_string())
    }
}

/// Reads the order of an attempt.
pub fn read_order(files: &AttemptFiles, attempt: AttemptId) -> Result<Order, OrderError> {
    let order = order::from_bytes(&bytes(&files.order())?)?;
    if order.attempt == attempt { Ok(order) } else { Err(OrderError::OtherAttempt(order.attempt)) }
}

/// Reads the plan of an order; its bytes must have the digest that was authorised.
pub fn read_plan(files: &AttemptFiles, order: &Order) -> Result<Plan, OrderError> {
    let bytes = bytes(&files.plan())?;
    if backstep_wire::digest(&bytes) != order.plan {
        return Err(OrderError::OtherPlan);
    }
    let plan = backstep_wire::plan::from_bytes(&bytes)?;
    if plan.transaction == order.attempt.transaction { Ok(plan) } else { Err(OrderError::OtherTransaction) }
}

fn bytes(path: &Path) -> Result<Vec<u8>, OrderError> {
    fs::read(path).map_err(|source| OrderError::Read { path: path.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{attempt, plan};
    use backstep_core::{Digest, Direction, Retention};

    fn written(digest: Option<Digest>, attempt_in_order: AttemptId) -> (tempfile::TempDir, AttemptFiles) {
        let folder = tempfile::tempdir().expect("folder");
        let files = AttemptFiles::in_folder(folder.path());
        let bytes = backstep_wire::plan::to_bytes(&plan());
        let plan = digest.unwrap_or_else(|| backstep_wire::digest(&bytes));
        let order = Order {
            attempt: attempt_in_order,
            plan,
            direction: Direction::Forward,
            restore: None,
            later: Vec::new(),
            retention: Retention::default(),
        };
        fs::write(files.plan(), bytes).expect("plan");
        fs::write(files.order(), order::to_bytes(&order)).expect("order");
        (folder, files)
    }

    #[test]
    fn the_authorised_plan_is_read() {
        let (_folder, files) = written(None, attempt(1));
        let order = read_order(&files, attempt(1)).expect("order");
        assert_eq!(read_plan(&files, &order).expect("plan"), plan());
    }

    #[test]
    fn another_plan_and_another_attempt_are_refused() {
        let (_folder, files) = written(Some(Digest([9; 32])), attempt(1));
        let order = read_order(&files, attempt(1)).expect("order");
        assert!(matches!(read_plan(&files, &order), Err(OrderError::OtherPlan)));
        let (_folder, files) = written(None, attempt(2));
        assert!(matches!(read_order(&files, attempt(1)), Err(OrderError::OtherAttempt(_))));
    }
}
