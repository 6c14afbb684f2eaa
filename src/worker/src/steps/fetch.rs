//! Fetch: every archive of the plan is here and is the one of the plan. Undo: nothing to bring back.
//!
//! Downloaded archives stay after an undo: they are identified by content and make the next try cheaper.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use backstep_apt::arguments;
use backstep_apt::status_fd::{AptLine, apt_line};
use backstep_core::count::counted;
use backstep_core::{Archive, ArchiveSource, ErrorCode, Failure, Method, StepKind};
use backstep_engine::runner::{Done, Left, Need, Stage, Step, UndoError, Undone};

use crate::archives::{self, Match};
use crate::child::{Call, Ended, Pipe, Watch, Wish, output};
use crate::context::Shared;
use crate::preflight;

/// How long to wait before the second and the third try.
const PAUSES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(30)];
/// The lines by which apt says that the network, and not the archive, is at fault.
const NETWORK: [&str; 7] = [
    "Temporary failure",
    "Could not connect",
    "Could not resolve",
    "Connection timed out",
    "Connection failed",
    "Network is unreachable",
    "Connection reset",
];
const MAX_URIS: u64 = 4 << 20;

/// See the module.
pub(super) struct Fetch {
    context: Shared,
    pauses: [Duration; 2],
}

impl Fetch {
    pub(super) fn new(context: Shared) -> Self {
        Self { context, pauses: PAUSES }
    }

    /// The archives of repositories that are not in apt's folder; those kept by us are put there first.
    fn missing(&self) -> Result<Vec<&Archive>, Failure> {
        let mut missing = Vec::new();
        for archive in self.context.archives().filter(|archive| archive.source == ArchiveSource::Repository) {
            if !self.is_in_place(archive)? {
                missing.push(archive);
            }
        }
        Ok(missing)
    }

    fn is_in_place(&self, archive: &Archive) -> Result<bool, Failure> {
        let machine = &self.context.machine;
        let (place, kept) = (machine.apt_archives().join(&archive.file_name), machine.kept_archive(archive.sha256));
        match archives::compare(&place, archive)? {
            Match::Same => return archives::keep(&place, &kept, archive).map(|()| true),
            // apt compares a file that is there by its size only, and would take it.
            Match::Other => remove(&place)?,
            Match::Absent => {}
        }
        if archives::compare(&kept, archive)? != Match::Same {
            remove(&kept)?;
            return Ok(false);
        }
        archives::keep(&kept, &place, archive).map(|()| true)
    }

    fn arguments(&self, status: i32, first: &str) -> Vec<String> {
        let rest = arguments::fetch(&self.context.plan, status, |archive| self.context.archive_path(archive));
        std::iter::once(first.to_owned()).chain(rest).collect()
    }

    fn download(&self, stage: &mut Stage<'_>) -> Result<(), Failure> {
        for pause in self.pauses.iter().map(Some).chain([None]) {
            let log_from = self.log_length();
            let pipe = Pipe::new()?;
            let arguments = self.arguments(pipe.number(), "--download-only");
            let call = Call { status: Some(pipe), ..Call::new("apt-get", arguments) };
            let ended = self.context.children.run(call, &mut Downloading { stage: &mut *stage })?;
            stage.stop_if_asked()?;
            if ended.is_success() {
                return Ok(());
            }
            let failure = why(&self.log_since(log_from), ended);
            match pause.filter(|_| is_passing(&failure)) {
                Some(pause) => wait(*pause, &failure, stage)?,
                None => return Err(failure),
            }
        }
        Ok(())
    }

    fn log_length(&self) -> u64 {
        fs::metadata(self.context.files().output()).map_or(0, |meta| meta.len())
    }

    fn log_since(&self, from: u64) -> String {
        let bytes = fs::read(self.context.files().output()).unwrap_or_default();
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
        String::from_utf8_lossy(&bytes[from..]).into_owned()
    }

    /// Takes what apt leaves where it is (repositories on this machine), and refuses what is not of the plan.
    fn keep_all(&self, missing: &[&Archive]) -> Result<(), Failure> {
        let elsewhere = self.on_this_machine(missing)?;
        let halves = missing.split_at(missing.len() / 2);
        let keep = |half: &[&Archive]| half.iter().try_for_each(|archive| self.keep_one(archive, &elsewhere));
        let tasks: Vec<_> = [halves.0, halves.1].into_iter().map(|half| places(half, &self.context.machine, &elsewhere)).collect();
        hash_in_parallel(&tasks)?;
        [halves.0, halves.1].into_iter().try_for_each(keep)
    }

    fn keep_one(&self, archive: &Archive, elsewhere: &[PathBuf]) -> Result<(), Failure> {
        let machine = &self.context.machine;
        let (place, kept) = (place(archive, machine, elsewhere), machine.kept_archive(archive.sha256));
        if place.starts_with(machine.apt_archives()) {
            archives::keep(&place, &kept, archive)
        } else {
            archives::copy(&place, &kept, archive)
        }
    }

    fn on_this_machine(&self, missing: &[&Archive]) -> Result<Vec<PathBuf>, Failure> {
        if missing.iter().all(|archive| self.context.machine.apt_archives().join(&archive.file_name).exists()) {
            return Ok(Vec::new());
        }
        let call = Call::new("apt-get", self.arguments(2, "--print-uris"));
        let (_, bytes) = output(self.context.children.as_ref(), call, MAX_URIS)?;
        Ok(local_files(&String::from_utf8_lossy(&bytes)))
    }

    /// What is not downloaded: handed over with the request, or kept by an earlier transaction or by apt.
    fn check_handed(&self) -> Result<(), Failure> {
        for archive in self.context.archives().filter(|archive| archive.source != ArchiveSource::Repository) {
            let machine = &self.context.machine;
            let (kept, cached) = (machine.kept_archive(archive.sha256), machine.apt_archives().join(&archive.file_name));
            if !kept.exists() && archives::compare(&cached, archive)? == Match::Same {
                archives::keep(&cached, &kept, archive)?;
            }
            verify(archive, &kept)?;
        }
        Ok(())
    }

    /// Names what is kept, so that a later undo by packages finds it. Without the name it is fetched again, so a
    /// failure is only noted.
    fn name_all(&self, stage: &mut Stage<'_>) -> Result<(), Failure> {
        for archive in self.context.archives() {
            note(stage, archives::name_original(&self.context.machine, archive))?;
        }
        Ok(())
    }

    fn keep_old_versions(&self, stage: &mut Stage<'_>) -> Result<(), Failure> {
        for item in &self.context.plan.items {
            let Some(version) = &item.from else { continue };
            let name = format!("{}_{}_{}.deb", item.package.name, version.to_string().replace(':', "%3a"), item.package.arch);
            note(stage, archives::keep_old(&self.context.machine, &name))?;
        }
        Ok(())
    }
}

/// Keeping an archive only makes a later undo cheaper.
fn note(stage: &mut Stage<'_>, kept: std::io::Result<()>) -> Result<(), Failure> {
    kept.or_else(|error| stage.note(None, format!("an archive is not kept for a later undo: {error}")))
}

type Task<'a> = Vec<(&'a Archive, PathBuf)>;

fn places<'a>(archives: &[&'a Archive], machine: &crate::machine::Machine, elsewhere: &[PathBuf]) -> Task<'a> {
    archives.iter().map(|archive| (*archive, place(archive, machine, elsewhere))).collect()
}

fn place(archive: &Archive, machine: &crate::machine::Machine, elsewhere: &[PathBuf]) -> PathBuf {
    let cached = machine.apt_archives().join(&archive.file_name);
    let named = |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy() == archive.file_name.as_str());
    if cached.exists() { cached } else { elsewhere.iter().find(named).map_or(cached, |path| machine.at(&path.to_string_lossy())) }
}

fn hash_in_parallel(tasks: &[Task<'_>]) -> Result<(), Failure> {
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            tasks.iter().map(|task| scope.spawn(|| task.iter().try_for_each(|(archive, path)| verify(archive, path)))).collect();
        let panicked = |_| Failure::new(ErrorCode::Internal, "a hashing thread panicked");
        threads.into_iter().try_for_each(|thread| thread.join().map_err(panicked)?)
    })
}

fn verify(archive: &Archive, path: &Path) -> Result<(), Failure> {
    match archives::compare(path, archive)? {
        Match::Same => Ok(()),
        Match::Absent => Err(Failure::new(ErrorCode::FetchFailed, format!("{} was not downloaded", archive.file_name))),
        Match::Other => Err(Failure::new(ErrorCode::FetchHashMismatch, format!("{} is not the archive of the plan", archive.file_name))),
    }
}

/// The paths of `'file:/…' name size hash` lines, with percent signs resolved.
fn local_files(uris: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        line.strip_prefix("'file:")?
            .split('\'')
            .next()
            .map(|path| PathBuf::from(path.replace("/./", "/").replace("%2b", "+").replace("%3a", ":").replace("%7e", "~")))
    };
    uris.lines().filter_map(path).collect()
}

fn remove(path: &Path) -> Result<(), Failure> {
    let error = |error| Failure::new(ErrorCode::FetchFailed, format!("cannot remove {}: {error}", path.display()));
    crate::durable::remove(path).map_err(error)
}

/// What apt's output says of a failed download.
fn why(log: &str, ended: Ended) -> Failure {
    let code = if log.contains("Hash Sum mismatch") {
        ErrorCode::FetchHashMismatch
    } else if log.contains("You don't have enough free space") || log.contains("No space left on device") {
        ErrorCode::DiskFull
    } else {
        ErrorCode::FetchFailed
    };
    let first = log.lines().find_map(|line| line.strip_prefix("E: ")).map_or_else(|| format!("apt-get {ended}"), str::to_owned);
    Failure::new(code, format!("cannot download: {first}"))
}

fn is_passing(failure: &Failure) -> bool {
    failure.code == ErrorCode::FetchFailed && NETWORK.iter().any(|sign| failure.text.contains(sign))
}

fn wait(pause: Duration, failure: &Failure, stage: &mut Stage<'_>) -> Result<(), Failure> {
    stage.note(Some(failure.code), format!("{}; trying again in {} s", failure.text, pause.as_secs()))?;
    let begun = Instant::now();
    while begun.elapsed() < pause {
        stage.stop_if_asked()?;
        stage.tick()?;
        std::thread::sleep(pause.min(Duration::from_millis(200)));
    }
    Ok(())
}

struct Downloading<'a, 'b> {
    stage: &'a mut Stage<'b>,
}

impl Watch for Downloading<'_, '_> {
    fn line(&mut self, line: &str) -> Result<(), Failure> {
        match apt_line(line) {
            Some(AptLine::Download { percent, text, .. }) => self.stage.progress(super::permille(percent), "", &text),
            Some(AptLine::Package { .. } | AptLine::Error { .. } | AptLine::Conffile { .. } | AptLine::MediaChange(_)) | None => Ok(()),
        }
    }

    fn tick(&mut self) -> Result<Wish, Failure> {
        self.stage.tick()?;
        Ok(if self.stage.cancel_asked() { Wish::Stop } else { Wish::GoOn })
    }
}

impl Step for Fetch {
    fn kind(&self) -> StepKind {
        StepKind::Fetch
    }

    fn check(&mut self, stage: &mut Stage<'_>) -> Result<Need, Failure> {
        stage.progress(0, "", "checking the plan against the system")?;
        preflight::check(&self.context)?;
        let packages = self.context.plan.method == Method::Packages;
        Ok(if packages { Need::Act } else { Need::Nothing("no archives are needed".to_owned()) })
    }

    fn act(&mut self, stage: &mut Stage<'_>) -> Result<Done, Failure> {
        self.keep_old_versions(stage)?;
        if self.context.archives().next().is_none() {
            return Ok(Done::already("no archives are needed"));
        }
        self.check_handed()?;
        let missing = self.missing()?;
        if !missing.is_empty() {
            self.download(stage)?;
            stage.progress(950, "", "verifying archives")?;
            self.keep_all(&missing)?;
        }
        self.name_all(stage)?;
        Ok(if missing.is_empty() {
            Done::already("all archives are here")
        } else {
            Done::applied(format!("{} fetched", counted(missing.len(), "archive")))
        })
    }

    /// The content was compared when each archive was kept; what is left to compare is that none is missing.
    fn verify(&mut self, _: &mut Stage<'_>) -> Result<(), Failure> {
        for archive in self.context.archives() {
            let kept = self.context.machine.kept_archive(archive.sha256);
            if fs::metadata(&kept).map_or(true, |meta| meta.len() != archive.size) {
                return Err(Failure::new(ErrorCode::FetchFailed, format!("{} is not kept", archive.file_name)));
            }
        }
        Ok(())
    }

    fn undo(&mut self, _: &mut Stage<'_>) -> Result<Undone, UndoError> {
        Ok(Undone::clean("archives stay for the next try"))
    }

    fn recover(&mut self, _: &mut Stage<'_>) -> Result<Left, UndoError> {
        Ok(Left::Nothing("archives stay for the next try".to_owned()))
    }
}
