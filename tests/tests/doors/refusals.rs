//! Who was turned away is on record: who, when, where, why.

use anyhow::Result;
use backstep_bus::{OptionsBuilder, RecordProxy, RefusalRow, RefusalRowFilter, RevertsTarget, TransactionProperties};
use backstep_core::{ErrorCode, TransactionState};
use backstep_tests::authority::Answer;
use backstep_tests::private_bus::Client;
use backstep_tests::stranger::{ANA, BEN, Stranger};
use futures_util::future::join_all;
use zbus::Variant;

use super::{code, daemon, packages};

fn all() -> RefusalRowFilter {
    RefusalRowFilter { limit: Some(500), ..RefusalRowFilter::default() }
}

fn told(rows: &[RefusalRow]) -> Vec<(&str, &str)> {
    rows.iter().rev().map(|row| (row.method.as_str(), row.error_code.as_str())).collect()
}

#[tokio::test]
async fn every_sort_of_refusal_leaves_a_record_and_changes_nothing() -> Result<()> {
    let (daemon, authority) = daemon("", Answer::No).await?;
    let root = Client::new(&daemon.bus).await?;
    let ana = Stranger::connect(&daemon.bus, ANA).await?;
    let create = |kind, options| ana.manager.create_transaction(kind, "", options);
    assert_eq!(code(create("explode", packages(&["alpha"])).await), Some(ErrorCode::RequestMalformed));
    let hook = [("hook", Variant::from("/bin/sh"))].into();
    assert_eq!(code(create("install", hook).await), Some(ErrorCode::RequestUnknownOption));
    let names: Vec<String> = (0..1001).map(|n| format!("pkg{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(code(create("install", packages(&names)).await), Some(ErrorCode::RequestTooLarge));
    let unknown = "01936b2e-7c1a-7d3e-9f10-0123456789ab";
    assert_eq!(code(ana.manager.get_transaction(unknown).await), Some(ErrorCode::TransactionUnknown));
    let last = OptionsBuilder::new().reverts(RevertsTarget::Last).build();
    assert_eq!(code(create("rollback", last).await), Some(ErrorCode::UndoNothing));
    let (id, path) = create("install", packages(&["alpha"])).await?;
    let mut again = packages(&["beta"]);
    again.insert("id", Variant::from(id.clone()));
    assert_eq!(code(create("install", again).await), Some(ErrorCode::RequestDuplicate));
    let denied = ana.manager.submit("install", "", packages(&["gamma"])).await;
    assert_eq!(code(denied), Some(ErrorCode::AuthDenied));
    let ben = Stranger::connect(&daemon.bus, BEN).await?;
    assert_eq!(code(ben.transaction(&path).await?.cancel().await), Some(ErrorCode::AuthDenied));

    let rows = root.manager.list_refusals(all()).await?;
    let expected = [
        ("CreateTransaction", "request.malformed"),
        ("CreateTransaction", "request.unknown-option"),
        ("CreateTransaction", "request.too-large"),
        ("GetTransaction", "transaction.unknown"),
        ("CreateTransaction", "undo.nothing"),
        ("CreateTransaction", "request.duplicate"),
        ("Submit", "auth.denied"),
        ("Cancel", "auth.denied"),
    ];
    assert_eq!(told(&rows), expected);
    assert!(rows[1..].iter().all(|row| row.uid == ANA && row.count == 1 && row.at > 0 && row.sender.starts_with(':')), "{rows:#?}");
    assert_eq!(rows[1].program.as_deref(), Some("backstep-strang"));
    assert_eq!((rows[0].uid, rows[0].id.as_deref()), (BEN, Some(id.as_str())));
    // The denied one is a transaction as well, and says so itself.
    let denied = rows[1].id.clone().expect("the transaction of the denied request");
    let transaction = root.transaction(&root.manager.get_transaction(&denied).await?).await?;
    let document: serde_json::Value = serde_json::from_str(&transaction.get_document().await?)?;
    assert!(document["events"].as_array().is_some_and(|events| events.iter().any(|event| event["event"] == "denied")), "{document}");
    // Others see their own only, whatever they ask for.
    let own = ben.manager.list_refusals(RefusalRowFilter { uid: Some(ANA), ..all() }).await?;
    assert_eq!(told(&own), [("Cancel", "auth.denied")]);
    authority.answers(Answer::Yes).await?;
    assert_eq!(ben.manager.list_refusals(all()).await?.len(), rows.len());
    assert!(root.manager.active().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_rollback_of_another_s_transaction_is_planned_for_nobody_without_the_right() -> Result<()> {
    let (daemon, authority) = daemon("", Answer::No).await?;
    let root = Client::new(&daemon.bus).await?;
    let ana = Stranger::connect(&daemon.bus, ANA).await?;
    let (id, path) = root.manager.submit("install", "", packages(&["alpha"])).await?;
    let completed = |one: &TransactionProperties| one.transaction_state() == Some(TransactionState::Completed);
    root.wait_for(&root.transaction(&path).await?, completed).await?;
    let reverts = |target| OptionsBuilder::new().reverts(target);
    let others = || reverts(RevertsTarget::Id(id.parse().expect("an id")));
    let since = || reverts(RevertsTarget::Since(0)).undo_later();
    for options in [others(), others().undo_later(), reverts(RevertsTarget::Last), since()] {
        let made = ana.manager.create_transaction("rollback", "", options.build()).await;
        assert_eq!(code(made), Some(ErrorCode::AuthDenied));
    }
    assert_eq!(code(ana.manager.submit("rollback", "", others().build()).await), Some(ErrorCode::AuthDenied));
    assert!(authority.take_asked().iter().all(|asked| asked.action == "org.backstep1.view-all"));

    // Who may see it may have it planned, and root is not asked.
    authority.answers(Answer::Yes).await?;
    ana.manager.create_transaction("rollback", "", others().build()).await?;
    let (own, path) = ana.manager.submit("install", "", packages(&["beta"])).await?;
    root.wait_for(&root.transaction(&path).await?, completed).await?;
    authority.answers(Answer::No).await?;
    authority.take_asked();
    let own = || reverts(RevertsTarget::Id(own.parse().expect("an id")));
    for options in [own(), own().undo_later(), reverts(RevertsTarget::Last)] {
        ana.manager.create_transaction("rollback", "", options.build()).await?;
    }
    assert!(authority.take_asked().is_empty(), "of one's own nobody is asked");
    // What came later and is another's is undone with it, and was not there when the first of these was taken.
    let (_, early) = ana.manager.create_transaction("rollback", "", own().undo_later().build()).await?;
    let (_, path) = root.manager.submit("rollback", "", others().build()).await?;
    root.wait_for(&root.transaction(&path).await?, completed).await?;
    assert_eq!(code(ana.transaction(&early).await?.prepare().await), Some(ErrorCode::AuthDenied));
    let undone = ana.manager.create_transaction("rollback", "", others().build()).await;
    assert_eq!(code(undone), Some(ErrorCode::AuthDenied), "by what it was undone is not told");
    Ok(())
}

#[tokio::test]
async fn nobody_gives_a_second_transaction_the_end_of_an_id() -> Result<()> {
    let (daemon, _authority) = daemon("", Answer::No).await?;
    let root = Client::new(&daemon.bus).await?;
    let ana = Stranger::connect(&daemon.bus, ANA).await?;
    let (id, _) = root.manager.create_transaction("install", "", packages(&["alpha"])).await?;
    let with = |id: &str| {
        let mut options = packages(&["alpha"]);
        options.insert("id", Variant::from(id.to_owned()));
        options
    };
    let taken = format!("01936b2e-7c1a-7d3e-9f10-{}", &id[24..]);
    assert_eq!(code(ana.manager.create_transaction("install", "", with(&taken)).await), Some(ErrorCode::RequestDuplicate));
    assert!(root.manager.get_transaction(&id[24..]).await.is_ok(), "it still means one");
    let own = "01936b2e-7c1a-7d3e-9f10-0123456789ab";
    for _ in 0..2 {
        assert_eq!(ana.manager.create_transaction("install", "", with(own)).await?.0, own);
    }
    Ok(())
}

#[tokio::test]
async fn what_is_turned_away_stays_on_record_when_the_daemon_ends() -> Result<()> {
    let (mut daemon, _authority) = daemon("", Answer::No).await?;
    let ana = Stranger::connect(&daemon.bus, ANA).await?;
    for _ in 0..30 {
        assert_eq!(code(ana.manager.get_transaction("beef").await), Some(ErrorCode::TransactionUnknown));
    }
    daemon.stop_and_restart().await?;
    let rows = Client::new(&daemon.bus).await?.manager.list_refusals(all()).await?;
    assert_eq!(rows.iter().map(|row| row.count).collect::<Vec<_>>(), [&[20][..], &[1; 10]].concat());
    Ok(())
}

#[tokio::test]
async fn calls_to_the_record_are_turned_away_on_record_too() -> Result<()> {
    let (daemon, _authority) = daemon("[limits]\ncalls-per-second = 5\n", Answer::No).await?;
    let root = Client::new(&daemon.bus).await?;
    root.manager.create_transaction("install", "", packages(&["alpha"])).await?;
    let ben = Stranger::connect(&daemon.bus, BEN).await?;
    let record = RecordProxy::on(&ben.connection).await?;
    let sink = || zbus::Fd::from(std::os::fd::OwnedFd::from(std::io::pipe().expect("a pipe").1));
    assert_eq!(code(record.verify(sink()).await), Some(ErrorCode::AuthDenied));
    assert_eq!(code(record.list_changes(1, 0, 0).await), Some(ErrorCode::AuthDenied));
    assert_eq!(code(record.get_generation(999).await), Some(ErrorCode::GenerationUnknown));
    assert_eq!(code(record.explain_package("al*").await), Some(ErrorCode::RequestMalformed));
    let calls = (0..40).map(|_| record.get_step_statistics(0));
    let throttled = join_all(calls).await.into_iter().filter_map(code).collect::<Vec<_>>();
    assert!(throttled.len() >= 20 && throttled.iter().all(|code| *code == ErrorCode::RequestThrottled), "{throttled:?}");
    let rows = root.manager.list_refusals(all()).await?;
    let expected = [
        ("Verify", "auth.denied"),
        ("ListChanges", "auth.denied"),
        ("GetGeneration", "generation.unknown"),
        ("ExplainPackage", "request.malformed"),
        ("GetStepStatistics", "request.throttled"),
    ];
    assert_eq!(told(&rows)[..5], expected);
    assert!(rows.iter().all(|row| row.uid == BEN), "{rows:#?}");
    Ok(())
}
