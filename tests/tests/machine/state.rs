//! The state of a machine that an undo must bring back: files, dpkg's and apt's facts, alternatives and units.
//!
//! Invariants: what is not compared stands in one list, each with its reason. Absent on purpose: processes and
//! times.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use backstep_tests::machine::Machine;
use backstep_tests::snapshot::Snapshot;

/// Trees that are not compared.
const NOT_COMPARED: [(&str, &str); 14] = [
    ("/dev", "made by the kernel"),
    ("/proc", "made by the kernel"),
    ("/sys", "made by the kernel"),
    ("/run", "gone with the next boot; the units are compared by what systemd says"),
    ("/tmp", "nobody's state"),
    ("/var/tmp", "nobody's state"),
    ("/srv", "holds the test's repository"),
    ("/var/log", "grows for ever"),
    ("/var/cache/apt", "apt makes it anew"),
    ("/var/lib/apt/lists", "fetched, not installed"),
    ("/var/lib/backstep", "our record, which must differ"),
    ("/var/lib/systemd/timers", "when timers last ran"),
    ("/var/lib/systemd/random-seed", "different with every boot"),
    ("/etc/resolv.conf", "the host's, put there at boot"),
];

/// What a change by packages writes anew, in another order: there the facts decide.
const BY_FACTS: [&str; 3] = ["/var/lib/dpkg", "/var/lib/apt/extended_states", "/var/cache/debconf"];

/// Units that come and go by themselves: ours, and what the bus or a clock starts.
const RESTLESS: [&str; 6] = ["backstep", "polkit", "systemd-hostnamed", "systemd-tmpfiles-clean", "user@", "user-runtime-dir@"];

/// The state at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    files: Snapshot,
    facts: BTreeSet<String>,
}

impl State {
    /// Looks at a machine, but not at trees that services of a test write while they run.
    pub(crate) fn of(machine: &Machine, written: &[&str]) -> Result<Self> {
        let excluded: Vec<&str> = NOT_COMPARED.iter().map(|(path, _)| *path).chain(written.iter().copied()).collect();
        Ok(Self { files: Snapshot::take(&machine.path("/"), &excluded)?, facts: facts(machine)? })
    }

    /// Everything that is not the same, as lines; `-` was only before, `+` is only after.
    pub(crate) fn differences(&self, after: &Self) -> Vec<String> {
        let mut all = self.files.differences(&after.files);
        all.extend(self.facts.difference(&after.facts).map(|fact| format!("- {fact}")));
        all.extend(after.facts.difference(&self.facts).map(|fact| format!("+ {fact}")));
        all
    }

    /// The same without the files in which the order of entries has no meaning: their facts are compared.
    pub(crate) fn differences_in_fact(&self, after: &Self) -> Vec<String> {
        // dpkg takes a priority from its `available` file whenever it happens to read that.
        let by_facts = |line: &String| BY_FACTS.iter().any(|path| line[2..].starts_with(path)) || line.contains(" Priority: ");
        self.differences(after).into_iter().filter(|line| !by_facts(line)).collect()
    }

    /// Fails unless nothing differs.
    pub(crate) fn expect_same(&self, after: &Self, when: &str) -> Result<()> {
        expect_none(&self.differences(after), when)
    }

    /// Fails unless nothing differs but the order of entries.
    pub(crate) fn expect_same_in_fact(&self, after: &Self, when: &str) -> Result<()> {
        expect_none(&self.differences_in_fact(after), when)
    }
}

fn expect_none(differences: &[String], when: &str) -> Result<()> {
    ensure!(differences.is_empty(), "{when}: {} differences\n{}", differences.len(), differences.join("\n"));
    Ok(())
}

fn facts(machine: &Machine) -> Result<BTreeSet<String>> {
    let mut facts = packages(machine)?;
    for (name, words) in [
        ("auto", ["apt-mark", "showauto"].as_slice()),
        ("hold", &["apt-mark", "showhold"]),
        ("alternative", &["update-alternatives", "--get-selections"]),
        ("unit file", &["systemctl", "list-unit-files", "--no-legend", "--no-pager"]),
    ] {
        facts.extend(lines(&machine.check(words)?).map(|line| format!("{name} {line}")));
    }
    facts.extend(running(machine)?);
    Ok(facts)
}

fn lines(text: &str) -> impl Iterator<Item = String> {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|line| !line.is_empty())
}

/// A fact for every field of every package that dpkg knows.
fn packages(machine: &Machine) -> Result<BTreeSet<String>> {
    let status = machine.read("/var/lib/dpkg/status")?;
    let mut facts = BTreeSet::new();
    for stanza in status.split("\n\n").filter(|stanza| !stanza.trim().is_empty()) {
        let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let package = field("Package:").with_context(|| format!("a package without a name: {stanza}"))?;
        let arch = field("Architecture:").unwrap_or("-");
        let joined = stanza.replace("\n ", " ");
        facts.extend(joined.lines().map(|line| format!("{package}:{arch} {line}")));
    }
    Ok(facts)
}

fn running(machine: &Machine) -> Result<BTreeSet<String>> {
    let list = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "--no-pager", "--type=service,socket,timer,path"];
    let text = machine.check(list)?;
    let unit = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, _, "active", sub, ..] = words.as_slice() else { return None };
        // A timer whose service is just running.
        let sub = if name.ends_with(".timer") && *sub == "running" { "waiting" } else { sub };
        (!RESTLESS.iter().any(|restless| name.starts_with(restless))).then(|| format!("unit {name} {sub}"))
    };
    Ok(text.lines().filter_map(unit).collect())
}
