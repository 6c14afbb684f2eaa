//! A plain `apt-get -y` of three packages: bare, with our hooks, and with our hooks and the guard.

use std::time::Instant;

use anyhow::Result;
use backstep_tests::command::run;
use backstep_tests::machine::Machine;
use backstep_tests::package::{Package, Script};
use backstep_tests::repository::{Repository, Transport};

use crate::packages::{no_hooks, words};
use crate::report::{Report, median};

const ROUNDS: usize = 9;
const FILES: usize = 30;
const BYTES: usize = 8 << 10;
/// The most that three packages may take longer, in milliseconds.
const MOST: f64 = 300.0;
const HOOKS: [&str; 2] = ["/etc/apt/apt.conf.d/05backstep", "/etc/apt/apt.conf.d/95backstep"];
const SWITCH: &str = "/etc/apt/apt.conf.d/06backstep-guard";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Bare,
    Hooks,
    Guard,
}

pub(crate) fn measure(machine: &Machine, report: &mut Report) -> Result<()> {
    let hooks = HOOKS.map(|path| machine.read(path)).into_iter().collect::<Result<Vec<_>>>()?;
    let packages: Vec<Package> = (0..3).map(package).collect();
    let repository = Repository::new(&packages)?;
    machine.add_repository("plain", &repository, Transport::Copy)?;
    let (mut with_hooks, mut with_guard) = (Vec::new(), Vec::new());
    install(machine)?;
    for round in 0..ROUNDS {
        let mut seconds = [0.0; 3];
        for place in 0..3 {
            let how = [How::Bare, How::Hooks, How::Guard][(round + place) % 3];
            arrange(machine, how, &hooks)?;
            seconds[how as usize] = install(machine)?;
        }
        eprintln!("{seconds:.2?}");
        with_hooks.push(seconds[How::Hooks as usize] - seconds[How::Bare as usize]);
        with_guard.push(seconds[How::Guard as usize] - seconds[How::Bare as usize]);
    }
    report.limit("plain apt-get of three packages: what our hooks add", median(&with_hooks) * 1e3, "ms", MOST, ROUNDS);
    report.limit("the same with the guard", median(&with_guard) * 1e3, "ms", MOST, ROUNDS);
    arrange(machine, How::Hooks, &hooks)
}

fn arrange(machine: &Machine, how: How, hooks: &[String]) -> Result<()> {
    no_hooks(machine)?;
    words(machine, &format!("rm -f {SWITCH}"))?;
    if how != How::Bare {
        HOOKS.iter().zip(hooks).try_for_each(|(path, text)| machine.write(path, text, 0o644))?;
    }
    if how == How::Guard {
        words(machine, &format!("ln -s /usr/share/backstep/apt-guard.conf {SWITCH}"))?;
    }
    Ok(())
}

/// The seconds of an installation, which is taken back by dpkg afterwards.
fn install(machine: &Machine) -> Result<f64> {
    run("sync", [""; 0])?;
    let begun = Instant::now();
    words(machine, "apt-get -y install bs-plain-0 bs-plain-1 bs-plain-2")?;
    let seconds = begun.elapsed().as_secs_f64();
    words(machine, "dpkg --purge bs-plain-0 bs-plain-1 bs-plain-2")?;
    Ok(seconds)
}

fn package(number: u32) -> Package {
    let name = format!("bs-plain-{number}");
    let package = Package::new(&name, "1").conffile(&format!("/etc/{name}.conf"), "x\n").script(Script::Postinst, "ldconfig");
    (0..FILES).fold(package, |package, file| package.file(&format!("/usr/share/{name}/part-{file}"), vec![b'x'; BYTES]))
}
