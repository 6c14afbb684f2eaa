//! A tiny universe of packages in a folder of its own, seen by apt-get and by the planner alike.
//!
//! Unprivileged and offline: the repository is a folder, its archives need not exist.

use std::collections::BTreeSet;
use std::fs;
use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use backstep_core::{ArchiveSource, Digest, ItemAction, Kind, Options, PackageName, Plan, PlanAction, Request, RequestItem};
use backstep_planner::channel;
use backstep_wire::planner::{Answer, Question, Revert, answer_from_bytes, question_to_bytes};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// A root folder with a repository, a status file and marks.
pub(crate) struct Universe {
    folder: TempDir,
    /// What the planner is told to leave out.
    pub(crate) leave_out: Vec<PackageName>,
}

/// What a run does: verb (`Inst`, `Remv`, `Purg`), name, version afterwards (or before, when it goes).
pub(crate) type Deeds = BTreeSet<(String, String, String)>;

impl Universe {
    /// `available` are stanzas of the repository, `installed` stanzas of dpkg's database without a status line
    /// (it may be given), `auto` the marked names. In all of them `Architecture: amd64` is implied.
    pub(crate) fn new(available: &str, installed: &str, auto: &[&str], preferences: &str) -> Self {
        let universe = Self { folder: tempfile::tempdir().expect("folder"), leave_out: Vec::new() };
        let folders = ["repo", "etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/sources.list.d", "var/lib/apt/lists/partial"];
        for folder in folders.iter().chain(&["var/cache/apt/archives/partial", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/log/apt"])
        {
            fs::create_dir_all(universe.path(folder)).expect("folder");
        }
        let root = universe.folder.path().display().to_string();
        universe.write("etc/apt/sources.list", &format!("deb [trusted=yes] file:{root}/repo ./\n"));
        universe.write("etc/apt/preferences", preferences);
        universe.write(
            "apt.conf",
            &format!(
                "Dir \"{root}/\";\nDir::State::status \"{root}/var/lib/dpkg/status\";\nDir::Cache::pkgcache \"\";\n\
                 Dir::Cache::srcpkgcache \"\";\nAPT::Architecture \"amd64\";\nAPT::Sandbox::User \"\";\n\
                 APT::Install-Recommends \"true\";\nAcquire::Languages \"none\";\n"
            ),
        );
        universe.set_installed(installed, auto);
        universe.set_available(available);
        universe
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        fs::write(self.path(path), text).expect("write");
    }

    pub(crate) fn set_installed(&self, installed: &str, auto: &[&str]) {
        let stanza = |stanza: &str| {
            let status = if stanza.contains("Status:") { "" } else { "Status: install ok installed\n" };
            format!("{}{status}", complete(stanza))
        };
        self.write("var/lib/dpkg/status", &stanzas(installed).map(stanza).collect::<Vec<_>>().join("\n"));
        let marks = auto.iter().map(|name| format!("Package: {name}\nArchitecture: amd64\nAuto-Installed: 1\n\n")).collect::<String>();
        self.write("var/lib/apt/extended_states", &marks);
    }

    fn set_available(&self, available: &str) {
        let stanza = |stanza: &str| {
            let text = complete(stanza);
            let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
            let hash = hex(&Sha256::digest(text.as_bytes()));
            format!("{text}Filename: ./{}_{}.deb\nSize: 1000\nSHA256: {hash}\n", field("Package:"), field("Version:"))
        };
        let packages = stanzas(available).map(stanza).collect::<Vec<_>>().join("\n");
        self.write("repo/Packages", &packages);
        let hash = hex(&Sha256::digest(packages.as_bytes()));
        let release = format!(
            "Origin: Test\nSuite: stable\nVersion: 1.0\nCodename: tiny\nDate: Sat, 01 Jan 2022 00:00:00 UTC\nSHA256:\n {hash} {} Packages\n",
            packages.len()
        );
        self.write("repo/Release", &release);
        let update = self.apt_get(&["update"]);
        assert!(update.status.success(), "{}", String::from_utf8_lossy(&update.stderr));
    }

    /// Runs apt-get on this universe.
    pub(crate) fn apt_get(&self, arguments: &[&str]) -> std::process::Output {
        Command::new("apt-get")
            .args(["-q", "-c"])
            .arg(self.path("apt.conf"))
            .args(arguments)
            .env_clear()
            .envs([("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LC_ALL", "C.UTF-8")])
            .stdin(Stdio::null())
            .output()
            .expect("apt-get runs")
    }

    /// What apt-get would do; none when it says that it cannot.
    pub(crate) fn simulate(&self, arguments: &str) -> Option<Deeds> {
        let words: Vec<&str> = ["-s"].into_iter().chain(arguments.split_whitespace()).collect();
        let output = self.apt_get(&words);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then(|| text.lines().filter_map(deed).collect())
    }

    /// Asks the planner.
    pub(crate) fn ask(&self, request: Request) -> Answer {
        self.ask_with(request, &[], None)
    }

    /// Asks the planner, with archives and a transaction to undo.
    pub(crate) fn ask_with(&self, request: Request, archives: &[(ArchiveSource, PathBuf)], revert: Option<Revert>) -> Answer {
        self.ask_to_undo(request, archives, revert.into_iter().collect())
    }

    /// Asks the planner, with archives and transactions to undo, the newest first.
    pub(crate) fn ask_to_undo(&self, request: Request, archives: &[(ArchiveSource, PathBuf)], mut newest_first: Vec<Revert>) -> Answer {
        let revert = newest_first.pop();
        let listed = archives.iter().map(|(source, path)| {
            let bytes = fs::read(path).expect("archive");
            (*source, Digest(Sha256::digest(&bytes).into()), bytes.len() as u64)
        });
        let question = Question {
            leave_out: self.leave_out.clone(),
            transaction: "01936b2e-7c1a-7d3e-9f10-0123456789ab".parse().expect("id"),
            request_digest: Digest([1; 32]),
            archives: listed.collect(),
            request,
            revert,
            later: newest_first,
        };
        let (mine, theirs) = UnixStream::pair().expect("pair");
        let child = Command::new(env!("CARGO_BIN_EXE_backstep-planner"))
            .arg("--apt-config")
            .arg(self.path("apt.conf"))
            .env_clear()
            .envs([("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LC_ALL", "C.UTF-8")])
            .stdin(OwnedFd::from(theirs))
            .spawn();
        let mut child = child.expect("planner starts");
        let files: Vec<fs::File> = archives.iter().map(|(_, path)| fs::File::open(path).expect("archive")).collect();
        send(&mine, &question_to_bytes(&question), &files);
        let answer = channel::receive(mine.as_fd()).expect("an answer").0;
        assert!(child.wait().expect("planner ends").success());
        answer_from_bytes(&answer).expect("an answer of ours")
    }
}

fn send(socket: &UnixStream, message: &[u8], files: &[fs::File]) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let fds: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    }
    let head = (message.len() as u64).to_le_bytes();
    sendmsg(socket.as_fd(), &[IoSlice::new(&head)], &mut control, SendFlags::empty()).expect("head");
    let mut socket = socket;
    socket.write_all(message).expect("message");
}

fn stanzas(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n\n").map(str::trim).filter(|stanza| !stanza.is_empty())
}

fn complete(stanza: &str) -> String {
    let stanza = stanza.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let arch = if stanza.contains("Architecture:") { "" } else { "Architecture: amd64\n" };
    let size = if stanza.contains("Installed-Size:") { "" } else { "Installed-Size: 10\n" };
    format!("{stanza}\n{arch}Maintainer: T <t@example.org>\n{size}Description: tiny\n")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `Inst name [old] (new origin [arch])`, `Remv name [old]`, `Purg name [old]`.
fn deed(line: &str) -> Option<(String, String, String)> {
    let mut words = line.split_whitespace();
    let verb = words.next().filter(|verb| ["Inst", "Remv", "Purg"].contains(verb))?;
    let name = words.next()?;
    let open = if verb == "Inst" { '(' } else { '[' };
    // Of a purge of leftovers apt-get tells no version.
    let version = words.find_map(|word| word.strip_prefix(open)).unwrap_or_default();
    Some((verb.to_owned(), name.to_owned(), version.trim_end_matches(']').to_owned()))
}

/// A plan's deeds, in apt-get's words.
pub(crate) fn deeds(plan: &Plan) -> Deeds {
    let text = |version: &Option<_>| version.as_ref().map(ToString::to_string).unwrap_or_default();
    let one = |item: &backstep_core::PlanItem| {
        let (verb, version) = match item.action {
            PlanAction::Install | PlanAction::Upgrade | PlanAction::Downgrade | PlanAction::Reinstall => ("Inst", text(&item.to)),
            PlanAction::Remove => ("Remv", text(&item.from)),
            PlanAction::Purge if item.installed_delta == 0 => ("Purg", String::new()),
            PlanAction::Purge => ("Purg", text(&item.from)),
            PlanAction::Hold | PlanAction::Unhold => return None,
        };
        Some((verb.to_owned(), item.package.name.to_string(), version))
    };
    plan.items.iter().filter_map(one).collect()
}

/// `name`, `name=version`, `name-` (remove), `name!` (purge), each perhaps with `:arch`.
pub(crate) fn request(kind: Kind, words: &str) -> Request {
    let item = |word: &str| {
        let (word, action) = match (word.strip_suffix('-'), word.strip_suffix('!')) {
            (Some(name), _) => (name, ItemAction::Remove),
            (_, Some(name)) => (name, ItemAction::Purge),
            _ => (word, kind.default_action().expect("a kind with items")),
        };
        let (name, version) = word.split_once('=').map_or((word, None), |(name, version)| (name, Some(version)));
        let (name, arch) = name.split_once(':').map_or((name, None), |(name, arch)| (name, Some(arch)));
        RequestItem {
            action,
            name: name.parse().expect("name"),
            arch: arch.map(|arch| arch.parse().expect("arch")),
            version: version.map(|version| version.parse().expect("version")),
        }
    };
    Request {
        kind,
        description: String::new(),
        tags: Default::default(),
        items: words.split_whitespace().map(item).collect(),
        archives: Vec::new(),
        reverts: None,
        retries: None,
        options: Options::default(),
    }
}

/// Builds a real archive.
pub(crate) fn build(folder: &Path, control: &str) -> PathBuf {
    let tree = folder.join("tree");
    fs::create_dir_all(tree.join("DEBIAN")).expect("folder");
    fs::write(tree.join("DEBIAN/control"), complete(control)).expect("control");
    let path = folder.join("built.deb");
    let built =
        Command::new("dpkg-deb").args(["--root-owner-group", "-Znone", "--build"]).args([&tree, &path]).output().expect("dpkg-deb runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    path
}
