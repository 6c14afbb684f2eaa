//! apt's configuration, as apt-get would see it for this request.

use std::path::PathBuf;

use backstep_core::{Architecture, Options};
use rust_apt::config::{Config, ConfigTree};

use crate::Settings;

/// libapt's configuration; global in the process, so that this value is only its name.
pub(crate) struct Configuration {
    config: Config,
}

impl Configuration {
    /// Reads the system's configuration, then what is set for apt-get alone, then `settings`, then the request's
    /// choices. Must run before the first cache is opened.
    pub(crate) fn load(settings: &Settings, options: &Options) -> Self {
        let config = Config::new();
        if let Some(tree) = config.tree("Binary::apt-get") {
            apply_subtree(&config, &tree, "Binary::apt-get::");
        }
        for (key, value) in settings {
            config.set(key, value);
        }
        if let Some(recommends) = options.recommends {
            config.set("APT::Install-Recommends", if recommends { "true" } else { "false" });
        }
        if options.override_hold {
            config.set("APT::Ignore-Hold", "true");
        }
        Self { config }
    }

    /// dpkg's status file.
    pub(crate) fn status(&self) -> PathBuf {
        PathBuf::from(self.config.file("Dir::State::status", "/var/lib/dpkg/status"))
    }

    /// dpkg's database folder.
    pub(crate) fn admin(&self) -> PathBuf {
        let mut path = self.status();
        path.pop();
        path
    }

    /// apt's marks.
    pub(crate) fn extended_states(&self) -> PathBuf {
        PathBuf::from(self.config.file("Dir::State::extended_states", "/var/lib/apt/extended_states"))
    }

    /// Where apt keeps downloaded archives.
    pub(crate) fn archives(&self) -> PathBuf {
        PathBuf::from(self.config.dir("Dir::Cache::archives", "/var/cache/apt/archives/"))
    }

    /// The root of the system that is planned for.
    pub(crate) fn root(&self) -> PathBuf {
        PathBuf::from(self.config.dir("Dir", "/"))
    }

    /// The architectures, the native one first.
    pub(crate) fn architectures(&self) -> Vec<String> {
        self.config.get_architectures()
    }

    /// The native architecture, when it is one.
    pub(crate) fn native(&self) -> Option<Architecture> {
        self.config.get("APT::Architecture")?.parse().ok()
    }

    /// Whether libapt's own solver is the one to ask.
    pub(crate) fn solves_itself(&self) -> bool {
        self.config.get("APT::Solver").is_none_or(|solver| solver.is_empty() || solver == "internal")
    }

    /// Whether the system removes unneeded packages with every change.
    pub(crate) fn always_autoremoves(&self) -> bool {
        self.config.bool("APT::Get::AutomaticRemove", false)
    }
}

fn apply_subtree(config: &Config, tree: &ConfigTree, prefix: &str) {
    let mut next = tree.child();
    while let Some(item) = next {
        if let (Some(tag), Some(value)) = (item.full_tag(), item.value()) {
            config.set(tag.strip_prefix(prefix).unwrap_or(&tag), &value);
        }
        apply_subtree(config, &item, prefix);
        next = item.sibling();
    }
}
