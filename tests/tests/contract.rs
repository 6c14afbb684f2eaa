//! The hand-written contract in `dbus/` against the objects that are really served.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use backstep_bus::OptionsBuilder;
use backstep_tests::private_bus::{Client, Simulated};
use roxmltree::{Document, Node, ParsingOptions};
use zbus::fdo::IntrospectableProxy;

/// Every member of an interface, one line each: what it is, its name, its signatures and annotations.
fn members(xml: &str, interface: &str) -> Result<BTreeSet<String>> {
    let document = Document::parse_with_options(xml, ParsingOptions { allow_dtd: true, ..ParsingOptions::default() })?;
    let node = document
        .descendants()
        .find(|node| node.has_tag_name("interface") && node.attribute("name") == Some(interface))
        .with_context(|| format!("no interface {interface}"))?;
    Ok(node.children().filter(Node::is_element).map(member).collect())
}

fn member(node: Node<'_, '_>) -> String {
    let attribute = |node: Node<'_, '_>, name| node.attribute(name).unwrap_or_default().to_owned();
    let mut parts = vec![node.tag_name().name().to_owned(), attribute(node, "name"), attribute(node, "type"), attribute(node, "access")];
    for child in node.children().filter(Node::is_element) {
        let default = if node.has_tag_name("signal") { "out" } else { "in" };
        let direction = child.attribute("direction").unwrap_or(default);
        match child.tag_name().name() {
            "arg" => parts.push(format!("{} {} {direction}", attribute(child, "name"), attribute(child, "type"))),
            _ => parts.push(format!("{}={}", attribute(child, "name"), attribute(child, "value"))),
        }
    }
    parts.retain(|part| part != "org.freedesktop.DBus.Property.EmitsChangedSignal=true");
    parts.join("|")
}

fn contract(interface: &str) -> Result<BTreeSet<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../dbus/{interface}.xml"));
    members(&fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?, interface)
}

async fn served(client: &Client, path: &str, interface: &str) -> Result<BTreeSet<String>> {
    let proxy = IntrospectableProxy::builder(&client.connection).destination("org.backstep1").path(path).build().await?;
    members(&proxy.introspect().await?, interface)
}

#[tokio::test]
async fn the_objects_are_the_contract() -> Result<()> {
    let daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let options = OptionsBuilder::new().packages(vec![(String::new(), "alpha".to_owned(), String::new())]).build();
    let (_, transaction) = client.manager.create_transaction("install", "", options).await?;
    let objects = [
        ("/org/backstep1", "org.backstep1.Manager", 5),
        ("/org/backstep1", "org.backstep1.Record", 7),
        (transaction.as_str(), "org.backstep1.Transaction", 5),
    ];
    for (path, interface, least) in objects {
        let (wanted, found) = (contract(interface)?, served(&client, path, interface).await?);
        let missing: Vec<_> = wanted.difference(&found).collect();
        let extra: Vec<_> = found.difference(&wanted).collect();
        assert!(missing.is_empty() && extra.is_empty(), "{interface}\nonly in the contract: {missing:#?}\nonly served: {extra:#?}");
        assert!(wanted.len() > least, "the comparison looked at nothing");
    }
    Ok(())
}
