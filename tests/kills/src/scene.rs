//! What is done with the packages: the changes that are killed, and what was done before each.

use anyhow::{Context, Result};
use backstep_core::Kind;
use backstep_tests::package::{Package, Script};
use backstep_torture::scenario::{Wish, undo, wish};

/// A change, and what comes before it.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// The requests; all but the last are complete before anything is killed.
    pub wishes: &'static [Wish],
    /// Whether somebody else changes a mark before the last one, so that files alone cannot undo.
    pub drifts: bool,
}

const fn of(name: &'static str, wishes: &'static [Wish]) -> Scenario {
    Scenario { name, wishes, drifts: false }
}

/// All of them.
pub const SCENARIOS: [Scenario; 13] = [
    of("install", &[wish(Kind::Install, &["bk-plain"])]),
    of("install-scripts", &[wish(Kind::Install, &["bk-new"])]),
    of("upgrade", &[wish(Kind::Update, &["bk-up"])]),
    of("remove", &[wish(Kind::Remove, &["bk-up"])]),
    of("purge", &[wish(Kind::Purge, &["bk-up"])]),
    of("conffile", &[wish(Kind::Update, &["bk-conf"])]),
    of("trigger", &[wish(Kind::Install, &["bk-pull"])]),
    of("several", &[wish(Kind::Install, &["bk-top", "bk-up", "bk-conf"])]),
    of("reinstall", &[wish(Kind::Reinstall, &["bk-up"])]),
    of("rollback-install", &[wish(Kind::Install, &["bk-new"]), undo(0)]),
    of("rollback-upgrade", &[wish(Kind::Update, &["bk-up"]), undo(0)]),
    of("rollback-purge", &[wish(Kind::Purge, &["bk-up"]), undo(0)]),
    Scenario { drifts: true, ..of("rollback-packages", &[wish(Kind::Update, &["bk-up"]), undo(0)]) },
];

/// A scenario by its name.
pub fn named(name: &str) -> Result<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name).with_context(|| format!("no scenario is called {name:?}"))
}

/// What is installed before everything, each in its version 1.
pub const AT_FIRST: [&str; 3] = ["bk-up=1", "bk-conf=1", "bk-watch=1"];
/// The configuration file that the administrator has edited.
pub const EDITED: &str = "etc/bk-conf/edited.conf";

/// Everything that the repository has.
#[must_use]
pub fn packages() -> Vec<Package> {
    let mut all = vec![plain("bk-plain", "1"), scripted(plain("bk-new", "1"), "bk-new"), watcher(), plain("bk-low", "1")];
    all.push(plain("bk-pull", "1").file("/usr/share/bk-watched/pulled", "x\n"));
    all.push(plain("bk-side", "1").symlink("/usr/share/bk-side/link", "version"));
    all.push(scripted(plain("bk-top", "1").depends("bk-low, bk-side"), "bk-top"));
    for version in ["1", "2"] {
        let changing = plain("bk-up", version).directory(&format!("/usr/share/bk-up/dir-{version}"), 0o755);
        all.push(scripted(changing, "bk-up"));
        let content = |name: &str| format!("{name} of {version}\n");
        let conf = plain("bk-conf", version).conffile("/etc/bk-conf/plain.conf", content("plain"));
        let conf = conf.conffile("/etc/bk-conf/edited.conf", content("edited"));
        all.push(conf.conffile(&format!("/etc/bk-conf/only-{version}.conf"), content("only")));
    }
    all
}

fn plain(name: &str, version: &str) -> Package {
    Package::new(name, version)
        .file(&format!("/usr/share/{name}/version"), version)
        .file(&format!("/usr/share/{name}/only-{version}"), "")
        .program(&format!("/usr/bin/{name}"), format!("#!/bin/sh\necho {version}\n"))
        .conffile(&format!("/etc/{name}.conf"), format!("of {name} {version}\n"))
}

/// Scripts whose programs change files of nobody and of the package, and clean up after a purge. What they leave is the
/// same when dpkg has to call one twice: it answers a killed script of the old version by one of the new. No pipes: the
/// shell does not tell of the first in one that was killed.
fn scripted(package: Package, name: &str) -> Package {
    let log = format!("mkdir -p /var/lib/{name}; expr 40 + 2 >/var/lib/{name}/log");
    let both = format!("{log}\ncp /var/lib/{name}/log /var/lib/{name}/copy; mv /var/lib/{name}/copy /var/lib/{name}/moved");
    package
        .script(Script::Preinst, &log)
        .script(Script::Postinst, &format!("{both}\necho more >>/etc/{name}.made; chmod 0600 /etc/{name}.made"))
        .script(Script::Prerm, &format!("{log}\nrm -f /etc/{name}.made"))
        .script(Script::Postrm, &format!("if [ \"$1\" = purge ]; then rm -rf /var/lib/{name}; else {log}; fi"))
}

fn watcher() -> Package {
    let list =
        "if [ \"$1\" = triggered ]; then ls /usr/share/bk-watched >/var/lib/bk-watch.new; mv /var/lib/bk-watch.new /var/lib/bk-watch; fi";
    plain("bk-watch", "1").triggers("interest-noawait /usr/share/bk-watched").script(Script::Postinst, list)
}
