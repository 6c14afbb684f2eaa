//! dpkg's smaller files: file lists, conffiles, checksums, diversions, stat overrides, alternatives.
//!
//! Paths are texts as dpkg writes them: absolute, one a line. Absent: looking at any of them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// `info/<package>.list`: every path of a package, folders included; `/.` is the root. Names need not be text.
#[must_use]
pub fn file_list(list: &[u8]) -> Vec<PathBuf> {
    let lines = list.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"/"));
    lines.map(|line| PathBuf::from(OsStr::from_bytes(if line == b"/." { b"/" } else { line }))).collect()
}

/// `info/<package>.conffiles`: paths, each perhaps after the flag `remove-on-upgrade`.
#[must_use]
pub fn conffiles(text: &str) -> Vec<PathBuf> {
    text.lines()
        .map(|line| line.strip_prefix("remove-on-upgrade ").unwrap_or(line).trim_end())
        .filter(|line| line.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

/// `info/<package>.md5sums`: path (made absolute) and MD5 in hexadecimal.
#[must_use]
pub fn md5sums(text: &str) -> Vec<(PathBuf, String)> {
    let line = |line: &str| {
        let (sum, path) = line.split_once("  ")?;
        (sum.len() == 32 && !path.is_empty()).then(|| (PathBuf::from(format!("/{path}")), sum.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

/// One diversion: who ships `from` finds it at `to`, unless it is `package`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diversion {
    /// The path as packages name it.
    pub from: PathBuf,
    /// Where it lies instead.
    pub to: PathBuf,
    /// The package that is not diverted; none for a local diversion.
    pub package: Option<String>,
}

/// `diversions`: three lines each; `:` is a local diversion.
#[must_use]
pub fn diversions(text: &str) -> Vec<Diversion> {
    let lines: Vec<&str> = text.lines().collect();
    let one =
        |three: &[&str]| Diversion { from: three[0].into(), to: three[1].into(), package: (three[2] != ":").then(|| three[2].to_owned()) };
    lines.chunks_exact(3).map(one).collect()
}

/// One stat override. Owner and group are names, or `#` and a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatOverride {
    /// Owner.
    pub owner: String,
    /// Group.
    pub group: String,
    /// Mode bits.
    pub mode: u32,
    /// Which path.
    pub path: PathBuf,
}

/// `statoverride`: owner, group, octal mode and path.
#[must_use]
pub fn stat_overrides(text: &str) -> Vec<StatOverride> {
    let line = |line: &str| {
        let mut words = line.splitn(4, ' ');
        let (owner, group, mode, path) = (words.next()?, words.next()?, words.next()?, words.next()?);
        Some(StatOverride {
            owner: owner.to_owned(),
            group: group.to_owned(),
            mode: u32::from_str_radix(mode, 8).ok()?,
            path: PathBuf::from(path),
        })
    };
    text.lines().filter_map(line).collect()
}

/// What an alternative manages, names only: its own link and its followers'.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternative {
    /// Whether the best choice is taken by itself.
    pub automatic: bool,
    /// The generic link, for example `/usr/bin/editor`.
    pub link: PathBuf,
    /// Followers: name under `/etc/alternatives` and generic link.
    pub followers: Vec<(String, PathBuf)>,
    /// The files one can choose from.
    pub choices: Vec<PathBuf>,
}

/// `alternatives/<name>`; `None` when it is no such file.
#[must_use]
pub fn alternative(text: &str) -> Option<Alternative> {
    let mut lines = text.lines();
    let automatic = match lines.next()? {
        "auto" => true,
        "manual" => false,
        _ => return None,
    };
    let link = PathBuf::from(lines.next()?);
    let mut followers = Vec::new();
    loop {
        match lines.next()? {
            "" => break,
            name => followers.push((name.to_owned(), PathBuf::from(lines.next()?))),
        }
    }
    let mut choices = Vec::new();
    while let Some(path) = lines.next().filter(|line| !line.is_empty()) {
        choices.push(PathBuf::from(path));
        // A priority and one target for each follower; an empty target means that it has none.
        for _ in 0..=followers.len() {
            lines.next()?;
        }
    }
    Some(Alternative { automatic, link, followers, choices })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_conffiles_and_sums() {
        let odd = PathBuf::from(OsStr::from_bytes(b"/usr/bin/\xff b"));
        assert_eq!(file_list(b"/.\n/usr\n/usr/bin/\xff b\nodd\n\n"), [PathBuf::from("/"), "/usr".into(), odd]);
        assert_eq!(conffiles("/etc/a\nremove-on-upgrade /etc/b\n"), [PathBuf::from("/etc/a"), "/etc/b".into()]);
        let sum = "0123456789abcdef0123456789abcdef";
        assert_eq!(md5sums(&format!("{sum}  usr/bin/a b\nodd\n")), [(PathBuf::from("/usr/bin/a b"), sum.to_owned())]);
    }

    #[test]
    fn diversions_and_overrides() {
        let found = diversions("/bin/sh\n/bin/sh.distrib\ndash\n/bin/yes\n/bin/no\n:\n");
        assert_eq!((found[0].package.as_deref(), found[1].package.as_deref()), (Some("dash"), None));
        assert_eq!(found[1].to, PathBuf::from("/bin/no"));
        let found = stat_overrides("root crontab 2755 /usr/bin/crontab\n#1000 root 0644 /a b\nodd\n");
        assert_eq!((found[0].mode, found[1].path.clone(), found.len()), (0o2755, PathBuf::from("/a b"), 2));
    }

    #[test]
    fn alternatives_are_read_with_followers_that_have_no_target() {
        let text =
            "auto\n/usr/bin/editor\neditor.1.gz\n/usr/share/man/man1/editor.1.gz\n\n/bin/nano\n40\n/m/nano.1.gz\n/usr/bin/vi\n30\n\n\n";
        let found = alternative(text).expect("an alternative");
        assert!(found.automatic);
        assert_eq!(found.followers, [("editor.1.gz".to_owned(), PathBuf::from("/usr/share/man/man1/editor.1.gz"))]);
        assert_eq!(found.choices, [PathBuf::from("/bin/nano"), "/usr/bin/vi".into()]);
        assert_eq!(alternative("what\n"), None);
    }
}
