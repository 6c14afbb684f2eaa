//! Tiny Debian packages, made to order.
//!
//! Purpose: a test says in a few lines what a package contains and what its scripts do; `dpkg-deb` builds it.
//! Invariants: everything is owned by root, times are the same in every build, so the same description gives the
//! same bytes. Absent on purpose: sources, signatures, checks: a test may want a broken package.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command;

/// A second in the past that the files of all packages carry, so that nobody tells two versions by their times.
const BUILD_TIME: u32 = 1_700_000_000;

/// A maintainer script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// Runs before the files are unpacked.
    Preinst,
    /// Runs after the files are unpacked, to configure.
    Postinst,
    /// Runs before the files go away.
    Prerm,
    /// Runs after the files went away.
    Postrm,
    /// Debconf's questions.
    Config,
}

impl Script {
    fn file_name(self) -> &'static str {
        match self {
            Self::Preinst => "preinst",
            Self::Postinst => "postinst",
            Self::Prerm => "prerm",
            Self::Postrm => "postrm",
            Self::Config => "config",
        }
    }
}

#[derive(Debug, Clone)]
enum Content {
    File { bytes: Vec<u8>, mode: u32 },
    Symlink { target: String },
    Directory { mode: u32 },
}

/// The description of a package; [`Package::build`] makes the archive.
#[derive(Debug, Clone)]
#[must_use = "a description is not yet an archive: call build, or add it to a repository"]
pub struct Package {
    name: String,
    version: String,
    architecture: String,
    fields: Vec<(String, String)>,
    contents: Vec<(String, Content)>,
    control_files: Vec<(&'static str, String, u32)>,
    conffiles: Vec<String>,
    build_time: u32,
}

impl Package {
    /// A package for all architectures, without files or scripts.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "all".to_owned(),
            fields: Vec::new(),
            contents: Vec::new(),
            control_files: Vec::new(),
            conffiles: Vec::new(),
            build_time: BUILD_TIME,
        }
    }

    /// Makes its files so many seconds younger than those of others.
    pub fn younger(mut self, seconds: u32) -> Self {
        self.build_time += seconds;
        self
    }

    /// Sets the architecture, e.g. `amd64`.
    pub fn architecture(mut self, architecture: &str) -> Self {
        self.architecture = architecture.to_owned();
        self
    }

    /// Adds a field to the control file, e.g. `Provides`, `Essential`, `Multi-Arch`.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets what the package depends on, in control file syntax.
    pub fn depends(self, relations: &str) -> Self {
        self.field("Depends", relations)
    }

    /// Sets what the package conflicts with, in control file syntax.
    pub fn conflicts(self, relations: &str) -> Self {
        self.field("Conflicts", relations)
    }

    /// Adds a file with mode 0644 at an absolute path.
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.file_with_mode(path, content, 0o644)
    }

    /// Adds a file at an absolute path.
    pub fn file_with_mode(self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> Self {
        self.content(path, Content::File { bytes: content.as_ref().to_vec(), mode })
    }

    /// Adds a program: a file with mode 0755 at an absolute path.
    pub fn program(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.file_with_mode(path, content, 0o755)
    }

    /// Adds a configuration file, which dpkg handles as such.
    pub fn conffile(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.conffiles.push(path.to_owned());
        self.file(path, content)
    }

    /// Adds a symbolic link.
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.content(path, Content::Symlink { target: target.to_owned() })
    }

    /// Adds an empty directory.
    pub fn directory(self, path: &str, mode: u32) -> Self {
        self.content(path, Content::Directory { mode })
    }

    /// Adds a systemd unit file, e.g. `example.service`. It is neither enabled nor started.
    pub fn unit(self, name: &str, content: &str) -> Self {
        self.file(&format!("/lib/systemd/system/{name}"), content)
    }

    /// Adds a service that runs for ever and is enabled and started by the usual calls in the maintainer scripts.
    pub fn service(self, name: &str) -> Self {
        let unit = format!("{name}.service");
        self.unit(&unit, "[Service]\nExecStart=/usr/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n")
            .script(
                Script::Postinst,
                &format!("deb-systemd-helper enable {unit}\nsystemctl daemon-reload\ndeb-systemd-invoke restart {unit}\n"),
            )
            .script(Script::Prerm, &format!("[ \"$1\" != remove ] || deb-systemd-invoke stop {unit}\n"))
            .script(Script::Postrm, &format!("systemctl daemon-reload\n[ \"$1\" != purge ] || deb-systemd-helper purge {unit}\n"))
    }

    /// Sets a maintainer script; the line that names the shell and `set -e` are put before `body`.
    pub fn script(mut self, script: Script, body: &str) -> Self {
        self.control_files.push((script.file_name(), format!("#!/bin/sh\nset -e\n{body}\n"), 0o755));
        self
    }

    /// Sets a maintainer script that fails with exit code 1 whenever its first argument is one of `verbs`.
    pub fn failing_script(self, script: Script, verbs: &[&str]) -> Self {
        let file = script.file_name();
        let body = format!("case \"$1\" in {}) echo '{file} fails on purpose' >&2; exit 1;; esac", verbs.join("|"));
        self.script(script, &body)
    }

    /// Sets the package's triggers file.
    pub fn triggers(mut self, content: &str) -> Self {
        self.control_files.push(("triggers", format!("{content}\n"), 0o644));
        self
    }

    /// The name of the archive file.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}_{}_{}.deb", self.name, self.version.replace(':', "%3a"), self.architecture)
    }

    /// Builds the archive into `folder`, which must exist, and returns its path; an earlier build is replaced.
    pub fn build(&self, folder: &Path) -> Result<PathBuf> {
        let tree = tempfile::tempdir().context("cannot make a folder for the package's files")?;
        let archive = folder.join(self.file_name());
        self.write_contents(tree.path())?;
        self.write_control(&tree.path().join("DEBIAN"))?;
        fs::set_permissions(tree.path(), PermissionsExt::from_mode(0o755))?;
        let mut build = command::host("dpkg-deb", ["--root-owner-group", "-Zgzip", "--nocheck", "--build"]);
        build.arg(tree.path()).arg(&archive).env("SOURCE_DATE_EPOCH", self.build_time.to_string());
        command::output(&mut build)?.success()?;
        Ok(archive)
    }

    fn content(mut self, path: &str, content: Content) -> Self {
        self.contents.push((path.to_owned(), content));
        self
    }

    fn write_contents(&self, tree: &Path) -> Result<()> {
        for (path, content) in &self.contents {
            let target = tree.join(path.trim_start_matches('/'));
            write_content(&target, content).with_context(|| format!("cannot write {path} of {}", self.name))?;
        }
        Ok(())
    }

    fn write_control(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("control"), self.control())?;
        if !self.conffiles.is_empty() {
            fs::write(folder.join("conffiles"), self.conffiles.join("\n") + "\n")?;
        }
        for (name, content, mode) in &self.control_files {
            write_file(&folder.join(name), content.as_bytes(), *mode)?;
        }
        Ok(())
    }

    fn control(&self) -> String {
        let Self { name, version, architecture, .. } = self;
        let extra: String = self.fields.iter().map(|(field, value)| format!("{field}: {value}\n")).collect();
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: Test <test@test.invalid>\n\
             Section: misc\nPriority: optional\n{extra}Description: made for a test\n"
        )
    }
}

fn write_content(target: &Path, content: &Content) -> Result<()> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    match content {
        Content::File { bytes, mode } => write_file(target, bytes, *mode),
        Content::Symlink { target: link } => Ok(symlink(link, target)?),
        Content::Directory { mode } => {
            fs::create_dir_all(target)?;
            Ok(fs::set_permissions(target, PermissionsExt::from_mode(*mode))?)
        }
    }
}

fn write_file(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    fs::write(path, bytes)?;
    Ok(fs::set_permissions(path, PermissionsExt::from_mode(mode))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archive_holds_what_was_described() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let package =
            Package::new("bs-one", "1:2.0-1").depends("bs-two (>= 1)").conffile("/etc/one.conf", "a\n").program("/usr/bin/one", "#!");
        let archive = package.build(folder.path())?;
        assert_eq!(archive.file_name().and_then(|name| name.to_str()), Some("bs-one_1%3a2.0-1_all.deb"));
        let archive = archive.to_string_lossy();
        let field = |name: &str| command::run("dpkg-deb", ["--field", &archive, name]).map(|output| output.stdout);
        assert_eq!(field("Version")?, "1:2.0-1\n");
        assert_eq!(field("Depends")?, "bs-two (>= 1)\n");
        assert_eq!(command::run("dpkg-deb", ["--info", &archive, "conffiles"])?.stdout, "/etc/one.conf\n");
        let list = command::run("dpkg-deb", ["--contents", &archive])?.stdout;
        assert!(list.contains("-rwxr-xr-x root/root"), "{list}");
        Ok(())
    }

    #[test]
    fn same_description_gives_the_same_bytes() -> Result<()> {
        let (one, two) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let package = Package::new("bs-same", "1").file("/usr/share/same", "x").script(Script::Postinst, "true");
        assert_eq!(fs::read(package.build(one.path())?)?, fs::read(package.build(two.path())?)?);
        Ok(())
    }
}
