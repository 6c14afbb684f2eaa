//! dpkg's database as text: `/var/lib/dpkg/status`.
//!
//! Invariant: an entry is keyed by name and architecture; what has no architecture (a selection for a package
//! that dpkg never saw) is no package and is left out. Absent: reading the file, and every field that no
//! decision of ours needs.

use std::collections::BTreeMap;

use backstep_core::recovery::PackageFact;
use backstep_core::{PackageId, Version};

/// Why a text is no status file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatusError {
    /// A stanza without a usable name.
    #[error("cannot read the status file: a stanza names the package {0:?}")]
    Package(String),
    /// The status field has no three known words.
    #[error("cannot read the status file: {package} has the status {status:?}")]
    Status {
        /// Which package.
        package: String,
        /// What stands there.
        status: String,
    },
    /// A version outside Debian's grammar.
    #[error("cannot read the status file: {package} has the version {version:?}")]
    Version {
        /// Which package.
        package: String,
        /// What stands there.
        version: String,
    },
}

macro_rules! word {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            /// dpkg's word for it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            fn of(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

word! {
    /// What the administrator wants.
    Want {
        /// Nothing is known.
        Unknown = "unknown",
        /// Installed.
        Install = "install",
        /// Kept as it is.
        Hold = "hold",
        /// Removed.
        Deinstall = "deinstall",
        /// Removed with its configuration files.
        Purge = "purge",
    }
}

word! {
    /// Whether the package is damaged.
    Flag {
        /// It is not.
        Ok = "ok",
        /// It must be unpacked again before anything else.
        ReinstRequired = "reinstreq",
    }
}

word! {
    /// How far dpkg came.
    State {
        /// No trace.
        NotInstalled = "not-installed",
        /// Removed; configuration files stay.
        ConfigFiles = "config-files",
        /// Unpacking or removing was interrupted.
        HalfInstalled = "half-installed",
        /// Unpacked, never configured.
        Unpacked = "unpacked",
        /// Configuring was interrupted.
        HalfConfigured = "half-configured",
        /// Waits for another package's triggers.
        TriggersAwaited = "triggers-awaited",
        /// Has triggers to process.
        TriggersPending = "triggers-pending",
        /// Done.
        Installed = "installed",
    }
}

/// A configuration file that dpkg keeps for a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conffile {
    /// Absolute path.
    pub path: String,
    /// MD5 of the content that the package shipped, or `newconffile`.
    pub md5: String,
    /// Shipped by an earlier version only.
    pub obsolete: bool,
}

/// One package in dpkg's database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DpkgEntry {
    /// What the administrator wants.
    pub want: Want,
    /// Whether it is damaged.
    pub flag: Flag,
    /// How far dpkg came.
    pub state: State,
    /// The version unpacked or, for leftovers, the last one.
    pub version: Option<Version>,
    /// The version last configured, when dpkg keeps it apart from `version`.
    pub config_version: Option<Version>,
    /// Its configuration files, in dpkg's order.
    pub conffiles: Vec<Conffile>,
    /// `Essential: yes`.
    pub essential: bool,
    /// `Protected: yes` or the older `Important: yes`.
    pub protected: bool,
    /// The space it takes in KiB, as it claims; 0 when it does not say.
    pub installed_size: u64,
    /// Packages whose triggers it waits for.
    pub triggers_awaited: Vec<String>,
    /// Triggers it has still to process.
    pub triggers_pending: Vec<String>,
}

impl DpkgEntry {
    /// `Installed` with nothing left to do.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        matches!((self.state, self.flag), (State::Installed, Flag::Ok))
    }

    /// The journal's form: the state, a blank, the version; `not-installed` alone when there is no trace.
    #[must_use]
    pub fn text(&self) -> String {
        match (&self.version, self.state) {
            (Some(version), state) if state != State::NotInstalled => format!("{} {version}", state.as_str()),
            _ => self.state.as_str().to_owned(),
        }
    }
}

/// dpkg's database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    entries: BTreeMap<PackageId, DpkgEntry>,
}

impl Status {
    /// Reads the status file. Bytes that are no UTF-8 can only stand in fields that are not looked at.
    pub fn parse(bytes: &[u8]) -> Result<Self, StatusError> {
        let text = String::from_utf8_lossy(bytes);
        let mut entries = BTreeMap::new();
        for stanza in stanzas(&text) {
            if let Some((package, entry)) = entry(stanza)? {
                entries.insert(package, entry);
            }
        }
        Ok(Self { entries })
    }

    /// What dpkg knows of a package.
    #[must_use]
    pub fn get(&self, package: &PackageId) -> Option<&DpkgEntry> {
        self.entries.get(package)
    }

    /// Everything, by name and architecture.
    pub fn iter(&self) -> impl Iterator<Item = (&PackageId, &DpkgEntry)> {
        self.entries.iter()
    }

    /// The entries of one name, by architecture.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a PackageId, &'a DpkgEntry)> {
        self.entries.iter().filter(move |(package, _)| package.name.as_str() == name)
    }

    /// The facts that recovery and the check step compare with a plan.
    #[must_use]
    pub fn fact(&self, package: &PackageId) -> PackageFact {
        match self.get(package) {
            Some(entry) if entry.state != State::NotInstalled => PackageFact {
                version: entry.version.clone().or_else(|| entry.config_version.clone()),
                settled: entry.is_settled(),
                config_files: entry.state == State::ConfigFiles,
            },
            Some(_) | None => PackageFact { version: None, settled: false, config_files: false },
        }
    }

    /// The journal's form of [`DpkgEntry::text`]; `not-installed` for an unknown package.
    #[must_use]
    pub fn text(&self, package: &PackageId) -> String {
        self.get(package).map_or_else(|| State::NotInstalled.as_str().to_owned(), DpkgEntry::text)
    }
}

/// The stanzas of a deb822 text: runs of lines between empty ones.
pub(crate) fn stanzas(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n\n").map(|stanza| stanza.trim_matches('\n')).filter(|stanza| !stanza.is_empty())
}

#[derive(Default)]
struct Fields<'a> {
    package: Option<&'a str>,
    arch: Option<&'a str>,
    status: Option<&'a str>,
    version: Option<&'a str>,
    config_version: Option<&'a str>,
    essential: bool,
    protected: bool,
    size: u64,
    awaited: &'a str,
    pending: &'a str,
    conffiles: Vec<Conffile>,
}

fn fields(stanza: &str) -> Fields<'_> {
    let mut found = Fields::default();
    let mut in_conffiles = false;
    for line in stanza.lines() {
        if let Some(continued) = line.strip_prefix(' ') {
            if in_conffiles {
                found.conffiles.extend(conffile(continued));
            }
            continue;
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        in_conffiles = name == "Conffiles";
        match name {
            "Package" => found.package = Some(value),
            "Architecture" => found.arch = Some(value),
            "Status" => found.status = Some(value),
            "Version" => found.version = Some(value),
            "Config-Version" => found.config_version = Some(value),
            "Essential" => found.essential = value == "yes",
            "Protected" | "Important" => found.protected |= value == "yes",
            "Installed-Size" => found.size = value.parse().unwrap_or(0),
            "Triggers-Awaited" => found.awaited = value,
            "Triggers-Pending" => found.pending = value,
            _ => {}
        }
    }
    found
}

/// ` /path md5[ obsolete][ remove-on-upgrade]`; a path may hold blanks, the rest cannot.
fn conffile(line: &str) -> Option<Conffile> {
    let (rest, on_upgrade) = strip_word(line.trim(), "remove-on-upgrade");
    let (rest, obsolete) = strip_word(rest, "obsolete");
    let (path, md5) = rest.rsplit_once(' ')?;
    Some(Conffile { path: path.to_owned(), md5: md5.to_owned(), obsolete: obsolete || on_upgrade })
}

fn strip_word<'a>(line: &'a str, word: &str) -> (&'a str, bool) {
    match line.strip_suffix(word).and_then(|rest| rest.strip_suffix(' ')) {
        Some(rest) => (rest, true),
        None => (line, false),
    }
}

fn entry(stanza: &str) -> Result<Option<(PackageId, DpkgEntry)>, StatusError> {
    let found = fields(stanza);
    let name = found.package.unwrap_or_default();
    let Some(arch) = found.arch else { return Ok(None) };
    let package = match (name.parse(), arch.parse()) {
        (Ok(name), Ok(arch)) => PackageId { name, arch },
        _ => return Err(StatusError::Package(name.to_owned())),
    };
    let (want, flag, state) = status_words(name, found.status.unwrap_or_default())?;
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    let entry = DpkgEntry {
        want,
        flag,
        state,
        version: version(name, found.version)?,
        config_version: version(name, found.config_version)?,
        conffiles: found.conffiles,
        essential: found.essential,
        protected: found.protected,
        installed_size: found.size,
        triggers_awaited: words(found.awaited),
        triggers_pending: words(found.pending),
    };
    Ok(Some((package, entry)))
}

fn status_words(package: &str, status: &str) -> Result<(Want, Flag, State), StatusError> {
    let mut words = status.split_whitespace();
    let mut next = || words.next().unwrap_or_default();
    match (Want::of(next()), Flag::of(next()), State::of(next())) {
        (Some(want), Some(flag), Some(state)) => Ok((want, flag, state)),
        _ => Err(StatusError::Status { package: package.to_owned(), status: status.to_owned() }),
    }
}

fn version(package: &str, text: Option<&str>) -> Result<Option<Version>, StatusError> {
    let bad = |text: &str| StatusError::Version { package: package.to_owned(), version: text.to_owned() };
    text.map(|text| text.parse().map_err(|_| bad(text))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "Package: hello\nEssential: yes\nInstalled-Size: 280\nStatus: hold ok installed\nArchitecture: amd64\nVersion: 2.10-3\n\
        Conffiles:\n /etc/hello 0123 obsolete\n /etc/a b ffff\nDescription: x\n .\n more\n\n\
        Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1.0\nConfig-Version: 1.0\n\n\
        Package: torn\nStatus: install reinstreq half-installed\nArchitecture: amd64\nVersion: 1:2\nProtected: yes\n\n\
        Package: wish\nStatus: install ok not-installed\n\n\
        Package: sleepy\nStatus: install ok triggers-awaited\nArchitecture: amd64\nVersion: 3\nTriggers-Awaited: man-db libc-bin\n";

    fn id(text: &str) -> PackageId {
        text.parse().expect("id")
    }

    #[test]
    fn every_field_we_need_is_read() {
        let status = Status::parse(SAMPLE.as_bytes()).expect("parses");
        let hello = status.get(&id("hello:amd64")).expect("hello");
        assert_eq!((hello.want, hello.flag, hello.state), (Want::Hold, Flag::Ok, State::Installed));
        assert!(hello.essential && !hello.protected);
        assert_eq!(hello.installed_size, 280);
        assert_eq!(hello.conffiles[0], Conffile { path: "/etc/hello".into(), md5: "0123".into(), obsolete: true });
        assert_eq!(hello.conffiles[1].path, "/etc/a b");
        assert!(status.get(&id("torn:amd64")).expect("torn").protected);
        assert_eq!(status.get(&id("sleepy:amd64")).expect("sleepy").triggers_awaited, ["man-db", "libc-bin"]);
        assert_eq!(status.iter().count(), 4, "a wish without an architecture is no package");
    }

    #[test]
    fn facts_and_texts() {
        let status = Status::parse(SAMPLE.as_bytes()).expect("parses");
        assert_eq!(status.text(&id("hello:amd64")), "installed 2.10-3");
        assert_eq!(status.text(&id("gone:all")), "config-files 1.0");
        assert_eq!(status.text(&id("nobody:all")), "not-installed");
        assert!(status.fact(&id("hello:amd64")).settled);
        assert!(status.fact(&id("gone:all")).config_files);
        let torn = status.fact(&id("torn:amd64"));
        assert!(!torn.settled && torn.version.is_some());
        assert_eq!(status.fact(&id("nobody:all")).version, None);
        assert!(!status.fact(&id("sleepy:amd64")).settled);
    }

    #[test]
    fn what_is_damaged_is_named() {
        let bad = |text: &str| Status::parse(text.as_bytes()).expect_err("damaged").to_string();
        assert!(bad("Package: a/b\nArchitecture: amd64\nStatus: install ok installed\n").contains("a/b"));
        assert!(bad("Package: ab\nArchitecture: amd64\nStatus: install ok\n").contains("ab"));
        assert!(bad("Package: ab\nArchitecture: amd64\nStatus: install ok installed\nVersion: !\n").contains("ab"));
    }

    #[test]
    fn three_thousand_packages_are_read_quickly() {
        let one = |n: usize| {
            format!(
                "Package: pkg{n}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.{n}\nDepends: {}\nDescription: x\n {}\n",
                "libc6 (>= 2.36), ".repeat(8),
                "words ".repeat(60)
            )
        };
        let text = (0..3000).map(one).collect::<Vec<_>>().join("\n");
        let start = std::time::Instant::now();
        assert_eq!(Status::parse(text.as_bytes()).expect("parses").iter().count(), 3000);
        assert!(start.elapsed().as_millis() < 2_000, "{:?}", start.elapsed());
    }
}
