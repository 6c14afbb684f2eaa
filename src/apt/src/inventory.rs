//! What dpkg's database was when it was last accounted for: a text to compare it with.
//!
//! Purpose: what changes without a transaction is found by comparing two inventories. Invariants: packages without a
//! trace are left out; a text that is not whole is no inventory. Versions have no order here: a version that changed is
//! an upgrade unless it is plain that it is not. Absent: files but for the mark of one, and who changed it.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use backstep_core::drift::Drift;
use backstep_core::{Digest, PackageId, PlanAction, Version};

use crate::status::{State, Status, Want};

const HEAD: &str = "backstep inventory 1";

/// What changes whenever dpkg writes its database: it replaces the file each time.
pub fn mark(status: &Path) -> std::io::Result<String> {
    let meta = std::fs::metadata(status)?;
    Ok(format!("{} {}.{:09} {}", meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len()))
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// dpkg's word, with the version.
    word: String,
    held: bool,
}

/// The packages of a system at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// What changes whenever dpkg writes its database; opaque.
    pub mark: String,
    /// The world at that moment.
    pub world: Digest,
    entries: BTreeMap<PackageId, Entry>,
}

impl Inventory {
    /// Of a database that was read.
    #[must_use]
    pub fn of(status: &Status, mark: String, world: Digest) -> Self {
        let seen = status.iter().filter(|(_, entry)| entry.state != State::NotInstalled);
        let entry = |entry: &crate::status::DpkgEntry| Entry { word: entry.text(), held: entry.want == Want::Hold };
        Self { mark, world, entries: seen.map(|(package, known)| (package.clone(), entry(known))).collect() }
    }

    /// As a text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEAD}\nmark {}\nworld {}\n", self.mark, self.world);
        for (package, entry) in &self.entries {
            text.push_str(&format!("{package}\t{}{}\n", entry.word, if entry.held { "\thold" } else { "" }));
        }
        text.push_str(&format!("end {}\n", self.entries.len()));
        text
    }

    /// Reads a text back; `None` when it is not whole.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        lines.next().filter(|head| *head == HEAD)?;
        let mark = lines.next()?.strip_prefix("mark ")?.to_owned();
        let world = lines.next()?.strip_prefix("world ")?.parse().ok()?;
        let mut entries = BTreeMap::new();
        for line in lines {
            if let Some(number) = line.strip_prefix("end ") {
                return (number.parse() == Ok(entries.len())).then_some(Self { mark, world, entries });
            }
            let mut cells = line.split('\t');
            let (package, word) = (cells.next()?.parse().ok()?, cells.next()?.to_owned());
            entries.insert(package, Entry { word, held: cells.next() == Some("hold") });
        }
        None
    }

    /// The mark alone, without reading the rest.
    #[must_use]
    pub fn mark_of(text: &str) -> Option<&str> {
        text.strip_prefix(HEAD)?.strip_prefix("\nmark ")?.split('\n').next()
    }

    /// What is different in a later one. What only waits for triggers, or for the end of that, is not.
    #[must_use]
    pub fn drift(&self, now: &Self) -> Vec<Drift> {
        let mut packages: Vec<&PackageId> = self.entries.keys().chain(now.entries.keys()).collect();
        packages.sort_unstable();
        packages.dedup();
        packages.into_iter().filter_map(|package| drift(package, self.entries.get(package), now.entries.get(package))).collect()
    }
}

/// The state and the version of a word.
fn parts(word: &str) -> (&str, Option<Version>) {
    let (state, version) = word.split_once(' ').map_or((word, None), |(state, version)| (state, Some(version)));
    let installed = !matches!(state, "config-files" | "not-installed");
    (state, version.filter(|_| installed).and_then(|version| version.parse().ok()))
}

fn is_done(state: &str) -> bool {
    matches!(state, "installed" | "triggers-awaited" | "triggers-pending")
}

fn drift(package: &PackageId, before: Option<&Entry>, after: Option<&Entry>) -> Option<Drift> {
    let word = |entry: Option<&Entry>| entry.map_or_else(|| "not-installed".to_owned(), |entry| entry.word.clone());
    let (old, new) = (word(before), word(after));
    let ((was, from), (is, to)) = (parts(&old), parts(&new));
    let held = |entry: Option<&Entry>| entry.is_some_and(|entry| entry.held);
    let same = from == to && (was == is || (is_done(was) && is_done(is)));
    let action = match (&from, &to) {
        (Some(_), Some(_)) if same && held(before) != held(after) => {
            if held(after) {
                PlanAction::Hold
            } else {
                PlanAction::Unhold
            }
        }
        _ if same => return None,
        (None, Some(_)) => PlanAction::Install,
        (Some(_), None) if is == "config-files" => PlanAction::Remove,
        (_, None) => PlanAction::Purge,
        (Some(old), Some(new)) if old == new => PlanAction::Reinstall,
        (Some(old), Some(new)) if is_plainly_earlier(new, old) => PlanAction::Downgrade,
        (Some(_), Some(_)) => PlanAction::Upgrade,
    };
    let settled = is_done(is) || matches!(is, "config-files" | "not-installed");
    Some(Drift { package: package.clone(), action, settled, from, to, before: old, after: new })
}

/// Whether the first place where two versions differ is a number, and the first one's is smaller. Only libapt orders
/// versions; this is for a word in the record, and nothing is decided by it.
fn is_plainly_earlier(one: &Version, other: &Version) -> bool {
    let numbers = |version: &Version| -> Vec<u64> {
        let text = version.as_str();
        let text = if text.contains(':') { text.to_owned() } else { format!("0:{text}") };
        text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
    };
    numbers(one) < numbers(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory(stanzas: &[(&str, &str, &str)]) -> Inventory {
        let stanza = |(name, status, version): &(&str, &str, &str)| {
            format!("Package: {name}\nStatus: {status}\nArchitecture: amd64\nVersion: {version}\n\n")
        };
        let status = Status::parse(stanzas.iter().map(stanza).collect::<String>().as_bytes()).expect("status");
        Inventory::of(&status, "7 1.5 9".into(), Digest([3; 32]))
    }

    const OK: &str = "install ok installed";

    #[test]
    fn a_text_is_read_back_or_is_none() {
        let one = inventory(&[("a1", OK, "1"), ("b1", "hold ok installed", "2:1-1"), ("c1", "deinstall ok config-files", "3")]);
        let text = one.to_text();
        assert_eq!(Inventory::parse(&text), Some(one));
        assert_eq!(Inventory::mark_of(&text), Some("7 1.5 9"));
        for cut in 0..text.len() {
            assert_eq!(Inventory::parse(&text[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn every_sort_of_change_is_told_and_nothing_else() {
        let before = inventory(&[
            ("back", OK, "1.10"),
            ("conf", "deinstall ok config-files", "1"),
            ("gone", OK, "1"),
            ("held", OK, "1"),
            ("same", OK, "1"),
            ("trig", "install ok triggers-pending", "1"),
            ("up", OK, "1.9"),
            ("went", OK, "1"),
        ]);
        let after = inventory(&[
            ("back", OK, "1.9"),
            ("gone", "deinstall ok config-files", "1"),
            ("half", "install ok half-configured", "4"),
            ("held", "hold ok installed", "1"),
            ("new", OK, "1"),
            ("same", OK, "1"),
            ("trig", OK, "1"),
            ("up", OK, "1.10"),
        ]);
        let told = before.drift(&after);
        let lines: Vec<String> = told.iter().map(|d| format!("{} {} {}", d.action, d.package.name, d.settled)).collect();
        let expected = [
            "downgrade back true",
            "purge conf true",
            "remove gone true",
            "install half false",
            "hold held true",
            "install new true",
            "upgrade up true",
            "purge went true",
        ];
        assert_eq!(lines, expected);
        assert_eq!((told[6].before.as_str(), told[6].after.as_str()), ("installed 1.9", "installed 1.10"));
        assert_eq!(before.drift(&before), []);
    }
}
