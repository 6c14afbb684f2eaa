//! What the daemon costs when nobody needs it, and how long the first caller waits for it.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use backstep_bus::names::{BUS_NAME, MANAGER_INTERFACE, MANAGER_PATH};
use backstep_tests::command::{host, output};
use backstep_tests::machine::Machine;

use crate::bus::connect;
use crate::report::{Report, median};

const COLD: usize = 11;
const WATCHED_S: &str = "60";
/// How long a daemon is left alone before it counts as idle.
const REST: Duration = Duration::from_secs(5);

pub(crate) async fn measure(machine: &Machine, with: &str, report: &mut Report) -> Result<()> {
    // The first start after a change of the record may have work to do that later ones have not.
    machine.check(["systemctl", "restart", "backstepd.service"])?;
    let mut cold = Vec::new();
    for _ in 0..COLD {
        machine.check(["systemctl", "stop", "backstepd.service"])?;
        cold.push(first_answer(machine).await?);
    }
    report.limit(&format!("cold activation to the first answer, {with}"), median(&cold) * 1e3, "ms", 150.0, COLD);
    machine.check(["backstep", "--json", "list"])?;
    tokio::time::sleep(REST).await;
    let pid = pid_on_host(machine)?;
    report.limit(&format!("idle daemon, resident, {with}"), resident_mib(pid)?, "MiB", 12.0, 1);
    report.limit(&format!("idle daemon, system calls in {WATCHED_S} s, {with}"), f64::from(calls(pid)?), "", 0.0, 1);
    Ok(())
}

async fn first_answer(machine: &Machine) -> Result<f64> {
    let connection = connect(machine).await?;
    let begun = Instant::now();
    let properties = Some("org.freedesktop.DBus.Properties");
    connection.call_method(Some(BUS_NAME), MANAGER_PATH, properties, "Get", &(MANAGER_INTERFACE, "Version")).await?;
    Ok(begun.elapsed().as_secs_f64())
}

/// The daemon's number as the host counts.
fn pid_on_host(machine: &Machine) -> Result<u32> {
    let inner = machine.check(["systemctl", "show", "--value", "--property=MainPID", "backstepd.service"])?;
    let wanted = format!("\t{}", inner.trim());
    for entry in fs::read_dir("/proc")?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let is_it = |line: &str| line.starts_with("NSpid:") && line.ends_with(&wanted) && line.matches('\t').count() > 1;
        let same = fs::read_link(entry.path().join("root")).is_ok() && status.starts_with("Name:\tbackstepd\n");
        if same && status.lines().any(is_it) && is_of(machine, pid) {
            return Ok(pid);
        }
    }
    anyhow::bail!("the daemon does not run")
}

/// Whether a process sees the machine's root, and not another machine's.
fn is_of(machine: &Machine, pid: u32) -> bool {
    let id = |root: &std::path::Path| fs::read_to_string(root.join("etc/machine-id")).ok();
    id(&machine.path("/")) == id(std::path::Path::new(&format!("/proc/{pid}/root")))
}

fn resident_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

/// System calls of all threads while nobody calls.
fn calls(pid: u32) -> Result<u32> {
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace");
    let words = ["--signal=INT", WATCHED_S, "strace", "-f", "-qq", "-e", "signal=none", "-o"].map(str::to_owned);
    let rest = [trace.to_string_lossy().into_owned(), "-p".to_owned(), pid.to_string()];
    output(&mut host("timeout", words.into_iter().chain(rest)))?;
    let text = fs::read_to_string(&trace).context("strace wrote nothing")?;
    // A call that was waiting when strace came, and waits on when it goes, is no wake-up.
    let is_waiting =
        |line: &&str| line.ends_with("<detached ...>") || line.ends_with("<unfinished ...>") || line.contains("restart_syscall(<...");
    Ok(u32::try_from(text.lines().filter(|line| !is_waiting(line)).count())?)
}
