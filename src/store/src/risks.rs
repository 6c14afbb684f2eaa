//! How changes of packages ended before: what is likely to fail again.
//!
//! What is looked at is bounded, whatever the record holds; what has left it for an archive does not count.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use backstep_core::risk::{Blamed, MAX_COUNTED, Risk, Tally};
use backstep_core::{PackageName, Version};
use rusqlite::{Row, params};

use crate::columns::failure;
use crate::error::StoreError;
use crate::reader::Reader;
use crate::work::culprits;

/// Items of one package that are read at most: not each counts, and plans that were only looked at are many.
const MAX_READ: u32 = 500;

/// A package at a version, whose history is asked for.
type Asked = (PackageName, Version);

/// How much of a package's history is looked at, the newest first.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Items that are read.
    read: u32,
    /// Transactions that count.
    counted: u32,
}

impl Reader {
    /// How transactions with these packages ended, in the order that is asked: of this user, or of all, those of the newest 500
    /// plans with the package that a worker had and that are over or wait for a person, at most [`MAX_COUNTED`]. What was cancelled
    /// and marks do not count; a removal counts for the version that it removes. One row for each that is asked, also when there
    /// was none.
    pub fn risks(&self, asked: &[Asked], uid: Option<u32>) -> Result<Vec<Risk>, StoreError> {
        self.bounded_risks(asked, uid, Bounds { read: MAX_READ, counted: MAX_COUNTED })
    }

    fn bounded_risks(&self, asked: &[Asked], uid: Option<u32>, bounds: Bounds) -> Result<Vec<Risk>, StoreError> {
        // One that failed with hundreds of packages is judged once.
        let mut judged = HashMap::new();
        asked.iter().map(|one| self.risk(one, uid, bounds, &mut judged)).collect()
    }

    fn risk(&self, (package, version): &Asked, uid: Option<u32>, bounds: Bounds, judged: &mut Judged) -> Result<Risk, StoreError> {
        let mut risk = Risk { package: package.clone(), version: version.clone(), own: Tally::default(), others: Tally::default() };
        let mut statement = self.conn.prepare_cached(TRIED)?;
        let mut rows = statement.query(params![package.as_str(), uid, bounds.read])?;
        let mut last = None;
        while let Some(row) = rows.next()? {
            let (key, counts): (i64, bool) = (row.get("key")?, row.get("counts")?);
            // A package of several architectures is one.
            if !counts || last.replace(key) == Some(key) {
                continue;
            }
            let tried: Option<String> = row.get("version")?;
            let tally = if tried.as_deref() == Some(version.as_str()) { &mut risk.own } else { &mut risk.others };
            tally.count(self.blamed(row, key, package, judged)?);
            if risk.own.attempts + risk.others.attempts >= bounds.counted {
                break;
            }
        }
        Ok(risk)
    }

    /// What a transaction failed with, if the package is to blame.
    fn blamed(&self, row: &Row<'_>, key: i64, package: &PackageName, judged: &mut Judged) -> Result<Option<Blamed>, StoreError> {
        let Some(error) = failure(row)? else { return Ok(None) };
        let to_blame = match judged.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(culprits(&self.conn, key, &error)?),
        };
        let is_to_blame = to_blame.iter().any(|culprit| culprit == package.as_str());
        Ok(is_to_blame.then_some(Blamed { at_us: row.get("at_us")?, code: error.code }))
    }
}

/// Who is to blame, by the key of what failed.
type Judged = HashMap<i64, Vec<String>>;

/// What a worker had and that is over or waits for a person. The conditions are no filter, so that the limit bounds what is read and not
/// what is found.
pub(crate) const TRIED: &str = "SELECT i.transaction_key AS key, coalesce(i.to_version, i.from_version) AS version,
        t.error_code, t.error_text, coalesce(t.finished_us, t.updated_us) AS at_us,
        t.state IN ('completed', 'rolled-back', 'partially-rolled-back', 'needs-attention')
            AND i.action NOT IN ('hold', 'unhold') AND (?2 IS NULL OR t.uid = ?2) AS counts
    FROM items i CROSS JOIN transactions t ON t.key = i.transaction_key
    WHERE i.name = ?1 ORDER BY i.transaction_key DESC LIMIT ?3";

#[cfg(test)]
mod tests {
    use backstep_core::{ErrorCode, Event, Kind, PlanAction, PlanItem};

    use super::*;
    use crate::tests::work::fails;
    use crate::tests::{Fixture, item, stamp};

    const HERS: Option<u32> = Some(1000);

    fn asked(packages: &[(&str, &str)]) -> Vec<Asked> {
        packages.iter().map(|(name, version)| (name.parse().expect("name"), version.parse().expect("version"))).collect()
    }

    fn read(f: &Fixture, packages: &[(&str, &str)]) -> Vec<Risk> {
        Reader::open(&f.path).expect("open").risks(&asked(packages), None).expect("read")
    }

    /// Failed and tried with this version, and with others.
    fn counts(risk: &Risk) -> [u32; 4] {
        [risk.own.failed, risk.own.attempts, risk.others.failed, risk.others.attempts]
    }

    fn of(f: &Fixture, name: &str, version: &str) -> [u32; 4] {
        counts(&read(f, &[(name, version)])[0])
    }

    /// A transaction with these items that goes on like this.
    fn goes(f: &mut Fixture, n: u32, items: Vec<PlanItem>, events: &[Event]) {
        f.create(n, Kind::Install, None).expect("create");
        f.freeze(n, items).expect("freeze");
        f.append(n, &[Event::Queued { action: "x".into() }, Event::Started { attempt: 1 }]).expect("start");
        f.append(n, events).expect("go on");
    }

    #[test]
    fn a_version_s_failures_are_told_from_those_of_others() {
        let mut f = Fixture::new();
        f.completed(1, Kind::Install, None);
        fails(&mut f, 2, Kind::Install, ErrorCode::ScriptFailed, None);
        let end = stamp(f.now).utc_us;
        fails(&mut f, 3, Kind::Install, ErrorCode::LockBusy, None);
        let found = read(&f, &[("nano", "1"), ("hello", "3"), ("hello", "2")]);
        assert_eq!(found.iter().map(counts).collect::<Vec<_>>(), [[0, 0, 0, 0], [0, 0, 1, 3], [1, 3, 0, 0]], "in the order asked");
        let last = Some(Blamed { at_us: end, code: ErrorCode::ScriptFailed });
        assert_eq!(found.iter().map(Risk::last).collect::<Vec<_>>(), [None, last, last], "what somebody stopped is no failure");
    }

    #[test]
    fn only_who_is_to_blame_failed() {
        let mut f = Fixture::new();
        fails(&mut f, 1, Kind::Install, ErrorCode::ScriptFailed, Some("lib:amd64"));
        let both = |f: &Fixture| read(f, &[("hello", "2"), ("lib", "2")]).iter().map(counts).collect::<Vec<_>>();
        assert_eq!(both(&f), [[0, 1, 0, 0], [1, 1, 0, 0]]);
        fails(&mut f, 2, Kind::Upgrade, ErrorCode::FetchFailed, None);
        assert_eq!(both(&f), [[0, 2, 0, 0], [1, 2, 0, 0]], "nobody in particular is nobody");
        fails(&mut f, 3, Kind::Install, ErrorCode::DiskFull, None);
        assert_eq!(both(&f), [[1, 3, 0, 0], [1, 3, 0, 0]], "hello was asked for");
    }

    #[test]
    fn another_user_s_do_not_count() {
        let mut f = Fixture::new();
        fails(&mut f, 1, Kind::Install, ErrorCode::ScriptFailed, None);
        let reader = Reader::open(&f.path).expect("open");
        let of = |uid| counts(&reader.risks(&asked(&[("hello", "2")]), uid).expect("read")[0]);
        assert_eq!([of(None), of(HERS), of(Some(7))], [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]);
    }

    #[test]
    fn what_nobody_tried_to_its_end_does_not_count() {
        let mut f = Fixture::new();
        let install = |arch: &str| item(&format!("hello:{arch}"), PlanAction::Install, None, Some("2"));
        f.create(1, Kind::Install, None).expect("create");
        f.freeze(1, vec![install("amd64")]).expect("freeze");
        goes(&mut f, 2, vec![item("hello:amd64", PlanAction::Hold, Some("2"), Some("2"))], &[Event::Completed]);
        goes(&mut f, 3, vec![install("amd64")], &[]);
        assert_eq!(of(&f, "hello", "2"), [0; 4], "planned, held, running");
        let undo = Event::UndoStarted { code: ErrorCode::Cancelled, text: "x".into() };
        f.append(3, &[Event::CancelRequested { uid: 0 }, undo, Event::UndoFinished { differences: 0 }]).expect("cancelled");
        assert_eq!(of(&f, "hello", "2"), [0; 4], "cancelled");
        goes(&mut f, 4, vec![install("amd64"), install("i386")], &[Event::Completed]);
        assert_eq!(of(&f, "hello", "2"), [0, 1, 0, 0], "two architectures are one");
        goes(&mut f, 5, vec![item("hello:amd64", PlanAction::Remove, Some("2"), None)], &[]);
        f.append(5, &[Event::AttentionNeeded { code: ErrorCode::UndoFailed, text: "x".into() }]).expect("stuck");
        assert_eq!(of(&f, "hello", "2"), [1, 2, 0, 0], "a removal is of the version that it removes; who waits for a person failed");
        assert_eq!(read(&f, &[("hello", "2")])[0].last().map(|blamed| blamed.at_us), Some(stamp(f.now).utc_us));
    }

    #[test]
    fn the_newest_count_and_no_more_is_read() {
        let mut f = Fixture::new();
        fails(&mut f, 1, Kind::Install, ErrorCode::ScriptFailed, None);
        f.completed(2, Kind::Install, None);
        f.completed(3, Kind::Install, None);
        let reader = Reader::open(&f.path).expect("open");
        let of = |read, counted| {
            let bounds = Bounds { read, counted };
            counts(&reader.bounded_risks(&asked(&[("hello", "2")]), HERS, bounds).expect("read")[0])
        };
        assert_eq!([of(9, 9), of(9, 2), of(2, 9)], [[1, 3, 0, 0], [0, 2, 0, 0], [0, 2, 0, 0]]);
        let not_hers = reader.bounded_risks(&asked(&[("hello", "2")]), Some(7), Bounds { read: 9, counted: 1 }).expect("read");
        assert_eq!(counts(&not_hers[0]), [0; 4], "what does not count fills no place");
    }
}
