//! Identities: transactions, attempts, boots, digests and points in time.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// Why a text is no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a UUID in its hyphenated lower-case form, or not of version 7.
    #[error("{0:?} is not a transaction id (a UUID of version 7)")]
    Transaction(String),
    /// Not `<transaction id>-<number>`.
    #[error("{0:?} is not an attempt id")]
    Attempt(String),
    /// Not 64 lower-case hexadecimal digits.
    #[error("{0:?} is not a SHA-256 digest")]
    Digest(String),
    /// Not 32 lower-case hexadecimal digits.
    #[error("{0:?} is not a boot id")]
    Boot(String),
}

/// A transaction's identity and idempotency key: a UUID of version 7.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(Uuid);

impl TransactionId {
    /// Takes a UUID; anything but version 7 is refused.
    pub fn new(uuid: Uuid) -> Result<Self, IdError> {
        if uuid.get_version_num() == 7 { Ok(Self(uuid)) } else { Err(IdError::Transaction(uuid.to_string())) }
    }

    /// The last element of the D-Bus object path: the UUID with `_` for `-`.
    #[must_use]
    pub fn path_element(self) -> String {
        self.to_string().replace('-', "_")
    }

    /// The inverse of [`Self::path_element`].
    pub fn from_path_element(element: &str) -> Result<Self, IdError> {
        element.replace('_', "-").parse()
    }

    /// The sixteen bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The last twelve hexadecimal digits: what people read and type; the leading digits of version 7 are
    /// time and look alike for neighbours.
    #[must_use]
    pub fn short(self) -> String {
        let text = self.0.as_simple().to_string();
        text[20..].to_owned()
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.as_hyphenated().to_string())
    }
}

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TransactionId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = || IdError::Transaction(text.chars().take(64).collect());
        let uuid = Uuid::try_parse(text).map_err(|_| bad())?;
        // One spelling only: an id is also a file name and a unit instance.
        if uuid.as_hyphenated().to_string() != text {
            return Err(bad());
        }
        Self::new(uuid).map_err(|_| bad())
    }
}

/// One execution of a transaction's plan by one worker. Numbers start at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// The transaction.
    pub transaction: TransactionId,
    /// Which attempt of it, from 1.
    pub number: u32,
}

impl fmt::Display for AttemptId {
    /// `<uuid>-<number>`: the instance name of the worker's unit and the attempt's folder.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.transaction, self.number)
    }
}

impl FromStr for AttemptId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = || IdError::Attempt(text.chars().take(64).collect());
        let (transaction, number) = text.rsplit_once('-').ok_or_else(bad)?;
        let transaction = transaction.parse().map_err(|_| bad())?;
        let parsed: u32 = number.parse().map_err(|_| bad())?;
        if parsed == 0 || parsed.to_string() != number {
            return Err(bad());
        }
        Ok(Self { transaction, number: parsed })
    }
}

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        hex(text).map(Self).ok_or_else(|| IdError::Digest(text.chars().take(80).collect()))
    }
}

/// The kernel's boot id: tells two boots of one machine apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BootId(pub [u8; 16]);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for BootId {
    type Err = IdError;
    /// Takes 32 hexadecimal digits, with or without the kernel's hyphens.
    fn from_str(text: &str) -> Result<Self, IdError> {
        hex(&text.replace('-', "")).map(Self).ok_or_else(|| IdError::Boot(text.chars().take(64).collect()))
    }
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N || !digits.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b)) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// A point in time that survives clock steps: durations are taken from `monotonic_us` within one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Microseconds since 1970 in UTC, from the real-time clock.
    pub utc_us: i64,
    /// Microseconds since boot, suspend included.
    pub monotonic_us: i64,
    /// The boot that `monotonic_us` counts from.
    pub boot: BootId,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01936b2e-7c1a-7d3e-9f10-0123456789ab";

    #[test]
    fn transaction_id_has_one_spelling() {
        let id: TransactionId = ID.parse().expect("valid");
        assert_eq!(id.to_string(), ID);
        assert_eq!(TransactionId::from_path_element(&id.path_element()), Ok(id));
        assert_eq!(id.short(), "0123456789ab");
        for bad in [&ID.to_uppercase(), &ID.replace('-', ""), "01936b2e-7c1a-4d3e-9f10-0123456789ab", "", "../../etc"] {
            assert!(bad.parse::<TransactionId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn attempt_id_round_trips_and_refuses_other_spellings() {
        let text = format!("{ID}-12");
        assert_eq!(text.parse::<AttemptId>().expect("valid").to_string(), text);
        for bad in [format!("{ID}-0"), format!("{ID}-01"), format!("{ID}-"), ID.to_owned(), format!("{ID}-+1")] {
            assert!(bad.parse::<AttemptId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn digest_is_lower_case_hexadecimal() {
        let text = "0f".repeat(32);
        assert_eq!(text.parse::<Digest>().expect("valid").to_string(), text);
        assert!("0F".repeat(32).parse::<Digest>().is_err());
        assert!("0f".repeat(31).parse::<Digest>().is_err());
    }
}
