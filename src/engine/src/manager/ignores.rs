//! Ignores: take, take back, and say what apt is to be told.

use backstep_core::actor::Actor;
use backstep_core::ignore::{self, Ignore, IgnoreRecord, MAX_LIVE, Said};
use backstep_core::{ErrorCode, Failure};

use super::Manager;

/// What apt is to be told about ignores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preferences {
    /// The text of the file; without one there is to be no file.
    pub text: String,
    /// When it changes next by itself, microseconds since 1970 in UTC.
    pub next_us: Option<i64>,
}

impl Manager {
    /// Takes an ignore into the record and answers its number. The same said again begins anew.
    pub fn ignore(&mut self, ignore: Ignore, actor: Actor) -> Result<u64, Failure> {
        let at = self.now();
        ignore.validate(at.utc_us)?;
        let live = self.ledger.ignores()?.into_iter().filter(|record| record.ignore.is_live(at.utc_us)).count();
        if live >= MAX_LIVE {
            return Err(Failure::new(ErrorCode::RequestTooLarge, format!("{live} ignores hold already, {MAX_LIVE} at most")));
        }
        self.ledger.ignore(&Said { comment: ignore.comment.clone(), what: ignore, actor, at })
    }

    /// Takes an ignore back.
    pub fn unignore(&mut self, number: u64, comment: String, actor: Actor) -> Result<(), Failure> {
        ignore::check_comment(&comment)?;
        let at = self.now();
        let live = self.ledger.ignores()?.into_iter().any(|record| record.number == number && record.ignore.is_live(at.utc_us));
        let unknown = || Failure::new(ErrorCode::IgnoreUnknown, format!("no ignore that holds has the number {number}"));
        if live && self.ledger.unignore(&Said { what: number, comment, actor, at })? { Ok(()) } else { Err(unknown()) }
    }

    /// The ignores that hold now, in their order.
    pub fn live_ignores(&self) -> Result<Vec<IgnoreRecord>, Failure> {
        let now_us = self.now().utc_us;
        Ok(self.ledger.ignores()?.into_iter().filter(|record| record.ignore.is_live(now_us)).collect())
    }

    /// What apt is to be told now.
    pub fn preferences(&self) -> Result<Preferences, Failure> {
        let (ignores, now_us) = (self.ledger.ignores()?, self.now().utc_us);
        Ok(Preferences { text: ignore::preferences(&ignores, now_us), next_us: ignore::next_end_us(&ignores, now_us) })
    }
}
