//! Asking: the real daemon over the record, each question over the bus.

use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use backstep_bus::ListFilter;
use backstep_bus::record::RecordProxy;
use backstep_tests::large_record::{COMMON_PACKAGE, EVENTS, RARE_PACKAGE, end_us};
use backstep_tests::private_bus::{Client, PrivateBus, Simulated};
use backstep_tests::programs::program;

use crate::report::{Report, median};

const CALLS: usize = 101;
const STARTS: usize = 5;
const PLANNED: usize = 100;
const MONTH_US: i64 = 30 * 86_400 * 1_000_000;
/// A small record is started from in a second, a large one in three.
const SMALL: u64 = 10_000;

pub(crate) async fn measure(record: &Path, count: u64, report: &mut Report) -> Result<()> {
    // Built before the first start is timed.
    program("backstepd")?;
    let empty = Simulated::start().await?;
    let without = resident_after_lists(&empty).await?;
    drop(empty);
    let daemon = started(record, count, report).await?;
    let with = resident_after_lists(&daemon).await?;
    report.at_most("resident memory more than over an empty record", with - without, "MiB", 2.0, 1);
    let client = Client::new(&daemon.bus).await?;
    lists(&client, &daemon, report).await?;
    statistics(&client, &daemon, count, report).await?;
    risks(&client, report).await?;
    verified(&client, &daemon, count, report).await
}

async fn started(record: &Path, count: u64, report: &mut Report) -> Result<Simulated> {
    let mut times = Vec::new();
    loop {
        let bus = PrivateBus::start()?;
        let state = bus.folder().join("state");
        std::fs::create_dir(&state)?;
        symlink(record, state.join("store.db"))?;
        let begun = Instant::now();
        let mut daemon = Simulated::on(bus, &[]).await?;
        times.push(begun.elapsed().as_secs_f64());
        if times.len() == STARTS {
            let limit = if count <= SMALL { 1.0 } else { 3.0 };
            report.at_most("from the start to the bus name", median(&times), "s", limit, STARTS);
            return Ok(daemon);
        }
        daemon.stop()?;
    }
}

/// Memory in MiB of a daemon that was asked and is left alone.
async fn resident_after_lists(daemon: &Simulated) -> Result<f64> {
    let client = Client::new(&daemon.bus).await?;
    for _ in 0..CALLS {
        client.manager.list_transactions(ListFilter::default()).await?;
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

/// Seconds that the processors worked for the daemon so far, in steps of a hundredth.
fn worked(daemon: &Simulated) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid()))?;
    let fields = stat.rsplit_once(") ").context("no name")?.1.split(' ').skip(11).take(2);
    Ok(fields.map(str::parse::<f64>).sum::<Result<f64, _>>()? / 100.0)
}

#[allow(clippy::cast_precision_loss)]
async fn lists(client: &Client, daemon: &Simulated, report: &mut Report) -> Result<()> {
    let package = |name: &str| ListFilter { package: Some(name.to_owned()), ..ListFilter::default() };
    let filters = [
        ("the last 50", ListFilter::default()),
        ("50 of a common package", package(COMMON_PACKAGE)),
        ("all of a rare package", package(RARE_PACKAGE)),
        ("50 of a kind", ListFilter { kind: Some("purge".to_owned()), ..ListFilter::default() }),
        ("50 that failed", ListFilter { state: Some("rolled-back".to_owned()), ..ListFilter::default() }),
        ("what has not ended", ListFilter { unfinished: Some(true), ..ListFilter::default() }),
    ];
    for (what, filter) in filters {
        let (mut times, before) = (Vec::new(), worked(daemon)?);
        for _ in 0..CALLS {
            let begun = Instant::now();
            client.manager.list_transactions(filter.clone()).await?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        report.at_most(what, median(&times), "ms", 5.0, CALLS);
        report.of_these((worked(daemon)? - before) * 1e3 / CALLS as f64, "ms");
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss)]
async fn statistics(client: &Client, daemon: &Simulated, count: u64, report: &mut Report) -> Result<()> {
    let record = RecordProxy::on(&client.connection).await?;
    let since = end_us(count) - MONTH_US;
    let (mut none, mut month, mut steps) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..CALLS {
        // Nothing ended after the end: only what is in progress is counted.
        let begun = Instant::now();
        client.manager.get_statistics(i64::MAX).await?;
        none.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let before = worked(daemon)?;
    for _ in 0..CALLS / 10 {
        let begun = Instant::now();
        client.manager.get_statistics(since).await?;
        month.push(begun.elapsed().as_secs_f64() * 1e3);
        let begun = Instant::now();
        record.get_step_statistics(since).await?;
        steps.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let both = (worked(daemon)? - before) * 1e3 / month.len() as f64;
    report.at_most("how many are in progress, by kind", median(&none), "ms", 5.0, CALLS);
    report.at_most("statistics of 30 days by kind", median(&month), "ms", 250.0, month.len());
    report.at_most("statistics of 30 days by step", median(&steps), "ms", 250.0, steps.len());
    report.of_these(both, "ms for one of each");
    Ok(())
}

/// What is known of a plan's packages before it is agreed to: as much is looked at of each as ever is.
async fn risks(client: &Client, report: &mut Report) -> Result<()> {
    let record = RecordProxy::on(&client.connection).await?;
    let mut packages = vec![format!("{COMMON_PACKAGE}=2.1-2")];
    packages.extend((1..PLANNED).map(|number| format!("package-1-{number}=2.1-2")));
    let (mut times, mut seen) = (Vec::new(), 0);
    for _ in 0..CALLS / 10 {
        let begun = Instant::now();
        let rows = record.list_risks(&packages).await?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        seen = rows.iter().map(|row| u64::from(row.attempts) + u64::from(row.other_attempts)).sum();
    }
    anyhow::ensure!(seen > 0, "nothing is known of these packages");
    let what = format!("risks of a plan of {PLANNED} packages, {seen} transactions looked at");
    report.at_most(&what, median(&times), "ms", 250.0, times.len());
    Ok(())
}

async fn verified(client: &Client, daemon: &Simulated, count: u64, report: &mut Report) -> Result<()> {
    let record = RecordProxy::on(&client.connection).await?;
    let (mut reader, writer) = std::io::pipe()?;
    let reading = tokio::task::spawn_blocking(move || reader.read_to_end(&mut Vec::new()));
    let (begun, before) = (Instant::now(), worked(daemon)?);
    let (events, ..) = record.verify(zbus::Fd::from(std::os::fd::OwnedFd::from(writer))).await?;
    let seconds = begun.elapsed().as_secs_f64();
    reading.await??;
    anyhow::ensure!(events == count * EVENTS, "{events} events were verified");
    #[allow(clippy::cast_precision_loss)]
    report.at_most("verification, for each million events", seconds * 1e6 / events as f64, "s", 6.0, 1);
    #[allow(clippy::cast_precision_loss)]
    report.of_these((worked(daemon)? - before) * 1e6 / events as f64, "s");
    Ok(())
}
