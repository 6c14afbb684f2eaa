//! docs/security.md and its table of doors against everything that is there: a member without a row fails.

// Tests set their scene with plain calls.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use backstep_bus::OptionsBuilder;
use backstep_core::access::Permission;
use backstep_core::doors::{Place, Who, doors};
use backstep_tests::command;
use backstep_tests::private_bus::{Client, Simulated};
use backstep_tests::programs::program;
use backstep_tests::security;
use roxmltree::{Document, Node, ParsingOptions};

fn source(path: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn names(place: Place) -> BTreeSet<String> {
    doors().into_iter().filter(|door| door.place == place).map(|door| door.name.to_owned()).collect()
}

fn contract(interface: &str, sort: &str) -> Result<BTreeSet<String>> {
    let xml = source(&format!("dbus/org.backstep1.{interface}.xml"))?;
    let document = Document::parse_with_options(&xml, ParsingOptions { allow_dtd: true, ..ParsingOptions::default() })?;
    let members = document.descendants().filter(|node: &Node<'_, '_>| node.has_tag_name(sort));
    Ok(members.filter_map(|node| node.attribute("name")).map(str::to_owned).collect())
}

#[test]
fn every_member_of_the_contract_has_a_row() -> Result<()> {
    let rows = [
        ("Manager", "method", Place::ManagerMethod),
        ("Manager", "property", Place::ManagerProperty),
        ("Record", "method", Place::RecordMethod),
        ("Transaction", "method", Place::TransactionMethod),
        ("Transaction", "property", Place::TransactionProperty),
        ("Transaction", "signal", Place::TransactionSignal),
    ];
    for (interface, sort, place) in rows {
        let found = contract(interface, sort)?;
        assert!(!found.is_empty());
        assert_eq!(found, names(place), "{sort} of {interface}");
    }
    for (interface, sort) in [("Manager", "signal"), ("Record", "property"), ("Record", "signal")] {
        assert!(contract(interface, sort)?.is_empty(), "there is no place for a {sort} of {interface} yet");
    }
    Ok(())
}

#[test]
fn every_interface_that_the_bus_lets_through_has_a_row() -> Result<()> {
    let policy = source("dbus/org.backstep1.conf")?;
    let standard = names(Place::Standard);
    for rule in policy.lines().map(str::trim).filter(|line| line.starts_with("<allow send_destination") && line.contains("send_interface"))
    {
        let interface = rule.split("send_interface=\"").nth(1).and_then(|rest| rest.split('"').next()).context("an interface")?;
        let member = rule.split("send_member=\"").nth(1).and_then(|rest| rest.split('"').next());
        let name = member.map_or_else(|| interface.to_owned(), |member| format!("{interface}.{member}"));
        assert!(interface.starts_with("org.backstep1.") || standard.contains(&name), "{name}");
    }
    Ok(())
}

#[test]
fn every_verb_of_the_command_line_has_a_row() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let program = program("backstep")?;
    let mut generate = command::host(program.to_str().context("a path in UTF-8")?, ["generate", "man"]);
    command::output(generate.arg(folder.path()))?.success()?;
    let mut verbs = BTreeSet::from(["generate".to_owned()]);
    for page in fs::read_dir(folder.path())? {
        let name = page?.file_name().to_string_lossy().into_owned();
        let verb = name.strip_prefix("backstep-").and_then(|name| name.strip_suffix(".1"));
        // Pages of verbs below a verb have its name in front.
        let below = |verb: &&str| {
            ["plan-", "transaction-", "generation-", "audit-", "ignore-", "backoff-"].iter().any(|over| verb.starts_with(over))
        };
        verbs.extend(verb.filter(|verb| !below(verb)).map(str::to_owned));
    }
    assert_eq!(verbs, names(Place::Verb));
    Ok(())
}

/// Permissions that a plan may need; the others belong to one door each.
const OF_PLANS: [Permission; 9] = [
    Permission::Install,
    Permission::InstallLocal,
    Permission::Remove,
    Permission::RemoveEssential,
    Permission::Upgrade,
    Permission::Downgrade,
    Permission::Hold,
    Permission::OverrideHold,
    Permission::Rollback,
];

#[test]
fn every_permission_guards_a_door() {
    let named = doors().into_iter().filter_map(|door| match door.who {
        Who::OwnerOr(permission) | Who::Holder(permission) | Who::SelfOr(permission) => Some(permission),
        Who::Everybody | Who::Owner | Who::Plan | Who::Root | Who::Machine => None,
    });
    let used: BTreeSet<Permission> = named.chain(OF_PLANS).collect();
    // Kept for the repair of an interrupted dpkg, which root does with dpkg itself so far.
    let unused: Vec<_> = Permission::ALL.iter().filter(|permission| !used.contains(permission)).collect();
    assert_eq!(unused, [&Permission::Repair]);
}

/// Whether a path is one that a row with `*` means; a `*` stands for anything but a slash.
fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    let part = |(pattern, part): (&&str, &&str)| match pattern.split_once('*') {
        Some((before, after)) => part.len() >= before.len() + after.len() && part.starts_with(before) && part.ends_with(after),
        None => pattern == part,
    };
    pattern.len() == path.len() && pattern.iter().zip(&path).all(part)
}

fn walk(folder: &Path, found: &mut Vec<std::path::PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        found.push(path.clone());
        if path.is_dir() {
            walk(&path, found)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_file_of_a_running_daemon_has_a_row_and_its_mode() -> Result<()> {
    let daemon = Simulated::start().await?;
    let client = Client::new(&daemon.bus).await?;
    let options = OptionsBuilder::new().packages(vec![(String::new(), "alpha".to_owned(), String::new())]).build();
    let (_, path) = client.manager.submit("install", "", options).await?;
    client.wait_for(&client.transaction(&path).await?, |now| now.is_final()).await?;
    let rows: Vec<_> = doors().into_iter().filter(|door| door.place == Place::File).collect();
    // Archives have names of their own; the folder keeps others out.
    let own = ["/var/lib/backstep/archives/"];
    for (real, named) in [("state", "/var/lib/backstep"), ("run", "/run/backstep")] {
        let mut found = Vec::new();
        walk(&daemon.bus.folder().join(real), &mut found)?;
        assert!(!found.is_empty());
        for path in found {
            let relative = path.strip_prefix(daemon.bus.folder().join(real))?.to_string_lossy().into_owned();
            let name = format!("{named}/{relative}");
            let mode = fs::symlink_metadata(&path)?.permissions().mode() & 0o777;
            if own.iter().any(|folder| name.starts_with(folder)) {
                assert!(!path.is_dir() || mode & 0o077 == 0, "{name}: {mode:o}");
                continue;
            }
            let row = rows.iter().find(|door| matches(door.name, &name)).with_context(|| format!("{name} has no row"))?;
            assert!(row.who != Who::Root || mode & 0o077 == 0, "{name}: {mode:o}");
        }
    }
    Ok(())
}

/// The names of an attempt's files, as `backstep-wire` has them, and those that a capture's parts give themselves.
fn names_in_sources() -> Result<Vec<String>> {
    let quoted = |text: &str, before: &str| -> Vec<String> {
        let names = text.split(before).skip(1).filter_map(|rest| rest.split('"').next());
        names.map(str::to_owned).collect()
    };
    let attempt = quoted(&source("src/wire/src/attempt.rs")?, ": &str = \"");
    let mut capture = ["before.json", "others.json", "displaced"].map(str::to_owned).to_vec();
    capture.extend(quoted(&source("src/capture/src/manifest/mod.rs")?, " => \""));
    for part in ["late/log.rs", "walk/file.rs", "changes/file.rs"] {
        capture.extend(quoted(&source(&format!("src/capture/src/{part}"))?, "FILE_NAME: &str = \""));
    }
    capture.extend(quoted(&source("src/capture/src/store.rs")?, "OBJECTS: &str = \""));
    let paths = attempt.iter().map(|name| format!("attempts/<id>-<n>/{name}"));
    Ok(paths.chain(capture.iter().map(|name| format!("capture/<id>-<n>/{name}"))).collect())
}

#[test]
fn every_file_of_a_worker_has_a_row_and_is_in_the_document_on_undo() -> Result<()> {
    let names = names_in_sources()?;
    assert!(names.len() >= 13 + 8, "{names:?}");
    let rows = self::names(Place::File);
    let page = source("docs/undo.md")?;
    let told: BTreeSet<String> = page.lines().filter(|line| line.starts_with("| `")).flat_map(paths_of_line).collect();
    for name in names {
        let row = format!("/var/lib/backstep/{}", name.replace("<id>-<n>", "*"));
        assert!(rows.contains(&row), "{row} has no row in the table of doors");
        assert!(told.contains(&name), "{name} is not in docs/undo.md");
    }
    Ok(())
}

/// The paths in the first cell of a row: the first is whole, those after it are beside it.
fn paths_of_line(line: &str) -> Vec<String> {
    let cell = line.split('|').nth(1).unwrap_or_default();
    let mut names = cell.split('`').skip(1).step_by(2).map(|name| name.trim_end_matches('/'));
    let Some(first) = names.next() else { return Vec::new() };
    let folder = first.rsplit_once('/').map_or("", |(folder, _)| folder);
    std::iter::once(first.to_owned()).chain(names.map(|name| format!("{folder}/{name}"))).collect()
}

#[test]
fn the_page_is_what_the_table_says() -> Result<()> {
    let text = fs::read_to_string(security::page())?;
    assert!(security::renewed(&text)? == text, "docs/security.md is old: make docs");
    Ok(())
}
