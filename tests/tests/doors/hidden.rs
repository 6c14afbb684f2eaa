//! What is hidden from a user is not found out by asking for it either.

use anyhow::Result;
use backstep_bus::record::RiskRow;
use backstep_bus::{ListFilter, RecordProxy};
use backstep_core::ErrorCode;
use backstep_tests::authority::Answer;
use backstep_tests::private_bus::Client;
use backstep_tests::stranger::{ANA, BEN, Stranger};
use zbus::Variant;

use super::{code, daemon, packages};

#[tokio::test]
async fn another_s_tags_are_not_seen_and_not_found() -> Result<()> {
    let (daemon, _authority) = daemon("", Answer::No).await?;
    let (ana, ben) = (Stranger::connect(&daemon.bus, ANA).await?, Stranger::connect(&daemon.bus, BEN).await?);
    let mut tagged = packages(&["alpha"]);
    tagged.insert("tags", Variant::from(vec!["env=prod".to_owned()]));
    let (_, path) = ana.manager.create_transaction("install", "", tagged).await?;
    let with = || ListFilter { tag: Some("env=prod".to_owned()), ..ListFilter::default() };
    assert_eq!(ana.manager.list_transactions(with()).await?[0].tags, Some(vec!["env=prod".to_owned()]));
    assert_eq!(ana.transaction(&path).await?.properties().await?.tags, ["env=prod"]);
    assert_eq!(Client::new(&daemon.bus).await?.manager.list_transactions(with()).await?.len(), 1, "root sees all");
    assert_eq!(ben.manager.list_transactions(ListFilter::default()).await?[0].tags, None);
    assert!(ben.manager.list_transactions(with()).await?.is_empty(), "a list narrowed by it would tell");
    assert!(ben.transaction(&path).await?.properties().await?.tags.is_empty());
    Ok(())
}

#[tokio::test]
async fn another_s_failures_are_no_risk_that_one_is_told_of() -> Result<()> {
    let (daemon, authority) = daemon("", Answer::Yes).await?;
    let (root, ben) = (Client::new(&daemon.bus).await?, Stranger::connect(&daemon.bus, BEN).await?);
    let ana = Stranger::connect(&daemon.bus, ANA).await?;
    for package in ["broken", "alpha"] {
        let (_, path) = ana.manager.submit("install", "", packages(&[package])).await?;
        root.wait_for(&root.transaction(&path).await?, |now| now.is_final()).await?;
    }
    let list = async |connection: &zbus::Connection| -> Result<Vec<RiskRow>> {
        let asked = ["broken=1.0-1", "alpha=1.0-1", "broken=2"].map(str::to_owned);
        Ok(RecordProxy::on(connection).await?.list_risks(&asked).await?)
    };
    let all = list(&root.connection).await?;
    let counts: Vec<_> = all.iter().map(|row| (row.failed, row.attempts, row.other_failed, row.other_attempts)).collect();
    assert_eq!(counts, [(1, 1, 0, 0), (0, 1, 0, 0), (0, 0, 1, 1)], "{all:?}");
    assert!(all[0].code.is_some() && all[0].last.is_some() && all[2].code == all[0].code && all[1].code.is_none(), "{all:?}");
    assert_eq!(list(&ben.connection).await?, all, "who may see all is told of all");
    authority.answers(Answer::No).await?;
    assert_eq!(list(&ana.connection).await?, all, "they are hers");
    let none = list(&ben.connection).await?;
    assert!(none.len() == 3 && none.iter().all(|row| row.attempts + row.other_attempts == 0 && row.code.is_none()), "{none:?}");
    let record = RecordProxy::on(&ben.connection).await?;
    for malformed in ["broken", "broken=", "=1", "-o=1", "broken=1 2"] {
        assert_eq!(code(record.list_risks(&[malformed.to_owned()]).await), Some(ErrorCode::RequestMalformed), "{malformed}");
    }
    assert_eq!(code(record.list_risks(&vec!["broken=1".to_owned(); 1_001]).await), Some(ErrorCode::RequestTooLarge));
    assert_eq!(record.list_risks(&vec!["broken=1".to_owned(); 1_000]).await?.len(), 1_000);
    Ok(())
}
