//! Which Debian mirror the host uses.
//!
//! Purpose: a machine gets its packages from where the host gets its own, through the same proxy, so that the tests
//! run behind any company's wall. Absent on purpose: other distributions' sources and foreign repositories.

use std::fs;

use anyhow::Result;

use crate::command;

const SERVER: &str = "http://deb.debian.org";
/// The settings of apt that say how to reach a server and whether its clock is believed.
const SETTINGS: [&str; 5] =
    ["Acquire::http::Proxy ", "Acquire::https::Proxy ", "Acquire::http::Proxy::", "Acquire::Check-Valid-Until ", "Acquire::Check-Date "];

/// Where packages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mirror {
    /// Debian's main archive.
    pub(super) main: String,
    /// Debian's security archive.
    pub(super) security: String,
    /// The host's settings for reaching them, as lines of apt's configuration.
    pub(super) settings: String,
}

/// What the host's apt uses first, or Debian's own servers.
pub(super) fn of_host() -> Result<Mirror> {
    let texts: Vec<_> = source_files().into_iter().filter_map(|path| fs::read_to_string(path).ok()).collect();
    let first = |archive: &str| texts.iter().find_map(|text| first_mirror(text, archive)).unwrap_or_else(|| format!("{SERVER}/{archive}"));
    let settings = settings_in(&command::run("apt-config", ["dump"])?.stdout);
    Ok(Mirror { main: first("debian"), security: first("debian-security"), settings })
}

/// The lines of a configuration dump that a machine needs too.
fn settings_in(dump: &str) -> String {
    let wanted = |line: &&str| SETTINGS.iter().any(|setting| line.starts_with(setting)) && !line.ends_with("\"\";");
    dump.lines().filter(wanted).map(|line| format!("{line}\n")).collect()
}

fn source_files() -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir("/etc/apt/sources.list.d").map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "list" || extension == "sources"));
    files.sort();
    files.insert(0, "/etc/apt/sources.list".into());
    files
}

/// The first mirror of a Debian archive, `debian` or `debian-security`, in a source file of either format.
fn first_mirror(text: &str, archive: &str) -> Option<String> {
    let active = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let words = active.filter(|line| line.starts_with("deb ") || line.starts_with("URIs:")).flat_map(str::split_whitespace);
    let is_wanted = |word: &&str| word.starts_with("http") && word.rsplit('/').next() == Some(archive);
    words.map(|word| word.trim_end_matches('/')).find(is_wanted).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirror_is_found_in_both_formats() {
        let deb822 = "Types: deb\n# http://old.example/debian\nURIs: http://one.example/debian/\nSuites: bookworm\n";
        assert_eq!(first_mirror(deb822, "debian").as_deref(), Some("http://one.example/debian"));
        let list = "# deb http://old.example/debian x main\ndeb [signed-by=/k] https://two.example/pub/debian bookworm main\n";
        assert_eq!(first_mirror(list, "debian").as_deref(), Some("https://two.example/pub/debian"));
    }

    #[test]
    fn other_archives_are_passed_over() {
        let text = "deb http://a.example/debian-security bookworm-security main\ndeb https://b.example/node x main\n";
        assert_eq!(first_mirror(text, "debian"), None);
        assert_eq!(first_mirror(text, "debian-security").as_deref(), Some("http://a.example/debian-security"));
    }

    #[test]
    fn only_settings_with_a_value_are_kept() {
        let dump = "Acquire::http::Proxy \"\";\nAcquire::https::Proxy \"http://p.example:3128\";\nAcquire::Retries \"3\";\n";
        assert_eq!(settings_in(dump), "Acquire::https::Proxy \"http://p.example:3128\";\n");
    }
}
