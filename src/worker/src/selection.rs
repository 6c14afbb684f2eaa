//! Which paths a capture must hold so that a plan can be undone: from dpkg's lists, from the archives' contents,
//! and the places that package scripts are known to write.
//!
//! Absent on purpose: opening anything but dpkg's own files; types, owners and content are the capture's work.

mod identity;
pub mod payload;

use std::collections::BTreeSet;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use backstep_apt::lists::{self, Diversion};
use backstep_capture::Selection;
use backstep_core::{Archive, Digest, ErrorCode, Failure, PackageId, Plan};

use crate::archives::Tee;
use crate::child::{Call, Children, Ended};
use crate::context::Context;
use crate::machine::Machine;
use crate::prepare::Place;

/// Trees whose files are replaced by renaming.
const LINKED_TREES: [&str; 1] = ["/var/lib/dpkg"];
/// Files and trees that are written in place.
const COPIED: [&str; 12] = [
    "/etc",
    "/var/lib/dpkg/triggers",
    "/var/lib/apt/extended_states",
    "/var/cache/debconf",
    "/var/cache/ldconfig",
    "/var/lib/ucf",
    "/var/lib/pam",
    "/var/lib/shells.state",
    "/var/lib/systemd/deb-systemd-helper-enabled",
    "/var/lib/systemd/deb-systemd-helper-masked",
    "/var/lib/systemd/deb-systemd-user-helper-enabled",
    "/var/lib/systemd/deb-systemd-user-helper-masked",
];
/// The draft of apt's marks, which a worker that is killed while it writes them leaves.
const OWN_DRAFT: &str = "/var/lib/apt/extended_states.backstep-new";
/// dpkg's draft of its database, which one that is killed leaves.
const DPKG_DRAFT: &str = "/var/lib/dpkg/status-new";
/// Never kept: locks belong to whoever holds them, and what is ignored is the record's business.
const EXCLUDED: [&str; 4] =
    ["/var/lib/dpkg/lock", "/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/triggers/Lock", "/etc/apt/preferences.d/backstep.pref"];
/// How much of a payload is read at once, in bytes.
const CHUNK: usize = 128 << 10;
/// Packages whose change writes kernels, images or boot menus.
const BOOT: [&str; 5] = ["linux-image-", "initramfs-tools", "grub-", "shim-", "dracut"];

/// What dpkg's scripts and triggers write besides package files.
fn places(plan: &Plan) -> Selection {
    let set = |paths: &[&str]| paths.iter().map(PathBuf::from).collect();
    let (tree, copy, absent, exclude) = (set(&LINKED_TREES), set(&COPIED), set(&[OWN_DRAFT]), set(&EXCLUDED));
    let mut selection = Selection { tree, copy, absent, exclude, ..Selection::default() };
    if plan.items.iter().any(|item| BOOT.iter().any(|name| item.package.name.as_str().starts_with(name))) {
        selection.copy.insert("/boot".into());
    }
    selection
}

/// The selection for changing packages.
pub fn of_packages(context: &Context) -> Result<Selection, Failure> {
    // A plain run of apt has been let go on already.
    if context.hook.is_some() {
        identity::check(context)?;
    }
    let mut selection = places(&context.plan);
    for item in context.plan.items.iter().filter(|item| item.from.is_some()) {
        owned(&context.machine, &item.package, &mut selection)?;
    }
    for path in payloads(context)? {
        arriving(&path, &mut selection);
    }
    diverted(&context.machine, &mut selection)?;
    Ok(selection)
}

/// The selection for changing dpkg's selections and apt's marks.
#[must_use]
pub fn of_marks() -> Selection {
    let set = |paths: &[&str]| paths.iter().map(PathBuf::from).collect();
    let link = set(&["/var/lib/dpkg/status", "/var/lib/dpkg/status-old", "/var/lib/dpkg/available", "/var/lib/dpkg/available-old"]);
    let (tree, copy, absent) = (set(&["/var/lib/dpkg/updates"]), set(&["/var/lib/apt/extended_states"]), set(&[OWN_DRAFT, DPKG_DRAFT]));
    Selection { link, tree, copy, absent, ..Selection::default() }
}

/// What a package owns now.
fn owned(machine: &Machine, package: &PackageId, selection: &mut Selection) -> Result<(), Failure> {
    for path in shipped(machine, package)? {
        transient(&path, selection);
        selection.link.insert(path);
    }
    Ok(())
}

/// The paths that dpkg lists of a package.
pub fn shipped(machine: &Machine, package: &PackageId) -> Result<Vec<PathBuf>, Failure> {
    let mut paths = Vec::new();
    // A package that may be installed for several architectures has its architecture in the file's name.
    for name in [package.name.to_string(), package.to_string()] {
        let list = crate::facts::bytes(&machine.at("var/lib/dpkg/info").join(format!("{name}.list")))?;
        paths.extend(lists::file_list(&list).into_iter().filter(|path| path.parent().is_some()));
    }
    Ok(paths)
}

/// What an archive brings: there already (then it is kept) or not (then it and its missing folders go again).
fn arriving(path: &Path, selection: &mut Selection) {
    if path.extension().is_some_and(|extension| extension == "py") {
        selection.tree.extend(path.parent().map(|folder| folder.join("__pycache__")));
    }
    transient(path, selection);
    selection.absent.extend(path.ancestors().filter(|path| path.parent().is_some()).map(Path::to_path_buf));
}

/// The names under which dpkg puts files while it works; a dpkg that was killed leaves them.
fn transient(path: &Path, selection: &mut Selection) {
    let Some(name) = path.file_name() else { return };
    for ending in [".dpkg-new", ".dpkg-tmp"] {
        let mut transient = name.to_owned();
        transient.push(ending);
        selection.absent.insert(path.with_file_name(transient));
    }
}

fn diverted(machine: &Machine, selection: &mut Selection) -> Result<(), Failure> {
    let diversions = lists::diversions(&text(&machine.at("var/lib/dpkg/diversions"))?);
    let concerned = |d: &&Diversion| selection.link.contains(&d.from) || selection.absent.contains(&d.from);
    let more: Vec<PathBuf> = diversions.iter().filter(concerned).map(|diversion| diversion.to.clone()).collect();
    selection.absent.extend(more);
    Ok(())
}

fn text(path: &Path) -> Result<String, Failure> {
    let bytes = crate::facts::bytes(path)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The paths of all archives of the plan, read on every core; on the way the archives are made ready for dpkg.
fn payloads(context: &Context) -> Result<BTreeSet<PathBuf>, Failure> {
    let archives: Vec<&Archive> = context.archives().collect();
    // A plain run of apt, which does not call us back, takes the archives that it has.
    let place = context.hook.as_ref().filter(|_| !archives.is_empty()).and_then(|_| Place::make(&context.machine));
    let lister =
        Lister { machine: &context.machine, children: context.children.as_ref(), place: place.as_ref(), next: AtomicUsize::new(0) };
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(archives.len());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(|| lister.list(&archives))).collect();
        let mut paths = BTreeSet::new();
        for thread in threads {
            let panicked = |_| Failure::new(ErrorCode::Internal, "a listing thread panicked");
            paths.extend(thread.join().map_err(panicked)??);
        }
        Ok(paths)
    })
}

struct Lister<'a> {
    machine: &'a Machine,
    children: &'a dyn Children,
    place: Option<&'a Place>,
    next: AtomicUsize,
}

impl Lister<'_> {
    /// Takes one archive after the other, until others took the rest.
    fn list(&self, archives: &[&Archive]) -> Result<BTreeSet<PathBuf>, Failure> {
        let mut listed = BTreeSet::new();
        while let Some(archive) = archives.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            listed.extend(self.payload(&self.machine.kept_archive(archive.sha256), archive.sha256)?);
        }
        Ok(listed)
    }

    /// The paths of one archive, absolute.
    fn payload(&self, archive: &Path, sha256: Digest) -> Result<Vec<PathBuf>, Failure> {
        let invalid = |why: String| Failure::new(ErrorCode::ArchiveInvalid, format!("cannot list {}: {why}", archive.display()));
        let call = Call::new("dpkg-deb", ["--fsys-tarfile".to_owned(), archive.display().to_string()]);
        let size = std::fs::metadata(archive).map_err(|error| invalid(error.to_string()))?.len();
        let mut preparing = self.place.and_then(|place| place.begin(archive, sha256));
        let mut found = Ok(Vec::new());
        let ended = self.children.stream(call, &mut |tar| {
            let to: &mut dyn Write = match &mut preparing {
                Some(preparing) => preparing,
                None => &mut std::io::sink(),
            };
            found = names(tar, to, payload::bound(size));
            Ok(())
        })?;
        let paths = found.map_err(|error| invalid(error.to_string()))?;
        if ended != Ended::Code(0) {
            return Err(invalid(format!("dpkg-deb {ended}")));
        }
        if let Some(preparing) = preparing {
            preparing.finish();
        }
        Ok(paths)
    }
}

/// Reads a payload to its end, or up to a bound beyond which it is refused, and passes it on.
fn names(tar: &mut dyn Read, to: &mut dyn Write, bound: u64) -> std::io::Result<Vec<PathBuf>> {
    let mut rest = BufReader::with_capacity(CHUNK, Tee { from: tar, to }).take(bound);
    let names = payload::names(&mut rest)?;
    std::io::copy(&mut rest, &mut std::io::sink())?;
    // Not read on: dpkg-deb ends by itself when nobody listens.
    if rest.limit() == 0 { Err(std::io::Error::other(format!("it unpacks to more than {bound} bytes"))) } else { Ok(names) }
}
