//! What runs is what was authorised, over a real bus: between the question and its answer callers send their request
//! again, change it, take each other's ids, ask again, cancel and leave.
//!
//! The manager's own ten thousand rounds, without a bus, are in `backstep-engine` (`manager/tests/interleavings.rs`).

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use backstep_bus::ListFilter;
use backstep_core::hostile::Chance;
use backstep_core::{Digest, ErrorCode, TransactionState};
use backstep_tests::authority::{Answer, FakeAuthority};
use backstep_tests::private_bus::{Client, PATIENCE, Simulated};
use backstep_tests::stranger::{ANA, BEN, Stranger};
use futures_util::future::try_join_all;
use sha2::{Digest as _, Sha256};
use zbus::{OwnedObjectPath, Variant};

use super::{code, daemon, packages};

/// As many rounds as fit, from one seed: a failure names its round.
const TIME: Duration = Duration::from_secs(40);
const LANES: u64 = 4;
const LIMITS: &str = "[limits]\nopen-per-user = 5000\nopen = 5000\ncalls-per-second = 100000\ncalls-at-once-per-user = 200\n\
                      answer-seconds = 20\nrecord-bytes-per-hour = 1000000000000\n";
const PACKAGES: [&str; 5] = ["alpha", "beta", "gamma", "broken", "alpha-data"];

struct World {
    daemon: Simulated,
    authority: FakeAuthority,
    root: Client,
    ana: Stranger,
    ben: Stranger,
    /// What the authority said yes to while the caller was there.
    granted: Mutex<BTreeMap<String, String>>,
}

/// One request, planned and asked about.
struct Offer<'a> {
    id: String,
    package: &'a str,
    path: OwnedObjectPath,
    digest: String,
}

fn options(id: &str, package: &str) -> std::collections::HashMap<&'static str, Variant<'static>> {
    let mut options = packages(&[package]);
    options.insert("id", Variant::from(id.to_owned()));
    options
}

impl World {
    async fn offer<'a>(&self, id: String, package: &'a str) -> Result<Offer<'a>> {
        let (_, path) = self.ana.manager.create_transaction("install", "", options(&id, package)).await?;
        self.ana.transaction(&path).await?.prepare().await?;
        let transaction = self.root.transaction(&path).await?;
        let digest = self.root.wait_for(&transaction, |now| now.state == "prepared").await?.plan_digest;
        Ok(Offer { id, package, path, digest })
    }

    async fn asked(&self, id: &str) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(15);
        while self.authority.waiting_about(id).is_empty() {
            anyhow::ensure!(Instant::now() < deadline, "nobody was asked about {id}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// One thing that must not change what was asked about.
    async fn meddle(&self, offer: &Offer<'_>, chance: &mut Chance) -> Result<()> {
        let other = *chance.of(&PACKAGES);
        let changed = other != offer.package;
        let own = self.ana.transaction(&offer.path).await?;
        match chance.below(7) {
            0 => {
                let again = code(self.ana.manager.create_transaction("install", "", options(&offer.id, other)).await);
                assert_eq!(again, changed.then_some(ErrorCode::RequestDuplicate), "{}", offer.id);
            }
            1 => {
                let again = code(self.ana.manager.create_transaction("remove", "", options(&offer.id, other)).await);
                assert_eq!(again, Some(ErrorCode::RequestDuplicate), "{}", offer.id);
            }
            2 => {
                let theirs = code(self.ben.manager.create_transaction("install", "", options(&offer.id, offer.package)).await);
                assert_eq!(theirs, Some(ErrorCode::RequestDuplicate), "{}", offer.id);
            }
            3 => drop(own.prepare().await),
            4 => assert_eq!(code(own.execute(&Digest([7; 32]).to_string()).await), Some(ErrorCode::PlanMismatch), "{}", offer.id),
            5 => assert!(code(self.ben.transaction(&offer.path).await?.execute(&offer.digest).await).is_some(), "{}", offer.id),
            _ => {
                let mut longer = options(&offer.id, offer.package);
                longer.insert("allow-downgrade", Variant::from(true));
                let again = code(self.ana.manager.create_transaction("install", "", longer).await);
                assert_eq!(again, Some(ErrorCode::RequestDuplicate), "{}", offer.id);
            }
        }
        Ok(())
    }

    /// From the offer to the answer. Says what became of it.
    async fn round(&self, number: u64, chance: &mut Chance) -> Result<()> {
        let &package = chance.of(&PACKAGES);
        let offer = self.offer(format!("01936b2e-7c1a-7d3e-9f10-{number:012x}"), package).await?;
        let leaves = chance.below(16) == 0;
        let guest = if leaves { Some(Stranger::connect(&self.daemon.bus, ANA).await?) } else { None };
        let caller = guest.as_ref().unwrap_or(&self.ana).transaction(&offer.path).await?;
        let digest = offer.digest.clone();
        let call = tokio::spawn(async move { code(caller.execute(&digest).await) });
        self.asked(&offer.id).await?;
        for _ in 0..chance.below(5) {
            self.meddle(&offer, chance).await?;
        }
        // Another question about the same plan: answered with the first.
        let twice = chance.below(4) == 0;
        let proxy = self.ana.transaction(&offer.path).await?;
        let digest = offer.digest.clone();
        let second = twice.then(|| tokio::spawn(async move { code(proxy.execute(&digest).await) }));
        let cancelled = chance.below(6) == 0;
        if cancelled {
            self.ana.transaction(&offer.path).await?.cancel().await?;
        }
        if let Some(guest) = guest {
            call.abort();
            let name = guest.connection.unique_name().context("a name")?.to_owned();
            guest.connection.clone().close().await?;
            drop(guest);
            self.gone(&name).await?;
        }
        let yes = chance.below(3) > 0;
        let answer = if yes { Answer::Yes } else { *chance.of(&[Answer::No, Answer::Garbage, Answer::NumberOne, Answer::Error]) };
        let shown = self.authority.waiting_about(&offer.id);
        assert!(shown.iter().all(|asked| asked.details.get("digest") == Some(&offer.digest)), "{}: another digest was shown", offer.id);
        if yes && !cancelled && (!leaves || twice) {
            self.granted.lock().expect("no test panics under the lock").insert(offer.id.clone(), offer.digest.clone());
        }
        self.authority.release_about(&offer.id, answer).await?;
        if let Some(second) = second {
            self.settled(second, &offer, answer).await?;
        }
        if !leaves {
            call.await?;
        }
        self.judge(&offer, yes && !cancelled).await
    }

    /// The second question may have been asked after the first was answered: it gets the same answer.
    async fn settled(&self, mut call: tokio::task::JoinHandle<Option<ErrorCode>>, offer: &Offer<'_>, answer: Answer) -> Result<()> {
        loop {
            let waited = tokio::time::timeout(Duration::from_millis(5), &mut call).await;
            if waited.is_ok() {
                return Ok(());
            }
            self.authority.release_about(&offer.id, answer).await?;
        }
    }

    async fn gone(&self, name: &zbus::names::OwnedUniqueName) -> Result<()> {
        let bus = zbus::fdo::DBusProxy::new(&self.root.connection).await?;
        while bus.name_has_owner(zbus::names::BusName::Unique(name.as_ref())).await? {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// Nothing but a yes leads on, and what goes on is the plan that was shown.
    async fn judge(&self, offer: &Offer<'_>, may_run: bool) -> Result<()> {
        let transaction = self.root.transaction(&offer.path).await?;
        let now = transaction.properties().await?;
        let waits = [Some(TransactionState::Prepared), Some(TransactionState::Cancelled)].contains(&now.transaction_state());
        assert!(waits || may_run, "{}: {} without a yes", offer.id, now.state);
        assert_eq!(now.plan_digest, offer.digest, "{}: the plan changed", offer.id);
        if now.state == "prepared" {
            transaction.cancel().await?;
        } else if now.state == "queued" {
            // A few are left to run; the queue must not grow without bound.
            let queue = self.root.manager.queue().await?.len();
            if queue > 4 {
                transaction.cancel().await?;
            }
        }
        Ok(())
    }

    /// Waits until nothing is left to run. One list, because two are never of one moment.
    async fn at_rest(&self) -> Result<()> {
        let unfinished = || ListFilter { unfinished: Some(true), ..ListFilter::default() };
        let rest = async {
            while !self.root.manager.list_transactions(unfinished()).await?.is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        };
        tokio::time::timeout(PATIENCE, rest).await.context("transactions are left")?
    }

    /// Every attempt that there ever was ran the bytes that somebody said yes to. Says how many there were.
    fn attempts(&self) -> Result<usize> {
        let granted = self.granted.lock().expect("no test panics under the lock");
        let mut number = 0;
        for folder in std::fs::read_dir(self.daemon.state_dir().join("attempts"))? {
            let folder = folder?;
            let name = folder.file_name().to_string_lossy().into_owned();
            let (id, _) = name.rsplit_once('-').context("an attempt's name")?;
            let bytes = std::fs::read(folder.path().join("plan.json"))?;
            let ran = Digest(Sha256::digest(bytes).into()).to_string();
            assert_eq!(granted.get(id), Some(&ran), "{id} ran what was not authorised");
            number += 1;
        }
        Ok(number)
    }
}

#[tokio::test]
async fn what_runs_is_what_was_authorised_whatever_happens_meanwhile() -> Result<()> {
    let (daemon, authority) = daemon(LIMITS, Answer::Silence).await?;
    let root = Client::new(&daemon.bus).await?;
    let (ana, ben) = (Stranger::connect(&daemon.bus, ANA).await?, Stranger::connect(&daemon.bus, BEN).await?);
    let world = World { daemon, authority, root, ana, ben, granted: Mutex::default() };
    let end = Instant::now() + TIME;
    let world_ref = &world;
    let lane = |lane: u64| async move {
        let mut rounds = 0;
        while Instant::now() < end {
            let number = lane << 32 | rounds;
            world_ref.round(number, &mut Chance::new(number)).await.with_context(|| format!("lane {lane}, round {rounds}"))?;
            rounds += 1;
        }
        Ok::<u64, anyhow::Error>(rounds)
    };
    let rounds: u64 = try_join_all((0..LANES).map(lane)).await?.into_iter().sum();
    world.at_rest().await?;
    let attempts = world.attempts()?;
    println!("{rounds} interleavings over the bus, {attempts} attempts");
    assert!(rounds >= 40 && attempts >= 10, "{rounds} rounds, {attempts} attempts");
    Ok(())
}
