//! The record behind a real bus: what can be asked of it, and who is answered. Packages are simulated.

use std::collections::HashMap;

use anyhow::Result;
use backstep_bus::{CallError, ListFilter, OptionsBuilder, PackageArgument};
use backstep_core::ErrorCode;
use backstep_tests::private_bus::{Client, Simulated};
use zbus::Variant;

fn packages(names: &[&str]) -> HashMap<&'static str, Variant<'static>> {
    let rows: Vec<PackageArgument> = names.iter().map(|name| (String::new(), (*name).to_owned(), String::new())).collect();
    OptionsBuilder::new().packages(rows).build()
}

fn code<T: std::fmt::Debug>(result: zbus::Result<T>) -> Option<ErrorCode> {
    CallError::from(result.expect_err("an error")).code()
}

#[tokio::test]
async fn history_narrows_by_time_origin_and_text() -> Result<()> {
    let daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let (first, _) = client.manager.create_transaction("install", "for the web shop", packages(&["alpha"])).await?;
    let mut options = packages(&["beta"]);
    options.insert("origin", Variant::from("timer"));
    let (second, _) = client.manager.create_transaction("install", "nightly", options).await?;
    let ids = async |filter: ListFilter| -> zbus::Result<Vec<String>> {
        Ok(client.manager.list_transactions(filter).await?.into_iter().map(|row| row.id).collect())
    };
    let text = |text: &str| ListFilter { text: Some(text.into()), ..ListFilter::default() };
    assert_eq!(ids(text("WEB")).await?, [first.clone()]);
    assert_eq!(ids(ListFilter { origin: Some("timer".into()), ..ListFilter::default() }).await?, [second.clone()]);
    let rows = client.manager.list_transactions(ListFilter::default()).await?;
    let later = ListFilter { since: Some(rows[0].created), ..ListFilter::default() };
    assert_eq!(ids(later).await?, [second]);
    let earlier = ListFilter { until: Some(rows[0].created), ..ListFilter::default() };
    assert_eq!(ids(earlier).await?, [first]);
    assert_eq!(code(ids(text("we")).await), Some(ErrorCode::RequestMalformed));
    Ok(())
}
