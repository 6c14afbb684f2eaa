//! The daemon behind a real bus: the contract, the life of transactions, what clients see. Packages are simulated.

// Tests set their scene with plain calls.
#![allow(clippy::disallowed_methods)]

use std::collections::HashMap;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use backstep_bus::{BackoffFilter, Claims, IgnoreFilter, IgnoreOptions, ListFilter, OptionsBuilder, RevertsTarget};
use backstep_core::actor::Origin;
use backstep_core::{ErrorCode, TransactionState};
use backstep_tests::command::{Output, output};
use backstep_tests::private_bus::{Client, PATIENCE, PrivateBus, Simulated, code, own_name, packages};
use backstep_tests::programs::program;
use zbus::Variant;

fn is(state: TransactionState) -> impl Fn(&backstep_bus::TransactionProperties) -> bool {
    move |now| now.transaction_state() == Some(state)
}

#[tokio::test]
async fn a_transaction_is_created_prepared_executed_and_rolled_back() -> Result<()> {
    let daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let (id, path) = client.manager.create_transaction("install", "try it", packages(&["alpha"])).await?;
    let transaction = client.transaction(&path).await?;
    transaction.prepare().await?;
    let prepared = client.wait_for(&transaction, is(TransactionState::Prepared)).await?;
    assert_eq!(prepared.plan.iter().map(|row| row.package.as_str()).collect::<Vec<_>>(), ["alpha", "alpha-data"]);
    assert_eq!((prepared.description.as_str(), prepared.user), ("try it", own_name()?));
    transaction.execute(&prepared.plan_digest).await?;
    let done = client.wait_for(&transaction, is(TransactionState::Completed)).await?;
    assert_eq!(done.permille, 1000);
    assert!(done.steps.iter().all(|step| step.state == "completed"), "{:?}", done.steps);
    let options = OptionsBuilder::new().reverts(RevertsTarget::Last).build();
    let (undo, undo_path) = client.manager.submit("rollback", "", options).await?;
    let rollback = client.transaction(&undo_path).await?;
    let rolled = client.wait_for(&rollback, is(TransactionState::Completed)).await?;
    assert_eq!((rolled.reverts.as_str(), rolled.method.as_str()), (id.as_str(), "restore"));
    assert_eq!(transaction.properties().await?.reverted_by, undo);
    Ok(())
}

#[tokio::test]
async fn a_failure_holds_timers_back_and_warns_people() -> Result<()> {
    let daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let manager = &client.manager;
    let (_, path) = manager.submit("install", "", packages(&["broken"])).await?;
    client.wait_for(&client.transaction(&path).await?, |now| now.is_final()).await?;
    let rows = manager.list_backoffs(BackoffFilter::default()).await?;
    let seen: Vec<_> = rows.iter().map(|row| (row.subject.as_deref(), row.process.as_str(), row.failures, row.remaining > 0)).collect();
    assert_eq!(seen, [(Some("broken"), "install", Some(1), true)]);
    let timer = || OptionsBuilder::new().packages(vec![(String::new(), "broken".to_owned(), String::new())]).origin(Origin::Timer);
    assert_eq!(code(manager.submit("install", "", timer().build()).await), Some(ErrorCode::BackoffActive));
    manager.add_backoff("beta", "upgrade", i64::MAX / 2, "no", Claims::default()).await.expect_err("a year at most");
    let soon = rows[0].until;
    manager.add_backoff("beta", "upgrade", soon, "it breaks", Claims::default()).await?;
    let (_, path) = manager.create_transaction("upgrade", "", OptionsBuilder::new().origin(Origin::Timer).build()).await?;
    client.transaction(&path).await?.prepare().await?;
    let plan = client.wait_for(&client.transaction(&path).await?, is(TransactionState::Prepared)).await?;
    assert_eq!(plan.plan.iter().map(|row| row.package.as_str()).collect::<Vec<_>>(), ["gamma"]);
    assert!(plan.plan_warnings.iter().any(|text| text.starts_with("left out, because beta is backed off")), "{:?}", plan.plan_warnings);
    let (_, path) = manager.create_transaction("install", "", packages(&["broken"])).await?;
    client.transaction(&path).await?.prepare().await?;
    let plan = client.wait_for(&client.transaction(&path).await?, is(TransactionState::Prepared)).await?;
    assert!(plan.plan_warnings.iter().any(|text| text.starts_with("broken is backed off")), "{:?}", plan.plan_warnings);
    assert_eq!(manager.clear_backoffs("", "", "", Claims::default()).await?, 2);
    assert_eq!(manager.list_backoffs(BackoffFilter::default()).await?, []);
    assert_eq!(manager.list_backoffs(BackoffFilter { all: Some(true) }).await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn what_is_ignored_is_a_file_for_apt() -> Result<()> {
    let bus = PrivateBus::start()?;
    let path: &'static str = bus.folder().join("backstep.pref").display().to_string().leak();
    let daemon = Simulated::on(bus, vec!["--preferences", path].leak()).await?;
    let file = || std::fs::read_to_string(daemon.bus.folder().join("backstep.pref")).unwrap_or_default();
    let client = Client::new(&daemon.bus).await?;
    let options = IgnoreOptions { suite: Some("sid".into()), ..IgnoreOptions::default() };
    let number = client.manager.add_ignore("al*", "why", options).await?;
    assert!(file().contains("Package: al*\nPin: release sid\nPin-Priority: -1\n"), "{}", file());
    assert_eq!(code(client.manager.add_ignore("*", "why", IgnoreOptions::default()).await), Some(ErrorCode::RequestMalformed));
    std::fs::write(daemon.bus.folder().join("backstep.pref"), "edited")?;
    assert_eq!(client.manager.list_ignores(IgnoreFilter::default()).await?.len(), 1);
    assert!(file().contains("Package: al*"), "an edit does not stay: {}", file());
    client.manager.remove_ignore(number, "enough", Claims::default()).await?;
    assert!(!daemon.bus.folder().join("backstep.pref").exists());
    assert_eq!(code(client.manager.remove_ignore(number, "", Claims::default()).await), Some(ErrorCode::IgnoreUnknown));
    assert_eq!(client.manager.list_ignores(IgnoreFilter { all: Some(true) }).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn several_are_undone_by_one_and_a_part_is_no_whole() -> Result<()> {
    let daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let done = async |kind: &str, options| -> Result<_> {
        let (id, path) = client.manager.submit(kind, "", options).await?;
        let transaction = client.transaction(&path).await?;
        client.wait_for(&transaction, is(TransactionState::Completed)).await?;
        Ok((id, transaction))
    };
    let (first, one) = done("install", packages(&["alpha"])).await?;
    let (_, other) = done("update", packages(&["beta"])).await?;
    let target = RevertsTarget::Id(first.parse()?);
    let part = OptionsBuilder::new().reverts(target).packages(vec![(String::new(), "alpha".to_owned(), String::new())]).build();
    let (_, third) = done("rollback", part).await?;
    assert_eq!(third.properties().await?.plan.len(), 1);
    assert_eq!(one.properties().await?.reverted_by, "", "a part is not the whole");
    let (all, _) = done("rollback", OptionsBuilder::new().reverts(target).undo_later().build()).await?;
    for undone in [&one, &other, &third] {
        assert_eq!(undone.properties().await?.reverted_by, all);
    }
    let since = OptionsBuilder::new().reverts(RevertsTarget::Since(i64::MAX)).undo_later().build();
    assert_eq!(code(client.manager.create_transaction("rollback", "", since).await), Some(ErrorCode::UndoNothing));
    Ok(())
}

#[tokio::test]
async fn a_failure_undoes_in_reverse_order() -> Result<()> {
    let daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let (_, path) = client.manager.submit("install", "", packages(&["broken"])).await?;
    let transaction = client.transaction(&path).await?;
    let ended = client.wait_for(&transaction, |now| now.is_final()).await?;
    assert_eq!((ended.state.as_str(), ended.error_code.as_str()), ("rolled-back", "script.failed"));
    let document: serde_json::Value = serde_json::from_str(&transaction.get_document().await?)?;
    let undone: Vec<&str> = document["events"]
        .as_array()
        .expect("events")
        .iter()
        .filter(|event| event["event"] == "step-started" && event["direction"] == "undo")
        .filter_map(|event| event["step"].as_str())
        .collect();
    assert_eq!(undone, ["apply", "secure", "fetch"]);
    Ok(())
}

#[tokio::test]
async fn everybody_hears_the_end_and_only_those_who_may_read_the_error() -> Result<()> {
    use futures_util::StreamExt;
    let daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let (id, path) = client.manager.create_transaction("install", "", packages(&["broken"])).await?;
    let transaction = client.transaction(&path).await?;
    let mut ended = transaction.receive_finished().await?;
    transaction.prepare().await?;
    let digest = client.wait_for(&transaction, is(TransactionState::Prepared)).await?.plan_digest;
    transaction.execute(&digest).await?;
    let signal = tokio::time::timeout(PATIENCE, ended.next()).await?.expect("a signal");
    let told = signal.args()?;
    assert_eq!((told.id.to_owned(), told.state.to_owned(), told.code.to_owned()), (id, "rolled-back".to_owned(), String::new()));
    assert_eq!(transaction.properties().await?.error_code, "script.failed");
    Ok(())
}

#[tokio::test]
async fn cancel_during_the_change_undoes() -> Result<()> {
    let daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let (_, path) = client.manager.submit("install", "", packages(&["slow"])).await?;
    let transaction = client.transaction(&path).await?;
    client.wait_for(&transaction, |now| now.current_package == "slow").await?;
    assert_eq!(transaction.cancel().await?, "will-roll-back");
    let ended = client.wait_for(&transaction, |now| now.is_final()).await?;
    assert_eq!(ended.state, "cancelled");
    assert_eq!(transaction.cancel().await?, "too-late");
    Ok(())
}

#[tokio::test]
async fn two_clients_wait_for_each_other_and_know_it() -> Result<()> {
    let daemon = Simulated::start().await?;
    let (first, second) = (Client::new(&daemon.bus).await?, Client::new(&daemon.bus).await?);
    let (running, path) = first.manager.submit("install", "", packages(&["slow"])).await?;
    let (_, waiting) = second.manager.submit("install", "", packages(&["alpha"])).await?;
    let waiting = second.transaction(&waiting).await?;
    // Whether it is planned already depends on how far the first one is; it waits for it either way.
    let queued = second.wait_for(&waiting, |now| !now.waits_for.is_empty()).await?;
    assert!(["created", "queued"].contains(&queued.state.as_str()), "{}", queued.state);
    assert!(queued.waits_for.contains(&running), "{}", queued.waits_for);
    first.transaction(&path).await?.cancel().await?;
    second.wait_for(&waiting, is(TransactionState::Completed)).await?;
    Ok(())
}

#[tokio::test]
async fn a_crashed_daemon_finds_its_transactions_again() -> Result<()> {
    let mut daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let (id, _) = client.manager.submit("install", "", packages(&["slow"])).await?;
    let (offered, _) = client.manager.create_transaction("install", "", packages(&["alpha"])).await?;
    daemon.crash_and_restart().await?;
    // A simulated worker dies with the daemon, so the change is undone.
    let transaction = client.transaction(&client.manager.get_transaction(&id).await?).await?;
    let ended = client.wait_for(&transaction, |now| now.is_final()).await?;
    assert_eq!((ended.state.as_str(), ended.attempts), ("rolled-back", 2));
    let offer = client.transaction(&client.manager.get_transaction(&offered).await?).await?;
    assert_eq!(offer.properties().await?.state, "created");
    Ok(())
}

#[tokio::test]
async fn a_daemon_that_is_told_to_end_as_soon_as_it_has_its_name_ends_in_good_order() -> Result<()> {
    let mut daemon = Simulated::start().await?;
    for _ in 0..20 {
        daemon.stop_and_restart().await?;
    }
    daemon.stop()
}

#[tokio::test]
async fn bad_input_has_its_named_error_and_leaves_nothing_running() -> Result<()> {
    let daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let manager = &client.manager;
    let create = |kind, options| manager.create_transaction(kind, "", options);
    assert_eq!(code(create("explode", packages(&["alpha"])).await), Some(ErrorCode::RequestMalformed));
    assert_eq!(code(create("install", packages(&[])).await), Some(ErrorCode::RequestMalformed));
    assert_eq!(code(create("install", packages(&["alpha", "alpha"])).await), Some(ErrorCode::RequestMalformed));
    assert_eq!(code(create("install", packages(&["al*"])).await), Some(ErrorCode::RequestMalformed));
    assert_eq!(code(create("install", HashMap::from([("hook", Variant::from("x"))])).await), Some(ErrorCode::RequestUnknownOption));
    assert_eq!(code(create("install", HashMap::from([("packages", Variant::from(1_u32))])).await), Some(ErrorCode::RequestMalformed));
    assert_eq!(code(manager.get_transaction("01936b2e-7c1a-7d3e-9f10-0123456789ab").await), Some(ErrorCode::TransactionUnknown));
    assert_eq!(code(manager.submit("install", "", packages(&["nosuch"])).await), Some(ErrorCode::PackageUnknown));
    let last = OptionsBuilder::new().reverts(RevertsTarget::Last).build();
    assert_eq!(code(create("rollback", last).await), Some(ErrorCode::UndoNothing));
    let names: Vec<String> = (0..1001).map(|n| format!("pkg{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(code(create("install", packages(&names)).await), Some(ErrorCode::RequestTooLarge));
    assert!(manager.active().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn an_id_is_good_for_one_request() -> Result<()> {
    let daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let (id, path) = client.manager.create_transaction("install", "", packages(&["alpha"])).await?;
    let with_id = |name| {
        let mut options = packages(&[name]);
        options.insert("id", Variant::from(id.clone()));
        options
    };
    assert_eq!(client.manager.create_transaction("install", "", with_id("alpha")).await?, (id.clone(), path));
    let other = client.manager.create_transaction("install", "", with_id("beta")).await;
    assert_eq!(code(other), Some(ErrorCode::RequestDuplicate));
    Ok(())
}

#[tokio::test]
async fn the_record_of_files_is_told_in_pieces_and_its_absence_too() -> Result<()> {
    let daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let (id, path) = client.manager.submit("install", "", packages(&["alpha"])).await?;
    let transaction = client.transaction(&path).await?;
    client.wait_for(&transaction, |now| now.is_final()).await?;
    assert_eq!(transaction.read_files(0, 0).await?, (Vec::new(), 0, true));
    let line = b"{\"path\":\"/etc/x\",\"change\":\"created\"}\n";
    std::fs::write(daemon.state_dir().join(format!("attempts/{id}-1/files.jsonl")), line)?;
    assert_eq!(transaction.read_files(0, 10).await?, (line[..10].to_vec(), 10, false));
    assert_eq!(transaction.read_files(10, 0).await?, (line[10..].to_vec(), line.len() as u64, true));
    Ok(())
}

#[tokio::test]
async fn another_digest_is_refused_and_nothing_runs() -> Result<()> {
    let daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let (_, path) = client.manager.create_transaction("install", "", packages(&["alpha"])).await?;
    let transaction = client.transaction(&path).await?;
    assert_eq!(code(transaction.execute(&"0".repeat(64)).await), Some(ErrorCode::TransactionState));
    transaction.prepare().await?;
    client.wait_for(&transaction, is(TransactionState::Prepared)).await?;
    assert_eq!(code(transaction.execute(&"0".repeat(64)).await), Some(ErrorCode::PlanMismatch));
    assert_eq!(code(transaction.execute("xyz").await), Some(ErrorCode::RequestMalformed));
    assert_eq!(transaction.properties().await?.state, "prepared");
    Ok(())
}

#[tokio::test]
async fn lists_narrow_and_page() -> Result<()> {
    let daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let mut ids = Vec::new();
    for name in ["alpha", "beta", "gamma"] {
        ids.push(client.manager.create_transaction("install", "", packages(&[name])).await?.0);
    }
    let list = |filter| client.manager.list_transactions(filter);
    let all = list(ListFilter::default()).await?;
    assert_eq!(all.iter().map(|row| row.id.clone()).collect::<Vec<_>>(), ids.iter().rev().cloned().collect::<Vec<_>>());
    let page = list(ListFilter { limit: Some(1), before: Some(ids[2].clone()), ..ListFilter::default() }).await?;
    assert_eq!(page.iter().map(|row| &row.id).collect::<Vec<_>>(), [&ids[1]]);
    let none = list(ListFilter { kind: Some("remove".into()), ..ListFilter::default() }).await?;
    assert!(none.is_empty());
    assert_eq!(code(list(ListFilter { kind: Some("explode".into()), ..ListFilter::default() }).await), Some(ErrorCode::RequestMalformed));
    Ok(())
}

#[tokio::test]
async fn tags_are_told_and_lists_narrow_by_one() -> Result<()> {
    let daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let tagged = |package: &str, tags: &[&str]| {
        let mut options = packages(&[package]);
        options.insert("tags", Variant::from(tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<String>>()));
        options
    };
    let (first, path) = client.manager.submit("install", "", tagged("alpha", &["ticket:4711", "env=prod"])).await?;
    let transaction = client.transaction(&path).await?;
    let done = client.wait_for(&transaction, is(TransactionState::Completed)).await?;
    assert_eq!(done.tags, ["env=prod", "ticket:4711"]);
    let document: serde_json::Value = serde_json::from_str(&transaction.get_document().await?)?;
    assert_eq!(document["tags"], serde_json::json!(["env=prod", "ticket:4711"]));
    let (second, _) = client.manager.create_transaction("install", "", tagged("beta", &["env=prod"])).await?;
    let (third, _) = client.manager.create_transaction("install", "", packages(&["gamma"])).await?;
    let list = async |filter| -> Result<Vec<(String, Option<Vec<String>>)>> {
        Ok(client.manager.list_transactions(filter).await?.into_iter().map(|row| (row.id, row.tags)).collect())
    };
    let with = |tag: &str| ListFilter { tag: Some(tag.to_owned()), ..ListFilter::default() };
    let rows = [(second.clone(), Some(vec!["env=prod".to_owned()])), (first.clone(), Some(done.tags.clone()))];
    assert_eq!(list(with("env=prod")).await?, rows);
    assert_eq!(list(ListFilter { limit: Some(1), before: Some(second.clone()), ..with("env=prod") }).await?, rows[1..]);
    assert_eq!(list(with("ticket:4711")).await?, rows[1..]);
    assert_eq!(list(with("env")).await?, []);
    assert_eq!(list(ListFilter { limit: Some(1), ..ListFilter::default() }).await?, [(third, None)]);
    assert_eq!(code(client.manager.list_transactions(with("Env")).await), Some(ErrorCode::RequestMalformed));
    // They are part of the request: the same id with others is another request.
    let mut other = tagged("beta", &["env=test"]);
    other.insert("id", Variant::from(second));
    assert_eq!(code(client.manager.create_transaction("install", "", other).await), Some(ErrorCode::RequestDuplicate));
    Ok(())
}

#[tokio::test]
async fn a_transaction_each_leaves_the_others_when_one_fails() -> Result<()> {
    let daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let address = daemon.bus.address();
    let run = async |arguments: &'static [&'static str]| -> Result<Output> {
        let mut backstep = Command::new(program("backstep")?);
        backstep.args(["--bus", &address, "install"]).args(arguments).stdin(Stdio::null());
        tokio::task::spawn_blocking(move || output(&mut backstep)).await?
    };
    let each = run(&["-y", "--each", "--tag", "batch:1", "alpha", "broken", "no-such", "beta"]).await?.failure(9)?;
    let table: Vec<Vec<&str>> = each.stdout.lines().rev().take(4).map(|line| line.split_whitespace().take(3).collect()).collect();
    let rows = [["beta", "completed", "0"], ["no-such", "failed", "3"], ["broken", "rolled-back", "9"], ["alpha", "completed", "0"]];
    assert_eq!(table, rows, "{}", each.stdout);
    let filter = ListFilter { tag: Some("batch:1".to_owned()), ..ListFilter::default() };
    let states: Vec<_> = client.manager.list_transactions(filter).await?.into_iter().map(|row| row.state).collect();
    assert_eq!(states, ["completed", "failed", "rolled-back", "completed"]);
    run(&["--each", "gamma", "delta"]).await?.failure(2).context("nobody can answer")?;
    assert_eq!(client.manager.list_transactions(ListFilter::default()).await?.len(), 5, "the second was not begun");
    Ok(())
}

#[tokio::test]
async fn tags_that_are_none_have_their_named_error() -> Result<()> {
    let daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let refused = async |tags: Variant<'static>| {
        let mut options = packages(&["alpha"]);
        options.insert("tags", tags);
        code(client.manager.create_transaction("install", "", options).await)
    };
    let texts = |tags: &[&str]| Variant::from(tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<String>>());
    for bad in [&["Prod"][..], &["-y"], &[""], &["a", "a"], &["password=hunter22"]] {
        assert_eq!(refused(texts(bad)).await, Some(ErrorCode::RequestMalformed), "{bad:?}");
    }
    assert_eq!(refused(Variant::from("prod")).await, Some(ErrorCode::RequestMalformed));
    assert_eq!(refused(texts(&["x".repeat(65).as_str()])).await, Some(ErrorCode::RequestTooLarge));
    let many: Vec<String> = (0..17).map(|n| format!("t{n}")).collect();
    assert_eq!(refused(Variant::from(many)).await, Some(ErrorCode::RequestTooLarge));
    assert!(client.manager.list_transactions(ListFilter::default()).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn progress_is_told_at_most_five_times_a_second_and_never_goes_back() -> Result<()> {
    use futures_util::StreamExt;
    let daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let (_, path) = client.manager.create_transaction("install", "", packages(&["alpha"])).await?;
    let transaction = client.transaction(&path).await?;
    let mut told = transaction.receive_progress().await?;
    let mut ended = transaction.receive_finished().await?;
    transaction.prepare().await?;
    let digest = client.wait_for(&transaction, is(TransactionState::Prepared)).await?.plan_digest;
    let begun = std::time::Instant::now();
    transaction.execute(&digest).await?;
    let mut values = Vec::new();
    let finished = loop {
        tokio::select! {
            Some(signal) = told.next() => values.push(signal.args()?.permille),
            Some(signal) = ended.next() => break signal.args()?.state.to_owned(),
        }
    };
    let allowed = begun.elapsed().as_secs_f64() * 5.0 + 1.0;
    assert_eq!(finished, "completed");
    assert!(values.len() > 1 && values.len() as f64 <= allowed, "{} signals, {allowed} allowed", values.len());
    assert!(values.is_sorted(), "{values:?}");
    Ok(())
}

#[tokio::test]
async fn a_retry_keeps_the_failed_transaction() -> Result<()> {
    let daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let mut first = packages(&["broken"]);
    first.insert("tags", Variant::from(vec!["ticket:4711".to_owned()]));
    let (id, path) = client.manager.submit("install", "first", first).await?;
    client.wait_for(&client.transaction(&path).await?, |now| now.is_final()).await?;
    let options = HashMap::from([("comment", Variant::from("second")), ("origin", Variant::from("cli"))]);
    let (again, path) = client.manager.retry(&id, options).await?;
    let retried = client.transaction(&path).await?.properties().await?;
    assert_ne!(again, id);
    assert_eq!((retried.retries.as_str(), retried.description.as_str(), retried.origin.as_str()), (id.as_str(), "second", "cli"));
    assert_eq!(retried.tags, ["ticket:4711"]);
    let unknown = client.manager.retry(&id, HashMap::from([("kind", Variant::from("remove"))])).await;
    assert_eq!(code(unknown), Some(ErrorCode::RequestUnknownOption));
    Ok(())
}
