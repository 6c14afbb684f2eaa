//! What the configuration said, one row each time it was found to say something else.

use backstep_core::ignore::Said;
use rusqlite::{OptionalExtension, params};

use crate::error::StoreError;
use crate::generation::{Generation, Opening};
use crate::open::Store;

impl Store {
    /// Records what the configuration says now, in a generation of its own.
    pub fn configure(&mut self, said: &Said<String>) -> Result<(), StoreError> {
        let Said { what, comment, actor, at } = said;
        let generation = Generation::begin(self, &Opening::New { comment, actor }, *at)?;
        let sql = "INSERT INTO configurations (generation, text) VALUES (?1, ?2)";
        generation.conn().execute(sql, params![generation.key(), what])?;
        generation.commit()
    }

    /// What it said last; empty when it never said anything.
    pub fn configuration(&self) -> Result<String, StoreError> {
        Ok(self.conn.query_row(LAST, [], |row| row.get(0)).optional()?.unwrap_or_default())
    }
}

pub(crate) const LAST: &str = "SELECT text FROM configurations WHERE key = (SELECT max(key) FROM configurations)";

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::tests::{Fixture, actor, stamp};

    /// A configuration on its way into the record.
    pub(crate) fn said(text: &str, us: i64) -> Said<String> {
        Said { what: text.into(), comment: format!("configuration: {text}"), actor: actor(), at: stamp(us) }
    }

    #[test]
    fn the_last_configuration_is_the_one_that_holds_and_the_earlier_ones_stay() {
        let mut f = Fixture::new();
        assert_eq!(f.store.configuration().expect("none"), "");
        for (us, text) in [(1, "undo.days = 9"), (2, ""), (3, "undo.days = 5")] {
            f.store.configure(&said(text, us)).expect("configure");
            assert_eq!(f.store.configuration().expect("read"), text);
        }
        assert_eq!([f.count("configurations"), f.count("generations")], [3, 3]);
        let journal = "SELECT fields FROM changes WHERE generation = 1 AND table_name = 'configurations'";
        let told: String = f.store.conn.query_row(journal, [], |row| row.get(0)).expect("journal");
        assert!(told.contains("undo.days = 9"), "{told}");
    }
}
