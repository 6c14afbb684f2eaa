//! The hash that chains an event to all before it.
//!
//! The encoding is canonical and injective: a fixed prefix, the hash before, then every column in a fixed
//! order, each as one byte for absent or present, and when present its length as eight bytes and its bytes;
//! integers as eight bytes. All numbers big-endian. It never changes; another encoding gets another prefix.

use backstep_core::{Digest, EventFields, Stamp};
use sha2::{Digest as _, Sha256};

const PREFIX: &[u8] = b"backstep event 1\n";

/// What the first event is chained to.
pub(crate) const BEGINNING: Digest = Digest([0; 32]);

/// An event's row without its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link<'a> {
    pub(crate) seq: i64,
    /// The transaction's id, not its key: the id is what people know.
    pub(crate) transaction: &'a str,
    pub(crate) attempt: Option<u32>,
    pub(crate) fields: Fields<'a>,
    pub(crate) evidence: Option<Digest>,
    pub(crate) at: Stamp,
    pub(crate) generation: i64,
    pub(crate) run: i64,
}

/// What an event says, wherever it is kept: rows that are verified are not copied first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fields<'a> {
    pub(crate) event: &'a str,
    /// From `step` to `after`, in the order of [`EventFields`].
    pub(crate) texts: [Option<&'a str>; 7],
    pub(crate) number: Option<i64>,
}

impl<'a> From<&'a EventFields> for Fields<'a> {
    fn from(fields: &'a EventFields) -> Self {
        // Taken apart by name, so that a new field cannot be forgotten here.
        let EventFields { event, step, direction, state, code, subject, text, after, number } = fields;
        let texts = [step, direction, state, code, subject, text, after].map(Option::as_deref);
        Self { event, texts, number: *number }
    }
}

impl Link<'_> {
    /// The hash of this row after the row with the hash `before`.
    pub(crate) fn hash(&self, before: Digest) -> Digest {
        let mut encoder = Encoder::new(PREFIX);
        encoder.bytes(Some(&before.0));
        encoder.number(Some(self.seq));
        encoder.bytes(Some(self.transaction.as_bytes()));
        encoder.number(self.attempt.map(i64::from));
        self.encode_fields(&mut encoder);
        encoder.bytes(self.evidence.as_ref().map(|digest| &digest.0[..]));
        encoder.number(Some(self.at.utc_us));
        encoder.number(Some(self.at.monotonic_us));
        encoder.bytes(Some(&self.at.boot.0));
        encoder.number(Some(self.generation));
        encoder.number(Some(self.run));
        encoder.end()
    }

    fn encode_fields(&self, encoder: &mut Encoder) {
        encoder.bytes(Some(self.fields.event.as_bytes()));
        for text in self.fields.texts {
            encoder.bytes(text.map(str::as_bytes));
        }
        encoder.number(self.fields.number);
    }
}

/// Bytes that most events fit into.
const USUAL: usize = 512;

/// Values one after the other, so that no two lists of them are the same bytes. Hashed at once: many small pieces take longer.
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    /// Begins with what kind of list it is.
    pub(crate) fn new(prefix: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(USUAL);
        bytes.extend_from_slice(prefix);
        Self(bytes)
    }

    pub(crate) fn end(self) -> Digest {
        digest_of(&self.0)
    }

    pub(crate) fn bytes(&mut self, value: Option<&[u8]>) {
        let Some(bytes) = value else { return self.0.push(0) };
        self.0.push(1);
        self.0.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.0.extend_from_slice(bytes);
    }

    fn number(&mut self, value: Option<i64>) {
        self.bytes(value.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice));
    }
}

/// SHA-256 of some bytes.
pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use backstep_core::BootId;

    fn fields() -> EventFields {
        EventFields { event: "noted".into(), text: Some("ab".into()), ..EventFields::default() }
    }

    fn link(fields: &EventFields) -> Link<'_> {
        let at = Stamp { utc_us: 5, monotonic_us: 6, boot: BootId([7; 16]) };
        Link { seq: 1, transaction: "t", attempt: Some(1), fields: fields.into(), evidence: None, at, generation: 2, run: 3 }
    }

    /// The encoding is part of the format: records written by earlier versions must verify.
    #[test]
    fn the_hash_of_a_known_row_stays() {
        assert_eq!(link(&fields()).hash(BEGINNING).to_string(), "2a49f68afef12e10c001c6d554d27ea8ab6f483933a9020dbf6049cd880e6f59");
    }

    #[test]
    fn every_column_counts() {
        let base = fields();
        let mut others = vec![
            link(&base).hash(Digest([1; 32])),
            Link { seq: 2, ..link(&base) }.hash(BEGINNING),
            Link { transaction: "u", ..link(&base) }.hash(BEGINNING),
            Link { attempt: None, ..link(&base) }.hash(BEGINNING),
            Link { evidence: Some(Digest([0; 32])), ..link(&base) }.hash(BEGINNING),
            Link { generation: 9, ..link(&base) }.hash(BEGINNING),
            Link { run: 9, ..link(&base) }.hash(BEGINNING),
        ];
        let at = link(&base).at;
        for changed in [Stamp { utc_us: 0, ..at }, Stamp { monotonic_us: 0, ..at }, Stamp { boot: BootId([0; 16]), ..at }] {
            others.push(Link { at: changed, ..link(&base) }.hash(BEGINNING));
        }
        let some = || Some("x".to_owned());
        let changes: [fn(&mut EventFields, Option<String>); 8] = [
            |f, x| f.event = x.unwrap_or_default(),
            |f, x| f.step = x,
            |f, x| f.direction = x,
            |f, x| f.state = x,
            |f, x| f.code = x,
            |f, x| f.subject = x,
            |f, x| f.text = x,
            |f, x| f.after = x,
        ];
        for change in changes {
            let mut changed = fields();
            change(&mut changed, some());
            others.push(link(&changed).hash(BEGINNING));
        }
        others.push(link(&EventFields { number: Some(0), ..fields() }).hash(BEGINNING));
        others.push(link(&base).hash(BEGINNING));
        let distinct: std::collections::BTreeSet<_> = others.iter().collect();
        assert_eq!(distinct.len(), others.len());
    }
}
