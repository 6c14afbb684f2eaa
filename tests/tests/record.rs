//! The record behind a real bus: what can be asked of it, and who is answered. Packages are simulated.

// Tests set their scene with plain calls.
#![allow(clippy::disallowed_methods)]

use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};
use backstep_bus::record::{BackUpOptions, GenerationListFilter};
use backstep_bus::{ArchiveOptions, CallError, ListFilter, OptionsBuilder, RecordProxy, RedactOptions, RevertsTarget};
use backstep_core::{ErrorCode, TransactionState};
use backstep_tests::private_bus::{Client, Simulated, code, is_root, own_name, packages};
use zbus::Variant;

/// Every file below a folder, as one.
fn everything_in(folder: &std::path::Path, bytes: &mut Vec<u8>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            everything_in(&entry.path(), bytes)?;
        } else if entry.file_type()?.is_file() {
            bytes.extend(std::fs::read(entry.path())?);
        }
    }
    Ok(())
}

#[tokio::test]
async fn no_secret_in_a_comment_is_stored_anywhere() -> Result<()> {
    use backstep_core::planted::PLANTED;
    let mut daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let one_line = || PLANTED.iter().filter(|planted| !planted.text.contains(['\n', '\t']));
    assert!(one_line().count() > 45);
    for planted in one_line() {
        let (_, path) = client.manager.create_transaction("install", planted.text, packages(&["alpha"])).await?;
        let transaction = client.transaction(&path).await?;
        assert!(transaction.properties().await?.description.contains("[secret]"), "{}", planted.kind);
        transaction.cancel().await?;
    }
    daemon.stop()?;
    let mut bytes = Vec::new();
    everything_in(&daemon.state_dir(), &mut bytes)?;
    let holds = |secret: &str| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
    assert!(holds("[secret]"));
    for planted in one_line() {
        assert!(!holds(planted.secret), "{}", planted.kind);
    }
    Ok(())
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
    assert_eq!(ids(text("WEB")).await?, std::slice::from_ref(&first));
    assert_eq!(ids(ListFilter { origin: Some("timer".into()), ..ListFilter::default() }).await?, std::slice::from_ref(&second));
    let rows = client.manager.list_transactions(ListFilter::default()).await?;
    let later = ListFilter { since: Some(rows[0].created), ..ListFilter::default() };
    assert_eq!(ids(later).await?, [second]);
    let earlier = ListFilter { until: Some(rows[0].created), ..ListFilter::default() };
    assert_eq!(ids(earlier).await?, [first]);
    assert_eq!(code(ids(text("we")).await), Some(ErrorCode::RequestMalformed));
    Ok(())
}

#[tokio::test]
async fn packages_generations_and_steps_are_told_from_the_record() -> Result<()> {
    let daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let record = RecordProxy::on(&client.connection).await?;
    let ended = async |path| -> Result<()> {
        client.wait_for(&client.transaction(&path).await?, |now| now.is_final()).await?;
        Ok(())
    };
    let (install, path) = client.manager.submit("install", "try it", packages(&["alpha"])).await?;
    ended(path).await?;
    let (_, path) = client.manager.submit("install", "", packages(&["broken"])).await?;
    ended(path).await?;
    let rows = record.explain_package("alpha-data").await?;
    assert_eq!(rows.len(), 1, "{rows:?}");
    let row = &rows[0];
    assert_eq!(
        (row.role.as_str(), row.transaction.as_deref(), row.reason.as_deref()),
        ("brought", Some(install.as_str()), Some("dependency"))
    );
    assert_eq!((row.requested.as_deref(), row.user.as_deref()), (Some(["alpha".to_owned()].as_slice()), Some(own_name()?.as_str())));
    assert_eq!(row.installed.as_deref(), Some("1.0-1"));
    assert_eq!(code(record.explain_package("broken").await), Some(ErrorCode::PackageNotInstalled));
    assert_eq!(code(record.explain_package("al*").await), Some(ErrorCode::RequestMalformed));
    let (undo, path) = client.manager.submit("rollback", "", OptionsBuilder::new().reverts(RevertsTarget::Last).build()).await?;
    ended(path).await?;
    let row = record.explain_package("alpha:amd64").await?.remove(0);
    assert_eq!((row.role.as_str(), row.transaction.as_deref(), row.installed), ("removed", Some(undo.as_str()), None));
    let timeline = record.list_generations(GenerationListFilter { system: Some(true), ..Default::default() }).await?;
    let told: Vec<_> = timeline.iter().map(|row| (row.number, row.transaction.as_deref(), row.reverted_by.as_deref())).collect();
    // The third is that somebody was turned away.
    assert_eq!(told, [(4, Some(undo.as_str()), None), (1, Some(install.as_str()), Some(undo.as_str()))]);
    let all = record.list_generations(GenerationListFilter::default()).await?;
    assert_eq!(all.len(), 4);
    assert_eq!((all[1].transaction.as_deref(), all[1].changes), (None, 1));
    assert_eq!(record.get_generation(1).await?, all[3]);
    assert_eq!(code(record.get_generation(9).await), Some(ErrorCode::GenerationUnknown));
    let changes = record.list_changes(1, 0, 1000).await?;
    assert_eq!(u64::try_from(changes.len())?, all[3].changes);
    let steps = record.get_step_statistics(0).await?;
    assert!(steps.iter().any(|row| row.step == "apply" && row.count == 3 && row.failed == 1), "{steps:?}");
    let kinds = client.manager.get_statistics(0).await?;
    assert!(kinds.iter().any(|row| row.kind == "install" && (row.count, row.failed) == (2, 1)), "{kinds:?}");
    Ok(())
}

/// Makes a call with a pipe and reads what comes.
async fn piped<A>(call: impl AsyncFnOnce(zbus::Fd<'static>) -> zbus::Result<A>) -> Result<(A, Vec<u8>), CallError> {
    use std::io::Read;
    let (mut reader, writer) = std::io::pipe().expect("pipe");
    let reading = tokio::task::spawn_blocking(move || {
        let mut read = Vec::new();
        reader.read_to_end(&mut read).expect("read");
        read
    });
    let answer = call(zbus::Fd::from(std::os::fd::OwnedFd::from(writer))).await;
    Ok((answer?, reading.await.expect("thread")))
}

#[tokio::test]
async fn the_record_is_verified_exported_and_copied_through_a_pipe() -> Result<()> {
    let daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let record = RecordProxy::on(&client.connection).await?;
    client.manager.create_transaction("install", "a \"comma\", here", packages(&["alpha"])).await?;
    let ((events, hash, ..), _) = piped(async |fd| record.verify(fd).await).await?;
    assert_eq!((events, hash.len()), (1, 64));
    let (count, text) = piped(async |fd| record.export("jsonl", 0, fd).await).await?;
    let event: serde_json::Value = serde_json::from_slice(&text)?;
    assert_eq!((count, event["hash"].as_str(), event["user"].as_str()), (1, Some(hash.as_str()), Some(own_name()?.as_str())));
    // Records of many hosts are put together by it.
    let host = client.manager.host_id().await?;
    assert_eq!(event["host"].as_str(), Some(host.as_str()));
    let (_, text) = piped(async |fd| record.export("csv", 0, fd).await).await?;
    let text = String::from_utf8(text)?;
    assert!(text.starts_with("host,seq,at_us,transaction,kind,") && text.lines().count() == 2, "{text}");
    assert_eq!(piped(async |fd| record.export("csv", 1, fd).await).await?.0, 0);
    let (size, copy) = piped(async |fd| record.back_up(BackUpOptions::default(), fd).await).await?;
    assert_eq!(size, u64::try_from(copy.len())?);
    let path = daemon.bus.folder().join("copy.db");
    std::fs::write(&path, copy)?;
    assert_eq!(backstep_store::Reader::open(&path)?.verify(|_, _| true)?.hash.to_string(), hash);
    let state = std::fs::read_dir(daemon.bus.folder().join("state"))?;
    assert!(state.flatten().all(|entry| !entry.file_name().to_string_lossy().contains("backup")), "the copy beside the record is gone");
    // The record as it was before anything, and after the first event.
    for (options, events) in [(BackUpOptions { time: Some(1), event: None }, 0), (BackUpOptions { time: None, event: Some(1) }, 1)] {
        let (_, copy) = piped(async |fd| record.back_up(options, fd).await).await?;
        let path = daemon.bus.folder().join(format!("after-{events}.db"));
        std::fs::write(&path, copy)?;
        assert_eq!(backstep_store::Reader::open(&path)?.verify(|_, _| true)?.events, events);
    }
    let both = BackUpOptions { time: Some(1), event: Some(1) };
    let refused = piped(async |fd| record.back_up(both, fd).await).await.expect_err("refused");
    assert_eq!(refused.code(), Some(ErrorCode::RequestMalformed));
    let file = || zbus::Fd::from(std::os::fd::OwnedFd::from(std::fs::File::create(daemon.bus.folder().join("x")).expect("file")));
    assert_eq!(code(record.back_up(BackUpOptions::default(), file()).await), Some(ErrorCode::RequestMalformed));
    assert_eq!(code(record.verify(file()).await), Some(ErrorCode::RequestMalformed));
    let (count, text) = piped(async |fd| record.export("otlp", 0, fd).await).await?;
    let requests: Vec<serde_json::Value> =
        String::from_utf8(text)?.lines().map(serde_json::from_str).collect::<Result<_, _>>().context("a request a line")?;
    assert_eq!(requests.len() as u64, count);
    let resource = serde_json::json!({"key": "host.id", "value": {"stringValue": host}});
    assert!(requests[0]["resourceLogs"][0]["resource"]["attributes"].as_array().is_some_and(|all| all.contains(&resource)));
    let first = &requests[0]["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
    assert!(first["timeUnixNano"].as_str().is_some_and(|nanos| nanos.len() == 19 && nanos.ends_with("000")), "{first}");
    assert_eq!(first["body"]["stringValue"], "created");
    assert!(
        first["attributes"]
            .as_array()
            .is_some_and(|all| all.contains(&serde_json::json!({"key": "backstep.seq", "value": {"intValue": "1"}})))
    );
    let unknown = piped(async |fd| record.export("xml", 0, fd).await).await.expect_err("refused");
    assert_eq!(unknown.code(), Some(ErrorCode::RequestMalformed));
    Ok(())
}

#[tokio::test]
async fn a_redacted_text_is_in_no_file_and_the_record_verifies() -> Result<()> {
    let mut daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let record = RecordProxy::on(&client.connection).await?;
    let mut asked = packages(&["alpha"]);
    asked.insert("tags", Variant::from(vec!["team:otto".to_owned()]));
    let (id, path) = client.manager.submit("install", "for Ana Otto's laptop", asked).await?;
    let transaction = client.transaction(&path).await?;
    client.wait_for(&transaction, |now| now.is_final()).await?;
    let log = daemon.state_dir().join(format!("attempts/{id}-1/output.log"));
    let mut text = std::fs::read(&log).unwrap_or_default();
    text.extend(b"Ana Otto was here\n");
    std::fs::write(&log, &text)?;
    client.manager.add_backoff("beta", "*", i64::MAX >> 1, "x", Default::default()).await.expect_err("too long");
    client.manager.add_ignore("beta", "Ana Otto said so", Default::default()).await?;
    let redact = async |text: &str, comment: &str, only_try: bool| {
        let options = RedactOptions { only_try: only_try.then_some(true), ..RedactOptions::default() };
        client.manager.redact(text, comment, options).await
    };
    for (text, comment) in [("Ana", "why"), ("Ana Otto", ""), ("Ana Otto", "Ana Otto asked"), ("install", "why"), ("team:otto", "why")] {
        assert_eq!(code(redact(text, comment, false).await), Some(ErrorCode::RequestMalformed), "{text} {comment}");
    }
    // The daemon's own copy of the record goes; another is made when there is nothing to do.
    std::fs::write(daemon.state_dir().join("store.db.copy"), "with Ana Otto in it")?;
    let tried = redact("Ana Otto", "she asked", true).await?;
    let (number, places, transactions) = redact("Ana Otto", "she asked", false).await?;
    assert_eq!((tried.1, tried.2), (places.clone(), transactions.clone()));
    assert_eq!(transactions, std::slice::from_ref(&id));
    for place in ["requests.bytes", "transactions.description", "ignores.comment", "output.log"] {
        assert!(places.iter().any(|(found, _)| found == place), "{place}: {places:?}");
    }
    let ((events, _, redacted, unvouched), _) = piped(async |fd| record.verify(fd).await).await?;
    assert_eq!((redacted, unvouched), (1, 0));
    let generation = record.get_generation(number).await?;
    assert_eq!((generation.comment.as_deref(), generation.user.as_deref()), (Some("she asked"), Some(own_name()?.as_str())));
    let document: serde_json::Value = serde_json::from_str(&transaction.get_document().await?)?;
    assert_eq!(document["description"], format!("for [redacted {number}]'s laptop"));
    assert_eq!(document["tags"], serde_json::json!(["team:otto"]), "a tag is part of what was asked for");
    assert_eq!(document["events"].as_array().and_then(|all| all.last()).map(|last| &last["event"]), Some(&"redacted".into()));
    assert_eq!(std::fs::read(&log)?.len(), text.len());
    // Of what has not ended nothing is taken.
    client.manager.create_transaction("install", "for Ben Weiss", packages(&["beta"])).await?;
    assert_eq!(code(redact("Ben Weiss", "he asked", false).await), Some(ErrorCode::TransactionState));
    // It is rolled back, and asked for again, as before.
    let options = OptionsBuilder::new().reverts(RevertsTarget::Last).build();
    let (_, path) = client.manager.submit("rollback", "", options).await?;
    client.wait_for(&client.transaction(&path).await?, |now| now.transaction_state() == Some(TransactionState::Completed)).await?;
    client.manager.retry(&id, Default::default()).await.expect_err("a completed one is not retried");
    daemon.crash_and_restart().await?;
    let client = Client::new(&daemon.bus).await?;
    let again = RecordProxy::on(&client.connection).await?;
    assert!(piped(async |fd| again.verify(fd).await).await?.0.0 > events);
    daemon.stop()?;
    let mut bytes = Vec::new();
    everything_in(&daemon.state_dir(), &mut bytes)?;
    let holds = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(!holds("Ana Otto") && holds("Ben Weiss") && holds(&format!("[redacted {number}]")));
    Ok(())
}

#[tokio::test]
async fn what_is_archived_is_read_as_before_and_not_undone() -> Result<()> {
    if !is_root("archives") {
        return Ok(());
    }
    let mut daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let mut ids = Vec::new();
    for package in ["alpha", "beta", "gamma"] {
        let (id, path) = client.manager.submit("install", "for the archive", packages(&[package])).await?;
        client.wait_for(&client.transaction(&path).await?, |now| now.is_final()).await?;
        ids.push(id);
    }
    let seen = async |client: &Client| -> Result<_> {
        let record = RecordProxy::on(&client.connection).await?;
        let list = client.manager.list_transactions(ListFilter::default()).await?;
        let documents = futures_util::future::try_join_all(ids.iter().map(async |id| {
            client.transaction(&client.manager.get_transaction(id).await?).await?.get_document().await.map_err(anyhow::Error::from)
        }));
        let (documents, why) = (documents.await?, record.explain_package("alpha").await?);
        let verified = piped(async |fd| record.verify(fd).await).await?.0;
        let exported = piped(async |fd| record.export("jsonl", 0, fd).await).await?;
        Ok((list, documents, why, verified, exported))
    };
    let before = seen(&client).await?;
    let keep = |keep| ArchiveOptions { keep: Some(keep), ..ArchiveOptions::default() };
    assert_eq!(client.manager.archive(i64::MAX, "old", ArchiveOptions::default()).await?, (0, 0, Vec::new()), "the newest stay");
    let (transactions, events, files) = client.manager.archive(i64::MAX, "old", keep(1)).await?;
    assert_eq!((transactions, files.len()), (2, 1));
    let file = daemon.state_dir().join("record-archive").join(&files[0]);
    assert_eq!(std::fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    assert!(events > 10 && seen(&client).await? == before);
    let undone = client.manager.submit("rollback", "", OptionsBuilder::new().reverts(RevertsTarget::Id(ids[0].parse()?)).build()).await;
    assert_eq!(code(undone), Some(ErrorCode::TransactionState));
    daemon.crash_and_restart().await?;
    let client = Client::new(&daemon.bus).await?;
    assert!(seen(&client).await? == before);
    // A file that is not what it was is seen.
    let record = RecordProxy::on(&client.connection).await?;
    let mut bytes = std::fs::read(&file)?;
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes)?;
    let broken = piped(async |fd| record.verify(fd).await).await.expect_err("changed");
    assert_eq!(broken.code(), Some(ErrorCode::AuditBroken));
    Ok(())
}

/// A backup as the client brings it.
fn brought(path: &std::path::Path) -> Vec<zbus::Fd<'static>> {
    vec![zbus::Fd::from(std::os::fd::OwnedFd::from(std::fs::File::open(path).expect("the backup")))]
}

#[tokio::test]
async fn a_backup_is_restored_to_a_moment_and_gone_on_with() -> Result<()> {
    if !is_root("a restored backup") {
        return Ok(());
    }
    let mut daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let record = RecordProxy::on(&client.connection).await?;
    for name in ["alpha", "beta"] {
        client.manager.create_transaction("install", name, packages(&[name])).await?;
    }
    let now = BackUpOptions::default;
    let (_, copy) = piped(async |fd| record.back_up(now(), fd).await).await?;
    let backup = daemon.bus.folder().join("backup.db");
    std::fs::write(&backup, &copy)?;
    client.manager.create_transaction("install", "later", packages(&["gamma"])).await?;
    // The one in use, and the backup, which does not know what came later.
    let ((_, events, _), _) = piped(async |fd| record.restore(now(), Vec::new(), fd).await).await?;
    assert_eq!(events, 3);
    let ((size, events, hash), all) = piped(async |fd| record.restore(now(), brought(&backup), fd).await).await?;
    assert_eq!((events, size), (2, u64::try_from(all.len())?));
    let then = BackUpOptions { time: None, event: Some(1) };
    let ((_, events, first), restored) = piped(async |fd| record.restore(then, brought(&backup), fd).await).await?;
    assert!(events == 1 && first != hash);
    assert_eq!(std::fs::read(&backup)?, copy, "the backup is only read");
    let beside = std::fs::read_dir(daemon.state_dir())?.flatten().any(|entry| entry.file_name().to_string_lossy().contains("restore"));
    assert!(!beside, "what was made beside the record is gone");
    // As the documentation says: into the place of the live one while nobody uses it.
    daemon.stop()?;
    for file in ["store.db", "store.db-wal", "store.db-shm"] {
        drop(std::fs::remove_file(daemon.state_dir().join(file)));
    }
    std::fs::write(daemon.state_dir().join("store.db"), restored)?;
    daemon.crash_and_restart().await?;
    let client = Client::new(&daemon.bus).await?;
    let rows = client.manager.list_transactions(ListFilter::default()).await?;
    assert_eq!(rows.iter().map(|row| row.description.as_deref()).collect::<Vec<_>>(), [Some("alpha")]);
    let (_, path) = client.manager.submit("install", "", packages(&["beta"])).await?;
    client.wait_for(&client.transaction(&path).await?, |now| now.is_final()).await?;
    Ok(())
}

#[tokio::test]
async fn what_is_no_whole_backup_is_not_restored() -> Result<()> {
    if !is_root("a damaged backup") {
        return Ok(());
    }
    let daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let record = RecordProxy::on(&client.connection).await?;
    for name in ["alpha", "beta"] {
        client.manager.create_transaction("install", "", packages(&[name])).await?;
    }
    let (_, copy) = piped(async |fd| record.back_up(BackUpOptions::default(), fd).await).await?;
    let mut changed = copy.clone();
    let place = copy.windows(4).position(|bytes| bytes == b"beta").context("the second request")?;
    changed[place] = b'B';
    let mut torn = copy.clone();
    torn[4096 * 3..4096 * 3 + 64].fill(0xA5);
    let folder = daemon.bus.folder().to_owned();
    let cases =
        [(changed, ErrorCode::AuditBroken), (torn, ErrorCode::StoreFailed), (b"no database at all".repeat(400), ErrorCode::StoreFailed)];
    for (number, (bytes, expected)) in cases.into_iter().enumerate() {
        let path = folder.join(format!("case-{number}.db"));
        std::fs::write(&path, bytes)?;
        let refused = piped(async |fd| record.restore(BackUpOptions::default(), brought(&path), fd).await).await;
        assert_eq!(refused.expect_err("refused").code(), Some(expected), "case {number}");
    }
    let two = || [brought(&folder.join("case-0.db")), brought(&folder.join("case-0.db"))].into_iter().flatten().collect();
    let refused = piped(async |fd| record.restore(BackUpOptions::default(), two(), fd).await).await.expect_err("two");
    assert_eq!(refused.code(), Some(ErrorCode::RequestMalformed));
    assert_eq!(piped(async |fd| record.verify(fd).await).await?.0.0, 2, "the record stays as it is");
    Ok(())
}

#[tokio::test]
async fn a_changed_record_is_told_with_its_first_broken_place() -> Result<()> {
    let mut daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let record = RecordProxy::on(&client.connection).await?;
    for name in ["alpha", "beta"] {
        client.manager.create_transaction("install", "", packages(&[name])).await?;
    }
    let (_, mut copy) = piped(async |fd| record.back_up(BackUpOptions::default(), fd).await).await?;
    let place = copy.windows(4).position(|bytes| bytes == b"beta").expect("the second request");
    copy[place] = b'B';
    for file in ["store.db-wal", "store.db-shm"] {
        std::fs::remove_file(daemon.state_dir().join(file))?;
    }
    std::fs::write(daemon.state_dir().join("store.new"), copy)?;
    std::fs::rename(daemon.state_dir().join("store.new"), daemon.state_dir().join("store.db"))?;
    daemon.crash_and_restart().await?;
    let broken = piped(async |fd| record.verify(fd).await).await.expect_err("broken");
    assert_eq!(broken.code(), Some(ErrorCode::AuditBroken));
    assert_eq!(broken.to_string(), "the record was changed at event 2: its request was changed");
    Ok(())
}

#[tokio::test]
async fn the_numbers_are_in_a_file_when_it_is_configured() -> Result<()> {
    let mut daemon = Simulated::start().await?;
    let file = daemon.bus.folder().join("backstep.prom");
    assert!(!file.exists());
    std::fs::write(daemon.bus.folder().join("backstep.toml"), format!("[metrics]\ntextfile = {file:?}\n"))?;
    daemon.crash_and_restart().await?;
    let client = Client::new(&daemon.bus).await?;
    let (_, path) = client.manager.submit("install", "", packages(&["alpha"])).await?;
    client.wait_for(&client.transaction(&path).await?, |now| now.is_final()).await?;
    let line = "backstep_transactions_total{kind=\"install\",state=\"completed\"} 1";
    let told = || Ok(std::fs::read_to_string(&file).ok().filter(|text| text.lines().any(|found| found == line)));
    let text = backstep_tests::wait::wait_until("the number is there", std::time::Duration::from_secs(30), told)?;
    assert!(text.ends_with("# EOF\n"), "{text}");
    Ok(())
}

#[tokio::test]
async fn another_configuration_is_a_change_set_and_the_same_is_none() -> Result<()> {
    let mut daemon = Simulated::start().await?;
    let file = daemon.bus.folder().join("backstep.toml");
    let mut comments = Vec::new();
    for text in ["", "[undo]\ndays = 9\n", "[undo]\ndays = 9 # the same\n", "[undo]\ndays = 5\n[limits]\nopen = 7\n"] {
        std::fs::write(&file, text)?;
        daemon.stop_and_restart().await?;
        let client = Client::new(&daemon.bus).await?;
        let record = RecordProxy::on(&client.connection).await?;
        let rows = record.list_generations(GenerationListFilter::default()).await?;
        comments = rows.into_iter().map(|row| (row.comment.unwrap_or_default(), row.origin.unwrap_or_default())).collect();
    }
    let daemon = "daemon".to_owned();
    let expected = ["configuration: limits.open = 7, undo.days = 5 (was 9)", "configuration: undo.days = 9"];
    assert_eq!(comments, expected.map(|comment| (comment.to_owned(), daemon.clone())));
    Ok(())
}
