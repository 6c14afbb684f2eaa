//! What we are built from: licences, sources and bans of deny.toml against what cargo resolved for this machine.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use backstep_tests::command;
use serde_json::Value;

fn metadata() -> Result<Value> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut cargo = command::host(env!("CARGO"), ["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform"]);
    cargo.arg(platform).arg("--manifest-path").arg(manifest);
    Ok(serde_json::from_str(&command::output(&mut cargo)?.success()?.stdout)?)
}

/// The packages that are really used, not only named in the lock file.
fn used(metadata: &Value) -> Result<Vec<&Value>> {
    let nodes = metadata["resolve"]["nodes"].as_array().context("nodes")?;
    let ids: BTreeSet<_> = nodes.iter().filter_map(|node| node["id"].as_str()).collect();
    let packages = metadata["packages"].as_array().context("packages")?;
    Ok(packages.iter().filter(|package| package["id"].as_str().is_some_and(|id| ids.contains(id))).collect())
}

/// The quoted words of a list in deny.toml.
fn list(text: &str, key: &str) -> Result<Vec<String>> {
    let start = text.find(&format!("\n{key} = [")).with_context(|| format!("no {key}"))?;
    let list = text[start..].split_once(']').context("an end")?.0;
    Ok(list.split('"').skip(1).step_by(2).map(str::to_owned).collect())
}

/// Whether a licence expression can be met: each part of an AND has a choice of an OR that is allowed.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let plain = expression.replace(['(', ')'], "").replace('/', " OR ");
    plain.split(" AND ").all(|part| part.split(" OR ").any(|licence| allowed.iter().any(|allowed| allowed == licence.trim())))
}

#[test]
fn licences_sources_and_bans_are_those_of_deny_toml() -> Result<()> {
    let policy = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deny.toml"))?;
    let (allowed, banned, registries) = (list(&policy, "allow")?, list(&policy, "deny")?, list(&policy, "allow-registry")?);
    let metadata = metadata()?;
    let packages = used(&metadata)?;
    assert!(packages.len() > 100 && allowed.len() > 3 && banned.len() > 3, "the comparison looked at nothing");
    for package in packages {
        let name = package["name"].as_str().context("a name")?;
        let licence = package["license"].as_str().with_context(|| format!("{name} has no licence"))?;
        assert!(is_allowed(licence, &allowed), "{name}: {licence}");
        assert!(!banned.iter().any(|banned| banned == name), "{name} is banned");
        let is_known = |source: &str| registries.iter().any(|registry| source == format!("registry+{registry}"));
        assert!(package["source"].as_str().is_none_or(is_known), "{name}: {}", package["source"]);
    }
    Ok(())
}

/// The names in backquotes or not in the first cells of CONTRIBUTING.md's table of dependencies.
fn reasons() -> Result<BTreeSet<String>> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../CONTRIBUTING.md"))?;
    let table = page.split_once("## Direct dependencies").context("the table")?.1;
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")).skip(1);
    let cells = rows.filter_map(|row| row.split_once(" | ")).filter(|(_, reason)| reason.trim_end_matches([' ', '|']).len() > 10);
    Ok(cells.flat_map(|(names, _)| names.split(", ").map(|name| name.trim().to_owned())).collect())
}

#[test]
fn every_direct_dependency_has_its_reason() -> Result<()> {
    let metadata = metadata()?;
    let packages = metadata["packages"].as_array().context("packages")?;
    let ours = packages.iter().filter(|package| package["source"].is_null());
    let direct = ours.flat_map(|package| package["dependencies"].as_array().into_iter().flatten());
    let mut direct: BTreeSet<String> = direct
        .filter(|dependency| dependency["path"].is_null())
        .filter_map(|dependency| dependency["name"].as_str().map(str::to_owned))
        .collect();
    // The fuzzer's targets are a workspace of their own.
    direct.insert("libfuzzer-sys".to_owned());
    assert!(direct.len() > 20, "{direct:?}");
    assert_eq!(direct, reasons()?, "Cargo.toml and the table of direct dependencies in CONTRIBUTING.md");
    Ok(())
}

#[test]
fn a_choice_is_enough_and_a_part_is_not() {
    let allowed = ["MIT".to_owned(), "Unicode-3.0".to_owned()];
    assert!(is_allowed("MIT OR Apache-2.0", &allowed) && is_allowed("(MIT OR Apache-2.0) AND Unicode-3.0", &allowed));
    assert!(!is_allowed("MIT AND SSPL-1.0", &allowed) && !is_allowed("Apache-2.0", &allowed));
}
