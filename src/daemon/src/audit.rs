//! The record checked and given away as a whole: verify, export, back up. Each runs on a thread of its own and writes
//! to a pipe of the caller's.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use backstep_core::{ErrorCode, Failure};
use backstep_store::{ExportedEvent, Reader, StoreError, Until, Verified, VerifyError};
use serde_json::{Map, Value, json};

use crate::outlet::{Outlet, gone};

/// Time between two lines about progress.
const INTERVAL: Duration = Duration::from_millis(100);
/// Events read at a time.
const BATCH: u32 = 1_000;

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    JsonLines,
    /// Comma-separated values with a line of names (RFC 4180, with line feeds).
    Csv,
    /// OpenTelemetry's log records in OTLP's JSON, a request a line, as a collector's file receiver reads them.
    OpenTelemetry,
}

impl std::str::FromStr for Format {
    type Err = Failure;
    fn from_str(text: &str) -> Result<Self, Failure> {
        match text {
            "jsonl" => Ok(Self::JsonLines),
            "csv" => Ok(Self::Csv),
            "otlp" => Ok(Self::OpenTelemetry),
            other => Err(Failure::new(ErrorCode::RequestMalformed, format!("unknown format {other:?}: there are jsonl, csv and otlp"))),
        }
    }
}

/// Verifies every event; tells how far it is as JSON lines with `done` and `total`.
pub fn verify(store: &Path, mut outlet: Outlet) -> Result<Verified, Failure> {
    let reader = open(store)?;
    let (mut last, mut failed) = (Instant::now(), None);
    let verified = reader.verify(|done, total| {
        if last.elapsed() < INTERVAL {
            return true;
        }
        last = Instant::now();
        failed = writeln!(outlet, "{}", json!({"done": done, "total": total})).err();
        failed.is_none()
    });
    match (verified, failed) {
        (_, Some(error)) => Err(gone(&error)),
        (Ok(verified), None) => Ok(verified),
        (Err(VerifyError::Broken(broken)), None) => Err(Failure::new(ErrorCode::AuditBroken, broken.to_string())),
        (Err(VerifyError::Store(error)), None) => Err(Failure::from(&error)),
    }
}

/// Writes every event after the one with this number, each with the host's id, so that the exports of many hosts can be put together;
/// answers how many.
pub fn export(store: &Path, host_id: &str, format: Format, after: u64, outlet: Outlet) -> Result<u64, Failure> {
    let reader = open(store)?;
    let mut out = BufWriter::with_capacity(64 << 10, outlet);
    let (mut count, mut last) = (0, after);
    loop {
        let events = reader.export(last, BATCH).map_err(|error| Failure::from(&error))?;
        let Some(newest) = events.last() else { break };
        last = newest.seq.unsigned_abs();
        for event in &events {
            write(&mut out, format, (host_id, event), count == 0).map_err(|error| gone(&error))?;
            count += 1;
        }
    }
    out.flush().map_err(|error| gone(&error))?;
    Ok(count)
}

/// Writes a copy of the record, as it is or as it was, an SQLite file; answers its size in bytes.
///
/// The copy is made beside the record first, where only root can look, and has no name while it is sent.
pub fn back_up(store: &Path, until: Option<Until>, outlet: Outlet) -> Result<u64, Failure> {
    let part = Part(store.with_extension(format!("backup-{}", uuid::Uuid::now_v7())));
    let reader = open(store)?;
    let made = match until {
        None => reader.back_up(&part.0),
        Some(until) => reader.back_up_until(until, &part.0).map(drop),
    };
    made.map_err(|error| Failure::from(&error))?;
    send(&part.0, outlet)
}

/// Writes a file of ours to a pipe; answers its size in bytes.
pub(crate) fn send(path: &Path, outlet: Outlet) -> Result<u64, Failure> {
    let failed = |source| Failure::from(&StoreError::File { path: path.to_owned(), source });
    let mut copy = File::open(path).map_err(failed)?;
    let mut out = BufWriter::with_capacity(64 << 10, outlet);
    let size = io::copy(&mut copy, &mut out).map_err(|error| gone(&error))?;
    out.flush().map_err(|error| gone(&error))?;
    Ok(size)
}

/// A file that goes when this goes. CRASH: what is left of a copy is removed at the daemon's next start.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// Removes what a crash left of copies and restores.
pub fn tidy(state_dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(state_dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("store.backup-") {
            std::fs::remove_file(entry.path())?;
        } else if name.to_string_lossy().starts_with("store.restore-") {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn open(store: &Path) -> Result<Reader, Failure> {
    Reader::open(store).map_err(|error| Failure::from(&error))
}

fn write(out: &mut impl Write, format: Format, (host_id, event): (&str, &ExportedEvent), first: bool) -> io::Result<()> {
    let fields = fields(host_id, event);
    match format {
        Format::JsonLines => writeln!(out, "{}", Value::Object(fields)),
        Format::OpenTelemetry => writeln!(out, "{}", log_record(event, fields)),
        Format::Csv => {
            if first {
                writeln!(out, "{}", fields.keys().map(String::as_str).collect::<Vec<_>>().join(","))?;
            }
            writeln!(out, "{}", fields.values().map(cell).collect::<Vec<_>>().join(","))
        }
    }
}

fn fields(host_id: &str, event: &ExportedEvent) -> Map<String, Value> {
    let pairs = [
        ("host", json!(host_id)),
        ("seq", json!(event.seq)),
        ("at_us", json!(event.at_us)),
        ("transaction", json!(event.transaction)),
        ("kind", json!(event.kind)),
        ("uid", json!(event.uid)),
        ("user", json!(event.user)),
        ("origin", json!(event.origin)),
        ("generation", json!(event.generation)),
        ("run", json!(event.run)),
        ("attempt", json!(event.attempt)),
        ("event", json!(event.event)),
        ("step", json!(event.step)),
        ("direction", json!(event.direction)),
        ("state", json!(event.state)),
        ("code", json!(event.code)),
        ("subject", json!(event.subject)),
        ("text", json!(event.text)),
        ("after", json!(event.after)),
        ("number", json!(event.number)),
        ("evidence", json!(event.evidence)),
        ("hash", json!(event.hash)),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A log record with the event's fields as attributes; the host is the resource's. In OTLP's JSON numbers of 64 bits are strings.
fn log_record(event: &ExportedEvent, mut fields: Map<String, Value>) -> Value {
    let (severity, name) = if event.code.is_some() { (17, "ERROR") } else { (9, "INFO") };
    let time = (i128::from(event.at_us) * 1_000).to_string();
    let attribute = |name: String, value: Value| match value {
        Value::String(text) => json!({"key": name, "value": {"stringValue": text}}),
        other => json!({"key": name, "value": {"intValue": other.to_string()}}),
    };
    let host = attribute("host.id".to_owned(), fields.remove("host").unwrap_or_default());
    let known = fields.into_iter().filter(|(name, value)| !value.is_null() && name != "at_us");
    let attributes: Vec<Value> = known.map(|(name, value)| attribute(format!("backstep.{name}"), value)).collect();
    let service = attribute("service.name".to_owned(), "backstep".into());
    let record = json!({
        "timeUnixNano": time, "severityNumber": severity, "severityText": name,
        "body": {"stringValue": event.text.as_deref().unwrap_or(&event.event)}, "attributes": attributes,
    });
    let scope = json!({"name": "org.backstep1.Record", "version": env!("CARGO_PKG_VERSION")});
    json!({"resourceLogs": [{"resource": {"attributes": [service, host]}, "scopeLogs": [{"scope": scope, "logRecords": [record]}]}]})
}

/// Texts are quoted whenever they could be read as something else.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if text.contains([',', '"', '\n', '\r']) => format!("\"{}\"", text.replace('"', "\"\"")),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        assert_eq!(cell(&json!("a \"b\", c\nd")), "\"a \"\"b\"\", c\nd\"");
        assert_eq!([cell(&Value::Null), cell(&json!(5)), cell(&json!("plain"))], ["", "5", "plain"]);
    }

    #[test]
    fn what_a_crash_left_of_copies_is_removed() {
        let folder = tempfile::tempdir().expect("folder");
        for name in ["store.db", "store.backup-x", "store.db.schema-0001"] {
            std::fs::write(folder.path().join(name), "x").expect("write");
        }
        std::fs::create_dir(folder.path().join("store.restore-x")).expect("folder");
        std::fs::write(folder.path().join("store.restore-x/new.db"), "x").expect("write");
        tidy(folder.path()).expect("tidy");
        let left = std::fs::read_dir(folder.path()).expect("list").count();
        assert!(left == 2 && !folder.path().join("store.backup-x").exists());
    }
}
