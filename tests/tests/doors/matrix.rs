//! Every method, every sort of caller, every answer of the authority, against the table of doors.
//!
//! Whether somebody is an administrator, at the console or a service is for polkit to judge: to the daemon they are
//! answers. What differs to the daemon is who owns the transaction, who is root, and who is gone.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result};
use backstep_bus::record::{BackUpOptions, GenerationListFilter, InventoryFilter};
use backstep_bus::{
    ArchiveOptions, BackoffFilter, Claims, IgnoreFilter, IgnoreOptions, ListFilter, RecordProxy, RedactOptions, RefusalRowFilter,
};
use backstep_core::doors::{Method, Who};
use backstep_core::{ErrorCode, TransactionState};
use backstep_tests::authority::{Answer, FakeAuthority};
use backstep_tests::private_bus::{Client, Simulated};
use backstep_tests::stranger::{ANA, BEN, Stranger};
use futures_util::future::join_all;
use zbus::{Connection, OwnedObjectPath};

use super::{code, daemon, packages};

const LIMITS: &str = "[limits]\nopen-per-user = 5000\nopen = 5000\ncalls-per-second = 100000\nanswer-seconds = 2\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Root,
    Owner,
    Other,
    OtherFromNamespaces,
}

struct Callers {
    root: Client,
    owner: Stranger,
    other: Stranger,
    contained: Stranger,
}

impl Callers {
    async fn come(daemon: &Simulated) -> Result<Self> {
        Ok(Self {
            root: Client::new(&daemon.bus).await?,
            owner: Stranger::connect(&daemon.bus, ANA).await?,
            other: Stranger::connect(&daemon.bus, BEN).await?,
            contained: Stranger::connect_from_namespaces(&daemon.bus, BEN).await?,
        })
    }

    fn connection(&self, sort: Sort) -> &Connection {
        match sort {
            Sort::Root => &self.root.connection,
            Sort::Owner => &self.owner.connection,
            Sort::Other => &self.other.connection,
            Sort::OtherFromNamespaces => &self.contained.connection,
        }
    }

    /// While a transaction changes the system, `Submit` answers before it asks.
    async fn until_nothing_runs(&self) -> Result<()> {
        let manager = &self.root.manager;
        for _ in 0..3000 {
            if manager.active().await?.is_empty() && manager.queue().await?.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("something runs for ever")
    }

    /// A planned transaction of the owner.
    async fn prepared(&self) -> Result<Offer> {
        let (id, path) = self.owner.manager.create_transaction("install", "", packages(&["alpha"])).await?;
        let transaction = self.root.transaction(&path).await?;
        self.owner.transaction(&path).await?.prepare().await?;
        let is = |now: &backstep_bus::TransactionProperties| now.transaction_state() == Some(TransactionState::Prepared);
        let digest = self.root.wait_for(&transaction, is).await?.plan_digest;
        let newest = RecordProxy::on(&self.root.connection).await?.list_generations(GenerationListFilter::default()).await?;
        let own = newest.iter().find(|row| row.transaction.as_ref() == Some(&id)).context("the transaction's generation")?;
        Ok(Offer { path, id, digest, generation: own.number })
    }
}

/// Whether the table lets this caller through with this answer, and whether the authority is asked.
fn expected(method: Method, sort: Sort, answer: Answer) -> (bool, bool) {
    let root = sort == Sort::Root;
    let yes = answer == Answer::Yes;
    let asked = |free: bool| if free { (true, false) } else { (yes, true) };
    // What is submitted belongs to who submits it.
    let owner = sort == Sort::Owner || method == Method::Submit;
    match method.door().who {
        Who::Everybody => (true, false),
        Who::SelfOr(_) => (true, !root),
        Who::Owner => (root || owner, false),
        Who::OwnerOr(_) => asked(root || owner),
        Who::Holder(_) => asked(root),
        Who::Plan if root => (true, false),
        Who::Plan if owner => (yes, true),
        Who::Plan => (false, false),
        Who::Root | Who::Machine => (root, false),
    }
}

/// Makes the call; `None` is success.
pub(super) async fn call(connection: &Connection, method: Method, Offer { path, id, digest, generation }: &Offer) -> Option<ErrorCode> {
    let manager = backstep_bus::ManagerProxy::without_cache(connection).await.expect("a proxy needs no bus");
    let transaction = backstep_bus::TransactionProxy::at(connection, path).await.expect("a proxy needs no bus");
    let record = RecordProxy::on(connection).await.expect("a proxy needs no bus");
    match method {
        Method::CreateTransaction => code(manager.create_transaction("install", "", packages(&["alpha"])).await),
        Method::Submit => code(manager.submit("install", "", packages(&["alpha"])).await),
        Method::GetTransaction => code(manager.get_transaction(id).await),
        Method::Retry => code(manager.retry(id, HashMap::new()).await),
        Method::ListTransactions => code(manager.list_transactions(ListFilter::default()).await),
        Method::GetStatistics => code(manager.get_statistics(0).await),
        Method::ListRefusals => code(manager.list_refusals(RefusalRowFilter::default()).await),
        Method::AddIgnore => code(manager.add_ignore("alpha", "why", IgnoreOptions::default()).await),
        Method::RemoveIgnore => code(manager.remove_ignore(1, "", Claims::default()).await),
        Method::ListIgnores => code(manager.list_ignores(IgnoreFilter::default()).await),
        // Over before it begins: nothing holds anything back in what follows.
        Method::AddBackoff => code(manager.add_backoff("beta", "install", 1, "why", Claims::default()).await),
        Method::ClearBackoffs => code(manager.clear_backoffs("beta", "", "", Claims::default()).await),
        Method::ListBackoffs => code(manager.list_backoffs(BackoffFilter::default()).await),
        Method::Redact => {
            code(manager.redact("nobody at all", "why", RedactOptions { only_try: Some(true), ..RedactOptions::default() }).await)
        }
        // Nothing is that old.
        Method::Archive => code(manager.archive(1, "why", ArchiveOptions::default()).await),
        Method::Prepare => code(transaction.prepare().await),
        Method::Execute => code(transaction.execute(digest).await),
        Method::Cancel => code(transaction.cancel().await),
        Method::Resume => code(transaction.resume().await),
        Method::Undo => code(transaction.undo().await),
        Method::Accept => code(transaction.accept().await),
        Method::ReadLog => code(transaction.read_log(0, 0).await),
        Method::ReadFiles => code(transaction.read_files(0, 0).await),
        Method::ReadContents => code(transaction.read_contents("", "").await),
        Method::Pin => code(transaction.pin().await),
        Method::Unpin => code(transaction.unpin().await),
        Method::GetDocument => code(transaction.get_document().await),
        Method::ExplainPackage => code(record.explain_package("alpha").await),
        Method::FindFile => code(record.find_file("/etc/passwd", 0).await),
        Method::GetUndoMaterial => code(record.get_undo_material().await),
        Method::ListGenerations => code(record.list_generations(GenerationListFilter::default()).await),
        Method::GetGeneration => code(record.get_generation(*generation).await),
        Method::ListChanges => code(record.list_changes(*generation, 0, 0).await),
        Method::ListInventory => code(record.list_inventory(InventoryFilter::default()).await),
        Method::GetPackageStatistics => code(record.get_package_statistics(0).await),
        Method::GetStepStatistics => code(record.get_step_statistics(0).await),
        Method::ListRisks => code(record.list_risks(&["alpha=1.0-1".to_owned()]).await),
        Method::Verify => code(record.verify(sink()).await),
        Method::Export => code(record.export("jsonl", u64::MAX >> 1, sink()).await),
        // An answer of one small copy, not of all that the test did so far.
        Method::BackUp => code(record.back_up(BackUpOptions { time: Some(1), event: None }, sink()).await),
        Method::Restore => code(record.restore(BackUpOptions { time: Some(1), event: None }, Vec::new(), sink()).await),
    }
}

/// A pipe whose other end reads everything.
fn sink() -> zbus::Fd<'static> {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    zbus::Fd::from(std::os::fd::OwnedFd::from(writer))
}

/// The code that is the answer for who is not let through.
fn refusal(answer: Answer, asked: bool) -> ErrorCode {
    match answer {
        Answer::Error | Answer::Garbage | Answer::NumberOne | Answer::Absent if asked => ErrorCode::AuthUnavailable,
        _ => ErrorCode::AuthDenied,
    }
}

/// A planned transaction of the owner.
pub(super) struct Offer {
    pub(super) path: OwnedObjectPath,
    pub(super) id: String,
    pub(super) digest: String,
    pub(super) generation: u64,
}

/// Answers whether the offer is still as it was.
async fn cell(callers: &Callers, authority: &FakeAuthority, (method, sort, answer): (Method, Sort, Answer), offer: &Offer) -> Result<bool> {
    let what = format!("{method} by {sort:?}, the authority says {answer:?}");
    if method == Method::Submit {
        callers.until_nothing_runs().await?;
    }
    authority.take_asked();
    let connection = callers.connection(sort);
    let found = call(connection, method, offer).await;
    let (through, asks) = expected(method, sort, answer);
    let turned_away = [Some(ErrorCode::AuthDenied), Some(ErrorCode::AuthUnavailable)].contains(&found);
    assert_eq!(!turned_away, through, "{what}: {found:?}");
    assert!(through || found == Some(refusal(answer, asks)), "{what}: {found:?}");
    if answer != Answer::Absent {
        let asked = authority.take_asked();
        assert_eq!(!asked.is_empty(), asks, "{what}: {asked:?}");
        let name = connection.unique_name().expect("a name").as_str();
        assert!(asked.iter().all(|question| question.subject == name), "{what}: {asked:?}");
        let is_bound = |details: &HashMap<String, String>| {
            details.get("digest").is_some_and(|shown| method == Method::Submit || *shown == offer.digest)
        };
        assert!(method.door().who != Who::Plan || asked.iter().all(|question| is_bound(&question.details)), "{what}: {asked:?}");
    }
    let state = callers.root.transaction(&offer.path).await?.properties().await?.state;
    assert!(through || state == "prepared", "{what}: {state}");
    Ok(state == "prepared")
}

#[tokio::test]
async fn only_a_yes_is_a_yes() -> Result<()> {
    let (daemon, authority) = daemon(LIMITS, Answer::No).await?;
    let callers = Callers::come(&daemon).await?;
    let (mut cells, mut offer) = (0, callers.prepared().await?);
    for answer in Answer::ALL.into_iter().filter(|answer| *answer != Answer::Silence) {
        authority.answers(answer).await?;
        for method in Method::ALL {
            for sort in [Sort::Root, Sort::Owner, Sort::Other, Sort::OtherFromNamespaces] {
                let as_it_was = cell(&callers, &authority, (*method, sort, answer), &offer).await?;
                if !as_it_was {
                    offer = callers.prepared().await?;
                }
                cells += 1;
            }
        }
    }
    assert_eq!(cells, Method::ALL.len() * 4 * 8);
    Ok(())
}

#[tokio::test]
async fn silence_is_no() -> Result<()> {
    let (daemon, authority) = daemon(LIMITS, Answer::Silence).await?;
    let callers = Callers::come(&daemon).await?;
    let mut asked = Vec::new();
    for method in Method::ALL {
        for sort in [Sort::Owner, Sort::Other] {
            if expected(*method, sort, Answer::Silence) == (false, true) {
                asked.push((*method, sort, callers.prepared().await?));
            }
        }
    }
    let calls = asked.iter().map(|(method, sort, offer)| call(callers.connection(*sort), *method, offer));
    let found = join_all(calls).await;
    assert!(found.len() >= 10 && found.iter().all(|code| *code == Some(ErrorCode::AuthDenied)), "{found:?}");
    // The yes that comes too late is heard by nobody.
    assert_eq!(authority.release(Answer::Yes).await?, found.len());
    for (_, _, offer) in &asked {
        assert_eq!(callers.root.transaction(&offer.path).await?.properties().await?.state, "prepared");
    }
    Ok(())
}

#[tokio::test]
async fn who_left_before_the_answer_has_no_right() -> Result<()> {
    let (daemon, authority) = daemon("", Answer::Silence).await?;
    let root = Client::new(&daemon.bus).await?;
    let ana = Stranger::connect(&daemon.bus, ANA).await?;
    let (_, path) = ana.manager.create_transaction("install", "", packages(&["alpha"])).await?;
    let transaction = root.transaction(&path).await?;
    ana.transaction(&path).await?.prepare().await?;
    let digest = root.wait_for(&transaction, |now| now.state == "prepared").await?.plan_digest;
    let proxy = ana.transaction(&path).await?;
    let call = tokio::spawn(async move { proxy.execute(&digest).await });
    let mut waited = 0;
    while authority.take_asked().is_empty() {
        anyhow::ensure!(waited < 500, "nobody was asked");
        waited += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    call.abort();
    drop(call.await);
    let name = ana.connection.unique_name().expect("a name").to_owned();
    ana.connection.clone().close().await?;
    drop(ana);
    let bus = zbus::fdo::DBusProxy::new(&root.connection).await?;
    while bus.name_has_owner(zbus::names::BusName::Unique(name.clone().into())).await? {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(authority.release(Answer::Yes).await?, 1);
    let rows = loop {
        let rows = root.manager.list_refusals(RefusalRowFilter::default()).await?;
        if !rows.is_empty() {
            break rows;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!((rows[0].method.as_str(), rows[0].error_text.as_str()), ("Execute", "the caller left before the answer came"));
    assert_eq!(transaction.properties().await?.state, "prepared");
    Ok(())
}
