//! Machines that have Backstep.
//!
//! Purpose: one image with the packages of `make deb` installed by apt, as a user installs them. Absent on purpose:
//! programs straight from the build folder: what is tested is what is shipped.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::machine::{Image, Machine};

/// The Debian packages that `make deb` has built.
pub fn archives() -> Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../build/deb");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}: run make deb first", folder.display()))?;
    let mut archives = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    archives.retain(|path| path.extension().is_some_and(|extension| extension == "deb"));
    archives.sort();
    ensure!(archives.len() == 3, "{} holds {} packages, not 3: run make deb", folder.display(), archives.len());
    Ok(archives)
}

/// Those that every machine has: all but the one for the initramfs, which a container has none of.
pub fn usual_archives() -> Result<Vec<PathBuf>> {
    let mut archives = archives()?;
    archives.retain(|path| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("backstep-initramfs_")));
    Ok(archives)
}

/// Debian with Backstep; made anew when its packages or Debian's image change.
pub fn image() -> Result<Image> {
    Image::debian()?.with_archives("backstep", &usual_archives()?)
}

/// Boots a machine that has Backstep.
pub fn machine() -> Result<Machine> {
    Machine::boot(&image()?)
}
