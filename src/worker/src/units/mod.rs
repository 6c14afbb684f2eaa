//! What the service manager says of its units, and the few things asked of it.
//!
//! It is read over the system bus; where that does not answer, as in the middle of a change of the bus itself, by
//! systemctl, which has a way of its own. Backstep's own units are left out everywhere: an undo that started the worker it undoes again would be worse than
//! the failure. A call that the service manager does not answer ends after [`LIMIT`].
//!
//! Without a running service manager (`/run/systemd/system` is absent) there are no units and nothing is asked.

mod bus;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use backstep_core::{ErrorCode, Failure};
use serde::{Deserialize, Serialize};

use crate::child::{Call, Children, Ended, Unwatched, output};
use crate::machine::Machine;

const PROPERTIES: &str = "--property=Id,ActiveState,SubState,InvocationID,NeedDaemonReload,LoadState";
const PATTERNS: [&str; 4] = ["*.service", "*.socket", "*.timer", "*.path"];
const MAX_OUTPUT: u64 = 16 << 20;
/// How long the service manager has for one answer; what it was asked to do goes on after that.
const LIMIT: Duration = Duration::from_secs(60);
/// The load state of a unit without a file.
const MISSING: &str = "not-found";
/// How the names of our own units begin.
const OWN: &str = "backstep";

fn call<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Call {
    Call { limit: Some(LIMIT), ..Call::new("systemctl", arguments) }
}

/// One unit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Unit {
    /// `active`, `inactive`, `failed`, `activating`, `deactivating` or `reloading`. A service that failed and is to be
    /// started again by itself is `failed`, too.
    pub active: String,
    /// Another one with every start; only of what runs.
    pub invocation: String,
    /// Whether its file changed since it was read.
    pub needs_reload: bool,
    /// Whether it has no file: it is only known because something names it, or because it failed when it was stopped.
    #[serde(default)]
    pub missing: bool,
}

impl Unit {
    /// Whether it runs.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.active == "active" || self.active == "reloading"
    }
}

/// The loaded units by name.
pub type Units = BTreeMap<String, Unit>;

/// The units now; empty without a service manager.
pub fn read(machine: &Machine, children: &dyn Children) -> Result<Units, Failure> {
    if !machine.at("run/systemd/system").is_dir() {
        return Ok(Units::new());
    }
    let socket = machine.at(bus::SOCKET);
    if socket.exists() {
        match bus::read(&socket) {
            Ok(units) => return Ok(units),
            Err(error) => eprintln!("backstep-worker: cannot read the units over the bus, so systemctl is asked: {error}"),
        }
    }
    shown(children)
}

fn shown(children: &dyn Children) -> Result<Units, Failure> {
    let arguments = ["show", PROPERTIES, "--"].into_iter().chain(PATTERNS);
    let (ended, bytes) = output(children, call(arguments), MAX_OUTPUT)?;
    match ended {
        Ended::Code(0) => Ok(parse(&String::from_utf8_lossy(&bytes))),
        other => Err(Failure::new(ErrorCode::ServiceFailed, format!("cannot read the units: systemctl {other}"))),
    }
}

/// Whether a unit is one of Backstep's own.
#[must_use]
pub fn is_own(name: &str) -> bool {
    name.starts_with(OWN)
}

/// Reads `systemctl show`: `key=value` lines, units divided by empty lines. Our own units are left out.
#[must_use]
pub fn parse(text: &str) -> Units {
    text.split("\n\n").filter_map(parse_one).filter(|(name, _)| !is_own(name)).collect()
}

fn parse_one(block: &str) -> Option<(String, Unit)> {
    let (mut name, mut active, mut sub) = (None, "", "");
    let mut unit = Unit::default();
    for (key, value) in block.lines().filter_map(|line| line.split_once('=')) {
        match key {
            "Id" => name = Some(value.to_owned()),
            "ActiveState" => active = value,
            "SubState" => sub = value,
            "LoadState" => unit.missing = value == MISSING,
            "InvocationID" => value.clone_into(&mut unit.invocation),
            "NeedDaemonReload" => unit.needs_reload = value == "yes",
            _ => {}
        }
    }
    unit.active = state(active.to_owned(), sub);
    name.map(|name| (name, unit))
}

/// What fails again and again has failed, whatever it is at this moment.
fn state(active: String, sub: &str) -> String {
    if sub == "auto-restart" || sub == "auto-restart-queued" { "failed".to_owned() } else { active }
}

/// Asks the service manager to do something with units. Errors: it does not say that it did, in time.
pub fn ask(children: &dyn Children, verb: &str, units: &[String]) -> Result<(), Failure> {
    if units.is_empty() && verb != "daemon-reload" {
        return Ok(());
    }
    let divider = (!units.is_empty()).then_some("--");
    let arguments = [verb].into_iter().chain(divider).chain(units.iter().map(String::as_str));
    match children.run(call(arguments), &mut Unwatched)? {
        Ended::Code(0) => Ok(()),
        other => {
            let what = std::iter::once(verb).chain(units.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
            Err(Failure::new(ErrorCode::ServiceFailed, format!("cannot {what}: systemctl {other}")))
        }
    }
}

/// The sockets, timers and paths that start any of these units.
pub fn triggers(children: &dyn Children, units: &[String]) -> Result<BTreeSet<String>, Failure> {
    if units.is_empty() {
        return Ok(BTreeSet::new());
    }
    let arguments = ["show", "--property=TriggeredBy", "--value", "--"].into_iter().chain(units.iter().map(String::as_str));
    match output(children, call(arguments), MAX_OUTPUT)? {
        (Ended::Code(0), bytes) => Ok(String::from_utf8_lossy(&bytes).split_whitespace().map(str::to_owned).collect()),
        (other, _) => {
            Err(Failure::new(ErrorCode::ServiceFailed, format!("cannot ask what starts {}: systemctl {other}", units.join(", "))))
        }
    }
}

/// How units changed between two looks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// Run now and did not.
    pub started: Vec<String>,
    /// Ran and do not now.
    pub stopped: Vec<String>,
    /// Run and ran, with a start between.
    pub restarted: Vec<String>,
    /// Ran and have failed now.
    pub failed: Vec<String>,
}

/// Compares two looks. What has no file any more was stopped, however it ended: many a service ends with an error when it
/// is.
#[must_use]
pub fn compare(before: &Units, now: &Units) -> Change {
    let mut change = Change::default();
    let unknown = Unit::default();
    for name in before.keys().chain(now.keys().filter(|name| !before.contains_key(*name))) {
        let (was, is) = (before.get(name).unwrap_or(&unknown), now.get(name).unwrap_or(&unknown));
        let list = match (was.is_active(), is.is_active()) {
            (false, true) => &mut change.started,
            (true, true) if was.invocation != is.invocation => &mut change.restarted,
            (true, false) if is.active == "failed" && !is.missing => &mut change.failed,
            (true, false) => &mut change.stopped,
            (true, true) | (false, false) => continue,
        };
        list.push(name.clone());
    }
    change
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(active: &str, invocation: &str) -> Unit {
        Unit { active: active.into(), invocation: invocation.into(), ..Unit::default() }
    }

    fn units(list: &[(&str, &str, &str)]) -> Units {
        list.iter().map(|(name, active, invocation)| ((*name).to_owned(), unit(active, invocation))).collect()
    }

    #[test]
    fn units_are_read_from_show() {
        let text = "Id=ssh.service\nActiveState=active\nInvocationID=ab\nNeedDaemonReload=yes\n\nId=x.timer\nActiveState=inactive\n";
        let units = parse(text);
        assert_eq!(units.len(), 2);
        let ssh = &units["ssh.service"];
        assert!(ssh.is_active() && ssh.needs_reload);
        assert_eq!(ssh.invocation, "ab");
        assert!(parse("").is_empty());
    }

    #[test]
    fn a_service_that_fails_again_and_again_has_failed() {
        let text = "Id=a.service\nSubState=auto-restart\nActiveState=activating\n\nId=b.service\nActiveState=activating\nSubState=start\n";
        let units = parse(text);
        assert_eq!((units["a.service"].active.as_str(), units["b.service"].active.as_str()), ("failed", "activating"));
        let before = self::units(&[("a.service", "active", "1"), ("b.service", "active", "1")]);
        assert_eq!(compare(&before, &units).failed, ["a.service"]);
    }

    #[test]
    fn our_own_units_are_never_among_them() {
        let own = ["backstep-worker@01936b2e-1.service", "backstepd.service", "backstep-planner.socket", "backstep-upgrade.timer"];
        let text: String = own.iter().map(|name| format!("Id={name}\nActiveState=active\n\n")).collect();
        assert!(parse(&text).is_empty());
        assert_eq!(parse(&format!("{text}Id=ssh.service\nActiveState=active\n")).len(), 1);
    }

    #[test]
    fn changes_are_told_apart() {
        let before =
            units(&[("a", "active", "1"), ("b", "active", "1"), ("c", "active", "1"), ("d", "inactive", ""), ("e", "active", "1")]);
        let now = units(&[("a", "active", "2"), ("b", "failed", "1"), ("d", "active", "3"), ("e", "active", "1"), ("f", "active", "1")]);
        let change = compare(&before, &now);
        assert_eq!(change.restarted, ["a"]);
        let removed = Units::from([("b".to_owned(), Unit { missing: true, ..unit("failed", "1") })]);
        assert!(compare(&before, &removed).stopped.contains(&"b".to_owned()), "its package was removed");
        assert_eq!(change.failed, ["b"]);
        assert_eq!(change.stopped, ["c"]);
        assert_eq!(change.started, ["d", "f"]);
    }
}
