//! What apt says it is about to do: the input of a `DPkg::Pre-Install-Pkgs` hook, and its comparison with a plan.
//!
//! Invariant: [`compare`] passes exactly when apt's set of packages, architectures, versions and verbs is the
//! plan's. apt writes purges and removals alike (`**REMOVE**`), so those two are not told apart here; which of
//! them happens is decided by the arguments that apt was given.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::arguments::purges_all;
use backstep_core::{PackageId, Plan, PlanAction, PlanItem, Version};

/// Why an input is not of the hook's protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// Not `VERSION 2` or `VERSION 3`.
    #[error("cannot read what apt is about to do: the protocol is {0:?}")]
    Protocol(String),
    /// No empty line ends the configuration.
    #[error("cannot read what apt is about to do: no package list")]
    NoList,
    /// A line of another form.
    #[error("cannot read what apt is about to do: the line {0:?}")]
    Line(String),
}

/// The direction of a change of version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// `<`: to a later version, or newly installed.
    Up,
    /// `=`: the same version again.
    Same,
    /// `>`: to an earlier version, or gone.
    Down,
}

/// What apt does with a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookAction {
    /// Unpacked from this archive.
    Install(String),
    /// Configured.
    Configure,
    /// Removed or purged.
    Remove,
}

/// One line of the list. Architectures are absent in protocol 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookItem {
    /// The package's name.
    pub name: String,
    /// The version before; for leftovers the last one.
    pub old_version: Option<String>,
    /// Its architecture.
    pub old_arch: Option<String>,
    /// Which way.
    pub direction: Direction,
    /// The version afterwards.
    pub new_version: Option<String>,
    /// Its architecture.
    pub new_arch: Option<String>,
    /// What happens.
    pub action: HookAction,
}

/// Reads the input: a version line, apt's configuration, an empty line, the list.
pub fn parse(input: &str) -> Result<Vec<HookItem>, HookError> {
    let (head, list) = input.split_once("\n\n").ok_or(HookError::NoList)?;
    let protocol = head.lines().next().unwrap_or_default();
    let line = match protocol {
        "VERSION 3" => line_3,
        "VERSION 2" => line_2,
        other => return Err(HookError::Protocol(other.to_owned())),
    };
    list.lines().filter(|text| !text.is_empty()).map(|text| line(text).ok_or_else(|| HookError::Line(text.to_owned()))).collect()
}

/// A value of apt's configuration in the input; `None` when it is not set.
#[must_use]
pub fn setting(input: &str, key: &str) -> Option<String> {
    let head = input.split_once("\n\n").map_or(input, |(head, _)| head);
    head.lines().filter_map(|line| line.split_once('=')).find(|(name, _)| *name == key).map(|(_, value)| unquoted(value))
}

/// apt writes blanks and other signs as `%` and two hexadecimal digits.
fn unquoted(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        let quoted = (*first == b'%').then(|| tail.get(..2).and_then(hexadecimal)).flatten();
        bytes.push(quoted.unwrap_or(*first));
        rest = if quoted.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok())
}

/// What finally happens to one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which; with the architecture of the version that comes, else of the one that goes.
    pub package: PackageId,
    /// What. What is only configured counts as reinstalled, without an archive.
    pub action: PlanAction,
    /// The version before; for leftovers the last one.
    pub from: Option<Version>,
    /// The version afterwards.
    pub to: Option<Version>,
    /// What it is unpacked from.
    pub archive: Option<PathBuf>,
}

/// What the list comes to, a change for each package. `purge` says what apt means by a removal. Protocol 3 only:
/// without architectures a package has no identity.
pub fn changes(hook: &[HookItem], purge: Purge) -> Result<Vec<Change>, HookError> {
    let rank = |item: &HookItem| match item.action {
        HookAction::Configure => 0,
        HookAction::Remove => 1,
        HookAction::Install(_) => 2,
    };
    let mut last: BTreeMap<(&str, Option<&String>), &HookItem> = BTreeMap::new();
    for item in hook {
        let key = (item.name.as_str(), item.new_arch.as_ref().or(item.old_arch.as_ref()));
        if last.get(&key).is_none_or(|known| rank(known) <= rank(item)) {
            last.insert(key, item);
        }
    }
    last.into_values().map(|item| change(item, purge).ok_or_else(|| HookError::Line(item.name.clone()))).collect()
}

/// Whether configuration files go with what is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purge {
    /// They stay.
    No,
    /// They go.
    Yes,
}

fn change(item: &HookItem, purge: Purge) -> Option<Change> {
    let version = |text: &Option<String>| text.as_ref().map(|text| text.parse()).transpose().ok();
    let arch = item.new_arch.as_ref().or(item.old_arch.as_ref())?;
    let package = PackageId { name: item.name.parse().ok()?, arch: arch.parse().ok()? };
    let (from, to) = (version(&item.old_version)?, version(&item.new_version)?);
    let action = match (&item.action, item.direction, purge) {
        (HookAction::Remove, _, Purge::No) => PlanAction::Remove,
        (HookAction::Remove, _, Purge::Yes) => PlanAction::Purge,
        (HookAction::Configure, ..) => PlanAction::Reinstall,
        (HookAction::Install(_), ..) if from.is_none() => PlanAction::Install,
        (HookAction::Install(_), Direction::Up, _) => PlanAction::Upgrade,
        (HookAction::Install(_), Direction::Same, _) => PlanAction::Reinstall,
        (HookAction::Install(_), Direction::Down, _) => PlanAction::Downgrade,
    };
    let archive = match &item.action {
        HookAction::Install(path) => Some(PathBuf::from(path)),
        HookAction::Configure | HookAction::Remove => None,
    };
    Some(Change { package, action, from, to, archive })
}

fn line_3(line: &str) -> Option<HookItem> {
    let mut words = line.splitn(9, ' ');
    let mut next = || words.next();
    let (name, old_version, old_arch, _old_multi) = (next()?, next()?, next()?, next()?);
    let (way, new_version, new_arch, _new_multi, what) = (next()?, next()?, next()?, next()?, next()?);
    Some(HookItem {
        name: name.to_owned(),
        old_version: known(old_version),
        old_arch: known(old_arch),
        direction: direction(way)?,
        new_version: known(new_version),
        new_arch: known(new_arch),
        action: action(what),
    })
}

fn line_2(line: &str) -> Option<HookItem> {
    let mut words = line.splitn(5, ' ');
    let mut next = || words.next();
    let (name, old_version, way, new_version, what) = (next()?, next()?, next()?, next()?, next()?);
    Some(HookItem {
        name: name.to_owned(),
        old_version: known(old_version),
        old_arch: None,
        direction: direction(way)?,
        new_version: known(new_version),
        new_arch: None,
        action: action(what),
    })
}

fn known(word: &str) -> Option<String> {
    (word != "-").then(|| word.to_owned())
}

fn direction(word: &str) -> Option<Direction> {
    match word {
        "<" => Some(Direction::Up),
        "=" => Some(Direction::Same),
        ">" => Some(Direction::Down),
        _ => None,
    }
}

fn action(word: &str) -> HookAction {
    match word {
        "**CONFIGURE**" => HookAction::Configure,
        "**REMOVE**" => HookAction::Remove,
        path => HookAction::Install(path.to_owned()),
    }
}

/// How what apt is about to do differs from a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("apt would do something else than the plan: {}", .differences.join("; "))]
pub struct Mismatch {
    /// One sentence for each package.
    pub differences: Vec<String>,
}

/// What finally happens to a package: gone, or at a version.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Deed {
    verb: &'static str,
    from: Option<String>,
    to: Option<String>,
}

impl Deed {
    fn text(&self) -> String {
        let version = |version: &Option<String>| version.clone().unwrap_or_else(|| "nothing".to_owned());
        format!("{} from {} to {}", self.verb, version(&self.from), version(&self.to))
    }
}

/// Compares. A plan of marks or of a restore expects an empty list.
pub fn compare(plan: &Plan, hook: &[HookItem]) -> Result<(), Mismatch> {
    let with_arch = hook.iter().all(|item| item.old_arch.is_some() || item.new_arch.is_some());
    let expected: BTreeMap<String, Deed> = plan.items.iter().filter_map(|item| planned(item, with_arch)).collect();
    let found = announced(hook);
    let by_dpkg: BTreeSet<String> = if purges_all(plan) { BTreeSet::new() } else { purged(plan, with_arch) };
    let mut differences = Vec::new();
    for (key, deed) in &expected {
        match found.get(key) {
            // What an earlier removal left is purged by dpkg after apt-get, which then does not announce it.
            None if by_dpkg.contains(key) => {}
            None => differences.push(format!("{key} stays, the plan says {}", deed.text())),
            Some(other) if other != deed => differences.push(format!("{key}: {}, the plan says {}", other.text(), deed.text())),
            Some(_) => {}
        }
    }
    for (key, deed) in found.iter().filter(|(key, _)| !expected.contains_key(*key)) {
        differences.push(format!("{key}: {}, the plan says nothing", deed.text()));
    }
    if differences.is_empty() { Ok(()) } else { Err(Mismatch { differences }) }
}

fn purged(plan: &Plan, with_arch: bool) -> BTreeSet<String> {
    let purged = plan.items.iter().filter(|item| item.action == PlanAction::Purge);
    purged.filter_map(|item| planned(item, with_arch)).map(|(key, _)| key).collect()
}

fn planned(item: &PlanItem, with_arch: bool) -> Option<(String, Deed)> {
    let verb = match item.action {
        PlanAction::Install | PlanAction::Upgrade | PlanAction::Downgrade | PlanAction::Reinstall => "install",
        PlanAction::Remove | PlanAction::Purge => "remove",
        PlanAction::Hold | PlanAction::Unhold => return None,
    };
    let text = |version: &Option<_>| version.as_ref().map(ToString::to_string);
    let key = if with_arch { item.package.to_string() } else { item.package.name.to_string() };
    Some((key, Deed { verb, from: text(&item.from), to: text(&item.to) }))
}

/// A package can stand on several lines: removed for a while and unpacked again, unpacked and configured. The
/// unpacking decides; configuring alone finishes something else and is a deed of its own.
fn announced(hook: &[HookItem]) -> BTreeMap<String, Deed> {
    let mut deeds: BTreeMap<String, Deed> = BTreeMap::new();
    let rank = |verb: &str| ["configure", "remove", "install"].iter().position(|known| *known == verb);
    for item in hook {
        let (verb, arch) = match item.action {
            HookAction::Install(_) => ("install", &item.new_arch),
            HookAction::Configure => ("configure", &item.new_arch),
            HookAction::Remove => ("remove", &item.old_arch),
        };
        let key = arch.as_ref().map_or_else(|| item.name.clone(), |arch| format!("{}:{arch}", item.name));
        let deed = Deed { verb, from: item.old_version.clone(), to: item.new_version.clone() };
        if deeds.get(&key).is_none_or(|known| rank(known.verb) < rank(verb)) {
            deeds.insert(key, deed);
        }
    }
    deeds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{item, plan};

    const INSTALL: &str = "VERSION 3\nAPT::Architecture=amd64\nDir=/\n\n\
        openssl - - none < 3.0-1 amd64 foreign /var/cache/apt/archives/openssl_3.0-1_amd64.deb\n\
        ca - - none < 2023 all foreign /var/cache/apt/archives/ca_2023_all.deb\n\
        gone 1 amd64 none > - - none **REMOVE**\n\
        openssl - - none < 3.0-1 amd64 foreign **CONFIGURE**\n\
        ca - - none < 2023 all foreign **CONFIGURE**\n";

    #[test]
    fn the_same_set_passes_whatever_the_verb_for_going_is() {
        let hook = parse(INSTALL).expect("parses");
        assert_eq!(hook.len(), 5);
        for going in [PlanAction::Remove, PlanAction::Purge] {
            let plan = plan(vec![
                item(PlanAction::Install, "openssl:amd64", None, Some("3.0-1")),
                item(PlanAction::Install, "ca:all", None, Some("2023")),
                item(going, "gone:amd64", Some("1"), None),
            ]);
            assert_eq!(compare(&plan, &hook), Ok(()));
        }
    }

    #[test]
    fn every_difference_is_named() {
        let hook = parse(INSTALL).expect("parses");
        let plan = plan(vec![
            item(PlanAction::Install, "openssl:amd64", None, Some("3.0-2")),
            item(PlanAction::Install, "ca:amd64", None, Some("2023")),
            item(PlanAction::Install, "gone:amd64", None, Some("1")),
        ]);
        let differences = compare(&plan, &hook).expect_err("differs").differences.join("\n");
        for part in ["openssl:amd64", "ca:amd64 stays", "ca:all: install", "gone:amd64: remove"] {
            assert!(differences.contains(part), "{part} in {differences}");
        }
    }

    #[test]
    fn a_package_removed_for_a_while_counts_by_its_unpacking() {
        let text = "VERSION 3\n\nxx 1 amd64 none > - - none **REMOVE**\nxx 1 amd64 none < 2 amd64 none /x.deb\nxx 1 amd64 none < 2 amd64 none **CONFIGURE**\n";
        let plan = plan(vec![item(PlanAction::Upgrade, "xx:amd64", Some("1"), Some("2"))]);
        assert_eq!(compare(&plan, &parse(text).expect("parses")), Ok(()));
    }

    #[test]
    fn configuring_what_the_plan_does_not_know_is_a_difference() {
        let text = "VERSION 3\n\ny 1 amd64 none = 1 amd64 none **CONFIGURE**\n";
        assert!(compare(&plan(Vec::new()), &parse(text).expect("parses")).is_err());
    }

    #[test]
    fn every_package_comes_to_one_change() {
        let text = "VERSION 3\n\nold 1 amd64 none < 2 amd64 none /x/old.deb\nback 2 all none > 1 all none /x/back.deb\n\
            again 1 all none = 1 all none /x/again.deb\nhalf 1 all none = 1 all none **CONFIGURE**\n\
            new - - none < 1:1-1 all none /x/new.deb\ngone 1 amd64 none > - - none **REMOVE**\n\
            old 1 amd64 none < 2 amd64 none **CONFIGURE**\nnew - - none < 1:1-1 all none **CONFIGURE**\n";
        let hook = parse(text).expect("parses");
        let of = |purge| {
            let changes = changes(&hook, purge).expect("changes");
            changes.iter().map(|change| format!("{} {}", change.action, change.package)).collect::<Vec<_>>()
        };
        let expected = [
            "reinstall again:all",
            "downgrade back:all",
            "remove gone:amd64",
            "reinstall half:all",
            "install new:all",
            "upgrade old:amd64",
        ];
        assert_eq!(of(Purge::No), expected);
        assert_eq!(of(Purge::Yes)[2], "purge gone:amd64");
        let changes = changes(&hook, Purge::No).expect("changes");
        assert_eq!(changes[3].archive, None, "what is only configured has no archive");
        assert_eq!(changes[5].archive.as_deref(), Some(std::path::Path::new("/x/old.deb")));
        assert_eq!((changes[4].from.as_ref(), changes[4].to.as_ref().map(Version::as_str)), (None, Some("1:1-1")));
    }

    #[test]
    fn a_package_without_an_architecture_has_no_identity() {
        let hook = parse("VERSION 2\n\nhello 1 = 1 /a.deb\n").expect("parses");
        assert!(changes(&hook, Purge::No).is_err());
    }

    #[test]
    fn settings_are_read_with_what_apt_quotes() {
        let text = "VERSION 3\nAPT::Get::Purge=1\nCommandLine::AsString=apt-get%20install%20-o%20a%3db%20100%\n\nx=y\n";
        assert_eq!(setting(text, "APT::Get::Purge").as_deref(), Some("1"));
        assert_eq!(setting(text, "CommandLine::AsString").as_deref(), Some("apt-get install -o a=b 100%"));
        assert_eq!((setting(text, "x"), setting(text, "Dir")), (None, None));
    }

    #[test]
    fn protocol_two_and_damaged_input() {
        let items = parse("VERSION 2\nA=1\n\nhello 1 = 1 /a.deb\nhello 1 = 1 **CONFIGURE**\n").expect("parses");
        assert_eq!((items[0].direction, items[0].action.clone()), (Direction::Same, HookAction::Install("/a.deb".into())));
        let plan = plan(vec![item(PlanAction::Reinstall, "hello:amd64", Some("1"), Some("1"))]);
        assert_eq!(compare(&plan, &items), Ok(()));
        assert!(matches!(parse("VERSION 4\n\n"), Err(HookError::Protocol(_))));
        assert!(matches!(parse("VERSION 3\n"), Err(HookError::NoList)));
        assert!(matches!(parse("VERSION 3\n\nx y\n"), Err(HookError::Line(_))));
    }

    #[test]
    fn leftovers_that_dpkg_purges_afterwards_need_not_be_announced() {
        let hook = parse("VERSION 3\n\ngone 1 amd64 none > - - none **REMOVE**\n").expect("parses");
        let leftover = item(PlanAction::Purge, "old:amd64", Some("1"), None);
        let mixed = plan(vec![item(PlanAction::Remove, "gone:amd64", Some("1"), None), leftover.clone()]);
        assert_eq!(compare(&mixed, &hook), Ok(()));
        let purges_only = plan(vec![item(PlanAction::Purge, "gone:amd64", Some("1"), None), leftover]);
        assert!(compare(&purges_only, &hook).is_err(), "apt-get announces leftovers when it purges itself");
    }
}
