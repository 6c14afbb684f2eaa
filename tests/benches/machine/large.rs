//! About two hundred packages at once, where the one barrier shows; putting them back; and installing them anew, with the others
//! of the system that do not have to be there to boot.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use backstep_apt::boot_critical::is_boot_critical;
use backstep_tests::machine::Machine;

use crate::packages::{SECONDS, no_hooks, order, timed, words};
use crate::report::{Pairs, Report};

const ROUNDS: usize = 5;
/// Twelve that people install, with what they recommend.
const SET: &str = "nginx postgresql git vim-nox nodejs imagemagick mc apache2-utils python3-venv ghostscript php-cli subversion";
const THREE: &str = "less tree jq";

pub(crate) fn measure(machine: &Machine, report: &mut Report) -> Result<()> {
    no_hooks(machine)?;
    words(machine, &format!("apt-get -y -qq --download-only install {SET} {THREE}"))?;
    three(machine, report)?;
    let (mut installs, mut undone) = (Pairs::default(), Pairs::default());
    let peak = Peak::begin();
    for round in 0..ROUNDS {
        for ours in order(round) {
            let program = if ours { "backstep" } else { "apt-get" };
            timed(machine, &mut installs, ours, &format!("{program} install -y {SET}"))?;
            if ours {
                undone.peers.extend(installs.ours.last());
                timed(machine, &mut undone, true, "backstep rollback --last -y")?;
            } else {
                words(machine, &format!("apt-get -y -qq purge --auto-remove {SET}"))?;
            }
        }
    }
    let count = count(machine)?;
    report.pairs(&format!("install of twelve packages with what they recommend, {count} in all"), "apt-get -y", &installs, 0.80, SECONDS);
    report.pairs("undo of this install", "the install itself", &undone, 0.10, SECONDS);
    report.limit("memory of the worker meanwhile, at most", peak.end()?, "MiB", 64.0, ROUNDS);
    reinstalls(machine, report)
}

fn reinstalls(machine: &Machine, report: &mut Report) -> Result<()> {
    words(machine, &format!("apt-get -y -qq install {SET}"))?;
    let installed = machine.check(["dpkg-query", "--show", "--showformat=${Package}\\n"])?;
    let is_meant = |name: &&str| !is_boot_critical(name) && !name.starts_with("backstep");
    let names: Vec<&str> = installed.lines().filter(is_meant).collect();
    let all = names.join(" ");
    words(machine, &format!("apt-get -y -qq --download-only --reinstall install {all}"))?;
    let mut pairs = Pairs::default();
    for round in 0..ROUNDS {
        for ours in order(round) {
            let program = if ours { "backstep reinstall" } else { "apt-get --reinstall install" };
            timed(machine, &mut pairs, ours, &format!("{program} -y {all}"))?;
        }
    }
    report.pairs(&format!("reinstallation of {} packages", names.len()), "apt-get -y", &pairs, 0.85, SECONDS);
    Ok(())
}

/// Looks again and again at the most memory that a worker had.
struct Peak {
    over: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<f64>,
}

impl Peak {
    fn begin() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut most = 0.0_f64;
            while !ends.load(Ordering::Relaxed) {
                most = most.max(of_workers_mib());
                std::thread::sleep(Duration::from_millis(200));
            }
            most
        });
        Self { over, thread }
    }

    /// In MiB.
    fn end(self) -> Result<f64> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().ok().filter(|most| *most > 0.0).context("no worker was seen")
    }
}

/// The most that a living worker, or its guard, ever had.
fn of_workers_mib() -> f64 {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let stati = entries.filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok());
    let most = stati.filter(|status| status.starts_with("Name:\tbackstep-worker\n")).filter_map(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().trim_end_matches(" kB").parse::<f64>().ok()
    });
    most.fold(0.0, f64::max) / 1024.0
}

fn three(machine: &Machine, report: &mut Report) -> Result<()> {
    let mut pairs = Pairs::default();
    for round in 0..ROUNDS {
        for ours in order(round) {
            let program = if ours { "backstep" } else { "apt-get" };
            timed(machine, &mut pairs, ours, &format!("{program} install -y {THREE}"))?;
            words(machine, &format!("apt-get -y -qq purge --auto-remove {THREE}"))?;
        }
    }
    report.pairs("install of three packages", "apt-get -y", &pairs, 1.05, SECONDS);
    Ok(())
}

/// How many packages the set brings.
fn count(machine: &Machine) -> Result<usize> {
    let said = machine.run(format!("apt-get -s install {SET}").split_whitespace())?.success()?.stdout;
    Ok(said.lines().filter(|line| line.starts_with("Inst ")).count())
}
