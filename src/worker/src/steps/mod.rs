//! The steps of a transaction, one file each with its doing, verifying, undoing, recovering and tests.

mod apply;
mod check;
mod commit;
mod fetch;
mod secure;
mod services;
#[cfg(test)]
mod tests;

use backstep_engine::runner::Step;

use crate::context::Shared;

pub(crate) use secure::{failure as capture_failure, keep};

/// All steps in the order of doing.
#[must_use]
pub fn all(context: &Shared) -> Vec<Box<dyn Step>> {
    vec![
        Box::new(fetch::Fetch::new(context.clone())),
        Box::new(secure::Secure::new(context.clone())),
        Box::new(apply::Apply::new(context.clone())),
        Box::new(services::Services::new(context.clone())),
        Box::new(check::Check::new(context.clone())),
        Box::new(commit::Commit::new(context.clone())),
    ]
}

/// A percentage as permille.
fn permille(percent: f32) -> u16 {
    // Clamped first: the cast cannot leave the range.
    (percent.clamp(0.0, 100.0) * 10.0) as u16
}

/// A part of a whole as permille.
fn part(done: u64, total: u64) -> u16 {
    u16::try_from((done.saturating_mul(1000)).checked_div(total).unwrap_or(1000)).unwrap_or(1000)
}
