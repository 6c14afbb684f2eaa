//! Kills, as far as they fit into every run of the tests; the matrix of all points is `make torture`'s.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};

/// Runs the program's verbs beside each other and answers what they said.
#[allow(clippy::disallowed_methods, reason = "the program under test is started here")]
fn torture(calls: &[&[&str]]) -> Result<String> {
    let start = |arguments: &&[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_backstep-torture")).args(*arguments).stdout(Stdio::piped()).spawn()
    };
    let children = calls.iter().map(start).collect::<std::io::Result<Vec<_>>>()?;
    let mut said = String::new();
    let mut failed = false;
    for child in children {
        let output = child.wait_with_output()?;
        said.push_str(&String::from_utf8(output.stdout)?);
        failed |= !output.status.success();
    }
    println!("{said}");
    ensure!(!failed, "{said}");
    Ok(said)
}

/// The sum of the runs that were told.
fn runs(said: &str) -> Result<u64> {
    let mut sum = 0;
    for line in said.lines().filter(|line| line.contains(" runs, ")) {
        let (before, _) = line.split_once(" runs, ").context("runs")?;
        sum += before.rsplit(' ').next().context("number")?.parse::<u64>()?;
    }
    Ok(sum)
}

#[test]
fn kills_at_each_fifth_point_of_all_scenarios_and_of_recovery_change_nothing_of_what_must_be_true() -> Result<()> {
    let points = torture(&[&["points", "0", "2", "5"], &["points", "1", "2", "5"]])?;
    let recovery = torture(&[&["random", "1", "200", "600"], &["random", "2", "200", "600"]])?;
    let made = runs(&points)? + runs(&recovery)?;
    ensure!(made >= 3000, "{made} runs: {points}{recovery}");
    Ok(())
}

#[test]
fn a_reinstall_whose_dpkg_was_killed_is_not_taken_for_done() -> Result<()> {
    for at in ["1", "4", "8", "9"] {
        torture(&[&["one", "reinstall", "dpkg", at]])?;
    }
    Ok(())
}

#[test]
fn a_worker_killed_at_its_own_drafts_leaves_none_of_them() -> Result<()> {
    for at in ["55", "56", "57"] {
        torture(&[&["one", "install with a dependency", "worker", at]])?;
    }
    Ok(())
}

/// Three lost undos make the later one wait for a person, who must be asked about it, and not about the first, which waits for it.
#[test]
fn the_one_that_needs_a_person_keeps_the_other_only_until_it_is_decided() -> Result<()> {
    let strikes = ["all-worker", "32", "all-worker", "13", "worker", "16"];
    torture(&[&[&["one", "two wait, the later one first"], &strikes[..]].concat()]).map(drop)
}

#[test]
fn small_disks_are_no_loss() -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        torture(&[&["disks"]])?;
    }
    Ok(())
}

#[test]
fn a_short_soak_comes_to_rest() -> Result<()> {
    torture(&[&["soak", "3", "20"]]).map(drop)
}

#[test]
fn an_undo_that_the_disk_does_not_take_waits_and_is_done_when_the_disk_works() -> Result<()> {
    if backstep_torture::tracer::CAN_FAIL_CALLS {
        torture(&[
            &["fail", "a script fails", "worker", "a write", "22", "25"],
            &["fail", "a script fails", "worker", "names", "24", "38"],
        ])?;
    }
    Ok(())
}
