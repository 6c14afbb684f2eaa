//! The files that the packages install agree with the programs; no machine is needed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use backstep_core::access::Permission;

fn source(path: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The values of `attribute="…"` or the texts of `<tag>…</tag>`, in order.
fn between<'a>(text: &'a str, start: &str, end: &str) -> Vec<&'a str> {
    text.split(start).skip(1).filter_map(|rest| rest.split(end).next()).collect()
}

#[test]
fn policy_file_has_exactly_the_actions_of_the_program() -> Result<()> {
    let policy = source("polkit/org.backstep1.policy")?;
    let mut in_file = between(&policy, "<action id=\"", "\"");
    let mut in_program: Vec<_> = Permission::ALL.iter().map(|permission| permission.as_str()).collect();
    in_file.sort_unstable();
    in_program.sort_unstable();
    assert_eq!(in_file, in_program);
    Ok(())
}

/// The actions whose answer polkit may keep for a while, for an active session: the verb matters more than the target.
const KEPT: [Permission; 11] = [
    Permission::Backoff,
    Permission::Ignore,
    Permission::Install,
    Permission::Remove,
    Permission::Upgrade,
    Permission::Hold,
    Permission::Rollback,
    Permission::Pin,
    Permission::CancelAny,
    Permission::ViewAll,
    Permission::ViewLogs,
];

#[test]
fn every_action_asks_for_an_administrator() -> Result<()> {
    let policy = source("polkit/org.backstep1.policy")?;
    for action in between(&policy, "<action ", "</action>") {
        let id = between(action, "id=\"", "\"");
        let is_kept = KEPT.iter().any(|permission| id == [permission.as_str()]);
        let active = if is_kept { "auth_admin_keep" } else { "auth_admin" };
        assert_eq!(between(action, "<allow_any>", "<"), ["auth_admin"], "{id:?}");
        assert_eq!(between(action, "<allow_inactive>", "<"), ["auth_admin"], "{id:?}");
        assert_eq!(between(action, "<allow_active>", "<"), [active], "{id:?}");
    }
    Ok(())
}

#[test]
fn every_bus_rule_names_the_destination() -> Result<()> {
    let policy = source("dbus/org.backstep1.conf")?;
    let rules: Vec<_> = policy.lines().map(str::trim).filter(|line| line.starts_with("<allow") || line.starts_with("<deny")).collect();
    assert_eq!(rules.len(), 11, "{rules:#?}");
    for rule in rules {
        assert!(rule.contains("send_destination=\"org.backstep1\"") || rule == "<allow own=\"org.backstep1\"/>", "{rule}");
    }
    Ok(())
}
