//! Back-offs: whom they hold back, and what people set and clear. Failures set them in the record itself.

use backstep_core::actor::{Actor, Origin};
use backstep_core::backoff::{self, Backoff, Held, LONGEST_ASKED_US, MAX_LIVE, NewBackoff, Process, Subject};
use backstep_core::ignore::{Said, check_comment};
use backstep_core::{ErrorCode, Failure, Kind, PackageName, Request, TransactionId};

use super::{Manager, unknown};

impl Manager {
    /// What back-offs mean for a transaction that is about to be planned: what a timer's leaves out. One that is for what
    /// is backed off fails as `backoff.active`.
    pub fn held(&self, id: TransactionId) -> Result<Held, Failure> {
        let summary = self.ledger.summary(id)?.ok_or_else(|| unknown(id))?;
        let active = self.ledger.backoffs()?;
        if active.is_empty() {
            return Ok(Held::default());
        }
        let bytes = self.ledger.request_bytes(id)?.ok_or_else(|| unknown(id))?;
        let request =
            backstep_wire::request::from_bytes(&bytes).map_err(|error| Failure::new(ErrorCode::StoreFailed, error.to_string()))?;
        backoff::held(&active, (summary.kind, origin(&summary.actor, summary.kind)), &named(&request), self.now())
    }

    /// The back-offs that hold now, in their order.
    pub fn active_backoffs(&self) -> Result<Vec<Backoff>, Failure> {
        let now = self.now();
        Ok(self.ledger.backoffs()?.into_iter().filter(|backoff| backoff.remaining_us(now) > 0).collect())
    }

    /// Has work left alone, because somebody says so.
    pub fn back_off(&mut self, new: NewBackoff, comment: String, actor: Actor) -> Result<u64, Failure> {
        check_comment(&comment)?;
        let at = self.now();
        let malformed = |text: &str| Failure::new(ErrorCode::RequestMalformed, text);
        if comment.trim().is_empty() {
            return Err(malformed("a back-off needs a comment: why"));
        }
        match new.until_us - at.utc_us {
            ..=0 => return Err(malformed("the back-off would be over before it begins")),
            1..=LONGEST_ASKED_US => {}
            _ => return Err(malformed("a back-off lasts a year at most")),
        }
        if self.active_backoffs()?.len() >= MAX_LIVE {
            return Err(Failure::new(ErrorCode::RequestTooLarge, format!("{MAX_LIVE} back-offs hold already")));
        }
        self.ledger.back_off(&Said { what: new, comment, actor, at })
    }

    /// Ends the back-offs of this subject and this process, or of any; answers how many held.
    pub fn clear_backoffs(
        &mut self,
        (subject, process): (Option<Subject>, Option<Process>),
        comment: String,
        actor: Actor,
    ) -> Result<u32, Failure> {
        check_comment(&comment)?;
        let wanted = |b: &Backoff| subject.as_ref().is_none_or(|s| *s == b.subject) && process.is_none_or(|p| p == b.process);
        let numbers: Vec<u64> = self.active_backoffs()?.into_iter().filter(wanted).map(|backoff| backoff.number).collect();
        if numbers.is_empty() {
            return Ok(0);
        }
        let at = self.now();
        self.ledger.clear_backoffs(&Said { what: numbers, comment, actor, at })
    }

    /// After a boot under an earlier clock back-offs count from now: else they would hold until the clock has caught up.
    pub(super) fn mend_backoffs(&mut self) -> Result<(), Failure> {
        let now = self.now();
        let from_the_future = self.ledger.backoffs()?.into_iter().filter(|backoff| backoff.is_from_the_future(now));
        let numbers: Vec<u64> = from_the_future.map(|backoff| backoff.number).collect();
        if numbers.is_empty() { Ok(()) } else { self.ledger.begin_backoffs_anew(&numbers, &ourselves(), now) }
    }
}

/// An undo is never held back: it is what a failure may need.
fn origin(actor: &Actor, kind: Kind) -> Origin {
    if kind == Kind::Rollback { Origin::Daemon } else { actor.origin }
}

fn named(request: &Request) -> Vec<PackageName> {
    request.items.iter().map(|item| item.name.clone()).collect()
}

fn ourselves() -> Actor {
    Actor {
        uid: 0,
        user: "root".to_owned(),
        loginuid: None,
        pid: None,
        sender: String::new(),
        unit: String::new(),
        origin: Origin::Daemon,
        client: String::new(),
    }
}
