//! `/run/backstep/status.json`: what everybody may know, readable while the daemon is away.

use std::io;
use std::path::{Path, PathBuf};

use zbus::OwnedObjectPath;

/// The file.
#[derive(Debug)]
pub struct StatusFile {
    dir: PathBuf,
}

impl StatusFile {
    /// The file in a runtime directory, which must be there.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Replaces it. Paths of objects say which transactions; nothing private is in it.
    pub fn write(&self, active: &[OwnedObjectPath], queue: &[OwnedObjectPath], attention: &[OwnedObjectPath]) -> io::Result<()> {
        let ids = |paths: &[OwnedObjectPath]| -> serde_json::Value {
            paths.iter().filter_map(|path| path.rsplit('/').next()).map(|element| element.replace('_', "-")).collect()
        };
        let document = serde_json::json!({
            "version": 1,
            "daemon": env!("CARGO_PKG_VERSION"),
            "active": ids(active),
            "queue": ids(queue),
            "attention": ids(attention),
        });
        let tmp = self.dir.join(".status.json.tmp");
        std::fs::write(&tmp, format!("{document:#}\n"))?;
        std::fs::rename(tmp, self.dir.join("status.json"))
    }
}
