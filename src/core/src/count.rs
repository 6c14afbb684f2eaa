//! Numbers of things, as people read them.

use std::fmt::Display;

/// `1 package`, `2 packages`: a thing whose plural is made with an s.
#[must_use]
pub fn counted<N: Display + PartialEq + From<u8>>(number: N, thing: &str) -> String {
    let ending = if number == N::from(1) { "" } else { "s" };
    format!("{number} {thing}{ending}")
}

/// `a, b and 3 more`: things by name, at most so many; the rest is counted.
#[must_use]
pub fn named<T: Display>(things: &[T], most: usize) -> String {
    let first = things.iter().take(most).map(T::to_string).collect::<Vec<_>>().join(", ");
    let more = things.len().saturating_sub(most);
    if more == 0 { first } else { format!("{first} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        let texts = [0_u64, 1, 2].map(|number| counted(number, "path"));
        assert_eq!(texts, ["0 paths", "1 path", "2 paths"]);
    }

    #[test]
    fn what_is_not_named_is_counted() {
        let texts = [0, 1, 2, 3, 5].map(|number| named(&["a", "b", "c", "d", "e"][..number], 2));
        assert_eq!(texts, ["", "a", "a, b", "a, b and 1 more", "a, b and 3 more"]);
    }
}
