//! `/run/backstep/status.json`: what everybody may know, readable while the daemon is away.

use std::io;
use std::os::unix::fs::PermissionsExt;
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
    #[allow(clippy::disallowed_methods)] // Written beside and renamed; on a tmpfs there is nothing to sync.
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
        // The daemon's umask lets nobody else read; this file is for everybody.
        std::fs::set_permissions(&tmp, std::fs::Permissions::from_mode(0o644))?;
        std::fs::rename(tmp, self.dir.join("status.json"))
    }
}
