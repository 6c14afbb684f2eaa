//! Package names, architectures and versions in Debian's grammar.
//!
//! Invariant: a value of these types is safe to hand to apt and dpkg as `name:arch=version`. apt-get reads
//! patterns, globs, paths and trailing signs even behind `--`; none of them can be spelled here.
//! Source: Debian Policy 5.6.1, 5.6.12 and dpkg's own limits.

use std::fmt;
use std::str::FromStr;

/// Why a text is no package name, architecture or version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// Outside Debian's grammar for names.
    #[error("{0:?} is not a Debian package name")]
    Name(String),
    /// Outside Debian's grammar for architectures.
    #[error("{0:?} is not a Debian architecture")]
    Architecture(String),
    /// Outside Debian's grammar for versions, or with an ending that apt-get would read as a sign.
    #[error("{0:?} is not a Debian version")]
    Version(String),
}

const MAX_LENGTH: usize = 200;

macro_rules! checked_text {
    ($(#[$meta:meta])* $name:ident, $error:ident, $check:ident) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = PackageError;
            fn from_str(text: &str) -> Result<Self, PackageError> {
                if text.len() <= MAX_LENGTH && $check(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(PackageError::$error(text.chars().take(80).collect()))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

checked_text!(
    /// A binary package's name, for example `g++` or `libc6`.
    PackageName, Name, is_name
);
checked_text!(
    /// A Debian architecture, for example `amd64` or `all`.
    Architecture, Architecture, is_architecture
);
checked_text!(
    /// A package's version, for example `1:2.36-9+deb12u14`. Not ordered: only libapt compares versions here.
    #[allow(clippy::derive_ord_xor_partial_ord)]
    Version, Version, is_version
);

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && text.len() >= 2
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
}

fn is_architecture(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_version(text: &str) -> bool {
    let (epoch, rest) = text.split_once(':').map_or((None, text), |(epoch, rest)| (Some(epoch), rest));
    epoch.is_none_or(|e| !e.is_empty() && e.len() <= 10 && e.bytes().all(|b| b.is_ascii_digit()))
        && rest.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b".+~:-".contains(&b))
        && !rest.ends_with(['-', '+'])
}

/// A package of one architecture: what dpkg's database is keyed by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageId {
    /// The name.
    pub name: PackageName,
    /// The architecture of the package itself, `all` included.
    pub arch: Architecture,
}

impl fmt::Display for PackageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}:{}", self.name, self.arch))
    }
}

impl FromStr for PackageId {
    type Err = PackageError;
    fn from_str(text: &str) -> Result<Self, PackageError> {
        let (name, arch) = text.split_once(':').ok_or_else(|| PackageError::Architecture(String::new()))?;
        Ok(Self { name: name.parse()?, arch: arch.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn real_names_and_versions_are_taken() {
        for name in ["g++", "libc6", "0ad", "libstdc++-12-dev", "ca-certificates", "a2"] {
            assert!(name.parse::<PackageName>().is_ok(), "{name}");
        }
        for version in ["1:2.36-9+deb12u14", "3.23+nmu1", "0~20230101", "2.0.0-1~bpo12+1", "1.0:2-1"] {
            let ok = version.parse::<Version>().is_ok();
            assert_eq!(ok, version != "1.0:2-1", "{version}");
        }
    }

    #[test]
    fn what_apt_get_would_read_as_something_else_is_refused() {
        for name in
            ["", "a", "-o", "hostn*", "^a.e$", "~nbash", "?name(x)", "./x.deb", "/etc/passwd", "a/b", "a=1", "A", "a b", "a\n", "ä1"]
        {
            assert!(name.parse::<PackageName>().is_err(), "{name:?}");
        }
        for version in ["", "1-", "1+", "-1", "1 2", "1/2", "1;2", ":1", "x:1", "1_2"] {
            assert!(version.parse::<Version>().is_err(), "{version:?}");
        }
        for arch in ["", "any,", "-amd64", "AMD64", "a/b"] {
            assert!(arch.parse::<Architecture>().is_err(), "{arch:?}");
        }
    }

    proptest! {
        #[test]
        fn no_accepted_text_can_start_an_option_or_a_pattern(text in "\\PC{0,20}") {
            if let Ok(name) = text.parse::<PackageName>() {
                prop_assert!(name.as_str().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b)));
                prop_assert!(!name.as_str().starts_with(['-', '+', '.']));
            }
            if let Ok(version) = text.parse::<Version>() {
                prop_assert!(!version.as_str().ends_with(['-', '+']));
                prop_assert!(!version.as_str().contains(['/', ' ', '*']));
            }
        }
    }
}
