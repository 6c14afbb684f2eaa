//! The canonical transactions: what clients ask for, in which order, and how it may end.
//!
//! A scenario is played by a daemon from its beginning each time it starts: what is on record already is not asked for
//! again, because every request has its id. So a client is played that tries again after a crash, with the same id.

use backstep_core::actor::{Actor, Origin};
use backstep_core::request::OnFailure;
use backstep_core::{Kind, Options, Request, RequestItem, TransactionId, TransactionState};

/// How a request may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// Done; after a kill also undone.
    Done,
    /// Undone, whatever happens: it fails by itself.
    Undone,
    /// Left as it is for a person, who accepts it; after a kill also undone.
    Accepted,
    /// Cancelled.
    Cancelled,
}

impl Ends {
    /// The state it ends in when nothing is killed.
    #[must_use]
    pub const fn undisturbed(self) -> TransactionState {
        match self {
            Self::Done => TransactionState::Completed,
            Self::Undone => TransactionState::RolledBack,
            Self::Accepted => TransactionState::PartiallyRolledBack,
            Self::Cancelled => TransactionState::Cancelled,
        }
    }

    /// Whether it may end so when processes were killed.
    #[must_use]
    pub fn allows(self, state: TransactionState) -> bool {
        state == self.undisturbed() || state == TransactionState::RolledBack
    }
}

/// When somebody asks to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// Never.
    Never,
    /// While it waits for its turn.
    Queued,
    /// When it has its turn, before its worker begins.
    Launched,
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// What for.
    pub kind: Kind,
    /// Of which packages.
    pub packages: &'static [&'static str],
    /// Which earlier request it undoes.
    pub reverts: Option<usize>,
    /// Whether a failure waits for a person.
    pub leave: bool,
    /// Whether that person accepts what is left; else it is undone.
    pub accept: bool,
    /// When it is cancelled.
    pub cancel: Cancel,
    /// Its place in the queue.
    pub priority: i32,
    /// How it may end.
    pub ends: Ends,
}

/// What is done, in order.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    /// A request is made, planned and authorised.
    Submit(usize),
    /// What is queued is worked on until this one has ended.
    Finish(usize),
    /// Somebody else changes a package behind our back.
    Drift,
}

/// A story.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// The requests.
    pub wishes: &'static [Wish],
    /// What is done with them.
    pub acts: &'static [Act],
    /// Whether Backstep has never run on the system. Making the record takes more calls than a transaction; one of the
    /// scenarios tells of that.
    pub is_first: bool,
}

/// A request that completes.
#[must_use]
pub const fn wish(kind: Kind, packages: &'static [&'static str]) -> Wish {
    let (reverts, leave, accept, cancel, priority, ends) = (None, false, false, Cancel::Never, 0, Ends::Done);
    Wish { kind, packages, reverts, leave, accept, cancel, priority, ends }
}

const fn fails(packages: &'static [&'static str]) -> Wish {
    Wish { ends: Ends::Undone, ..wish(Kind::Install, packages) }
}

/// A request to undo an earlier one.
#[must_use]
pub const fn undo(reverts: usize) -> Wish {
    Wish { reverts: Some(reverts), ..wish(Kind::Rollback, &[]) }
}

const ONE: &[Act] = &[Act::Submit(0), Act::Finish(0)];
const TWO: &[Act] = &[Act::Submit(0), Act::Finish(0), Act::Submit(1), Act::Finish(1)];

const fn one(name: &'static str, wishes: &'static [Wish]) -> Scenario {
    Scenario { name, wishes, acts: ONE, is_first: false }
}

const fn two(name: &'static str, wishes: &'static [Wish]) -> Scenario {
    Scenario { name, wishes, acts: TWO, is_first: false }
}

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    one("install", &[wish(Kind::Install, &["omega"])]),
    Scenario { is_first: true, ..one("install at the first start", &[wish(Kind::Install, &["omega"])]) },
    one("install with a dependency", &[wish(Kind::Install, &["alpha"])]),
    one("install and upgrade many", &[wish(Kind::Install, &["alpha", "beta", "gamma", "omega"])]),
    one("update one", &[wish(Kind::Update, &["beta"])]),
    one("update two", &[wish(Kind::Update, &["beta", "gamma"])]),
    one("remove", &[wish(Kind::Remove, &["delta"])]),
    one("remove two", &[wish(Kind::Remove, &["beta", "gamma"])]),
    one("purge", &[wish(Kind::Purge, &["delta"])]),
    one("reinstall", &[wish(Kind::Reinstall, &["delta"])]),
    one("downgrade", &[wish(Kind::Downgrade, &["beta"])]),
    one("hold", &[wish(Kind::Hold, &["beta"])]),
    one("unhold", &[wish(Kind::Unhold, &["kept"])]),
    one("nothing to do", &[wish(Kind::Install, &["delta"])]),
    one("a script fails", &[fails(&["broken", "omega"])]),
    one("apt lies", &[fails(&["silent"])]),
    one("dpkg is killed", &[fails(&["killed", "omega"])]),
    one("another archive comes", &[fails(&["torn"])]),
    one("a failure is left, then undone", &[Wish { leave: true, ..fails(&["broken"]) }]),
    one("a failure is left and accepted", &[Wish { leave: true, accept: true, ends: Ends::Accepted, ..wish(Kind::Install, &["broken"]) }]),
    one("cancelled in the queue", &[Wish { cancel: Cancel::Queued, ends: Ends::Cancelled, ..wish(Kind::Install, &["omega"]) }]),
    one("cancelled at its turn", &[Wish { cancel: Cancel::Launched, ends: Ends::Cancelled, ..wish(Kind::Install, &["omega"]) }]),
    two("an install is undone", &[wish(Kind::Install, &["alpha"]), undo(0)]),
    two("an update is undone", &[wish(Kind::Update, &["beta"]), undo(0)]),
    two("a removal is undone", &[wish(Kind::Remove, &["delta"]), undo(0)]),
    Scenario {
        name: "an update is undone by packages",
        wishes: &[wish(Kind::Update, &["beta"]), undo(0)],
        acts: &[Act::Submit(0), Act::Finish(0), Act::Drift, Act::Submit(1), Act::Finish(1)],
        is_first: false,
    },
    Scenario {
        name: "two wait, the later one first",
        wishes: &[wish(Kind::Install, &["omega"]), Wish { priority: 5, ..wish(Kind::Remove, &["delta"]) }],
        acts: &[Act::Submit(0), Act::Submit(1), Act::Finish(0), Act::Finish(1)],
        is_first: false,
    },
];

/// The identity of a request.
#[must_use]
pub fn id(number: usize) -> TransactionId {
    format!("01936b2e-7c1a-7d3e-9f10-0000000000{:02x}", number + 1).parse().expect("a UUID of version 7")
}

impl Wish {
    /// The request.
    #[must_use]
    pub fn request(&self) -> Request {
        let named =
            |name: &&str| Some(RequestItem { action: self.kind.default_action()?, name: name.parse().ok()?, arch: None, version: None });
        Request {
            kind: self.kind,
            description: "torture".to_owned(),
            tags: Default::default(),
            items: self.packages.iter().filter_map(named).collect(),
            archives: Vec::new(),
            reverts: self.reverts.map(id),
            retries: None,
            options: Options {
                allow_downgrade: true,
                on_failure: if self.leave { OnFailure::Leave } else { OnFailure::Rollback },
                priority: self.priority,
                ..Options::default()
            },
        }
    }
}

/// Who asks.
#[must_use]
pub fn actor() -> Actor {
    Actor {
        uid: 0,
        user: "root".to_owned(),
        loginuid: None,
        pid: None,
        sender: String::new(),
        unit: String::new(),
        origin: Origin::Cli,
        client: "torture".to_owned(),
    }
}
