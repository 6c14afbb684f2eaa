//! What users without rights can do, and what they can see of others' transactions.

use anyhow::{Context, Result};
use backstep_tests::backstep::machine;
use backstep_tests::command::Output;
use backstep_tests::machine::{Machine, USER};
use backstep_tests::package::{Package, Script};
use backstep_tests::repository::{Repository, Transport};
use backstep_tests::wait::wait_until;
use serde_json::Value;

use crate::clients::{PATIENCE, backstep, document, events, history, newest, show, text};

const OTHER: &str = "other";
const SECRET: &str = "bs-secret";

fn prepared() -> Result<Machine> {
    let machine = machine()?;
    machine.check(["useradd", "--create-home", OTHER])?;
    let packages = [
        Package::new("bs-one", "1"),
        Package::new("bs-two", "1"),
        Package::new(SECRET, "1").script(Script::Postinst, "echo 'fails on purpose' >&2; exit 1"),
    ];
    machine.add_repository("local", &Repository::new(&packages)?, Transport::Copy)?;
    Ok(machine)
}

fn as_user(machine: &Machine, user: &str, words: &[&str]) -> Result<Output> {
    machine.run_as(user, [&["backstep"], words].concat())
}

/// Calls a method of a transaction as a user.
fn call(machine: &Machine, user: &str, id: &str, interface: &str, words: &[&str]) -> Result<Output> {
    let path = format!("/org/backstep1/transaction/{}", id.replace('-', "_"));
    machine.run_as(user, [&["busctl", "--json=short", "call", "org.backstep1", &path, interface], words].concat())
}

/// All properties of a transaction as a user reads them.
fn properties(machine: &Machine, user: &str, id: &str) -> Result<Value> {
    let words = ["GetAll", "s", "org.backstep1.Transaction"];
    let answer = call(machine, user, id, "org.freedesktop.DBus.Properties", &words)?.success()?.stdout;
    let answer: Value = serde_json::from_str(&answer)?;
    let rows = answer["data"][0].as_object().context("no properties")?;
    Ok(rows.iter().map(|(name, value)| (name.clone(), value["data"].clone())).collect())
}

#[test]
fn users_without_rights_plan_and_change_nothing() -> Result<()> {
    let machine = prepared()?;
    plan_is_for_everybody(&machine)?;
    denial_is_on_record(&machine)?;
    offers_of_one_user_are_not_for_another(&machine)?;
    rule_gives_one_right(&machine)
}

fn plan_is_for_everybody(machine: &Machine) -> Result<()> {
    let plan = as_user(machine, USER, &["install", "--dry-run", "bs-one"])?.success()?;
    assert!(plan.stdout.contains("bs-one"), "{}", plan.stdout);
    let row = newest(machine)?;
    assert_eq!((text(&row["user"]), text(&row["state"])), (USER.to_owned(), "cancelled".to_owned()));
    Ok(())
}

fn denial_is_on_record(machine: &Machine) -> Result<()> {
    let denied = as_user(machine, USER, &["install", "-y", "-m", "not mine", "bs-one"])?.failure(5)?;
    assert!(denied.stderr.contains("org.backstep1.install") && denied.stderr.contains("Hint: Ask an administrator"), "{}", denied.stderr);
    let said: Value = serde_json::from_str(&as_user(machine, USER, &["install", "-y", "--json", "bs-one"])?.failure(5)?.stdout)?;
    assert_eq!(text(&said["error"]["code"]), "auth.denied");
    assert_eq!(machine.package("bs-one")?, None);
    let rows = history(machine)?;
    let row = rows.iter().find(|row| row["description"] == "not mine").context("no record")?;
    let record = document(machine, &text(&row["id"]))?;
    assert!(events(&record).iter().any(|event| event == "denied"), "{record:#}");
    assert_eq!(text(&record["state"]), "cancelled");
    let told = machine.check(["journalctl", "--no-pager", "--output=json", "MESSAGE_ID=5d0d1c2f7a6b4e3c9f1b6f0a2c7d8e03"])?;
    assert!(told.contains("\"CALLER_UID\":\"1000\"") && told.contains("org.backstep1.install"), "{told}");
    Ok(())
}

fn offers_of_one_user_are_not_for_another(machine: &Machine) -> Result<()> {
    let create = ["CreateTransaction", "ssa{sv}", "install", "an offer", "1", "packages", "a(sss)", "1", "", "bs-one", ""];
    let words = [&["busctl", "call", "org.backstep1", "/org/backstep1", "org.backstep1.Manager"], create.as_slice()].concat();
    let answer = machine.run_as(USER, words)?.success()?.stdout;
    let id = answer.split('"').nth(1).context("no id")?;
    let transaction = "org.backstep1.Transaction";
    assert!(call(machine, OTHER, id, transaction, &["Prepare"])?.failure(1)?.stderr.contains("belongs to another user"));
    call(machine, USER, id, transaction, &["Prepare"])?.success()?;
    let plan = wait_until("the plan is made", PATIENCE, || {
        let seen = properties(machine, USER, id)?;
        Ok((seen["State"] == "prepared").then_some(seen))
    })?;
    assert_eq!(plan["Plan"][0]["package"]["data"], "bs-one", "{plan:#}");
    assert_eq!(plan["User"], USER);
    let digest = text(&plan["PlanDigest"]);
    for (method, words) in [("Execute", vec!["s", &digest]), ("Cancel", vec![])] {
        let denied = call(machine, OTHER, id, transaction, &[&[method], words.as_slice()].concat())?.failure(1)?;
        assert!(!denied.stderr.is_empty());
        assert_eq!(properties(machine, USER, id)?["State"], "prepared", "{method}");
    }
    assert!(call(machine, USER, id, transaction, &["Execute", "s", &digest])?.failure(1)?.stderr.contains("org.backstep1.install"));
    assert_eq!(properties(machine, USER, id)?["State"], "prepared", "a denied offer stays open");
    assert!(call(machine, USER, id, transaction, &["Cancel"])?.success()?.stdout.contains("cancelled"));
    Ok(())
}

fn rule_gives_one_right(machine: &Machine) -> Result<()> {
    let rule = format!(
        "polkit.addRule(function(action, subject) {{\n  if (action.id == 'org.backstep1.install' && subject.user == '{USER}')\n    return polkit.Result.YES;\n}});\n"
    );
    machine.write("/etc/polkit-1/rules.d/10-test.rules", rule, 0o644)?;
    wait_until("polkit knows the rule", PATIENCE, || {
        let output = as_user(machine, USER, &["install", "-y", "-m", "by rule", "bs-one"])?;
        Ok(output.status.success().then_some(()))
    })?;
    assert_eq!(machine.package("bs-one")?.as_deref(), Some("ii 1"));
    let record = document(machine, &text(&newest(machine)?["id"]))?;
    assert_eq!((text(&record["actor"]["user"]), record["actor"]["uid"].as_u64()), (USER.to_owned(), Some(1000)));
    as_user(machine, USER, &["remove", "-y", "bs-one"])?.failure(5)?;
    as_user(machine, OTHER, &["install", "-y", "bs-two"])?.failure(5)?;
    as_user(machine, USER, &["rollback", "-y", "--last"])?.failure(5)?;
    assert_eq!(machine.package("bs-one")?.as_deref(), Some("ii 1"));
    assert_eq!(machine.package("bs-two")?, None);
    Ok(())
}

#[test]
fn what_root_does_is_hidden_from_others() -> Result<()> {
    let machine = prepared()?;
    backstep(&machine, &["install", "-y", "-m", "root's own reasons", SECRET])?.failure(9)?;
    let id = text(&newest(&machine)?["id"]);
    let whole = show(&machine, &id)?.to_string();
    assert!(whole.contains(SECRET) && whole.contains("script.failed"), "{whole}");

    let seen = properties(&machine, USER, &id)?;
    let shown = seen.to_string();
    for hidden in [SECRET, "reasons", "script.failed", "root"] {
        assert!(!shown.contains(hidden), "{hidden} is shown: {seen:#}");
    }
    assert_eq!((text(&seen["Id"]), text(&seen["State"]), seen["Uid"].as_u64()), (id.clone(), "rolled-back".into(), Some(u32::MAX.into())));
    for single in ["Plan", "ErrorText", "User", "Description", "CurrentPackage", "Steps"] {
        let words = ["Get", "ss", "org.backstep1.Transaction", single];
        let answer = call(&machine, USER, &id, "org.freedesktop.DBus.Properties", &words)?.success()?.stdout;
        assert!(!answer.contains(SECRET) && !answer.contains("root"), "{single}: {answer}");
    }
    rows_and_logs_are_hidden(&machine, &id)
}

fn rows_and_logs_are_hidden(machine: &Machine, id: &str) -> Result<()> {
    let rows: Vec<Value> = serde_json::from_str(&as_user(machine, USER, &["history", "--json"])?.success()?.stdout)?;
    let row = rows.iter().find(|row| row["id"] == id).context("the row is missing")?;
    for hidden in ["user", "uid", "description", "summary", "error_code", "error_text"] {
        assert!(row[hidden].as_str().unwrap_or_default().is_empty() && row[hidden].as_u64().is_none(), "{hidden}: {row:#}");
    }
    let by_package = as_user(machine, USER, &["history", "--json", "--package", SECRET])?.success()?.stdout;
    assert_eq!(by_package, "[]\n", "a filter reveals what is hidden");
    for words in [&["log", id][..], &["show", "--document", id], &["retry", "-y", id], &["cancel", id]] {
        let denied = as_user(machine, USER, words)?.failure(5)?;
        assert!(!denied.stderr.contains(SECRET), "{}", denied.stderr);
    }
    let managed = machine.run_as(
        USER,
        ["busctl", "--json=short", "call", "org.backstep1", "/org/backstep1", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"],
    )?;
    let managed = managed.success()?.stdout;
    assert!(!managed.contains(SECRET) && !managed.contains("reasons"), "{managed}");
    Ok(())
}
