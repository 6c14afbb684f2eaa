//! dpkg, asked about archives and systems below folders.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use backstep_core::{PackageId, Version};
use tempfile::TempDir;

/// A folder of the test's own.
pub(crate) struct Scratch {
    folder: TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("folder") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A system of which dpkg knows nothing.
    pub(crate) fn bare(&self) -> PathBuf {
        let root = self.path("root");
        for folder in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "var/log", "tmp", "dev"] {
            fs::create_dir_all(root.join(folder)).expect("folder");
        }
        fs::create_dir(root.join("etc")).expect("folder");
        for (path, text) in [("var/lib/dpkg/status", ""), ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"), ("etc/group", "root:x:0:\n")] {
            fs::write(root.join(path), text).expect("file");
        }
        root
    }

    /// Such a system with the merged `/usr` of this machine, and the content of archives, so that scripts find their
    /// programs.
    pub(crate) fn system(&self, archives: &[PathBuf]) -> PathBuf {
        let root = self.bare();
        for alias in ["bin", "sbin", "lib", "lib64"] {
            if let Ok(target) = fs::read_link(Path::new("/").join(alias)) {
                fs::create_dir_all(root.join(&target)).expect("folder");
                std::os::unix::fs::symlink(target, root.join(alias)).expect("link");
            }
        }
        for archive in archives {
            let payload = Command::new("dpkg-deb").arg("--fsys-tarfile").arg(archive).output().expect("dpkg-deb").stdout;
            let tar = self.path("payload.tar");
            fs::write(&tar, payload).expect("payload");
            // As dpkg does: a link to a folder stays.
            run("tar", &["-x", "-f", &tar.to_string_lossy(), "--keep-directory-symlink", "-C", &root.to_string_lossy()]);
        }
        root
    }
}

/// What a program says; it must succeed, but for `dpkg --verify`, which says by its status that it found something.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).env("LC_ALL", "C.UTF-8").output().expect(program);
    let fine = output.status.success() || arguments.contains(&"--verify");
    assert!(fine, "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn is_root() -> bool {
    run("id", &["-u"]).trim() == "0"
}

pub(crate) fn is_installed(name: &str) -> bool {
    let output = Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}\n", name]).output().expect("dpkg-query");
    String::from_utf8_lossy(&output.stdout).lines().next() == Some("installed")
}

pub(crate) fn installed(name: &str) -> (PackageId, Version) {
    let said = run("dpkg-query", &["-W", "-f", "${Package}:${Architecture} ${Version}\n", name]);
    let (package, version) = said.lines().next().and_then(|line| line.split_once(' ')).expect("package");
    (package.parse().expect("package"), version.parse().expect("version"))
}

/// Packages and what they need that is installed here, each once.
pub(crate) fn with_needs(names: &[&str]) -> Vec<String> {
    let mut found: Vec<String> = names.iter().filter(|name| is_installed(name)).map(|name| (*name).to_owned()).collect();
    let mut next = 0;
    while next < found.len() {
        let needs = run("dpkg-query", &["-W", "-f", "${Pre-Depends}, ${Depends}\n", &found[next]]);
        let first = needs.lines().next().unwrap_or_default();
        for need in first.split([',', '|']).filter_map(|need| need.split_whitespace().next()) {
            let name = need.split(':').next().unwrap_or(need);
            if !found.iter().any(|known| known == name) && is_installed(name) {
                found.push(name.to_owned());
            }
        }
        next += 1;
    }
    found
}

/// The archive that a package came from, when the repositories still have it.
pub(crate) fn original(name: &str, scratch: &Scratch) -> Option<PathBuf> {
    let (package, version) = installed(name);
    let folder = scratch.path(&format!("{name}.original"));
    fs::create_dir(&folder).expect("folder");
    let options = ["-o", "APT::Sandbox::User=", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=10"];
    let wanted = format!("{}:{}={version}", package.name, package.arch);
    let said = Command::new("apt-get").args(options).args(["-qq", "download", &wanted]).current_dir(&folder).output().expect("apt-get");
    let found = fs::read_dir(&folder).expect("folder").filter_map(|entry| entry.ok().map(|entry| entry.path())).next();
    found.filter(|_| said.status.success())
}

/// Paths of an archive, absolute, with everything that its inner archive says of them but the time, and a digest.
pub(crate) fn contents(archive: &Path) -> BTreeMap<String, String> {
    let payload = Command::new("dpkg-deb").arg("--fsys-tarfile").arg(archive).output().expect("dpkg-deb");
    assert!(payload.status.success(), "{}", String::from_utf8_lossy(&payload.stderr));
    let mut archive = tar::Archive::new(payload.stdout.as_slice());
    let mut contents = BTreeMap::new();
    for entry in archive.entries().expect("entries") {
        let mut entry = entry.expect("entry");
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = format!("/{}", path.trim_start_matches("./").trim_end_matches('/'));
        contents.insert(path, told(&mut entry));
    }
    contents
}

fn told(entry: &mut tar::Entry<'_, &[u8]>) -> String {
    use md5::{Digest, Md5};
    let mut sum = Md5::new();
    std::io::copy(entry, &mut HashedInto(&mut sum)).expect("content");
    let header = entry.header();
    let numbers = (header.mode().expect("mode") & 0o7777, header.uid().expect("uid"), header.gid().expect("gid"));
    let target = entry.link_name_bytes().map(|name| String::from_utf8_lossy(&name).into_owned());
    let names = (header.username().ok().flatten(), header.groupname().ok().flatten());
    let (size, sum) = (header.size().expect("size"), sum.finalize());
    format!("{:?} {:o} {} {} {names:?} {size} {target:?} {sum:?}", header.entry_type(), numbers.0, numbers.1, numbers.2)
}

struct HashedInto<'a>(&'a mut md5::Md5);

impl std::io::Write for HashedInto<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        md5::Digest::update(self.0, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The members of the control archive but the control file, each with its mode and content.
pub(crate) fn control_members(archive: &Path, scratch: &Scratch) -> BTreeMap<String, (u32, Vec<u8>)> {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir_in(scratch.folder.path()).expect("folder");
    run("dpkg-deb", &["--control", &archive.to_string_lossy(), &folder.path().to_string_lossy()]);
    let entries = fs::read_dir(folder.path()).expect("members").map(|entry| entry.expect("member").path());
    let members = entries.filter(|path| !path.ends_with("control")).map(|path| {
        let mode = fs::metadata(&path).expect("metadata").permissions().mode() & 0o777;
        let name = path.file_name().expect("name").to_string_lossy().into_owned();
        (name, (mode, fs::read(path).expect("content")))
    });
    members.collect()
}

/// Unpacks all archives below a root, as dpkg does it; scripts run inside that root.
pub(crate) fn unpack(root: &Path, archives: &[PathBuf]) -> String {
    let mut dpkg = Command::new("dpkg");
    dpkg.arg("--root").arg(root).args(["--force-depends", "--unpack"]).args(archives);
    let output = dpkg.env("LC_ALL", "C.UTF-8").env("DEBIAN_FRONTEND", "noninteractive").output().expect("dpkg");
    if output.status.success() { String::new() } else { String::from_utf8_lossy(&output.stderr).into_owned() }
}

/// A field of a package that was unpacked below a root.
pub(crate) fn query(root: &Path, field: &str, name: &str) -> String {
    run("dpkg-query", &["--root", &root.to_string_lossy(), "-W", "-f", &format!("${{{field}}}"), name])
}

/// What md5sum says against the archive's own list of sums.
pub(crate) fn wrong_sums(archive: &Path, scratch: &Scratch) -> String {
    let folder = tempfile::tempdir_in(scratch.folder.path()).expect("folder");
    let sums = folder.path().join("sums");
    let listed = Command::new("dpkg-deb").args(["--info", &archive.to_string_lossy(), "md5sums"]).output().expect("dpkg-deb");
    fs::write(&sums, listed.stdout).expect("sums");
    let root = folder.path().join("root");
    run("dpkg-deb", &["--extract", &archive.to_string_lossy(), &root.to_string_lossy()]);
    let checked = Command::new("md5sum").args(["--quiet", "--check"]).arg(&sums).current_dir(&root).output().expect("md5sum");
    String::from_utf8_lossy(&checked.stdout).lines().filter(|line| !line.ends_with("FAILED open or read")).collect()
}

pub(crate) fn same_paths(name: &str, found: &[String], expected: &[String]) {
    let odd: Vec<&String> = found.iter().filter(|path| !expected.contains(path)).collect();
    let gone: Vec<&String> = expected.iter().filter(|path| !found.contains(path)).collect();
    assert!(odd.is_empty() && gone.is_empty(), "{name}: too many {odd:?}, missing {gone:?}");
}
