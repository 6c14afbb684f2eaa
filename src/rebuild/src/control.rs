//! The control archive: the package's own members, and a control file that says what this archive is.

use std::path::{Path, PathBuf};

use backstep_core::TransactionId;

use crate::conffiles::Conffiles;
use crate::database::{Database, Package};
use crate::entry::Entries;
use crate::error::{Of, RebuildError, Result};
use crate::former::{Former, Kind, Node, bytes};

/// The field that marks a rebuilt archive: its value is the transaction from whose undo material it was made. dpkg shows it
/// of the installed package, too.
pub const MARK: &str = "Backstep-Rebuilt-From";
/// Configuration files that are as they were found, and not as they were shipped.
const EDITED: &str = "Backstep-Rebuilt-Edited";
/// Configuration files that the archive is without.
const WITHOUT: &str = "Backstep-Rebuilt-Without";
/// What dpkg adds to a stanza, and what an earlier rebuild did.
const NOT_THE_PACKAGES: [&str; 8] =
    ["Status", "Config-Version", "Conffiles", "Triggers-Pending", "Triggers-Awaited", MARK, EDITED, WITHOUT];
/// Members that dpkg runs.
const SCRIPTS: [&str; 5] = ["preinst", "postinst", "prerm", "postrm", "config"];

/// Writes all members.
pub(crate) fn write(
    database: &Database<'_>,
    package: &Package,
    conffiles: &Conffiles,
    from: TransactionId,
    mut entries: Entries<'_>,
) -> Result<()> {
    let former = database.former;
    let made = former.look(&package.list_path).of(&package.list_path)?.map_or(0, |node| node.mtime);
    let error = RebuildError::Write;
    entries.add(Path::new("/"), &node(Kind::Directory, 0o755, (0, made))).map_err(error)?;
    add(&mut entries, "control", &control(package, conffiles, from), made)?;
    for (member, path) in &package.members {
        let (content, mtime) = own(former, path)?;
        let content = if member == "conffiles" { without(&content, &conffiles.left_out) } else { content };
        if !content.is_empty() {
            add(&mut entries, member, &content, mtime)?;
        }
    }
    entries.finish().map_err(error)
}

fn add(entries: &mut Entries<'_>, member: &str, content: &[u8], mtime: i64) -> Result<()> {
    let mode = if SCRIPTS.contains(&member) { 0o755 } else { 0o644 };
    let node = node(Kind::File, mode, (content.len() as u64, mtime));
    entries.file(&Path::new("/").join(member), &node, &mut &*content).map_err(RebuildError::Write)
}

fn own(former: &dyn Former, path: &Path) -> Result<(Vec<u8>, i64)> {
    let mtime = former.look(path).of(path)?.map_or(0, |node| node.mtime);
    Ok((bytes(former, path).of(path)?, mtime))
}

const fn node(kind: Kind, mode: u32, (size, mtime): (u64, i64)) -> Node {
    Node { kind, mode, uid: 0, gid: 0, size, mtime, family: None }
}

/// The package's stanza without dpkg's own fields, and with ours.
fn control(package: &Package, conffiles: &Conffiles, from: TransactionId) -> Vec<u8> {
    let mut text = Vec::new();
    let mut kept = true;
    for line in &package.stanza {
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
            kept = !NOT_THE_PACKAGES.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()));
        }
        if kept {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
    }
    text.extend_from_slice(format!("{MARK}: {from}\n").as_bytes());
    for (field, paths) in [(EDITED, &conffiles.edited), (WITHOUT, &conffiles.left_out)] {
        if !paths.is_empty() {
            let paths: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
            text.extend_from_slice(format!("{field}: {}\n", paths.join(", ")).as_bytes());
        }
    }
    text
}

/// A list of configuration files without some.
fn without(member: &[u8], left_out: &[PathBuf]) -> Vec<u8> {
    let is_in = |line: &&[u8]| !left_out.iter().any(|path| path.to_string_lossy().as_bytes() == line.trim_ascii_end());
    let lines = member.split_inclusive(|byte| *byte == b'\n').filter(is_in);
    lines.flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_control_file_is_the_packages_own_and_says_what_it_is() {
        let stanza = "Package: aa\nStatus: install ok installed\nArchitecture: all\nVersion: 1\nConffiles:\n /etc/a 00\n /etc/b 11 obsolete\n\
            Depends: b (>= 1)\nTriggers-Awaited: c\nbackstep-rebuilt-from: earlier\nDescription: x\n y\n .\n\tz";
        let package = Package {
            id: "aa:all".parse().expect("package"),
            stanza: stanza.lines().map(|line| line.as_bytes().to_vec()).collect(),
            conffiles: Vec::new(),
            list: Vec::new(),
            list_path: PathBuf::new(),
            members: BTreeMap::new(),
        };
        let from = "01936b2e-7c1a-7d3e-9f10-0123456789ab".parse().expect("id");
        let conffiles = Conffiles { edited: vec!["/etc/a".into(), "/etc/c".into()], ..Conffiles::default() };
        let expected = "Package: aa\nArchitecture: all\nVersion: 1\nDepends: b (>= 1)\nDescription: x\n y\n .\n\tz\n\
            Backstep-Rebuilt-From: 01936b2e-7c1a-7d3e-9f10-0123456789ab\nBackstep-Rebuilt-Edited: /etc/a, /etc/c\n";
        assert_eq!(String::from_utf8(control(&package, &conffiles, from)).expect("text"), expected);
    }

    #[test]
    fn what_is_left_out_is_no_configuration_file_of_the_archive() {
        let member = b"/etc/a\n/etc/ab\nremove-on-upgrade /etc/a\n";
        assert_eq!(without(member, &["/etc/a".into()]), b"/etc/ab\nremove-on-upgrade /etc/a\n");
    }
}
