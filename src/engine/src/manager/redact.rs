//! A text taken out of the record and of its mirror.

use backstep_core::actor::Actor;
use backstep_core::ignore::{Said, check_comment};
use backstep_core::redaction::{Mode, Redacted, Redaction};
use backstep_core::{ErrorCode, Failure};

use super::Manager;

impl Manager {
    /// Takes a text out of the record, or says what that would be. Documents of what it was in are written again.
    pub fn redact(&mut self, redaction: Redaction, comment: String, actor: Actor) -> Result<Redacted, Failure> {
        check_comment(&comment)?;
        let malformed = |text: &str| Err(Failure::new(ErrorCode::RequestMalformed, text));
        if comment.trim().is_empty() {
            return malformed("a redaction needs a comment: why");
        }
        if comment.contains(redaction.text()) {
            return malformed("the comment has the text that is to go");
        }
        let (mode, at) = (redaction.mode, self.now());
        let redacted = self.ledger.redact(&Said { what: redaction, comment, actor, at })?;
        if mode == Mode::Do {
            redacted.transactions.iter().for_each(|id| self.mirror_now(*id));
        }
        Ok(redacted)
    }
}
