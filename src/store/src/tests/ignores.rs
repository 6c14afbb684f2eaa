//! What is ignored is on record, and what was.

use backstep_core::ignore::{Ignore, IgnoreRecord, Said, Source, SourceKind};

use super::{Fixture, actor, stamp};

pub(crate) fn said<T>(what: T, at: i64) -> Said<T> {
    Said { what, comment: "a comment".into(), actor: actor(), at: stamp(at) }
}

pub(crate) fn ignore(pattern: &str) -> Ignore {
    Ignore { pattern: pattern.parse().expect("pattern"), source: None, comment: "why".into(), until_us: None }
}

fn numbers(records: &[IgnoreRecord]) -> Vec<u64> {
    records.iter().map(|record| record.number).collect()
}

#[test]
fn an_ignore_is_read_back_as_it_was_said() {
    let mut f = Fixture::new();
    let source = Some(Source::new(SourceKind::Suite, "sid").expect("suite"));
    let what = Ignore { source, until_us: Some(77), ..ignore("linux-*:amd64") };
    assert_eq!(f.store.ignore(&said(what.clone(), 5)).expect("ignore"), 1);
    let found = f.store.ignores().expect("list");
    let [record] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((&record.ignore, record.added, record.removed), (&what, stamp(5), None));
    assert_eq!((record.uid, &record.user), (actor().uid, &actor().user));
    assert_eq!(f.count("generations"), 1);
}

#[test]
fn what_is_said_again_ends_what_was_said_before_and_history_stays() {
    let mut f = Fixture::new();
    f.store.ignore(&said(ignore("hello"), 1)).expect("first");
    f.store.ignore(&said(ignore("hello=2*"), 2)).expect("another");
    let again = Ignore { comment: "still".into(), ..ignore("hello") };
    assert_eq!(f.store.ignore(&said(again, 3)).expect("again"), 3);
    assert_eq!(numbers(&f.store.ignores().expect("list")), [2, 3]);
    let all = f.store.all_ignores(9).expect("all");
    assert_eq!(numbers(&all), [3, 2, 1]);
    assert_eq!(all[2].removed, Some(stamp(3)));
}

#[test]
fn what_is_taken_back_is_gone_once() {
    let mut f = Fixture::new();
    f.store.ignore(&said(ignore("hello"), 1)).expect("ignore");
    assert!(f.store.unignore(&said(1, 2)).expect("remove"));
    assert_eq!(f.store.ignores().expect("list"), []);
    for number in [1, 2, u64::MAX] {
        assert!(!f.store.unignore(&said(number, 3)).expect("nothing"), "{number}");
    }
    assert_eq!(f.count("generations"), 2, "what changes nothing leaves no trace");
}
