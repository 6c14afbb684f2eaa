//! What the configuration says, on record when it says something else than it did.

use backstep_core::actor::Actor;
use backstep_core::ignore::Said;
use backstep_core::{Failure, settings};

use super::Manager;

impl Manager {
    /// Takes what the configuration says now; answers whether that is something else. The same leaves no trace.
    pub fn configure(&mut self, text: &str, actor: Actor) -> Result<bool, Failure> {
        let before = self.ledger.configuration()?;
        if before == text {
            return Ok(false);
        }
        let comment = format!("configuration: {}", settings::differences(&before, text));
        let at = self.now();
        self.ledger.configure(&Said { what: text.to_owned(), comment, actor, at })?;
        Ok(true)
    }
}
