//! Numbers of things, as people read them.

use std::fmt::Display;

/// `1 package`, `2 packages`: a thing whose plural is made with an s.
#[must_use]
pub fn counted<N: Display + PartialEq + From<u8>>(number: N, thing: &str) -> String {
    let ending = if number == N::from(1) { "" } else { "s" };
    format!("{number} {thing}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        let texts = [0_u64, 1, 2].map(|number| counted(number, "path"));
        assert_eq!(texts, ["0 paths", "1 path", "2 paths"]);
    }
}
