//! Who calls: asked of the bus and the kernel, never of the caller.
//!
//! Unique names are never used twice while a bus lives, so what is learnt of one stays true; the memory of it is
//! bounded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use backstep_core::actor::{Actor, Origin, unit_of};
use backstep_core::inflow::Inflow;
use backstep_core::{ErrorCode, Failure};
use nix::unistd::{Uid, User};
use zbus::fdo::DBusProxy;
use zbus::message::Header;
use zbus::names::{BusName, UniqueName};

use crate::asked;
use crate::lock::lock;

/// Callers remembered at a time.
const REMEMBERED: usize = 256;
/// Of those who were turned away.
const NAMED: usize = 256;

/// What is known of a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Its unique bus name.
    pub sender: String,
    /// Its user, as the bus says.
    pub uid: u32,
    /// Its process, as the bus says.
    pub pid: Option<u32>,
}

/// Learns and remembers callers.
#[derive(Debug)]
pub struct Callers {
    bus: DBusProxy<'static>,
    known: Mutex<VecDeque<Caller>>,
    inflow: Arc<Mutex<Inflow>>,
    /// Those who were turned away lately: looking them up again and again would be work that a flood gets for free.
    named: Mutex<VecDeque<(Actor, String)>>,
}

impl Callers {
    /// Callers of one connection. What is learnt of them is told to its inflow.
    pub async fn new(connection: &zbus::Connection, inflow: Arc<Mutex<Inflow>>) -> zbus::Result<Self> {
        let bus = DBusProxy::new(connection).await?;
        Ok(Self { bus, known: Mutex::new(VecDeque::new()), inflow, named: Mutex::new(VecDeque::new()) })
    }

    /// The caller of a message. Without an answer of the bus there is no caller, and so no right.
    pub async fn of(&self, header: &Header<'_>) -> Result<Caller, Failure> {
        let sender = header.sender().ok_or_else(|| denied("the message has no sender"))?;
        let caller = match self.remembered(sender.as_str()) {
            Some(caller) => caller,
            None => self.ask(sender).await?,
        };
        lock(&self.inflow).learn(&caller.sender, caller.uid);
        Ok(caller)
    }

    /// Whether it is known whose a sender is, so that [`Callers::of`] asks nobody.
    #[must_use]
    pub fn knows(&self, sender: &str) -> bool {
        lock(&self.known).iter().any(|caller| caller.sender == sender)
    }

    /// Learns whose a sender is.
    pub async fn learn(&self, sender: &str) {
        let Ok(name) = UniqueName::try_from(sender) else { return };
        if let Ok(caller) = self.ask(&name).await {
            lock(&self.inflow).learn(sender, caller.uid);
        }
    }

    async fn ask(&self, sender: &UniqueName<'_>) -> Result<Caller, Failure> {
        let credentials = asked::answer(|| self.bus.get_connection_credentials(BusName::Unique(sender.to_owned()))).await;
        let Ok(credentials) = credentials else {
            lock(&self.inflow).forget(sender.as_str());
            return Err(denied("the bus does not know the caller"));
        };
        let uid = credentials.unix_user_id().ok_or_else(|| denied("the bus does not know the caller's user"))?;
        let caller = Caller { sender: sender.to_string(), uid, pid: credentials.process_id() };
        self.remember(caller.clone());
        Ok(caller)
    }

    /// The caller as the record names who was turned away, and the name of its process.
    #[must_use]
    pub fn named(&self, caller: &Caller) -> (Actor, String) {
        let mut named = lock(&self.named);
        if let Some(found) = named.iter().find(|(actor, _)| actor.sender == caller.sender) {
            return found.clone();
        }
        let program = caller.pid.and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()).unwrap_or_default();
        let made = (actor(caller, Origin::Dbus, ""), program.trim_end().to_owned());
        if named.len() >= NAMED {
            named.pop_front();
        }
        named.push_back(made.clone());
        made
    }

    fn remembered(&self, sender: &str) -> Option<Caller> {
        lock(&self.known).iter().find(|caller| caller.sender == sender).cloned()
    }

    fn remember(&self, caller: Caller) {
        let mut known = lock(&self.known);
        // Two of its messages may have asked at a time.
        if known.contains(&caller) {
            return;
        }
        if known.len() >= REMEMBERED {
            known.pop_front();
        }
        known.push_back(caller);
    }
}

fn denied(text: &str) -> Failure {
    Failure::new(ErrorCode::AuthDenied, text)
}

/// The actor that enters the record: the caller, completed from the kernel's and the system's own tables.
#[must_use]
pub fn actor(caller: &Caller, origin: Origin, client: &str) -> Actor {
    let proc = |file: &str| caller.pid.and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok());
    Actor {
        uid: caller.uid,
        user: User::from_uid(Uid::from_raw(caller.uid)).ok().flatten().map(|user| user.name).unwrap_or_default(),
        loginuid: proc("loginuid").and_then(|text| text.trim().parse().ok()).filter(|uid| *uid != u32::MAX),
        pid: caller.pid,
        sender: caller.sender.clone(),
        unit: proc("cgroup").map(|text| unit_of(&text)).unwrap_or_default(),
        origin,
        client: client.chars().filter(|c| !c.is_control()).take(64).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_put_control_characters_into_the_record() {
        let caller = Caller { sender: ":1.5".into(), uid: 0, pid: None };
        let actor = actor(&caller, Origin::Dbus, &format!("evil\n\u{1b}[31m{}", "x".repeat(200)));
        assert!(actor.client.chars().all(|c| !c.is_control()));
        assert_eq!(actor.client.chars().count(), 64);
        assert_eq!(actor.user, "root");
    }
}
