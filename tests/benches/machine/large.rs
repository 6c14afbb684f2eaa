//! About two hundred packages at once, where the one barrier shows; and putting them back.

use anyhow::Result;
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
    Ok(())
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
