//! One entry for each reader of bytes that others may have written.
//!
//! An entry hands the bytes to the reader and checks what every answer must keep: what was read is what its own writer
//! says again, names are in Debian's grammar, nothing panics. The targets in `fuzz/` call these entries, and so does the
//! test that replays the corpus. Absent on purpose: what is right or wrong input; the readers' own tests say that.

mod apt;
mod capture;
// The daemon itself would bring the bus and the record along, which a fuzzer has to instrument and nobody looks at.
#[allow(dead_code, unreachable_pub, clippy::disallowed_methods)]
#[path = "../../../src/daemon/src/config.rs"]
mod config;
mod documents;
mod settings;
mod spool;

/// A reader's entry: it returns, whatever the bytes are.
pub type Entry = fn(&[u8]);

/// Every entry, by the name of its target and of its folder in the corpus.
pub const ALL: [(&str, Entry); 11] = [
    ("request", documents::request),
    ("plan", documents::plan),
    ("spool", spool::document),
    ("journal", documents::journal),
    ("status_fd", apt::status_fd),
    ("dpkg_status", apt::dpkg_status),
    ("deb822", apt::deb822),
    ("policy", settings::policy),
    ("deb", apt::payload),
    ("hook", apt::hook),
    ("capture", capture::files),
];

/// The entry of a name. Panics when there is none: a target of another name is a mistake of ours.
#[must_use]
pub fn entry(name: &str) -> Entry {
    let found = ALL.iter().find(|(known, _)| *known == name);
    found.map_or_else(|| panic!("no reader is called {name}"), |(_, entry)| *entry)
}

/// The bytes as text, as readers of texts get them.
fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
