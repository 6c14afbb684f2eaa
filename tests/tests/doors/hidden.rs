//! What is hidden from a user is not found out by asking for it either.

use anyhow::Result;
use backstep_bus::ListFilter;
use backstep_tests::authority::Answer;
use backstep_tests::private_bus::Client;
use backstep_tests::stranger::{ANA, BEN, Stranger};
use zbus::Variant;

use super::{daemon, packages};

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
