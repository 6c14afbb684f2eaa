//! What changed a file: line by line, by transaction, by package; and how long undo material is kept.

use anyhow::{Context, Result, ensure};
use backstep_tests::machine::USER;
use backstep_tests::package::Script;
use backstep_tests::wait::wait_until;
use serde_json::Value;

use crate::clients::{PATIENCE, backstep};
use crate::scene::{Scene, plain};

/// The row about a path in an answer that is a list.
fn of<'a>(rows: &'a Value, path: &str) -> Result<&'a Value> {
    let found = rows.as_array().and_then(|rows| rows.iter().find(|row| row["path"] == path));
    found.with_context(|| format!("no {path} in {rows:#}"))
}

/// What `blame` says of a path, as `transaction change package from to`.
fn blamed(scene: &Scene, path: &str) -> Result<Vec<String>> {
    let rows = scene.backstep(&format!("blame {path}"))?.json;
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or("-").to_owned();
    let row = |row| ["transaction", "change", "package", "from", "to"].map(|key| text(row, key)).join(" ");
    Ok(rows.as_array().with_context(|| format!("no list: {rows:#}"))?.iter().map(row).collect())
}

#[test]
fn what_changed_a_file_is_told_line_by_line_and_by_package() -> Result<()> {
    let with_user =
        |version: &str| plain("bs-look", version).script(Script::Postinst, "id -u bs-look >/dev/null 2>&1 || useradd --system bs-look");
    let scene = Scene::new(&[with_user("1")])?;
    let install = scene.change("install bs-look")?;
    scene.publish(&[with_user("2")])?;
    let upgrade = scene.change("upgrade")?;

    let rows = scene.backstep(&format!("diff {}", upgrade.id()))?.json;
    assert_eq!(of(&rows, "/etc/bs-look.conf")?["diff"], "@@ -1,1 +1,1 @@\n-of bs-look 1\n+of bs-look 2\n");
    ensure!(of(&rows, "/etc/shadow").is_err(), "nothing happened to it: {rows:#}");
    let rows = scene.backstep(&format!("diff {} /etc/shadow", install.id()))?.json;
    let shadow = of(&rows, "/etc/shadow")?;
    ensure!(shadow["diff"].as_str().is_some_and(|diff| diff.contains("\n+bs-look:")), "{rows:#}");
    assert_eq!(rows.as_array().map(Vec::len), Some(1), "{rows:#}");
    let whole = scene.machine.check(["backstep", "diff", install.id(), "/etc"])?;
    ensure!(whole.contains("--- /dev/null before ") && whole.contains("+++ /etc/bs-look.conf after "), "{whole}");

    let [of_upgrade, of_install] = [(&upgrade, "written bs-look:all 1 2"), (&install, "created bs-look:all - 1")];
    let found = blamed(&scene, "/etc/bs-look.conf")?;
    let expected = |(ended, change): (&crate::scene::Ended, &str)| format!("{} {change}", ended.id());
    // dpkg puts a new file in place of the old one.
    assert_eq!(found, [expected(of_upgrade).replace("written", "replaced"), expected(of_install)]);
    ensure!(blamed(&scene, "/etc/passwd")?.iter().any(|row| row.starts_with(install.id()) && row.contains(" - ")), "no package owns it");

    scene.machine.check(["apt-get", "-y", "purge", "bs-look"])?;
    wait_until("the run of apt is on record", PATIENCE, || {
        let last = blamed(&scene, "/etc/bs-look.conf")?.into_iter().next().unwrap_or_default();
        Ok(last.ends_with("removed bs-look:all 2 -").then_some(()))
    })?;
    Ok(())
}

#[test]
fn what_not_everybody_could_read_is_shown_to_root_only() -> Result<()> {
    let scene = Scene::new(&[plain("bs-look", "1").script(Script::Postinst, "useradd --system bs-look")])?;
    let rule = format!(
        "polkit.addRule(function(action, subject) {{ if (action.id == 'org.backstep1.install' && subject.user == '{USER}') return polkit.Result.YES; }});\n"
    );
    scene.machine.write("/etc/polkit-1/rules.d/10-test.rules", rule, 0o644)?;
    let install = |words: &[&str]| scene.machine.run_as(USER, [&["backstep", "--json"], words].concat());
    let ended = wait_until("polkit knows the rule", PATIENCE, || {
        let output = install(&["install", "-y", "bs-look"])?;
        Ok(output.status.success().then_some(output.stdout))
    })?;
    let id = serde_json::from_str::<Value>(&ended)?["id"].as_str().context("no id")?.to_owned();
    let rows: Value = serde_json::from_str(&install(&["diff", &id])?.success()?.stdout)?;
    let shadow = of(&rows, "/etc/shadow")?;
    assert_eq!((&shadow["withheld"], shadow.get("after_text"), shadow.get("diff")), (&Value::Bool(true), None, None), "{rows:#}");
    ensure!(of(&rows, "/etc/passwd")?["diff"].as_str().is_some_and(|diff| diff.contains("\n+bs-look:")), "{rows:#}");
    let mine: Value = serde_json::from_str(&install(&["blame", "/etc/shadow"])?.success()?.stdout)?;
    assert_eq!(mine[0]["transaction"], id.as_str(), "{mine:#}");
    // Others neither read it nor learn whose it was.
    let root = scene.change("remove bs-look")?;
    install(&["diff", root.id()])?.failure(5)?;
    let theirs: Value = serde_json::from_str(&install(&["blame", "/usr/share/bs-look/version"])?.success()?.stdout)?;
    let mine_only = theirs.as_array().is_some_and(|rows| rows.len() == 1 && rows[0]["transaction"] == id.as_str());
    ensure!(mine_only, "{theirs:#}");
    ensure!(root_sees(&scene, "/usr/share/bs-look/version")? == 2, "root sees both");
    install(&["pin", &id])?.failure(5)?;
    Ok(())
}

fn root_sees(scene: &Scene, path: &str) -> Result<usize> {
    let rows: Value = serde_json::from_str(&backstep(&scene.machine, &["blame", "--json", path])?.success()?.stdout)?;
    Ok(rows.as_array().map_or(0, Vec::len))
}

#[test]
fn pinned_undo_material_stays_beyond_the_limits() -> Result<()> {
    let scene = Scene::new(&["bs-a", "bs-b", "bs-c", "bs-d"].map(|name| plain(name, "1")))?;
    scene.machine.write("/etc/backstep/backstep.toml.d/50-test.toml", "[undo]\nchanges = 1\n", 0o644)?;
    scene.machine.check(["systemctl", "restart", "backstepd"])?;
    let kept = |wanted: &[&str]| {
        wait_until("only what may be kept is", PATIENCE, || {
            let mut wanted: Vec<String> = wanted.iter().map(|id| format!("{id}-1")).collect();
            wanted.sort();
            let found = scene.machine.check(["ls", "/var/lib/backstep/capture"])?;
            Ok((found.lines().collect::<Vec<_>>() == wanted).then_some(()))
        })
    };
    let a = scene.change("install bs-a")?;
    let pinned = scene.backstep(&format!("pin {}", a.id()))?;
    assert_eq!((pinned.code, &pinned.json["pinned"]), (0, &Value::Bool(true)), "{}", pinned.stderr);
    scene.change("install bs-b")?;
    let c = scene.change("install bs-c")?;
    kept(&[a.id(), c.id()])?;
    let undo = scene.backstep("status")?.json["undo"].clone();
    assert_eq!((&undo["transactions"], &undo["pinned"], &undo["limit_transactions"]), (&2.into(), &1.into(), &1.into()), "{undo:#}");
    ensure!(undo["bytes"].as_u64() > undo["pinned_bytes"].as_u64() && undo["oldest"].as_i64().is_some(), "{undo:#}");
    assert_eq!(scene.backstep(&format!("show {}", a.id()))?.json["pinned"], true);
    let journal = scene.machine.journal("backstepd")?;
    ensure!(journal.contains(&format!("undo material of {} pinned", a.id())), "{journal}");

    assert_eq!(scene.backstep(&format!("unpin {}", a.id()))?.code, 0);
    let d = scene.change("install bs-d")?;
    kept(&[d.id()])?;
    let too_late = scene.backstep(&format!("pin {}", a.id()))?;
    assert_eq!((too_late.code, &too_late.json["error"]["code"]), (14, &"undo.material".into()), "{:#}", too_late.json);
    Ok(())
}
