//! The order document: what one worker is started for.

use backstep_core::{AttemptId, Digest, Direction, Retention};
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
    /// With a plan that restores: the committed attempts whose captures are put back before it, the newest first.
    pub later: Vec<AttemptId>,
    /// How much undo material is kept once this attempt is over.
    pub retention: Retention,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRetention {
    changes: u32,
    days: u32,
    bytes: u64,
    archive_bytes: u64,
}

/// An identity in a list.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct WireId(#[serde(with = "text")] AttemptId);

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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    later: Vec<WireId>,
    retention: WireRetention,
}

/// The document of an order.
#[must_use]
pub fn to_bytes(order: &Order) -> Vec<u8> {
    let Retention { changes, days, bytes, archive_bytes } = order.retention;
    bytes_of(&WireOrder {
        version: VERSION,
        attempt: order.attempt,
        plan: order.plan,
        direction: order.direction,
        restore: order.restore,
        later: order.later.iter().copied().map(WireId).collect(),
        retention: WireRetention { changes, days, bytes, archive_bytes },
    })
}

/// Reads a document back.
pub fn from_bytes(bytes: &[u8]) -> Result<Order, WireError> {
    let wire: WireOrder = json(WHAT, bytes)?;
    check_version(WHAT, wire.version, VERSION)?;
    let WireRetention { changes, days, bytes, archive_bytes } = wire.retention;
    let retention = Retention { changes, days, bytes, archive_bytes };
    let later = wire.later.into_iter().map(|id| id.0).collect();
    Ok(Order { attempt: wire.attempt, plan: wire.plan, direction: wire.direction, restore: wire.restore, later, retention })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_keeps_everything() {
        let attempt: AttemptId = "01936b2e-7c1a-7d3e-9f10-0123456789ab-2".parse().expect("id");
        for restore in [None, Some(attempt)] {
            let retention = Retention { changes: 1, days: 2, bytes: 3, archive_bytes: 4 };
            let order = Order {
                attempt,
                plan: Digest([1; 32]),
                direction: Direction::Undo,
                restore,
                later: restore.into_iter().collect(),
                retention,
            };
            assert_eq!(from_bytes(&to_bytes(&order)).expect("read"), order);
        }
    }
}
