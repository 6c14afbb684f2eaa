//! The administrator's policy: `backstep.toml` and its drop-ins.

use std::path::Path;

use crate::config::{Config, apply};

/// A file over the defaults, and once more over itself.
pub(crate) fn policy(bytes: &[u8]) {
    let (Ok(text), mut once) = (std::str::from_utf8(bytes), Config::default()) else { return };
    if apply(&mut once, Path::new("backstep.toml"), text).is_ok() {
        let mut twice = once.clone();
        apply(&mut twice, Path::new("backstep.toml"), text).expect("what was taken once is taken again");
        assert_eq!(once, twice);
    }
}
