//! Shutdown waits while packages change: a block inhibitor of logind, held from the moment a step changes the
//! system until the transaction has ended.

use backstep_core::{Direction, StepKind};
use zbus::OwnedFd;

use crate::asked;

/// The inhibitor, held or not.
#[derive(Debug, Default)]
pub struct Inhibitor {
    held: Option<OwnedFd>,
}

impl Inhibitor {
    /// Takes the inhibitor when a step changes the system. A machine without logind has nobody to ask.
    pub async fn follow(&mut self, connection: &zbus::Connection, step: StepKind, direction: Direction) {
        if self.held.is_some() || !(step.changes_system() || direction == Direction::Undo) {
            return;
        }
        match asked::answer(|| take(connection)).await {
            Ok(descriptor) => self.held = Some(descriptor),
            Err(error) => tracing::warn!("shutdown is not held off while packages change: {error}"),
        }
    }

    /// Gives it back.
    pub fn release(&mut self) {
        self.held = None;
    }
}

async fn take(connection: &zbus::Connection) -> zbus::Result<OwnedFd> {
    let arguments = ("shutdown:sleep", "Backstep", "Packages are being changed", "block");
    let manager = Some("org.freedesktop.login1.Manager");
    let reply = connection.call_method(Some("org.freedesktop.login1"), "/org/freedesktop/login1", manager, "Inhibit", &arguments).await?;
    reply.body().deserialize()
}
