//! A plain run of apt, as the hook that runs before dpkg saw it: what the daemon needs to take it into the record, and
//! what whoever ends the attempt needs to tell what became of it.

use std::collections::BTreeMap;

use backstep_core::actor::{Actor, Origin};
use backstep_core::{AttemptId, BootId, Plan, Request, Stamp, TransactionId};
use serde::{Deserialize, Serialize};

use crate::plan::WirePlan;
use crate::request::WireRequest;
use crate::{WireError, bytes_of, check_version, json, text};

const VERSION: u32 = 1;
const WHAT: &str = "record of a run of apt";

/// One run of apt. It has one attempt, with the number 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// What it would have been asked as.
    pub request: Request,
    /// Who ran apt; the origin is always `apt`.
    pub actor: Actor,
    /// When the hook was called.
    pub begun: Stamp,
    /// apt itself.
    pub process: Process,
    /// What apt announced; [`crate::plan`] has what was done of it.
    pub plan: Plan,
    /// dpkg's word for every package of the plan, before.
    pub words: BTreeMap<String, String>,
    /// What changes whenever dpkg writes its database; opaque.
    pub mark: String,
    /// Where apt's log of its terminal ended, in bytes.
    pub terminal: u64,
}

impl Foreign {
    /// The transaction's identity.
    #[must_use]
    pub const fn id(&self) -> TransactionId {
        self.plan.transaction
    }

    /// Its only attempt.
    #[must_use]
    pub const fn attempt(&self) -> AttemptId {
        AttemptId { transaction: self.plan.transaction, number: 1 }
    }
}

/// A process, told from a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it was started, in the kernel's ticks since boot.
    pub started: u64,
}

/// What the kernel says of a process in `/proc/PID/stat`, as far as it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The process that started it, or took it over.
    pub parent: u32,
    /// See [`Process::started`].
    pub started: u64,
}

impl Stat {
    /// Reads it. The second field is the program's name in parentheses and may hold anything.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Self { parent: fields.get(1)?.parse().ok()?, started: fields.get(19)?.parse().ok()? })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireForeign {
    version: u32,
    request: WireRequest,
    actor: WireActor,
    begun: WireStamp,
    process: Process,
    plan: WirePlan,
    words: BTreeMap<String, String>,
    mark: String,
    terminal: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireActor {
    uid: u32,
    user: String,
    loginuid: Option<u32>,
    pid: Option<u32>,
    unit: String,
    client: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireStamp {
    utc_us: i64,
    monotonic_us: i64,
    #[serde(with = "text")]
    boot: BootId,
}

impl From<&Actor> for WireActor {
    fn from(actor: &Actor) -> Self {
        let Actor { uid, user, loginuid, pid, sender: _, unit, origin: _, client } = actor.clone();
        Self { uid, user, loginuid, pid, unit, client }
    }
}

impl From<WireActor> for Actor {
    fn from(wire: WireActor) -> Self {
        let WireActor { uid, user, loginuid, pid, unit, client } = wire;
        Self { uid, user, loginuid, pid, sender: String::new(), unit, origin: Origin::Apt, client }
    }
}

/// The document of a run.
#[must_use]
pub fn to_bytes(foreign: &Foreign) -> Vec<u8> {
    let Stamp { utc_us, monotonic_us, boot } = foreign.begun;
    bytes_of(&WireForeign {
        version: VERSION,
        request: (&foreign.request).into(),
        actor: (&foreign.actor).into(),
        begun: WireStamp { utc_us, monotonic_us, boot },
        process: foreign.process,
        plan: (&foreign.plan).into(),
        words: foreign.words.clone(),
        mark: foreign.mark.clone(),
        terminal: foreign.terminal,
    })
}

/// Reads a document back.
pub fn from_bytes(bytes: &[u8]) -> Result<Foreign, WireError> {
    let wire: WireForeign = json(WHAT, bytes)?;
    check_version(WHAT, wire.version, VERSION)?;
    let WireStamp { utc_us, monotonic_us, boot } = wire.begun;
    Ok(Foreign {
        request: wire.request.check()?,
        actor: wire.actor.into(),
        begun: Stamp { utc_us, monotonic_us, boot },
        process: wire.process,
        plan: wire.plan.check()?,
        words: wire.words,
        mark: wire.mark,
        terminal: wire.terminal,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use backstep_core::{Digest, Kind, Method, Options};

    fn sample() -> Foreign {
        let request = Request {
            kind: Kind::Upgrade,
            description: "apt-get upgrade".into(),
            tags: Default::default(),
            items: Vec::new(),
            archives: Vec::new(),
            reverts: None,
            retries: None,
            options: Options::default(),
        };
        let plan = Plan {
            transaction: "01936b2e-7c1a-7d3e-9f10-0123456789ab".parse().expect("id"),
            kind: Kind::Upgrade,
            request: Digest([1; 32]),
            world: Digest([2; 32]),
            method: Method::Packages,
            options: Options::default(),
            items: Vec::new(),
            marks: Vec::new(),
            restores: Vec::new(),
            download_bytes: 0,
            warnings: Vec::new(),
        };
        let actor = Actor {
            uid: 1000,
            user: "ana".into(),
            loginuid: Some(1000),
            pid: Some(7),
            sender: String::new(),
            unit: "session-3.scope".into(),
            origin: Origin::Apt,
            client: "apt-get".into(),
        };
        let words = BTreeMap::from([("a:all".to_owned(), "installed 1".to_owned())]);
        let (begun, process) = (Stamp { utc_us: 5, monotonic_us: 6, boot: BootId([7; 16]) }, Process { pid: 7, started: 8 });
        Foreign { request, actor, begun, process, plan, words, mark: "1 2".into(), terminal: 9 }
    }

    #[test]
    fn a_run_keeps_everything() {
        assert_eq!(from_bytes(&to_bytes(&sample())).expect("read"), sample());
        assert_eq!(sample().attempt().to_string(), "01936b2e-7c1a-7d3e-9f10-0123456789ab-1");
    }

    #[test]
    fn the_name_of_a_process_does_not_mislead() {
        let text = "42 (a) b (c)) S 7 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 991 1 2 3";
        assert_eq!(Stat::parse(text), Some(Stat { parent: 7, started: 991 }));
        assert_eq!(Stat::parse("42 (a) S 7"), None);
    }

    #[test]
    fn another_version_is_refused() {
        let text = String::from_utf8(to_bytes(&sample())).expect("utf-8").replacen("\"version\":1", "\"version\":2", 1);
        assert!(from_bytes(text.as_bytes()).is_err());
    }
}
