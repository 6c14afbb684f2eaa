//! The attempt's journal on disk.
//!
//! Invariants: numbers have no gaps; a durable record is on the disk, with all before it, when [`FileJournal::record`]
//! returns; once a write or a sync failed nothing more is written, because what is on the disk is no longer known.
//! Progress is not complete: at most five lines a second, the last value before every record that is kept.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use backstep_core::{ErrorCode, Failure};
use backstep_engine::runner::Journal;
use backstep_wire::WireError;
use backstep_wire::journal::{Line, Record, to_line, whole_lines};

use crate::machine::AttemptFiles;

const BETWEEN_PROGRESS: Duration = Duration::from_millis(200);

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be read or written.
    #[error("cannot use the journal {path}: {source}")]
    Io {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A whole line of it is not of its format.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Its attempt has ended.
    #[error("the attempt has ended already")]
    Ended,
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        Self::new(ErrorCode::StoreFailed, error.to_string())
    }
}

/// A journal that is written.
pub struct FileJournal {
    file: File,
    path: PathBuf,
    output: PathBuf,
    next: u64,
    waiting: Option<Record>,
    progress_at: Option<Instant>,
    broken: bool,
    /// Bytes that are known to be whole lines.
    whole: u64,
    /// Given up for the last words when there is no other space.
    reserve: PathBuf,
}

impl FileJournal {
    /// Opens an attempt's journal for writing; a tail torn by a crash is cut off.
    pub fn open(files: &AttemptFiles) -> Result<Self, JournalError> {
        let path = files.journal();
        let io = |source| JournalError::Io { path: path.display().to_string(), source };
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).open(&path).map_err(io)?;
        let (lines, whole) = read(&path)?;
        if lines.last().is_some_and(|line| line.record.is_last()) {
            return Err(JournalError::Ended);
        }
        file.set_len(whole as u64).map_err(io)?;
        File::open(files.folder()).and_then(|folder| folder.sync_all()).map_err(io)?;
        let next = lines.last().map_or(1, |line| line.seq + 1);
        Ok(Self {
            file,
            output: files.output(),
            next,
            waiting: None,
            progress_at: None,
            broken: false,
            path: path.clone(),
            whole: whole as u64,
            reserve: reserve_of(files),
        })
    }

    fn append(&mut self, record: Record) -> io::Result<()> {
        let durable = record.is_durable();
        let line = to_line(&Line { seq: self.next, utc_us: utc_us(), record });
        match self.file.write_all(&line) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull && fs::remove_file(&self.reserve).is_ok() => self.again(&line)?,
            written => written?,
        }
        self.whole += line.len() as u64;
        self.next += 1;
        if durable { self.file.sync_data() } else { Ok(()) }
    }

    /// Writes a line that found no space, in the space of the reserve. A part of it may be there.
    fn again(&mut self, line: &[u8]) -> io::Result<()> {
        self.file.set_len(self.whole)?;
        self.file.write_all(line)
    }

    fn checked(&mut self, record: Record) -> Result<(), Failure> {
        if self.broken {
            return Err(Failure::new(ErrorCode::StoreFailed, "the journal failed earlier"));
        }
        self.append(record).map_err(|source| {
            self.broken = true;
            JournalError::Io { path: self.path.display().to_string(), source }.into()
        })
    }

    fn let_progress_out(&mut self) -> Result<(), Failure> {
        self.progress_at = Some(Instant::now());
        self.waiting.take().map_or(Ok(()), |record| self.checked(record))
    }

    fn may_write_progress(&self) -> bool {
        self.progress_at.is_none_or(|at| at.elapsed() >= BETWEEN_PROGRESS)
    }
}

impl Journal for FileJournal {
    fn record(&mut self, record: Record) -> Result<(), Failure> {
        if record.is_kept() {
            if self.waiting.is_some() {
                self.let_progress_out()?;
            }
            return self.checked(record);
        }
        self.waiting = Some(record);
        self.tick()
    }

    fn tick(&mut self) -> Result<(), Failure> {
        if self.waiting.is_some() && self.may_write_progress() { self.let_progress_out() } else { Ok(()) }
    }

    fn log_offset(&self) -> u64 {
        fs::metadata(&self.output).map_or(0, |meta| meta.len())
    }
}

/// The daemon's reserve (`reserve` of its state): space for the end of what was begun.
fn reserve_of(files: &AttemptFiles) -> PathBuf {
    files.folder().ancestors().nth(2).unwrap_or_else(|| Path::new("/nonexistent")).join("reserve")
}

/// Reads the whole lines of a journal, and how many bytes they take; a journal that is not there is empty.
pub fn read(path: &Path) -> Result<(Vec<Line>, usize), JournalError> {
    match fs::read(path) {
        Ok(bytes) => Ok(whole_lines(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((Vec::new(), 0)),
        Err(source) => Err(JournalError::Io { path: path.display().to_string(), source }),
    }
}

/// A clock before 1970 reads as 1970.
#[expect(clippy::disallowed_methods, reason = "the one place where the worker reads the clock")]
pub(crate) fn utc_us() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use backstep_core::progress::Report;
    use backstep_core::{Direction, StepKind};

    fn noted(text: &str) -> Record {
        Record::Noted { code: None, text: text.to_owned() }
    }

    fn progress(permille: u16) -> Record {
        let (step, direction) = (StepKind::Apply, Direction::Forward);
        Record::Progress(Report { step, direction, permille, package: String::new(), what: String::new() })
    }

    fn records(files: &AttemptFiles) -> Vec<Record> {
        read(&files.journal()).expect("journal").0.into_iter().map(|line| line.record).collect()
    }

    #[test]
    fn a_torn_tail_is_cut_and_numbers_go_on() {
        let folder = tempfile::tempdir().expect("folder");
        let files = AttemptFiles::in_folder(folder.path());
        FileJournal::open(&files).expect("open").record(noted("a")).expect("record");
        let mut torn = fs::read(files.journal()).expect("bytes");
        torn.extend_from_slice(b"{\"seq\":2,\"utc");
        fs::write(files.journal(), torn).expect("write");
        FileJournal::open(&files).expect("open").record(noted("b")).expect("record");
        let lines = read(&files.journal()).expect("journal").0;
        assert_eq!(lines.iter().map(|line| line.seq).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn progress_is_thinned_out_but_its_last_value_is_not_lost() {
        let folder = tempfile::tempdir().expect("folder");
        let files = AttemptFiles::in_folder(folder.path());
        let mut journal = FileJournal::open(&files).expect("open");
        for permille in 0..500 {
            journal.record(progress(permille)).expect("progress");
        }
        journal.record(noted("end")).expect("record");
        let records = records(&files);
        assert!(records.len() < 20, "{}", records.len());
        assert_eq!(records[records.len() - 2..], [progress(499), noted("end")]);
    }

    #[test]
    fn an_ended_journal_is_not_continued() {
        let folder = tempfile::tempdir().expect("folder");
        let files = AttemptFiles::in_folder(folder.path());
        FileJournal::open(&files).expect("open").record(Record::Aborted { differences: Vec::new() }).expect("record");
        assert!(matches!(FileJournal::open(&files), Err(JournalError::Ended)));
    }
}
