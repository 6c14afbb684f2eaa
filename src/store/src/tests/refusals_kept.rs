//! Who was turned away is on record, and stays there.

use backstep_core::doors::Method;
use backstep_core::refusal::{Refusal, RefusalFilter};
use backstep_core::{ErrorCode, Failure, Kind};

use super::{Fixture, actor, id, stamp};
use crate::NewRefusal;

pub(crate) fn refusal(uid: u32, code: ErrorCode) -> Refusal {
    let actor = backstep_core::actor::Actor { uid, ..actor() };
    Refusal::new(Method::Submit, actor, "busctl", None, &Failure::new(code, "no"))
}

#[test]
fn a_refusal_is_read_back_as_it_was() {
    let mut f = Fixture::new();
    f.create(1, Kind::Install, None).expect("create");
    // The highest user id there is.
    let refusal = Refusal { transaction: Some(id(1)), ..refusal(u32::MAX - 1, ErrorCode::AuthDenied) };
    f.store.refuse(&NewRefusal { refusal: &refusal, count: 7, at: stamp(5), until: stamp(9) }).expect("refuse");
    let found = f.store.refusals(&RefusalFilter::default()).expect("list");
    let [row] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((row.number, row.count, row.at, row.until), (1, 7, stamp(5), stamp(9)));
    assert_eq!((row.method, row.program.as_str(), row.transaction), (Method::Submit, "busctl", Some(id(1))));
    assert_eq!((&row.actor, &row.failure), (&refusal.actor, &refusal.failure));
}

#[test]
fn lists_narrow_and_page() {
    let mut f = Fixture::new();
    for n in 0..60 {
        let code = if n % 2 == 0 { ErrorCode::AuthDenied } else { ErrorCode::RequestMalformed };
        let refusal = refusal(1000 + n % 3, code);
        f.store.refuse(&NewRefusal { refusal: &refusal, count: 1, at: stamp(n.into()), until: stamp(n.into()) }).expect("refuse");
    }
    let numbers = |filter| f.store.refusals(&filter).expect("list").iter().map(|row| row.number).collect::<Vec<_>>();
    assert_eq!(numbers(RefusalFilter::default()), (11..=60).rev().collect::<Vec<_>>());
    assert_eq!(numbers(RefusalFilter { before: Some(3), ..RefusalFilter::default() }), [2, 1]);
    assert_eq!(numbers(RefusalFilter { uid: Some(1001), limit: 2, ..RefusalFilter::default() }), [59, 56]);
    assert_eq!(numbers(RefusalFilter { uid: Some(1001), code: Some(ErrorCode::AuthDenied), limit: 1, ..RefusalFilter::default() }), [59]);
}

#[test]
fn a_refusal_of_a_transaction_that_is_not_there_is_no_row() {
    let mut f = Fixture::new();
    let refusal = Refusal { transaction: Some(id(1)), ..refusal(1000, ErrorCode::AuthDenied) };
    assert!(f.store.refuse(&NewRefusal { refusal: &refusal, count: 1, at: stamp(1), until: stamp(1) }).is_err());
    assert_eq!([f.count("refusals"), f.count("generations")], [0, 0]);
}
