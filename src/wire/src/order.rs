//! The order document: what one worker is started for.

use backstep_core::{AttemptId, Digest, Direction};
use serde::{Deserialize, Serialize};

use crate::{WireError, bytes_of, check_version, json, text};

const VERSION: u32 = 1;
const WHAT: &str = "order";

/// What a worker is to do. Written once, before the worker starts, beside the frozen plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The attempt; names the folder the order lies in.
    pub attempt: AttemptId,
    /// The digest that was authorised; the worker refuses a plan of any other.
    pub plan: Digest,
    /// Forward, or straight to undoing what an earlier attempt left.
    pub direction: Direction,
    /// The attempt whose capture is restored: for an undo the one that is undone, for a plan that restores the
    /// committed attempt of the transaction it reverts; none otherwise.
    pub restore: Option<AttemptId>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireOrder {
    version: u32,
    #[serde(with = "text")]
    attempt: AttemptId,
    #[serde(with = "text")]
    plan: Digest,
    #[serde(with = "text")]
    direction: Direction,
    #[serde(with = "text::option")]
    restore: Option<AttemptId>,
}

/// The document of an order.
#[must_use]
pub fn to_bytes(order: &Order) -> Vec<u8> {
    bytes_of(&WireOrder { version: VERSION, attempt: order.attempt, plan: order.plan, direction: order.direction, restore: order.restore })
}

/// Reads a document back.
pub fn from_bytes(bytes: &[u8]) -> Result<Order, WireError> {
    let wire: WireOrder = json(WHAT, bytes)?;
    check_version(WHAT, wire.version, VERSION)?;
    Ok(Order { attempt: wire.attempt, plan: wire.plan, direction: wire.direction, restore: wire.restore })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_keeps_everything() {
        let attempt: AttemptId = "01936b2e-7c1a-7d3e-9f10-0123456789ab-2".parse().expect("id");
        for restore in [None, Some(attempt)] {
            let order = Order { attempt, plan: Digest([1; 32]), direction: Direction::Undo, restore };
            assert_eq!(from_bytes(&to_bytes(&order)).expect("read"), order);
        }
    }
}
