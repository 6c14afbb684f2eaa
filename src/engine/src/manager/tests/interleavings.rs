//! What runs is what was authorised, in whatever order callers, the planner and the authority come.
//!
//! Each round is a random sequence, from a seed that a failure names: two users send requests and send them again
//! with other options under the same ids, planners answer twice and late, the authority answers late, twice, not at all
//! or when the caller has gone, offers are cancelled and expire, workers end, the daemon starts again.

use std::collections::BTreeMap;

use backstep_core::{Digest, ErrorCode, Request, TransactionId, TransactionState};
use backstep_wire::journal::Record;

use super::super::Ask;
use super::{Found, World, actor, lines, plan_for, request};

const ROUNDS: u64 = 10_000;
const MOVES: u32 = 60;

/// A small generator: the same numbers from the same seed on every machine.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from((self.0 >> 33) % u64::from(limit)).expect("below a limit of 32 bits")
    }
}

struct Round {
    chance: Chance,
    world: World,
    /// The request that an id was first good for, and of whom.
    requests: BTreeMap<TransactionId, (Digest, u32)>,
    /// Questions whose answer has not come.
    open: Vec<Ask>,
    /// What the authority said yes to.
    granted: BTreeMap<TransactionId, Digest>,
    launched: u32,
    refused: u32,
}

fn id(number: u32) -> TransactionId {
    format!("01936b2e-7c1a-7d3e-9f10-fffffffff{number:03x}").parse().expect("an id")
}

/// One of a few requests that differ in what they ask for.
fn variant(number: u32) -> Request {
    let mut request = request();
    request.options.allow_downgrade = number & 1 == 1;
    request.options.override_hold = number & 2 == 2;
    request.description = format!("variant {}", number & 4);
    request
}

impl Round {
    fn new(seed: u64) -> Self {
        Self {
            chance: Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            world: World::new(),
            requests: BTreeMap::new(),
            open: Vec::new(),
            granted: BTreeMap::new(),
            launched: 0,
            refused: 0,
        }
    }

    fn step(&mut self) {
        match self.chance.below(23) {
            0..=3 => self.submit(),
            4..=7 => self.plan(),
            8..=10 => self.ask(),
            11..=15 => self.answer(),
            16 => self.cancel(),
            17 => self.pass_time(),
            18..=20 => self.launch(),
            21 => self.finish(),
            _ => self.restart(),
        }
    }

    fn submit(&mut self) {
        let (id, uid, request) = (id(self.chance.below(4)), 1000 + self.chance.below(2), variant(self.chance.below(8)));
        let digest = backstep_wire::digest(&backstep_wire::request::to_bytes(&request));
        let result = self.world.manager.create(&request, actor(uid), Some(id));
        match (self.requests.get(&id), result) {
            (None, Ok(created)) => {
                assert!(!created.existed);
                self.requests.insert(id, (digest, uid));
            }
            (Some(first), Ok(created)) => assert!(created.existed && *first == (digest, uid), "an id was good for two requests"),
            (None, Err(failure)) => assert_eq!(failure.code, ErrorCode::QueueFull),
            (Some(first), Err(failure)) => {
                assert_eq!(failure.code, ErrorCode::RequestDuplicate);
                assert_ne!(*first, (digest, uid));
                self.refused += 1;
            }
        }
    }

    /// The planner answers: sometimes what was not asked, sometimes again, sometimes something else the second time.
    fn plan(&mut self) {
        let id = id(self.chance.below(4));
        let Some((digest, _)) = self.requests.get(&id).copied() else { return };
        let mut plan = plan_for(id, digest, &variant(self.chance.below(8)));
        if let Ok(question) = self.world.manager.question(id)
            && self.chance.below(8) > 0
        {
            plan = plan_for(id, digest, &question.request);
        }
        plan.download_bytes = self.chance.below(1000).into();
        let before = self.world.ledger.row(id).expect("known").plan;
        self.world.manager.planned(id, Ok(plan)).expect("an answer is taken or has nobody left to hear it");
        let after = self.world.ledger.row(id).expect("known").plan;
        assert!(before.is_none() || before == after, "a plan changed");
    }

    fn ask(&mut self) {
        let id = id(self.chance.below(4));
        let Ok(row) = self.world.ledger.row(id) else { return };
        let Some((_, digest)) = row.plan else { return };
        let other = self.chance.below(4) == 0;
        let shown = if other { Digest([7; 32]) } else { digest };
        if let Ok(ask) = self.world.manager.ask(id, shown) {
            assert!(!other, "a digest was taken that is not the plan's");
            self.open.push(ask);
        }
    }

    /// Yes, no, or nothing because the caller left. A yes may be given again.
    fn answer(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let place = self.chance.below(u32::try_from(self.open.len()).expect("few")) as usize;
        let ask = self.open[place].clone();
        match self.chance.below(5) {
            0 => drop(self.open.swap_remove(place)),
            1 => {
                let ask = self.open.swap_remove(place);
                self.world.manager.denied(&ask, ask.permissions[0], "no").expect("a denial is recorded");
            }
            _ => {
                let was = self.world.state(ask.id);
                if self.world.manager.authorised(&ask).is_ok() {
                    assert_eq!(was, TransactionState::Prepared, "authorised twice, or after its end");
                    self.granted.insert(ask.id, ask.digest);
                }
            }
        }
    }

    fn cancel(&mut self) {
        let id = id(self.chance.below(4));
        if self.requests.contains_key(&id) {
            self.world.manager.cancel(id, 1000).expect("cancel");
        }
    }

    fn pass_time(&mut self) {
        self.world.clock.advance(i64::from(self.chance.below(5)) * 60_000_000);
        self.world.manager.expire().expect("expire");
    }

    fn launch(&mut self) {
        let Some(launch) = self.world.manager.next_launch().expect("next") else { return };
        let id = launch.order.attempt.transaction;
        let granted = self.granted.get(&id);
        assert_eq!(granted, Some(&launch.order.plan), "what runs was not authorised");
        assert_eq!(granted, Some(&backstep_wire::digest(&launch.plan_bytes)), "the bytes are not those of the digest");
        let plan = backstep_wire::plan::from_bytes(&launch.plan_bytes).expect("a plan");
        assert_eq!(Some(plan.request), self.requests.get(&id).map(|first| first.0), "the plan is for another request");
        self.launched += 1;
    }

    fn finish(&mut self) {
        let Some(attempt) = self.world.manager.running() else { return };
        let committed = lines(vec![Record::Committed { world: Digest([3; 32]) }]);
        // A worker that was told to stop may have committed all the same, or not; the daemon hears what it did.
        self.world.manager.follow(attempt, &committed).expect("a journal is followed");
        if self.world.manager.running().is_some() {
            self.world.manager.worker_gone(attempt).expect("a worker that is gone is recorded");
        }
    }

    fn restart(&mut self) {
        self.world.restart(Found { alive: false, prepared: false, lines: Vec::new() });
        self.open.clear();
    }
}

#[test]
fn what_runs_is_what_was_authorised_in_any_order() {
    let (mut launched, mut refused) = (0, 0);
    for seed in 1..=ROUNDS {
        let outcome = std::panic::catch_unwind(|| {
            let mut round = Round::new(seed);
            for _ in 0..MOVES {
                round.step();
            }
            (round.launched, round.refused)
        });
        let (more, turned_away) = outcome.unwrap_or_else(|_| panic!("seed {seed}"));
        launched += more;
        refused += turned_away;
    }
    // The rounds come to where it matters.
    assert!(launched > 2_000 && refused > 20_000, "{launched} launched, {refused} refused");
}
