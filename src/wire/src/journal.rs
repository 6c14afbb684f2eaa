//! The attempt's journal: one JSON object a line, numbered from 1, append-only.
//!
//! A reader takes whole lines only: a last line without its newline is not written yet, or was torn by a
//! crash, and is read again later or left out. A writer that continues a journal first cuts such a tail off.

use backstep_core::progress::Report;
use backstep_core::{BootId, Digest, Direction, ErrorCode, StepKind, StepState};
use serde::{Deserialize, Serialize};

use crate::{WireError, json, text};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// From 1, without gaps.
    pub seq: u64,
    /// Microseconds since 1970, UTC.
    pub utc_us: i64,
    /// What happened.
    pub record: Record,
}

/// What a worker records. All but [`Record::Progress`] are kept; some are durable before the worker goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The worker has checked its order and holds dpkg's frontend lock.
    Begin {
        /// Of the plan it read.
        plan: Digest,
        /// Of dpkg's status file and apt's marks, as it found them.
        world: Digest,
        /// This boot.
        boot: BootId,
        /// Forward, or straight to undo.
        direction: Direction,
    },
    /// A step begins.
    StepStarted {
        /// Which.
        step: StepKind,
        /// Doing or undoing.
        direction: Direction,
        /// Where the attempt's output log ends at this moment, in bytes.
        log_offset: u64,
    },
    /// How far a step is.
    Progress(Report),
    /// A step ended.
    StepEnded {
        /// Which.
        step: StepKind,
        /// How.
        state: StepState,
        /// The error's code, when it ended with one.
        code: Option<ErrorCode>,
        /// For people.
        text: String,
    },
    /// A package's state in dpkg's database changed.
    ItemChanged {
        /// `name:arch`.
        package: String,
        /// Status and version before.
        before: String,
        /// Status and version after.
        after: String,
    },
    /// Something worth keeping: a warning, a file put beside another, a unit stopped.
    Noted {
        /// The warning's code, when it has one.
        code: Option<ErrorCode>,
        /// For people.
        text: String,
    },
    /// Undo material is complete and durable.
    Captured {
        /// Paths captured.
        paths: u64,
        /// Bytes of disk it really takes.
        bytes: u64,
    },
    /// The worker turns round.
    UndoStarted {
        /// Why.
        code: ErrorCode,
        /// For people.
        text: String,
    },
    /// The change is durable. Only a new transaction can undo it.
    Committed {
        /// Digest of dpkg's status file and apt's marks as the change left them.
        world: Digest,
    },
    /// The change failed and stays as it is, durably: nobody undoes it but a new transaction. Only plain runs of apt
    /// end so.
    Left {
        /// Digest of dpkg's status file and apt's marks as it left them.
        world: Digest,
        /// Why.
        code: ErrorCode,
        /// For people.
        text: String,
    },
    /// The undo is complete and durable.
    Aborted {
        /// What still differs from before, in words; at most 200 entries are kept, the last says how many more.
        differences: Vec<String>,
    },
    /// The worker cannot go on; a person decides.
    Stuck {
        /// Why.
        code: ErrorCode,
        /// For people.
        text: String,
    },
}

#[derive(Serialize, Deserialize)]
struct WireLine {
    seq: u64,
    utc_us: i64,
    #[serde(flatten)]
    record: WireRecord,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case", deny_unknown_fields)]
enum WireRecord {
    Begin {
        #[serde(with = "text")]
        plan: Digest,
        #[serde(with = "text")]
        world: Digest,
        #[serde(with = "text")]
        boot: BootId,
        #[serde(with = "text")]
        direction: Direction,
    },
    StepStarted {
        #[serde(with = "text")]
        step: StepKind,
        #[serde(with = "text")]
        direction: Direction,
        log_offset: u64,
    },
    Progress {
        #[serde(with = "text")]
        step: StepKind,
        #[serde(with = "text")]
        direction: Direction,
        permille: u16,
        package: String,
        what: String,
    },
    StepEnded {
        #[serde(with = "text")]
        step: StepKind,
        #[serde(with = "text")]
        state: StepState,
        #[serde(with = "text::option")]
        code: Option<ErrorCode>,
        text: String,
    },
    ItemChanged {
        package: String,
        before: String,
        after: String,
    },
    Noted {
        #[serde(with = "text::option")]
        code: Option<ErrorCode>,
        text: String,
    },
    Captured {
        paths: u64,
        bytes: u64,
    },
    UndoStarted {
        #[serde(with = "text")]
        code: ErrorCode,
        text: String,
    },
    Committed {
        #[serde(with = "text")]
        world: Digest,
    },
    Left {
        #[serde(with = "text")]
        world: Digest,
        #[serde(with = "text")]
        code: ErrorCode,
        text: String,
    },
    Aborted {
        differences: Vec<String>,
    },
    Stuck {
        #[serde(with = "text")]
        code: ErrorCode,
        text: String,
    },
}

impl From<&Record> for WireRecord {
    fn from(record: &Record) -> Self {
        match record.clone() {
            Record::Begin { plan, world, boot, direction } => Self::Begin { plan, world, boot, direction },
            Record::StepStarted { step, direction, log_offset } => Self::StepStarted { step, direction, log_offset },
            Record::Progress(Report { step, direction, permille, package, what }) => {
                Self::Progress { step, direction, permille, package, what }
            }
            Record::StepEnded { step, state, code, text } => Self::StepEnded { step, state, code, text },
            Record::ItemChanged { package, before, after } => Self::ItemChanged { package, before, after },
            Record::Noted { code, text } => Self::Noted { code, text },
            Record::Captured { paths, bytes } => Self::Captured { paths, bytes },
            Record::UndoStarted { code, text } => Self::UndoStarted { code, text },
            Record::Committed { world } => Self::Committed { world },
            Record::Left { world, code, text } => Self::Left { world, code, text },
            Record::Aborted { differences } => Self::Aborted { differences },
            Record::Stuck { code, text } => Self::Stuck { code, text },
        }
    }
}

impl From<WireRecord> for Record {
    fn from(record: WireRecord) -> Self {
        match record {
            WireRecord::Begin { plan, world, boot, direction } => Self::Begin { plan, world, boot, direction },
            WireRecord::StepStarted { step, direction, log_offset } => Self::StepStarted { step, direction, log_offset },
            WireRecord::Progress { step, direction, permille, package, what } => {
                Self::Progress(Report { step, direction, permille, package, what })
            }
            WireRecord::StepEnded { step, state, code, text } => Self::StepEnded { step, state, code, text },
            WireRecord::ItemChanged { package, before, after } => Self::ItemChanged { package, before, after },
            WireRecord::Noted { code, text } => Self::Noted { code, text },
            WireRecord::Captured { paths, bytes } => Self::Captured { paths, bytes },
            WireRecord::UndoStarted { code, text } => Self::UndoStarted { code, text },
            WireRecord::Committed { world } => Self::Committed { world },
            WireRecord::Left { world, code, text } => Self::Left { world, code, text },
            WireRecord::Aborted { differences } => Self::Aborted { differences },
            WireRecord::Stuck { code, text } => Self::Stuck { code, text },
        }
    }
}

impl Record {
    /// Whether every reader finds it; others may be left out, the last of them is not.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        !matches!(self, Self::Progress(_))
    }

    /// Whether it, and all before it, is on the disk before the worker goes on: what tells a later undo that something
    /// may have been changed, and the last word. What a crash takes of the rest is found in the system itself.
    #[must_use]
    pub const fn is_durable(&self) -> bool {
        match self {
            Self::Begin { .. } | Self::Captured { .. } | Self::UndoStarted { .. } => true,
            Self::StepStarted { step, .. } => step.changes_system(),
            Self::StepEnded { .. } | Self::ItemChanged { .. } | Self::Noted { .. } | Self::Progress(_) => false,
            Self::Committed { .. } | Self::Left { .. } | Self::Aborted { .. } | Self::Stuck { .. } => true,
        }
    }

    /// Whether no line follows: the worker's last word.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        matches!(self, Self::Committed { .. } | Self::Left { .. } | Self::Aborted { .. } | Self::Stuck { .. })
    }
}

/// A line's bytes, newline included.
#[must_use]
pub fn to_line(line: &Line) -> Vec<u8> {
    let mut bytes = crate::bytes_of(&WireLine { seq: line.seq, utc_us: line.utc_us, record: (&line.record).into() });
    bytes.push(b'\n');
    bytes
}

/// Reads one line, with or without its newline.
pub fn from_line(bytes: &[u8]) -> Result<Line, WireError> {
    let wire: WireLine = json("journal", bytes)?;
    Ok(Line { seq: wire.seq, utc_us: wire.utc_us, record: wire.record.into() })
}

/// Reads the whole lines at the start of `bytes`; answers them with the number of bytes they took.
pub fn whole_lines(bytes: &[u8]) -> Result<(Vec<Line>, usize), WireError> {
    let taken = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
    let lines = bytes[..taken].split_inclusive(|b| *b == b'\n').map(from_line).collect::<Result<_, _>>()?;
    Ok((lines, taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Record> {
        let report = Report { step: StepKind::Apply, direction: Direction::Forward, permille: 12, package: "a".into(), what: "b".into() };
        vec![
            Record::Begin { plan: Digest([1; 32]), world: Digest([2; 32]), boot: BootId([3; 16]), direction: Direction::Forward },
            Record::StepStarted { step: StepKind::Fetch, direction: Direction::Undo, log_offset: 3 },
            Record::Progress(report),
            Record::StepEnded { step: StepKind::Apply, state: StepState::Failed, code: Some(ErrorCode::ScriptFailed), text: "x\ny".into() },
            Record::ItemChanged { package: "a:all".into(), before: "not-installed".into(), after: "installed 1".into() },
            Record::Noted { code: None, text: "n".into() },
            Record::Captured { paths: 1, bytes: 2 },
            Record::UndoStarted { code: ErrorCode::Cancelled, text: "asked".into() },
            Record::Committed { world: Digest([4; 32]) },
            Record::Left { world: Digest([5; 32]), code: ErrorCode::DpkgFailed, text: "l".into() },
            Record::Aborted { differences: vec!["/etc/x".into()] },
            Record::Stuck { code: ErrorCode::UndoFailed, text: "t".into() },
        ]
    }

    #[test]
    fn every_record_keeps_everything_on_one_line() {
        for (n, record) in records().into_iter().enumerate() {
            let line = Line { seq: n as u64 + 1, utc_us: 5, record };
            let bytes = to_line(&line);
            assert_eq!(bytes.iter().filter(|b| **b == b'\n').count(), 1);
            assert_eq!(from_line(&bytes).expect("read"), line);
        }
    }

    /// What an undo after a power cut must find.
    #[test]
    fn what_comes_before_an_effect_and_the_last_word_wait_for_the_disk() {
        let started = |step| Record::StepStarted { step, direction: Direction::Forward, log_offset: 0 }.is_durable();
        assert!(StepKind::ALL.iter().all(|step| started(*step) == step.changes_system()));
        assert!(records().iter().filter(|record| record.is_last()).all(Record::is_durable));
        assert!(records().iter().filter(|record| record.is_durable()).all(Record::is_kept));
        assert_eq!(records().iter().filter(|record| !record.is_kept()).count(), 1);
    }

    #[test]
    fn a_torn_tail_is_left_for_later() {
        let line = Line { seq: 1, utc_us: 5, record: Record::Committed { world: Digest([4; 32]) } };
        let mut bytes = to_line(&line);
        let whole = bytes.len();
        bytes.extend_from_slice(b"{\"seq\":2,");
        assert_eq!(whole_lines(&bytes).expect("read"), (vec![line], whole));
        assert_eq!(whole_lines(b"{\"seq\":2,").expect("read"), (Vec::new(), 0));
    }
}
