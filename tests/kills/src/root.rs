//! The small system that is killed: Debian's own apt, dpkg and shell with what they need, and a
//! repository of tiny packages.
//!
//! Invariants: dpkg's database knows just what is there, so that a run of apt takes a tenth of a second; it is made
//! from the image that the machine tests boot. Absent on purpose: systemd, a bus, and perl.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result};
use backstep_tests::command;
use backstep_tests::machine::Image;
use backstep_tests::repository::{Repository, Transport};

use crate::cell::Cell;
use crate::scene::{AT_FIRST, EDITED, packages};

/// The packages whose files make the system.
const PARTS: &str = "apt base-files base-passwd coreutils dash debianutils diffutils dpkg findutils gcc-12-base grep gzip \
    libacl1 libapt-pkg6.0 libattr1 libbz2-1.0 libc-bin libc6 libcap2 libcrypt1 libffi8 libgcc-s1 libgcrypt20 libgmp10 \
    libgnutls30 libgpg-error0 libhogweed6 libidn2-0 liblz4-1 liblzma5 libmd0 libnettle8 libp11-kit0 libpcre2-8-0 \
    libseccomp2 libselinux1 libstdc++6 libsystemd0 libtasn1-6 libtinfo6 libudev1 libunistring2 libxxhash0 libzstd1 sed \
    tar zlib1g";
/// What nothing here reads.
const UNREAD: [&str; 9] = [
    "/usr/share/doc",
    "/usr/share/man",
    "/usr/share/locale",
    "/usr/share/info",
    "/usr/share/lintian",
    "/usr/share/bug",
    "/usr/lib/x86_64-linux-gnu/gconv",
    "/etc/apt/apt.conf.d/70debconf",
    "/etc/cron.daily",
];
/// Ours, which are shown to a cell from the folder that this program is in.
const PROGRAMS: [&str; 4] = ["backstep-worker", "backstep-dpkg", "backstep-planner", "backstep-recover"];
/// What no package owns and everything needs.
const UNOWNED: [&str; 7] = [
    "etc/passwd",
    "etc/group",
    "etc/shadow",
    "etc/ld.so.cache",
    "etc/apt/apt.conf.d/90test",
    "var/lib/dpkg/available",
    "etc/debian_version",
];
const FOLDERS: [&str; 15] = [
    "dev",
    "proc",
    "sys",
    "run",
    "tmp",
    "srv/repository",
    "srv/kills",
    "root",
    "var/tmp",
    "var/log/apt",
    "var/cache/apt/archives/partial",
    "var/lib/apt/lists/partial",
    "var/lib/dpkg/info",
    "var/lib/dpkg/updates",
    "var/lib/dpkg/triggers",
];
/// Folders that are links into `/usr`.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];
/// Fields of dpkg's database that name packages which are not here.
const RELATIONS: [&str; 9] =
    ["Depends:", "Pre-Depends:", "Recommends:", "Suggests:", "Breaks:", "Conflicts:", "Replaces:", "Enhances:", "Conffiles:"];

/// Makes the system in an empty folder.
pub fn make(root: &Path) -> Result<()> {
    Image::debian()?.with_root(|image| copy_parts(image, root))?;
    fs::create_dir_all(root.join("usr/libexec/backstep"))?;
    for program in PROGRAMS {
        symlink(Path::new("/srv/kills").join(program), root.join("usr/libexec/backstep").join(program))?;
    }
    let repository = Repository::new(&packages())?;
    command::run("cp", [Path::new("-r"), &repository.path().join("."), &root.join("srv/repository")])?;
    fs::set_permissions(root.join("srv/repository"), PermissionsExt::from_mode(0o755))?;
    fs::write(root.join("etc/apt/sources.list"), Repository::source_line("/srv/repository", Transport::Copy))?;
    let cell = Cell::at(root);
    cell.check(["apt-get", "-qq", "update"])?;
    cell.check(["apt-get", "-qq", "-y", "install"].into_iter().chain(AT_FIRST))?;
    // What these installations left for Backstep to take in is no part of the stories.
    command::run("rm", [Path::new("-rf"), &root.join("var/lib/backstep")])?;
    fs::write(root.join(EDITED), "edited by the administrator\n")?;
    cell.check(["apt-cache", "gencaches"]).map(drop)
}

fn copy_parts(image: &Path, root: &Path) -> Result<()> {
    let (admin, parts): (_, BTreeSet<&str>) = (image.join("var/lib/dpkg"), PARTS.split_whitespace().collect());
    for folder in FOLDERS {
        fs::create_dir_all(root.join(folder))?;
    }
    let mut paths: BTreeSet<String> = MERGED.map(str::to_owned).into();
    for entry in fs::read_dir(admin.join("info"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((package, kind)) = name.rsplit_once('.') else { continue };
        if !parts.contains(package.split(':').next().unwrap_or_default()) {
            continue;
        }
        if kind == "list" {
            let list = fs::read_to_string(entry.path())?;
            paths.extend(list.lines().filter(|path| is_read(path)).map(in_usr));
        }
        fs::copy(entry.path(), root.join("var/lib/dpkg/info").join(&name))?;
    }
    paths.extend(UNOWNED.map(str::to_owned));
    paths.retain(|path| !path.is_empty() && *path != "." && fs::symlink_metadata(image.join(path)).is_ok());
    copy(image, root, &paths)?;
    let status = fs::read_to_string(admin.join("status"))?;
    fs::write(root.join("var/lib/dpkg/status"), stanzas(&status, &parts))?;
    devices(root)
}

/// Where a path of a package really is: the database has the names from before the folders became links into `/usr`.
fn in_usr(path: &str) -> String {
    let path = path.trim_start_matches('/');
    let moved = MERGED.iter().any(|folder| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')));
    if moved { format!("usr/{path}") } else { path.to_owned() }
}

fn is_read(path: &str) -> bool {
    !UNREAD.iter().any(|folder| Path::new(path).starts_with(folder))
}

fn copy(image: &Path, root: &Path, paths: &BTreeSet<String>) -> Result<()> {
    let list = tempfile::NamedTempFile::new()?;
    fs::write(list.path(), paths.iter().map(|path| format!("{path}\n")).collect::<String>())?;
    let archive = tempfile::NamedTempFile::new()?;
    let words = ["--no-recursion", "-C"].map(Path::new);
    let from = [Path::new("-T"), list.path(), Path::new("-cf"), archive.path()];
    command::run("tar", words.into_iter().chain([image]).chain(from))?;
    let into = ["-xpf"].map(Path::new);
    command::run("tar", into.into_iter().chain([archive.path(), Path::new("-C"), root])).map(drop)
}

/// The stanzas of the parts, without the relations to packages that are not here.
fn stanzas(status: &str, parts: &BTreeSet<&str>) -> String {
    let name = |stanza: &str| stanza.lines().find_map(|line| line.strip_prefix("Package: ")).unwrap_or_default().to_owned();
    let ours = status.split("\n\n").filter(|stanza| parts.contains(name(stanza).as_str()));
    ours.map(|stanza| format!("{}\n", without_relations(stanza))).collect()
}

fn without_relations(stanza: &str) -> String {
    let (mut kept, mut keeps) = (String::new(), true);
    for line in stanza.lines() {
        if !line.starts_with(' ') {
            keeps = !RELATIONS.iter().any(|field| line.starts_with(field));
        }
        if keeps {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

fn devices(root: &Path) -> Result<()> {
    for (name, minor) in [("null", "3"), ("zero", "5"), ("urandom", "9")] {
        let path = root.join("dev").join(name);
        let path = path.to_str().context("a path that is no text")?;
        command::run("mknod", ["--mode=666", path, "c", "1", minor])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stanza_keeps_no_relation_and_no_part_of_one() {
        let stanza = "Package: a\nStatus: install ok installed\nConffiles:\n /etc/a 00\n /etc/b 01\nDepends: b\nVersion: 1";
        let text = stanzas(&format!("{stanza}\n\nPackage: b\nVersion: 2\n"), &["a"].into());
        assert_eq!(text, "Package: a\nStatus: install ok installed\nVersion: 1\n\n");
    }
}
