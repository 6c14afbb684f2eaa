//! Whether dpkg was interrupted before us, and at which packages.

use backstep_core::PackageId;
use backstep_core::count::named;

use crate::status::{Flag, State, Status};

/// What an interrupted dpkg left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interrupted {
    /// Packages that are half installed, half configured, unpacked only, or damaged; with their state's word.
    pub packages: Vec<(PackageId, &'static str)>,
    /// Whether changes to the database wait in `updates/`.
    pub updates: bool,
}

impl Interrupted {
    /// For people, naming at most ten packages.
    #[must_use]
    pub fn text(&self) -> String {
        if self.packages.is_empty() {
            return "dpkg was interrupted while it wrote its database".to_owned();
        }
        let packages: Vec<String> = self.packages.iter().map(|(package, state)| format!("{package} ({state})")).collect();
        format!("dpkg was interrupted: {}", named(&packages, 10))
    }
}

/// Decides. `updates` are the names of the files in dpkg's `updates` folder; only numbered ones are dpkg's
/// journal. Waiting triggers are no interruption: every next run of dpkg processes them.
pub fn interrupted<'a>(status: &Status, updates: impl IntoIterator<Item = &'a str>) -> Option<Interrupted> {
    let packages: Vec<_> =
        status.iter().filter_map(|(package, entry)| half_done(entry.state, entry.flag).map(|word| (package.clone(), word))).collect();
    let updates = updates.into_iter().any(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit()));
    (updates || !packages.is_empty()).then_some(Interrupted { packages, updates })
}

const fn half_done(state: State, flag: Flag) -> Option<&'static str> {
    match (state, flag) {
        (State::HalfInstalled | State::Unpacked | State::HalfConfigured, Flag::Ok) => Some(state.as_str()),
        (_, Flag::ReinstRequired) => Some("reinst-required"),
        (State::NotInstalled | State::ConfigFiles | State::TriggersAwaited | State::TriggersPending | State::Installed, Flag::Ok) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(words: &str) -> Status {
        Status::parse(format!("Package: ab\nStatus: {words}\nArchitecture: amd64\nVersion: 1\n").as_bytes()).expect("parses")
    }

    #[test]
    fn half_done_packages_are_named() {
        for words in ["install ok unpacked", "install ok half-configured", "install ok half-installed", "install reinstreq installed"] {
            let found = interrupted(&status(words), []).expect(words);
            assert!(found.text().contains("ab:amd64"), "{}", found.text());
        }
    }

    #[test]
    fn settled_packages_and_waiting_triggers_are_fine() {
        for words in ["install ok installed", "deinstall ok config-files", "install ok triggers-pending", "install ok triggers-awaited"] {
            assert_eq!(interrupted(&status(words), ["tmp.i"]), None, "{words}");
        }
    }

    #[test]
    fn a_database_journal_counts() {
        let found = interrupted(&status("install ok installed"), ["0000"]).expect("interrupted");
        assert!(found.updates && found.packages.is_empty());
        assert!(found.text().contains("database"));
    }
}
