//! The hand-written contract in `dbus/` against the objects that are really served.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use backstep_bus::{ListFilter, OptionKey, OptionsBuilder};
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

/// A method's comment in the contract: what stands before it.
fn comment(xml: &str, method: &str) -> Result<String> {
    let (before, _) = xml.split_once(&format!("<method name=\"{method}\">")).with_context(|| format!("no method {method}"))?;
    Ok(before.rsplit_once("<!--").context("no comment")?.1.to_owned())
}

#[test]
fn the_contract_and_its_page_name_every_key_of_options_and_of_lists() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (xml, page) = (fs::read_to_string(root.join("dbus/org.backstep1.Manager.xml"))?, fs::read_to_string(root.join("docs/dbus.md"))?);
    let options = comment(&xml, "CreateTransaction")?;
    for key in OptionKey::ALL {
        assert!(
            options.lines().any(|line| line.split_whitespace().next() == Some(key.as_str())),
            "the contract's options lack {}",
            key.as_str()
        );
        assert!(page.contains(&format!("\n| `{}` | ", key.as_str())), "the page's options lack {}", key.as_str());
    }
    let (lists, told) = (comment(&xml, "ListTransactions")?, page.split_once("Filter of `ListTransactions`").context("no filter")?.1);
    let (filter, filter_told) = (lists.split_once("Rows:").context("no rows")?.0, told.split_once("Rows:").context("no rows")?.0);
    for key in ListFilter::KEYS {
        let words: Vec<&str> = filter.split(|c: char| !c.is_alphanumeric()).collect();
        assert!(words.windows(2).any(|pair| pair[0] == *key && pair[1].len() == 1), "the contract's filter lacks {key}");
        assert!(filter_told.contains(&format!("`{key}` ")), "the page's filter lacks {key}");
    }
    Ok(())
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
