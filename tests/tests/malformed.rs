//! Ten thousand calls that no honest client makes, against the running daemon: it answers each in time, and nothing changes.

// Tests set their scene with plain calls.
#![allow(clippy::disallowed_methods)]

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use backstep_bus::ListFilter;
use backstep_bus::names::{MANAGER_INTERFACE, MANAGER_PATH, TRANSACTION_INTERFACE};
use backstep_core::doors::Method;
use backstep_core::hostile::{Chance, arguments};
use backstep_tests::private_bus::{Client, Simulated, packages};
use futures_util::StreamExt;
use zbus::wire::StructureBuilder;
use zbus::{Connection, Message, MessageStream, Variant};

const CALLS: u64 = 10_000;
const AT_ONCE: u64 = 20;
const PATIENCE: Duration = Duration::from_secs(20);

const PATHS: &[&str] = &[
    MANAGER_PATH,
    MANAGER_PATH,
    "/",
    "/org",
    "/org/backstep1/transaction",
    "/org/backstep1/transaction/x",
    "/org/backstep1/transaction/01936b2e_7c1a_7d3e_9f10_0123456789ab",
];
const INTERFACES: &[&str] = &[
    MANAGER_INTERFACE,
    MANAGER_INTERFACE,
    TRANSACTION_INTERFACE,
    TRANSACTION_INTERFACE,
    "org.freedesktop.DBus.Properties",
    "org.freedesktop.DBus.ObjectManager",
    "org.freedesktop.DBus.Introspectable",
    "org.freedesktop.DBus.Peer",
    "org.freedesktop.systemd1.Manager",
    "org.backstep1",
];
const OTHERS: &[&str] = &["Get", "GetAll", "Set", "Introspect", "GetManagedObjects", "Ping", "StartUnit", "createTransaction", "X"];

fn value(chance: &mut Chance, texts: &[String], depth: usize) -> Variant<'static> {
    match chance.below(if depth == 0 { 12 } else { 18 }) {
        0 => Variant::from(chance.below(2) == 1),
        1 => Variant::from(u8::MAX),
        2 => Variant::from(i16::MIN),
        3 => Variant::from(u32::MAX),
        4 => Variant::from(i32::MIN),
        5 => Variant::from(u64::MAX),
        6 => Variant::from(i64::MIN),
        7 => Variant::from([f64::NAN, f64::INFINITY, -0.0, 1e308][chance.below(4)]),
        // A text with a NUL cannot be sent at all.
        8..=10 => Variant::from(chance.of(texts).replace('\0', "")),
        11 => Variant::from(vec![0_u8; chance.below(20_000)]),
        12 => Variant::from(vec![value(chance, texts, depth - 1)]),
        13 => Variant::from(HashMap::from([(chance.of(texts).replace('\0', ""), value(chance, texts, depth - 1))])),
        14 => Variant::from(vec!["x"; chance.below(5_000)]),
        15 => (0..depth * 8).fold(Variant::from(1_u8), |inner, _| Variant::Variant(Box::new(inner))),
        16 => Variant::from(vec![(chance.of(texts).replace('\0', ""), 1_u32)]),
        _ => Variant::from((value(chance, texts, depth - 1), value(chance, texts, depth - 1))),
    }
}

/// A call's options: keys of the contract with values of other types, among others.
fn options(chance: &mut Chance, texts: &[String]) -> HashMap<String, Variant<'static>> {
    let keys =
        ["id", "packages", "archives", "reverts", "priority", "lock-timeout", "client", "limit", "uid", "before", "tags", "tag", "x"];
    (0..chance.below(4)).map(|_| ((*chance.of(&keys)).to_owned(), value(chance, texts, 3))).collect()
}

fn call(chance: &mut Chance, texts: &[String], transaction: &str) -> Result<Message> {
    let interface = *chance.of(INTERFACES);
    let member = if chance.below(5) > 0 { chance.of(Method::ALL).as_str() } else { *chance.of(OTHERS) };
    let path = if interface == TRANSACTION_INTERFACE && chance.below(4) > 0 { transaction } else { *chance.of(PATHS) };
    let mut message = Message::method_call(path, member).destination(backstep_bus::names::BUS_NAME);
    if chance.below(10) > 0 {
        message = message.interface(interface);
    }
    Ok(match chance.below(6) {
        0 => message.build(&())?,
        // The right shape with wrong values inside.
        1 | 2 => message.build(&(chance.of(texts).replace('\0', ""), chance.of(texts).replace('\0', ""), options(chance, texts)))?,
        3 => message.build(&(options(chance, texts),))?,
        4 => message.build(&(chance.of(texts).replace('\0', ""),))?,
        _ => {
            let fields = 1 + chance.below(4);
            let body = (0..fields).fold(StructureBuilder::new(), |body, _| body.append_field(value(chance, texts, 4)));
            message.build(&body.build()?)?
        }
    })
}

/// Whether a call could do what an honest one does: those are not for this test.
fn is_honest(message: &Message) -> bool {
    let header = message.header();
    let harmful = ["Cancel", "Prepare"].iter().any(|name| header.member().is_some_and(|member| member == name));
    harmful && header.signature().to_string().is_empty()
}

/// Sends all at once and waits for every answer; answers how long the last one took.
async fn ask(connection: &Connection, messages: &[Message]) -> Result<Duration> {
    let begun = Instant::now();
    let mut answers = MessageStream::from(connection);
    let mut open: BTreeSet<_> = messages.iter().map(|message| message.primary_header().serial_num()).collect();
    for message in messages {
        connection.send(message).await?;
    }
    while !open.is_empty() {
        let answer = tokio::time::timeout(PATIENCE, answers.next()).await;
        let answer = answer.with_context(|| format!("no answer to {open:?}"))?.context("the bus went away")??;
        if let Some(serial) = answer.header().reply_serial() {
            open.remove(&serial);
        }
    }
    Ok(begun.elapsed())
}

async fn everything(client: &Client) -> Result<String> {
    let rows = client.manager.list_transactions(ListFilter { limit: Some(500), ..ListFilter::default() }).await?;
    let mut text = format!("{:?}{:?}{rows:?}", client.manager.active().await?, client.manager.queue().await?);
    for row in rows {
        text.push_str(&client.transaction(&row.path).await?.get_document().await?);
    }
    Ok(text)
}

#[tokio::test]
async fn no_malformed_call_crashes_stops_or_changes_anything() -> Result<()> {
    let daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let (_, path) = client.manager.create_transaction("install", "", packages(&["alpha"])).await?;
    client.transaction(&path).await?.prepare().await?;
    client.wait_for(&client.transaction(&path).await?, |now| now.state == "prepared").await?;
    let before = everything(&client).await?;
    // Long ones have their own place, the limits of a message.
    let texts: Vec<String> = arguments().into_iter().filter(|text| text.len() < 5_000).collect();
    let (mut sent, mut seed, mut slowest) = (0, 0, Duration::ZERO);
    while sent < CALLS {
        let mut batch = Vec::new();
        while (batch.len() as u64) < AT_ONCE {
            seed += 1;
            let message = call(&mut Chance::new(seed), &texts, path.as_str())?;
            if !is_honest(&message) {
                batch.push(message);
            }
        }
        sent += AT_ONCE;
        let took = ask(&client.connection, &batch).await.with_context(|| format!("up to seed {seed}"))?;
        slowest = slowest.max(took);
    }
    println!("{sent} calls, the slowest batch {slowest:?}");
    // Twenty at once, by a debug build, on a machine that does other things: a hang takes longer.
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    assert_eq!(everything(&client).await?, before);
    let begun = Instant::now();
    client.manager.version().await?;
    assert!(begun.elapsed() < Duration::from_secs(1));
    Ok(())
}
