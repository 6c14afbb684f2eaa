//! Whose turn it is. Packages change one transaction at a time.

use crate::id::TransactionId;

/// A transaction that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Which.
    pub id: TransactionId,
    /// Higher goes first.
    pub priority: i32,
    /// The order of authorisation, as the store counted it.
    pub sequence: i64,
}

/// The order in which the waiting run: by priority, then by age.
#[must_use]
pub fn order(mut waiting: Vec<Waiting>) -> Vec<TransactionId> {
    waiting.sort_by_key(|w| (std::cmp::Reverse(w.priority), w.sequence));
    waiting.into_iter().map(|w| w.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(n: u8, priority: i32, sequence: i64) -> Waiting {
        let id = format!("01936b2e-7c1a-7d3e-9f10-0000000000{n:02x}").parse().expect("id");
        Waiting { id, priority, sequence }
    }

    #[test]
    fn priority_first_then_age() {
        let all = vec![waiting(1, 0, 1), waiting(2, 5, 3), waiting(3, 0, 0), waiting(4, 5, 2)];
        let expected: Vec<_> = [4, 2, 3, 1].iter().map(|n| waiting(*n, 0, 0).id).collect();
        assert_eq!(order(all), expected);
    }
}
