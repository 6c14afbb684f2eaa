//! The record's numbers as OpenMetrics text, in a file that a node exporter reads. Off unless the configuration names
//! the file. Nothing private is in it: kinds, states, counts and times.

use std::fmt::Write as _;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backstep_core::TransactionState;
use backstep_core::measures::Measures;

use crate::service::Service;

/// Between two files at least: what comes in between is in the next.
const PAUSE: Duration = Duration::from_secs(5);

/// Writes the file at the start and after every change, until the daemon ends.
pub async fn run(service: Arc<Service>, path: PathBuf) {
    loop {
        match service.records.ask(backstep_store::Reader::measures).await {
            Ok(measures) => {
                if let Err(error) = replace(&path, &text(&measures)) {
                    tracing::warn!("cannot write {}: {error}", path.display());
                }
            }
            Err(failure) => tracing::warn!("cannot count the record: {failure}"),
        }
        tokio::time::sleep(PAUSE).await;
        service.changed().await;
    }
}

/// Its readers never see half a file; after a crash of the machine it is written anew.
#[allow(clippy::disallowed_methods)] // Written beside and renamed.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    // Exporters read *.prom only.
    let part = path.with_extension("prom.part");
    std::fs::write(&part, text)?;
    std::fs::set_permissions(&part, std::fs::Permissions::from_mode(0o644))?;
    std::fs::rename(part, path)
}

fn text(measures: &Measures) -> String {
    let mut out = String::new();
    family(&mut out, "transactions", "counter", None, "Transactions that ended, by kind and final state.");
    for (kind, state, count) in measures.transactions.iter().filter(|(_, state, _)| state.is_final()) {
        sample(&mut out, "transactions_total", &format!("{{kind=\"{kind}\",state=\"{state}\"}}"), count);
    }
    family(&mut out, "open_transactions", "gauge", None, "Transactions that have not ended, by state.");
    for state in TransactionState::ALL.iter().filter(|state| !state.is_final()) {
        let count: u64 = measures.transactions.iter().filter(|(_, other, _)| other == state).map(|(_, _, count)| count).sum();
        sample(&mut out, "open_transactions", &format!("{{state=\"{state}\"}}"), &count);
    }
    family(&mut out, "last_end_timestamp_seconds", "gauge", Some("seconds"), "When the last transaction of a kind ended.");
    for (kind, at_us) in &measures.last_end_us {
        let seconds = format!("{}.{:06}", at_us.div_euclid(1_000_000), at_us.rem_euclid(1_000_000));
        sample(&mut out, "last_end_timestamp_seconds", &format!("{{kind=\"{kind}\"}}"), &seconds);
    }
    family(&mut out, "events", "counter", None, "Events in the record.");
    sample(&mut out, "events_total", "", &measures.events);
    family(&mut out, "generations", "counter", None, "Generations in the record.");
    sample(&mut out, "generations_total", "", &measures.generations);
    family(&mut out, "record_bytes", "gauge", Some("bytes"), "Size of the record's file.");
    sample(&mut out, "record_bytes", "", &measures.bytes);
    out.push_str("# EOF\n");
    out
}

/// Writing to a string cannot fail.
fn family(out: &mut String, name: &str, kind: &str, unit: Option<&str>, help: &str) {
    writeln!(out, "# TYPE backstep_{name} {kind}").ok();
    if let Some(unit) = unit {
        writeln!(out, "# UNIT backstep_{name} {unit}").ok();
    }
    writeln!(out, "# HELP backstep_{name} {help}").ok();
}

fn sample(out: &mut String, name: &str, labels: &str, value: &impl std::fmt::Display) {
    writeln!(out, "backstep_{name}{labels} {value}").ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use backstep_core::Kind;

    #[test]
    fn numbers_are_told_by_family() {
        let measures = Measures {
            transactions: vec![
                (Kind::Install, TransactionState::Completed, 3),
                (Kind::Install, TransactionState::NeedsAttention, 1),
                (Kind::Upgrade, TransactionState::NeedsAttention, 1),
            ],
            last_end_us: vec![(Kind::Install, 1_700_000_000_000_005)],
            events: 17,
            generations: 4,
            bytes: 4096,
        };
        let text = text(&measures);
        for line in [
            "# TYPE backstep_transactions counter",
            "backstep_transactions_total{kind=\"install\",state=\"completed\"} 3",
            "backstep_open_transactions{state=\"needs-attention\"} 2",
            "backstep_open_transactions{state=\"queued\"} 0",
            "# UNIT backstep_last_end_timestamp_seconds seconds",
            "backstep_last_end_timestamp_seconds{kind=\"install\"} 1700000000.000005",
            "backstep_events_total 17",
            "backstep_record_bytes 4096",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.ends_with("\n# EOF\n") && !text.contains("state=\"needs-attention\"} 1"), "{text}");
    }

    #[test]
    fn everybody_may_read_the_file_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("backstep.prom");
        replace(&path, "one").expect("write");
        replace(&path, "two").expect("write");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "two");
        assert_eq!(std::fs::metadata(&path).expect("file").permissions().mode() & 0o777, 0o644);
        assert_eq!(std::fs::read_dir(folder.path()).expect("list").count(), 1);
    }
}
