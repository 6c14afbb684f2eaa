//! Undo beside others' undo: the same changes of the same packages, each in a machine of its own on btrfs, then what each program
//! has for taking them back, and everything that is not as before.
//!
//! The peers: apt's `history-undo`, which Debian's newest apt has, and snapper with a snapshot before and after the change. What
//! order entries of dpkg's database have is nobody's difference: its facts are compared.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Context, Result};
use backstep_tests::backstep::image;
use backstep_tests::command::Output;
use backstep_tests::machine::{FileSystem, Image, Machine, Storage};
use backstep_tests::package::{Package, Script};
use backstep_tests::repository::{Repository, Transport};
use backstep_tests::snapshot::{Snapshot, VOLATILE};

use crate::report::Report;

/// What stands above the rows.
pub(crate) const HEAD: &str = "## Undo beside others\n\nThe same change of the same small packages, each in a machine of its own on \
    btrfs: what each program has for taking it back, and how many things are not as before afterwards (paths but those of logs and \
    caches, packages, marks, services; the first are named). The archive has only the newest version, as Debian's has. apt is that \
    of Debian sid, everything else Debian 12's. snapper needs btrfs, and puts files back whole: dpkg's database \
    forgets what came later. Times are those of the undo, once.\n\n\
    | change | Backstep | apt history-undo | snapper undochange |\n|---|---|---|---|\n";
/// Not compared beside what no test compares: dpkg's and apt's databases, whose facts are, and what snapper keeps.
const BY_FACTS: [&str; 4] = ["/var/lib/dpkg", "/var/lib/apt/extended_states", "/.snapshots", "/.backstep"];
const FACTS: &str = "dpkg-query -W -f 'package ${binary:Package} ${Version} ${db:Status-Abbrev}\\n'; apt-mark showauto | sed 's/^/auto /'; \
    systemctl list-units --plain --no-legend --state=active 'bs-*' | sed 's/^/active /'";
/// apt alone of Debian sid, whose systemd does not start on every kernel that containers have.
const NEWEST_APT: &str = "sed -n 's/ bookworm main/ sid main/p' /etc/apt/sources.list >/etc/apt/sources.list.d/sid.list && \
    apt-get -qq update && apt-get -y -qq install -t sid apt && rm /etc/apt/sources.list.d/sid.list && apt-get -qq update && apt-get clean";
/// Named of those that differ.
const NAMED: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tool {
    Backstep,
    History,
    Snapper,
}

/// One way in which a system changes.
struct Change {
    what: &'static str,
    /// The words for apt-get and for us.
    words: &'static str,
    /// What there is before, and what the archive has then.
    old: fn() -> Vec<Package>,
    new: fn() -> Vec<Package>,
    /// What plain apt is told after it, which must stay.
    later: Option<&'static str>,
}

const CHANGES: [Change; 5] = [
    Change { what: "install", words: "install bs-app", old: Vec::new, new: || app("1"), later: None },
    Change { what: "upgrade, configuration edited before", words: "install bs-app", old: || app("1"), new: || app("2.1"), later: None },
    Change { what: "upgrade whose script fails", words: "install bs-app", old: || app("1"), new: broken, later: None },
    Change { what: "purge, with configuration and data", words: "purge bs-app", old: || app("1"), new: || app("1"), later: None },
    Change {
        what: "upgrade, and another install after it, which stays",
        words: "install bs-app",
        old: || app("1"),
        new: || app("2.1"),
        later: Some("bs-later"),
    },
];

/// A service with a user, data, and scripts that write where dpkg does not know of it. Versions have times of their own, as real ones have:
/// snapper takes files of the same time for the same.
fn app(version: &str) -> Vec<Package> {
    let app = Package::new("bs-app", version)
        .younger(if version == "1" { 0 } else { 86_400 })
        .depends("bs-lib")
        .file("/usr/share/bs-app/version", version)
        .file(&format!("/usr/share/bs-app/only-in-{version}"), version)
        .conffile("/etc/bs-app.conf", format!("default of {version}\n"))
        .service("bs-app.service")
        .script(
            Script::Postinst,
            &format!(
                "id bs-app >/dev/null 2>&1 || useradd --system bs-app; mkdir -p /var/lib/bs-app /opt/bs-app\n\
                 echo {version} >/var/lib/bs-app/format; echo {version} >>/opt/bs-app/log; grep -q bs-app /etc/environment || echo BS=bs-app >>/etc/environment"
            ),
        )
        .script(Script::Postrm, "[ \"$1\" != purge ] || rm -rf /var/lib/bs-app /opt/bs-app");
    vec![
        app,
        Package::new("bs-lib", "1").file("/usr/lib/bs-lib/lib", "lib"),
        Package::new("bs-later", "1").file("/usr/share/bs-later/file", "later"),
    ]
}

fn broken() -> Vec<Package> {
    let fails = |package: Package| package.script(Script::Postinst, "exit 1");
    app("2.1").into_iter().enumerate().map(|(number, package)| if number == 0 { fails(package) } else { package }).collect()
}

/// Every change by every program.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    for change in CHANGES {
        let cells = [Tool::Backstep, Tool::History, Tool::Snapper].map(|tool| tool.try_out(&change));
        report.undone(change.what, &cells.into_iter().collect::<Result<Vec<_>>>()?);
    }
    Ok(())
}

/// What is compared.
struct State {
    files: Snapshot,
    facts: BTreeSet<String>,
}

impl State {
    fn of(machine: &Machine) -> Result<Self> {
        let excluded: Vec<&str> = VOLATILE.iter().chain(&BY_FACTS).copied().collect();
        let facts = sh(machine, FACTS)?.success()?.stdout.lines().map(str::to_owned).collect();
        Ok(Self { files: Snapshot::take(&machine.path("/"), &excluded)?, facts })
    }

    /// What is not the same, without what came later: facts, then paths, each once.
    fn differing(&self, after: &Self, later: Option<&str>) -> Vec<String> {
        let path = |line: &String| line.split(' ').nth(1).map(str::to_owned);
        let paths = self.files.differences(&after.files).iter().filter_map(path).collect::<BTreeSet<_>>();
        let facts = self.facts.symmetric_difference(&after.facts).cloned();
        facts.chain(paths).filter(|thing| later.is_none_or(|later| !thing.contains(later))).collect()
    }
}

impl Tool {
    fn image(self) -> Result<Image> {
        match self {
            Self::Backstep => image(),
            Self::History => Image::debian()?.derive("newest-apt", NEWEST_APT, |machine| sh(machine, NEWEST_APT)?.success().map(drop)),
            Self::Snapper => Image::debian()?.derive("snapper", "1", |machine| {
                machine.check(["apt-get", "install", "-qq", "--yes", "--no-install-recommends", "snapper", "btrfs-progs"]).map(drop)
            }),
        }
    }

    fn try_out(self, change: &Change) -> Result<String> {
        let machine = Machine::boot_on(&self.image()?, Storage::Made(FileSystem::Btrfs))?;
        let cell = self.change_and_undo(&machine, change);
        cell.with_context(|| format!("{self:?}, {}", change.what))
    }

    fn change_and_undo(self, machine: &Machine, change: &Change) -> Result<String> {
        self.set(machine, change)?;
        let before = State::of(machine)?;
        self.change(machine, change)?;
        let id = self.id_of_last(machine)?;
        if let Some(later) = change.later {
            sh(machine, &format!("apt-get -y -qq install {later}"))?.success()?;
        }
        let begun = Instant::now();
        let undone = sh(machine, &self.undo(&id))?;
        let took = begun.elapsed();
        let after = State::of(machine)?;
        let mut differing = before.differing(&after, change.later);
        if let Some(later) = change.later.filter(|later| !after.facts.iter().any(|fact| fact.contains(&format!("package {later} ")))) {
            differing.insert(0, format!("{later} is lost"));
        }
        Ok(told(&undone, took.as_secs_f64(), &differing))
    }

    /// The system before the change, with an administrator's hand in it, and the archive after.
    fn set(self, machine: &Machine, change: &Change) -> Result<()> {
        machine.check(["rm", "-rf", "/etc/apt/sources.list", "/var/lib/apt/lists"])?;
        let old = (change.old)();
        if !old.is_empty() {
            machine.add_repository("peers", &Repository::new(&old)?, Transport::Copy)?;
            sh(machine, "apt-get -y -qq install bs-app && echo edited >/etc/bs-app.conf && echo precious >/var/lib/bs-app/data")?
                .success()?;
        }
        machine.add_repository("peers", &Repository::new(&(change.new)())?, Transport::Copy)?;
        if self == Self::Snapper {
            sh(machine, "snapper --no-dbus create-config /")?.success()?;
        }
        // Archives of an earlier version are long gone from a cache that is cleaned.
        sh(machine, "apt-get clean")?.success().map(drop)
    }

    fn change(self, machine: &Machine, change: &Change) -> Result<()> {
        let words = change.words;
        let options = "-o Dpkg::Options::=--force-confold";
        let line = match self {
            Self::Backstep => format!("backstep {words} -y"),
            Self::History => format!("apt-get -y -qq {options} {words}"),
            Self::Snapper => format!(
                "snapper --no-dbus create --type pre; apt-get -y -qq {options} {words}; code=$?; snapper --no-dbus create --type post --pre-number 1; exit $code"
            ),
        };
        let fails = change.what.ends_with("fails");
        let ended = sh(machine, &line)?;
        anyhow::ensure!(ended.status.success() != fails, "{line}: {}{}", ended.stdout, ended.stderr);
        Ok(())
    }

    /// How the program names the change that was made last.
    fn id_of_last(self, machine: &Machine) -> Result<String> {
        let line = match self {
            Self::Backstep => "backstep --json history --limit 1 | tr ',' '\\n' | sed -n 's/.*\"id\":\"\\([^\"]*\\)\".*/\\1/p' | head -n 1",
            Self::History => "apt history-list | awk 'NF { id = $1 } END { print id }'",
            Self::Snapper => "echo 1..2",
        };
        Ok(sh(machine, line)?.success()?.stdout.trim().to_owned())
    }

    fn undo(self, id: &str) -> String {
        match self {
            // What failed has undone itself.
            Self::Backstep => {
                format!(
                    "backstep --json show {id} | grep -q '\"state\":\"rolled-back\"' && echo by itself || backstep rollback {id} -y --allow-downgrade"
                )
            }
            Self::History => format!("apt -y history-undo {id}"),
            Self::Snapper => format!("snapper --no-dbus undochange {id}"),
        }
    }
}

fn told(undone: &Output, seconds: f64, differing: &[String]) -> String {
    let first: Vec<&str> = differing.iter().take(NAMED).map(String::as_str).collect();
    let named = if differing.is_empty() {
        String::new()
    } else {
        format!(": {}{}", first.join(", "), if differing.len() > NAMED { ", …" } else { "" })
    };
    let said = undone.stderr.lines().chain(undone.stdout.lines()).find(|line| line.starts_with("E") || line.contains("rror"));
    let ended = match (undone.status.code().unwrap_or(-1), undone.stdout.starts_with("by itself")) {
        (0, true) => "by itself".to_owned(),
        (0, false) => format!("{seconds:.1} s"),
        (code, _) => format!("refused or failed with code {code} ({})", said.unwrap_or("no word").trim()),
    };
    format!("{ended}; {} differ{named}", differing.len())
}

fn sh(machine: &Machine, line: &str) -> Result<Output> {
    machine.call(["sh", "-c", line]).env("DEBIAN_FRONTEND", "noninteractive").output()
}
