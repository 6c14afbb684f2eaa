//! The query of a list: which index leads, and what narrows on the way.
//!
//! Invariant: every list walks an index in the order of its answer and stops at its limit; nothing is sorted. A
//! list in the order of the record goes by key; one of a span of time goes by the time requested, which is another
//! order where the clock was set back; one of a text goes through the index of texts, one of a package through that
//! of packages, one of a tag through that of tags.

use backstep_core::record::Filter;
use backstep_core::{Tag, TransactionState};
use rusqlite::types::Value;

use crate::summary_row::COLUMNS;

pub(crate) const DEFAULT_LIMIT: u32 = 50;

/// Where a page begins: after this row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) key: i64,
    pub(crate) created_us: i64,
}

impl Place {
    /// Before all rows.
    pub(crate) const TOP: Self = Self { key: i64::MAX, created_us: i64::MAX };
}

/// What leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walk {
    Text,
    Package,
    Tag,
    Time,
    Key,
}

/// A few texts, packages and tags are rare, so their index leads also within a span of time.
fn walk(filter: &Filter) -> Walk {
    if filter.text.is_some() {
        Walk::Text
    } else if filter.package.is_some() {
        Walk::Package
    } else if filter.tag.is_some() {
        Walk::Tag
    } else if filter.since_us.is_some() || filter.until_us.is_some() {
        Walk::Time
    } else {
        Walk::Key
    }
}

#[derive(Default)]
struct Conditions {
    texts: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    fn add(&mut self, text: impl Into<String>, values: impl IntoIterator<Item = Value>) {
        self.texts.push(text.into());
        self.values.extend(values);
    }

    fn integer(&mut self, text: &str, value: Option<i64>) {
        if let Some(value) = value {
            self.add(text, [Value::Integer(value)]);
        }
    }

    /// A column that must have a value. `led` keeps its own index out of a walk that another index leads.
    fn column(&mut self, name: &str, led: bool, value: Option<Value>) {
        if let Some(value) = value {
            self.add(format!("{}t.{name} = ?", if led { "+" } else { "" }), [value]);
        }
    }
}

/// The query of a filter, and its values.
pub(crate) fn query(filter: &Filter, after: Place) -> (String, Vec<Value>) {
    let walk = walk(filter);
    let mut conditions = Conditions::default();
    begin(&mut conditions, walk, filter, after);
    narrow(&mut conditions, walk, filter);
    let limit = if filter.limit == 0 { DEFAULT_LIMIT } else { filter.limit };
    conditions.values.push(Value::Integer(limit.into()));
    let (from, order) = match walk {
        Walk::Text => ("transactions_text f CROSS JOIN transactions t ON t.key = f.rowid", "f.rowid DESC"),
        Walk::Package => ("items i CROSS JOIN transactions t ON t.key = i.transaction_key", "i.transaction_key DESC"),
        Walk::Tag => ("tags g CROSS JOIN transactions t ON t.key = g.transaction_key", "g.transaction_key DESC"),
        Walk::Time => ("transactions t", "t.created_us DESC, t.key DESC"),
        Walk::Key => ("transactions t", "t.key DESC"),
    };
    let conditions_text = conditions.texts.join(" AND ");
    let sql = format!(
        "SELECT {COLUMNS} FROM {from} LEFT JOIN plans p ON p.transaction_key = t.key WHERE {conditions_text} ORDER BY {order} LIMIT ?"
    );
    (sql, conditions.values)
}

fn begin(conditions: &mut Conditions, walk: Walk, filter: &Filter, after: Place) {
    let (key, time) = (Value::Integer(after.key), Value::Integer(after.created_us));
    match walk {
        Walk::Text => {
            let text = filter.text.as_deref().unwrap_or_default();
            conditions.add("transactions_text MATCH ?", [Value::Text(phrase(text))]);
            conditions.add("f.rowid < ?", [key]);
        }
        Walk::Package => {
            let package = filter.package.clone().unwrap_or_default();
            conditions.add("i.name = ? AND i.transaction_key < ?", [Value::Text(package), key]);
            // Of several architectures in one transaction the first one counts.
            conditions.add(
                "NOT EXISTS (SELECT 1 FROM items j WHERE j.name = i.name AND j.transaction_key = i.transaction_key AND j.position < i.position)",
                [],
            );
        }
        Walk::Tag => {
            let tag = filter.tag.as_ref().map(Tag::to_string).unwrap_or_default();
            conditions.add("g.name = ? AND g.transaction_key < ?", [Value::Text(tag), key]);
        }
        Walk::Time => conditions.add("(t.created_us, t.key) < (?, ?)", [time, key]),
        Walk::Key => conditions.add("t.key < ?", [key]),
    }
    let leads = walk == Walk::Time;
    conditions.integer(if leads { "t.created_us >= ?" } else { "+t.created_us >= ?" }, filter.since_us);
    conditions.integer(if leads { "t.created_us < ?" } else { "+t.created_us < ?" }, filter.until_us);
}

fn narrow(conditions: &mut Conditions, walk: Walk, filter: &Filter) {
    let led = walk != Walk::Key;
    conditions.column("kind", led, filter.kind.map(|kind| Value::Text(kind.as_str().to_owned())));
    conditions.column("state", led, filter.state.map(|state| Value::Text(state.as_str().to_owned())));
    conditions.column("uid", led, filter.uid.map(|uid| Value::Integer(uid.into())));
    conditions.column("origin", led, filter.origin.map(|origin| Value::Text(origin.as_str().to_owned())));
    if let Some(package) = filter.package.as_ref().filter(|_| walk != Walk::Package) {
        let named = "EXISTS (SELECT 1 FROM items i WHERE i.name = ? AND i.transaction_key = t.key)";
        conditions.add(named, [Value::Text(package.clone())]);
    }
    if let Some(tag) = filter.tag.as_ref().filter(|_| walk != Walk::Tag) {
        let named = "EXISTS (SELECT 1 FROM tags g WHERE g.transaction_key = t.key AND g.name = ?)";
        conditions.add(named, [Value::Text(tag.to_string())]);
    }
    if filter.unfinished {
        conditions.add(format!("{}t.state IN ({})", if led { "+" } else { "" }, open_states()), []);
    }
}

/// A text as one phrase of the full-text language, so that nothing in it is an operator.
fn phrase(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// The names of all states that are not final, quoted; they come from the closed list, never from a caller.
pub(crate) fn open_states() -> String {
    let open = TransactionState::ALL.iter().filter(|state| !state.is_final());
    open.map(|state| format!("'{state}'")).collect::<Vec<_>>().join(", ")
}
