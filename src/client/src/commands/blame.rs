//! `backstep blame`: which transactions changed a file.

use std::path::{Path, PathBuf};

use nix::unistd::Uid;
use serde_json::Value;

use crate::error::ClientError;
use crate::record_args::BlameArgs;
use crate::render::{blame as table, record_json, time};
use crate::session::Session;
use crate::ui::Ui;

/// Prints the transactions that changed a path, newest first.
pub(crate) async fn blame(session: &Session, ui: &Ui, args: &BlameArgs) -> Result<u8, ClientError> {
    let path = resolved(&args.path);
    // A path that is not UTF-8 is recorded with replacement characters, too.
    let rows = session.record().await?.find_file(&path.to_string_lossy(), args.limit.unwrap_or(0)).await?;
    if ui.json {
        ui.line(&rows.iter().map(record_json::blame_row).collect::<Value>().to_string())?;
    } else if rows.is_empty() {
        let seen = if Uid::effective().is_root() { "" } else { " of yours" };
        let more = if seen.is_empty() { "" } else { " Those of others: sudo backstep blame" };
        ui.note(&format!("No transaction{seen} is known that changed it.{more}"))?;
    } else {
        ui.write(&table::table(ui, &rows, time::now_us()))?;
    }
    Ok(0)
}

/// As the record has it: from the root, without symbolic links on the way. The last part stays: it may be a link itself,
/// or be gone.
pub(super) fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let resolved = absolute.parent().zip(absolute.file_name()).map(|(dir, name)| dir.canonicalize().map(|dir| dir.join(name)));
    resolved.and_then(Result::ok).unwrap_or(absolute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_on_the_way_are_followed_and_the_last_one_is_not() {
        let dir = tempfile::tempdir().expect("tempdir");
        let root = dir.path().canonicalize().expect("root");
        std::fs::create_dir(root.join("usr")).expect("mkdir");
        std::os::unix::fs::symlink("usr", root.join("bin")).expect("link");
        assert_eq!(resolved(&root.join("bin/gone")), root.join("usr/gone"));
        assert_eq!(resolved(&root.join("bin")), root.join("bin"));
        assert_eq!(resolved(&root.join("none/./x")), root.join("none/x"));
        assert_eq!(resolved(Path::new("/")), Path::new("/"));
    }
}
