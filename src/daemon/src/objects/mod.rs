//! The objects on the bus: the manager, one for each transaction in reach, and what they tell.

mod emit;
mod manager;
mod record;
mod registry;
mod shown;
mod transaction;
mod upkeep;

pub use emit::emit;
pub use registry::Registry;
pub use shown::{redacted, shown};

use backstep_core::access::Permission;
use backstep_core::{ErrorCode, Failure, TransactionId};
use zbus::message::{Flags, Header};

use crate::authority::{self, Interaction};
use crate::callers::Caller;
use crate::service::Service;

/// Whether the message allows a dialogue.
fn interaction(header: &Header<'_>) -> Interaction {
    if header.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH) { Interaction::Allowed } else { Interaction::Refused }
}

/// Lets the owner and root through, and others only with this permission.
async fn owner_or(service: &Service, header: &Header<'_>, owner: u32, permission: Option<Permission>) -> Result<Caller, Failure> {
    let caller = service.callers.of(header).await?;
    if caller.uid == 0 || caller.uid == owner {
        return Ok(caller);
    }
    let Some(permission) = permission else {
        return Err(Failure::new(ErrorCode::AuthDenied, "the transaction belongs to another user"));
    };
    service.authority.check(&caller, &authority::subject(header)?, permission, &[], interaction(header)).await?;
    Ok(caller)
}

/// A transaction by its id or a tail of it.
fn find(service: &Service, text: &str) -> Result<TransactionId, Failure> {
    let found = service.read(|manager| manager.ledger().find(text))?;
    match found.as_slice() {
        [id] => Ok(*id),
        [] => Err(Failure::new(
            ErrorCode::TransactionUnknown,
            format!("no transaction has the id {:?}", text.chars().take(64).collect::<String>()),
        )),
        _ => Err(Failure::new(ErrorCode::TransactionUnknown, format!("more than one transaction has an id that ends in {text:?}"))),
    }
}
