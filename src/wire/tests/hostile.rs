//! Damaged documents: every reader answers, with an error or with what it would write itself; none panics.

use backstep_core::hostile::{arguments, mutation};
use backstep_core::{
    Archive, ArchiveSource, AttemptId, BootId, Digest, Direction, ErrorCode, Failure, ItemAction, Kind, LocalArchive, Method, Options,
    Plan, PlanAction, PlanItem, Reason, Request, RequestItem, StepKind, StepState, TransactionId, UndoQuality,
};
use backstep_wire::journal::{Line, Record};
use backstep_wire::order::Order;
use backstep_wire::planner::{Question, Revert};
use backstep_wire::{journal, order, plan, planner, request};

const ROUNDS: u64 = 2_500;

fn id() -> TransactionId {
    "01936b2e-7c1a-7d3e-9f10-0123456789ab".parse().expect("id")
}

fn a_request() -> Request {
    let item = RequestItem {
        action: ItemAction::Install,
        name: "hello".parse().expect("name"),
        arch: Some("amd64".parse().expect("arch")),
        version: Some("2.10-3".parse().expect("version")),
    };
    Request {
        kind: Kind::Install,
        description: "why \u{e4}".into(),
        tags: backstep_core::Tags::new(&["ticket:4711"]).expect("tags"),
        items: vec![item],
        archives: vec![LocalArchive { sha256: Digest([5; 32]), size: 9 }],
        reverts: None,
        retries: Some(id()),
        options: Options { recommends: Some(true), ..Options::default() },
    }
}

fn a_plan() -> Plan {
    let archive = Archive {
        source: ArchiveSource::Repository,
        origin: "Debian".into(),
        file_name: "hello_2.10-3_amd64.deb".into(),
        size: 53_000,
        sha256: Digest([7; 32]),
        trusted: true,
    };
    let item = PlanItem {
        package: "hello:amd64".parse().expect("id"),
        action: PlanAction::Upgrade,
        reason: Reason::Requested,
        from: Some("2.10-2".parse().expect("version")),
        to: Some("2.10-3".parse().expect("version")),
        archive: Some(archive),
        installed_delta: -5,
        auto_before: false,
        auto_after: true,
        essential: false,
        leftovers: false,
        undo: UndoQuality::BestEffort("a database".into()),
    };
    Plan {
        transaction: id(),
        kind: Kind::Install,
        request: Digest([1; 32]),
        world: Digest([2; 32]),
        method: Method::Packages,
        options: Options::default(),
        items: vec![item],
        marks: Vec::new(),
        restores: Vec::new(),
        download_bytes: 53_000,
        warnings: vec!["careful".into()],
    }
}

/// Reads damaged copies of a valid document. What is read must be what its own bytes say.
fn damaged<T: PartialEq + std::fmt::Debug, E>(
    what: &str,
    valid: &[u8],
    read: impl Fn(&[u8]) -> Result<T, E>,
    write: impl Fn(&T) -> Vec<u8>,
) {
    let whole = read(valid).ok().expect("the valid document");
    let mut refused = 0;
    for seed in 0..ROUNDS {
        match read(&mutation(valid, seed)) {
            Ok(value) => assert_eq!(read(&write(&value)).ok().as_ref(), Some(&value), "{what}: seed {seed}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > ROUNDS / 2, "{what}: {refused} refused");
    assert_eq!(read(&write(&whole)).ok(), Some(whole), "{what}");
}

#[test]
fn damaged_documents_are_refused_or_read_as_what_they_say() {
    damaged("request", &request::to_bytes(&a_request()), request::from_bytes, request::to_bytes);
    damaged("plan", &plan::to_bytes(&a_plan()), plan::from_bytes, plan::to_bytes);
    let order = Order {
        attempt: AttemptId { transaction: id(), number: 2 },
        plan: Digest([3; 32]),
        direction: Direction::Undo,
        restore: Some(AttemptId { transaction: id(), number: 1 }),
        later: Vec::new(),
        retention: backstep_core::Retention::default(),
    };
    damaged("order", &order::to_bytes(&order), order::from_bytes, order::to_bytes);
    let question = Question {
        leave_out: Vec::new(),
        transaction: id(),
        request: a_request(),
        request_digest: Digest([9; 32]),
        archives: vec![(ArchiveSource::Kept, Digest([4; 32]), 12)],
        later: Vec::new(),
        revert: Some(Revert { plan: a_plan(), world_after: Some(Digest([5; 32])) }),
    };
    damaged("question", &planner::question_to_bytes(&question), planner::question_from_bytes, planner::question_to_bytes);
    for answer in [Ok(a_plan()), Err(Failure::new(ErrorCode::DepsUnsatisfiable, "no"))] {
        damaged("answer", &planner::answer_to_bytes(&answer), planner::answer_from_bytes, planner::answer_to_bytes);
    }
    for record in [
        Record::Begin { plan: Digest([1; 32]), world: Digest([2; 32]), boot: BootId([3; 16]), direction: Direction::Forward },
        Record::StepEnded { step: StepKind::Apply, state: StepState::Failed, code: Some(ErrorCode::ScriptFailed), text: "x\ny".into() },
        Record::Aborted { differences: vec!["/etc/x".into()] },
    ] {
        let line = Line { seq: 1, utc_us: 5, record };
        damaged("journal", &journal::to_line(&line), journal::from_line, journal::to_line);
    }
}

/// The planner is not trusted: a name that it puts into a plan passes the same grammar as a caller's.
#[test]
fn hostile_names_in_documents_are_refused_or_kept_exactly() {
    let (request_text, plan_text) = (request::to_bytes(&a_request()), plan::to_bytes(&a_plan()));
    let replaced = |bytes: &[u8], name: &str, by: &str| {
        let quoted = serde_json::to_string(by).expect("a string");
        String::from_utf8_lossy(bytes).replacen(&format!("\"{name}\""), &quoted, 1).into_bytes()
    };
    let mut taken = 0;
    for text in arguments() {
        if let Ok(read) = request::from_bytes(&replaced(&request_text, "hello", &text)) {
            assert_eq!(read.items[0].name.as_str(), text);
            taken += 1;
        }
        if let Ok(read) = request::from_bytes(&replaced(&request_text, "2.10-3", &text)) {
            assert_eq!(read.items[0].version.as_ref().map(|version| version.as_str()), Some(text.as_str()));
        }
        if let Ok(read) = plan::from_bytes(&replaced(&plan_text, "hello:amd64", &text)) {
            assert_eq!(read.items[0].package.to_string(), text);
        }
    }
    assert!(taken > 100, "{taken}");
}
