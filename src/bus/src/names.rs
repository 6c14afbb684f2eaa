//! Names on the bus.

use backstep_core::TransactionId;
use backstep_core::id::IdError;
use zbus::OwnedObjectPath;

/// The well-known name.
pub const BUS_NAME: &str = "org.backstep1";
/// The object of the manager and of the ObjectManager.
pub const MANAGER_PATH: &str = "/org/backstep1";
/// The manager's interface.
pub const MANAGER_INTERFACE: &str = "org.backstep1.Manager";
/// The record's interface, at the manager's object.
pub const RECORD_INTERFACE: &str = "org.backstep1.Record";
/// A transaction's interface.
pub const TRANSACTION_INTERFACE: &str = "org.backstep1.Transaction";
/// What every transaction's path begins with.
pub const TRANSACTION_PREFIX: &str = "/org/backstep1/transaction/";
/// What every error's name begins with.
pub const ERROR_PREFIX: &str = "org.backstep1.Error.";
/// The value of the property `Uid` for callers who may not know it.
pub const UID_HIDDEN: u32 = u32::MAX;

/// The path of a transaction's object.
#[must_use]
pub fn transaction_path(id: TransactionId) -> OwnedObjectPath {
    OwnedObjectPath::try_from(format!("{TRANSACTION_PREFIX}{}", id.path_element())).expect("a UUID with _ for - is a path element")
}

/// The transaction of an object's path.
pub fn transaction_of_path(path: &str) -> Result<TransactionId, IdError> {
    let element = path.strip_prefix(TRANSACTION_PREFIX).unwrap_or_default();
    TransactionId::from_path_element(element)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_back_to_its_transaction() {
        let id: TransactionId = "01936b2e-7c1a-7d3e-9f10-0123456789ab".parse().expect("id");
        let path = transaction_path(id);
        assert_eq!(path.as_str(), "/org/backstep1/transaction/01936b2e_7c1a_7d3e_9f10_0123456789ab");
        assert_eq!(transaction_of_path(path.as_str()), Ok(id));
        assert!(transaction_of_path("/org/backstep1").is_err());
    }
}
