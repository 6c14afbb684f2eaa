//! Package arguments as people type them for apt, read into typed actions. Only the command line knows signs.

use std::path::PathBuf;

use backstep_core::{Architecture, ItemAction, Kind, PackageName, Version};

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PackageArgument {
    /// A package by name.
    Named {
        /// Another action than the command's.
        action: Option<ItemAction>,
        /// `name` or `name:arch`.
        package: String,
        /// The version asked for.
        version: Option<String>,
    },
    /// A local archive.
    File(PathBuf),
}

/// Why an argument is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PackageArgumentError {
    /// Outside Debian's grammar.
    #[error("cannot read {argument:?} as a package: {reason}")]
    Grammar { argument: String, reason: String },
    /// A local archive where none is taken.
    #[error("{verb} takes no local archives, and {argument:?} is a path")]
    Archive { verb: Kind, argument: String },
}

/// Reads an argument of a command.
///
/// Signs are read only where items of other actions may stand: not in hold and unhold. See the help text of
/// `install` for the rule about `+`.
pub(crate) fn parse(kind: Kind, argument: &str) -> Result<PackageArgument, PackageArgumentError> {
    if argument.contains('/') {
        return match kind {
            Kind::Install => Ok(PackageArgument::File(PathBuf::from(argument))),
            _ => Err(PackageArgumentError::Archive { verb: kind, argument: argument.to_owned() }),
        };
    }
    let grammar = |reason: String| PackageArgumentError::Grammar { argument: argument.to_owned(), reason };
    let (signed, version) = argument.split_once('=').map_or((argument, None), |(name, version)| (name, Some(version)));
    // After a version no sign is read: versions may end in anything.
    let (action, package) = if version.is_none() { sign(kind, signed) } else { (None, signed) };
    let (name, arch) = package.split_once(':').map_or((package, None), |(name, arch)| (name, Some(arch)));
    name.parse::<PackageName>().map_err(|e| grammar(with_hint(argument, e.to_string())))?;
    arch.map(str::parse::<Architecture>).transpose().map_err(|e| grammar(e.to_string()))?;
    version.map(str::parse::<Version>).transpose().map_err(|e| grammar(e.to_string()))?;
    Ok(PackageArgument::Named { action, package: package.to_owned(), version: version.map(str::to_owned) })
}

fn sign(kind: Kind, text: &str) -> (Option<ItemAction>, &str) {
    if matches!(kind, Kind::Hold | Kind::Unhold | Kind::Rollback) {
        return (None, text);
    }
    if let Some(name) = text.strip_suffix('-').filter(|name| !name.is_empty()) {
        return (Some(ItemAction::Remove), name);
    }
    if let Some(name) = text.strip_suffix('_').filter(|name| !name.is_empty()) {
        return (Some(ItemAction::Purge), name);
    }
    let installs_anyway = kind == Kind::Install;
    match text.strip_suffix('+').filter(|name| !name.is_empty() && !name.ends_with('+') && !installs_anyway) {
        Some(name) => (Some(ItemAction::Install), name),
        None => (None, text),
    }
}

fn with_hint(argument: &str, reason: String) -> String {
    if argument.ends_with(".deb") { format!("{reason}; write ./{argument} for a local archive") } else { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(action: Option<ItemAction>, package: &str, version: Option<&str>) -> PackageArgument {
        PackageArgument::Named { action, package: package.into(), version: version.map(Into::into) }
    }

    #[test]
    fn signs_are_actions() {
        let cases = [
            (Kind::Install, "hello", named(None, "hello", None)),
            (Kind::Install, "hello=2.10-3", named(None, "hello", Some("2.10-3"))),
            (Kind::Install, "hello:i386=1:2+b1", named(None, "hello:i386", Some("1:2+b1"))),
            (Kind::Install, "nano-", named(Some(ItemAction::Remove), "nano", None)),
            (Kind::Install, "nano:amd64-", named(Some(ItemAction::Remove), "nano:amd64", None)),
            (Kind::Install, "nano_", named(Some(ItemAction::Purge), "nano", None)),
            (Kind::Remove, "nano+", named(Some(ItemAction::Install), "nano", None)),
            (Kind::Upgrade, "nano-", named(Some(ItemAction::Remove), "nano", None)),
        ];
        for (kind, text, expected) in cases {
            assert_eq!(parse(kind, text), Ok(expected), "{kind} {text}");
        }
    }

    #[test]
    fn names_that_end_in_plus_stay_names() {
        for kind in [Kind::Install, Kind::Remove, Kind::Purge, Kind::Hold] {
            assert_eq!(parse(kind, "g++"), Ok(named(None, "g++", None)), "{kind}");
            assert_eq!(parse(kind, "memtest86+:amd64"), Ok(named(None, "memtest86+:amd64", None)), "{kind}");
        }
        assert_eq!(parse(Kind::Install, "memtest86+"), Ok(named(None, "memtest86+", None)));
        assert_eq!(parse(Kind::Install, "g++-"), Ok(named(Some(ItemAction::Remove), "g++", None)));
        assert_eq!(parse(Kind::Hold, "memtest86+"), Ok(named(None, "memtest86+", None)));
    }

    #[test]
    fn paths_are_archives_of_install_only() {
        assert_eq!(parse(Kind::Install, "./x.deb"), Ok(PackageArgument::File("./x.deb".into())));
        assert_eq!(parse(Kind::Install, "/tmp/x.deb"), Ok(PackageArgument::File("/tmp/x.deb".into())));
        assert!(parse(Kind::Remove, "./x.deb").is_err());
        let error = parse(Kind::Install, "Hello_1_amd64.deb").expect_err("refused").to_string();
        assert!(error.ends_with("write ./Hello_1_amd64.deb for a local archive"), "{error}");
    }

    #[test]
    fn what_apt_would_read_as_a_pattern_is_refused() {
        for bad in ["hello*", "~nhello", "?name(x)", "-", "+", "_", "", "^a$", "a=", "hello=1 2", "hello:"] {
            assert!(parse(Kind::Install, bad).is_err(), "{bad:?}");
        }
    }

    /// Six thousand hostile arguments: refused, or a name in Debian's grammar with nothing of a sign left in it.
    #[test]
    fn hostile_arguments_are_refused_or_plain() {
        let plain = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.:".contains(c));
        for text in backstep_core::hostile::arguments() {
            for kind in [Kind::Install, Kind::Remove, Kind::Hold] {
                match parse(kind, &text) {
                    Ok(PackageArgument::File(path)) => assert!(kind == Kind::Install && text.contains('/') && path == *text, "{text:?}"),
                    Ok(PackageArgument::Named { package, version, .. }) => {
                        assert!(plain(&package) && package.starts_with(|c: char| c.is_ascii_alphanumeric()), "{text:?}");
                        assert!(text.starts_with(&package) && !text.contains('/'), "{text:?}");
                        assert!(version.is_none_or(|version| text.ends_with(&version) && version.parse::<Version>().is_ok()), "{text:?}");
                    }
                    Err(error) => assert!(!error.to_string().contains(char::is_control), "{text:?}: {error:?}"),
                }
            }
        }
    }
}
