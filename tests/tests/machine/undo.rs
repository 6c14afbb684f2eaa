//! Undoing what completed: by files while the system is as the transaction left it, by packages afterwards.

use anyhow::{Result, ensure};
use backstep_tests::package::{Package, Script};
use backstep_tests::wait::wait_until;

use crate::clients::PATIENCE;
use crate::scene::{Scene, plain};

/// A package with everything that packages do: a service, alternatives, a user, generated files, special modes.
pub(crate) fn rich(version: &str) -> Package {
    let configure = format!(
        "id -u bs-rich >/dev/null 2>&1 || useradd --system --no-create-home bs-rich\n\
         chown bs-rich /usr/share/bs-rich/owned\n\
         echo 'made by {version}' >/etc/bs-rich.generated\n\
         update-alternatives --install /usr/bin/bs-tool bs-tool /usr/bin/bs-rich-{version} 5{version}"
    );
    service(
        "bs-rich",
        version,
        "/usr/bin/sleep infinity",
        &configure,
        &format!("update-alternatives --remove bs-tool /usr/bin/bs-rich-{version}"),
    )
    .conffile("/etc/bs-rich.conf", format!("default {version}\n"))
    .program(&format!("/usr/bin/bs-rich-{version}"), "#!/bin/sh\n")
    .file_with_mode("/usr/lib/bs-rich/setuid", version, if version == "1" { 0o4755 } else { 0o2755 })
    .file("/usr/share/bs-rich/owned", version)
    .file(&format!("/usr/share/bs-rich/only-{version}"), "")
    .directory("/var/lib/bs-rich/spool", 0o1770)
    .symlink("/usr/share/bs-rich/link", &format!("only-{version}"))
}

/// A package with a service, and more in its scripts.
pub(crate) fn service(name: &str, version: &str, command: &str, postinst: &str, prerm: &str) -> Package {
    let unit = format!("{name}.service");
    Package::new(name, version)
        .unit(&unit, &format!("[Service]\nExecStart={command}\n[Install]\nWantedBy=multi-user.target\n"))
        .script(
            Script::Postinst,
            &format!("{postinst}\ndeb-systemd-helper enable {unit}\nsystemctl daemon-reload\ndeb-systemd-invoke restart {unit}"),
        )
        .script(Script::Prerm, &format!("{prerm}\n[ \"$1\" != remove ] || deb-systemd-invoke stop {unit}"))
        .script(
            Script::Postrm,
            &format!("systemctl daemon-reload\n[ \"$1\" != purge ] || {{ deb-systemd-helper purge {unit}; rm -f /etc/{name}.generated; }}"),
        )
}

pub(crate) fn expect_service(scene: &Scene, name: &str, active: &str) -> Result<()> {
    let now = scene.machine.run(["systemctl", "is-active", &format!("{name}.service")])?.stdout;
    ensure!(now.trim() == active, "{name} is {now}");
    Ok(())
}

#[test]
fn packages_with_services_users_and_edited_configuration_come_back_whole() -> Result<()> {
    let scene = Scene::new(&[rich("1"), plain("bs-by", "1")])?;
    scene.there_and_back("install bs-rich", |scene| {
        expect_service(scene, "bs-rich", "active")?;
        assert_eq!(scene.machine.check(["readlink", "-f", "/usr/bin/bs-tool"])?, "/usr/bin/bs-rich-1\n");
        assert_eq!(scene.machine.check(["stat", "-c", "%U", "/usr/share/bs-rich/owned"])?, "bs-rich\n");
        Ok(())
    })?;
    scene.machine.write("/etc/bs-rich.conf", "by the administrator\n", 0o600)?;
    scene.machine.check(["chown", "bs-rich", "/etc/bs-rich.conf"])?;
    scene.publish(&[rich("2")])?;
    scene.there_and_back("upgrade", |scene| {
        scene.expect(&[("bs-rich", "ii 2")])?;
        expect_service(scene, "bs-rich", "active")?;
        assert_eq!(scene.machine.read("/etc/bs-rich.conf")?, "by the administrator\n");
        assert_eq!(scene.machine.read("/etc/bs-rich.generated")?, "made by 2\n");
        assert_eq!(scene.machine.check(["readlink", "-f", "/usr/bin/bs-tool"])?, "/usr/bin/bs-rich-2\n");
        Ok(())
    })?;
    scene.there_and_back("remove bs-rich bs-by+", |scene| {
        scene.expect(&[("bs-rich", "rc 2"), ("bs-by", "ii 1")])?;
        expect_service(scene, "bs-rich", "inactive")?;
        ensure!(scene.machine.path("/etc/bs-rich.conf").exists(), "a removal took the configuration");
        Ok(())
    })?;
    scene.there_and_back("install bs-rich", |scene| expect_service(scene, "bs-rich", "active"))?;
    scene.there_and_back("purge bs-rich", |scene| {
        scene.expect(&[("bs-rich", ""), ("bs-by", "ii 1")])?;
        ensure!(!scene.machine.path("/etc/bs-rich.conf").exists(), "a purge left the configuration");
        Ok(())
    })?;
    Ok(())
}

/// As a mail server: its scripts start and stop a service of a package that all of them share.
pub(crate) fn mail_server() -> [Package; 2] {
    let unit = "[Service]\nExecStart=/usr/bin/sleep infinity\n";
    let server = Package::new("bs-server", "1")
        .depends("bs-shared")
        .script(Script::Postinst, "systemctl daemon-reload\nsystemctl restart bs-mail.service")
        .script(Script::Prerm, "systemctl stop bs-mail.service");
    [Package::new("bs-shared", "1").unit("bs-mail.service", unit), server]
}

#[test]
fn a_service_of_another_package_that_a_change_stopped_runs_again() -> Result<()> {
    let scene = Scene::new(&mail_server())?;
    scene.change("install bs-server")?;
    scene.there_and_back("remove bs-server", |scene| expect_service(scene, "bs-mail", "inactive"))?;
    Ok(())
}

#[test]
fn sockets_that_would_start_a_service_again_are_stopped_with_it() -> Result<()> {
    let socket = "[Socket]\nListenDatagram=/run/bs-log\nService=bs-logger.service\n";
    let logger = "[Unit]\nRequires=bs-log.socket\n[Service]\nExecStart=/usr/bin/sleep infinity\n";
    let shared = Package::new("bs-shared", "1").unit("bs-log.socket", socket);
    let logger = Package::new("bs-logger", "1")
        .unit("bs-logger.service", logger)
        .script(Script::Postinst, "systemctl daemon-reload\nsystemctl restart bs-logger.service");
    let scene = Scene::new(&[shared, logger])?;
    scene.change("install bs-shared")?;
    scene.there_and_back("install bs-logger", |scene| expect_service(scene, "bs-logger", "active"))?;
    Ok(())
}

#[test]
fn a_service_that_ended_and_counts_as_active_is_active_again() -> Result<()> {
    let unit = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/bin/true\n";
    let once = Package::new("bs-once", "1")
        .unit("bs-once.service", unit)
        .script(Script::Postinst, "systemctl daemon-reload\nsystemctl restart bs-once.service")
        .script(Script::Prerm, "systemctl stop bs-once.service");
    let scene = Scene::new(&[once])?;
    scene.there_and_back("install bs-once", |scene| expect_service(scene, "bs-once", "active"))?;
    scene.there_and_back("remove bs-once", |scene| expect_service(scene, "bs-once", "inactive"))?;
    Ok(())
}

#[test]
fn what_a_service_writes_when_it_is_stopped_goes_with_it() -> Result<()> {
    let writes = "/bin/sh -c 'trap \"echo last words >/etc/bs-talker/state; exit\" TERM; sleep infinity & wait'";
    let talker = service("bs-talker", "1", writes, "true", "true").conffile("/etc/bs-talker/conf", "one\n");
    let scene = Scene::new(&[talker])?;
    let before = scene.state()?;
    scene.change("install bs-talker")?;
    expect_service(&scene, "bs-talker", "active")?;
    scene.machine.write("/etc/bs-talker/mine", "by the administrator\n", 0o600)?;
    scene.change("rollback --last")?;
    let left = before.differences(&scene.state()?);
    ensure!(left.len() == 2 && left[1].starts_with("+ /etc/bs-talker/mine "), "{left:#?}");
    Ok(())
}

/// As programs do that call on each other over the bus while they end.
#[test]
fn a_service_that_another_starts_again_while_it_ends_is_stopped_after_all() -> Result<()> {
    let first = service("bs-first", "1", "/usr/bin/sleep infinity", "true", "true");
    let last = "/usr/bin/sleep infinity\nExecStop=/usr/bin/systemctl start --no-block bs-first.service\nExecStop=/usr/bin/sleep 1";
    let scene = Scene::new(&[first, service("bs-last", "1", last, "true", "true")])?;
    let before = scene.state()?;
    scene.change("install bs-first bs-last")?;
    expect_service(&scene, "bs-first", "active")?;
    let back = scene.change("rollback --last")?;
    before.expect_same(&scene.state()?, "an install of services of which one starts the other")?;
    let noted = scene.document(back.id())?["events"].to_string();
    ensure!(!noted.contains("still runs"), "{noted}");
    Ok(())
}

#[test]
fn what_was_edited_since_stays_and_is_named() -> Result<()> {
    let scene = Scene::new(&[plain("bs-one", "1")])?;
    let before = scene.state()?;
    scene.change("install bs-one")?;
    scene.machine.write("/etc/bs-one.conf", "by the administrator\n", 0o600)?;
    let rollback = scene.change("rollback --last")?;
    scene.expect(&[("bs-one", "")])?;
    assert_eq!(scene.machine.read("/etc/bs-one.conf")?, "by the administrator\n");
    let events = scene.document(rollback.id())?["events"].to_string();
    ensure!(events.contains("/etc/bs-one.conf was changed since and stays"), "{events}");
    let left = before.differences(&scene.state()?);
    ensure!(left.len() == 1 && left[0].starts_with("+ /etc/bs-one.conf "), "{left:#?}");
    Ok(())
}

#[test]
fn earlier_transactions_are_undone_by_packages() -> Result<()> {
    let scene = Scene::new(&[plain("bs-a", "1").depends("bs-lib"), plain("bs-lib", "1"), plain("bs-b", "1"), plain("bs-c", "1")])?;
    let nothing = scene.state()?;
    let a = scene.change("install bs-a")?;
    let only_a = scene.state()?;

    // The new version has another configuration file, and the old archive is nowhere but in our keeping.
    scene.withdraw(&plain("bs-a", "1").depends("bs-lib"))?;
    scene.publish(&[plain("bs-a", "2").depends("bs-lib")])?;
    scene.machine.check(["apt-get", "clean"])?;
    let upgrade = scene.change("update bs-a")?;
    let b = scene.change("install bs-b")?;
    let refused = scene.backstep(&format!("rollback -y {}", a.id()))?;
    assert_eq!((refused.code, refused.text("state"), refused.text("error_code")), (14, "failed", "undo.conflict"), "{}", refused.stderr);
    ensure!(refused.text("error_text").contains("bs-a is at 2 now"), "{}", refused.text("error_text"));

    let back = scene.change(&format!("rollback {}", upgrade.id()))?;
    assert_eq!((back.text("method"), back.plan()), ("packages", vec!["downgrade bs-a 1".to_owned()]));
    scene.expect(&[("bs-a", "ii 1"), ("bs-b", "ii 1")])?;
    assert_eq!(scene.machine.read("/etc/bs-a.conf")?, "of bs-a 1\n");
    let c = scene.change("install bs-c")?;
    scene.change(&format!("rollback {}", b.id()))?;
    scene.change(&format!("rollback {}", c.id()))?;
    only_a.expect_same_in_fact(&scene.state()?, "an upgrade and two installs undone, none of them the newest")?;
    assert_eq!(scene.marked("showauto")?, ["bs-lib"]);

    let removal = scene.change("remove bs-a")?;
    scene.change("install bs-b")?;
    scene.change(&format!("rollback {}", removal.id()))?;
    scene.expect(&[("bs-a", "ii 1"), ("bs-lib", "ii 1"), ("bs-b", "ii 1")])?;
    scene.change(&format!("rollback {}", a.id()))?;
    scene.change("purge bs-b")?;
    nothing.expect_same_in_fact(&scene.state()?, "everything undone by packages")?;
    Ok(())
}

/// The old version is neither kept nor in apt's cache nor in a repository.
#[test]
fn an_archive_that_is_nowhere_is_made_again_from_undo_material() -> Result<()> {
    let old = rich("1");
    let scene = Scene::new(&[old.clone(), plain("bs-b", "1")])?;
    scene.change("install bs-rich")?;
    let one = scene.state()?;
    scene.withdraw(&old)?;
    scene.publish(&[rich("2")])?;
    let upgrade = scene.change("update bs-rich")?;
    scene.machine.check(["sh", "-c", "rm -r /var/lib/backstep/archives/*; apt-get clean"])?;
    scene.change("install bs-b")?;

    let back = scene.change(&format!("rollback {}", upgrade.id()))?;
    assert_eq!((back.text("method"), back.plan()), ("packages", vec!["downgrade bs-rich 1".to_owned()]));
    let from = scene.machine.check(["dpkg-query", "-W", "-f", "${Backstep-Rebuilt-From}", "bs-rich"])?;
    assert_eq!(from, upgrade.id());
    expect_service(&scene, "bs-rich", "active")?;
    scene.change("purge bs-b")?;
    let mark = format!("+ bs-rich:all Backstep-Rebuilt-From: {from}");
    assert_eq!(one.differences_in_fact(&scene.state()?), [mark], "all is as it was, and dpkg says where it is from");
    scene.change("purge bs-rich")?;
    scene.expect(&[("bs-rich", "")])
}

#[test]
fn what_cannot_be_rolled_back_is_refused() -> Result<()> {
    let scene = Scene::new(&[plain("bs-one", "1")])?;
    let none = scene.backstep("rollback -y --last")?;
    assert_eq!(none.code, 14, "{}", none.stderr);
    let unknown = scene.backstep("rollback -y ffffffffffff")?;
    assert_eq!(unknown.code, 3, "{}", unknown.stderr);
    let dry = scene.backstep("install --dry-run bs-one")?;
    let cancelled = scene.backstep(&format!("rollback -y {}", dry.id()))?;
    assert_eq!(cancelled.code, 14, "{}", cancelled.stderr);

    let install = scene.change("install bs-one")?;
    scene.change(&format!("rollback {}", install.id()))?;
    let state = scene.state()?;
    let twice = scene.backstep(&format!("rollback -y {}", install.id()))?;
    ensure!(twice.code != 0 || twice.plan().is_empty(), "undone twice: {:#}", twice.json);
    state.expect_same(&scene.state()?, "refused rollbacks")
}

#[test]
fn everything_since_a_transaction_is_undone_by_one_of_its_own() -> Result<()> {
    let scene = Scene::new(&[rich("1"), plain("bs-a", "1"), plain("bs-b", "1"), plain("bs-c", "1")])?;
    let nothing = scene.state()?;
    scene.change("install bs-a")?;
    let only_a = scene.state()?;
    let first = scene.change("install bs-rich bs-b")?;
    scene.publish(&[rich("2"), plain("bs-b", "2")])?;
    scene.change("upgrade")?;
    scene.machine.check(["apt-get", "-y", "install", "bs-c"])?;
    scene.change("purge bs-b")?;
    let all = scene.state()?;

    let plan = scene.backstep(&format!("plan rollback --to {}", first.id()))?;
    assert_eq!((plan.text("method"), plan.plan()), ("restore", vec!["purge bs-c".to_owned(), "purge bs-rich".to_owned()]));
    let back = scene.change(&format!("rollback --to {}", first.id()))?;
    only_a.expect_same(&scene.state()?, "four transactions undone at once")?;
    ensure!(scene.document(first.id())?["reverted_by"] == back.id(), "the first is undone");
    let history = scene.backstep("history")?.json;
    let undone = history.as_array().map(|rows| rows.iter().filter(|row| row["reverted_by"] == back.id()).count());
    assert_eq!(undone, Some(4), "{history:#}");
    scene.change("rollback --last")?;
    all.expect_same(&scene.state()?, "a rollback of four undone")?;
    expect_service(&scene, "bs-rich", "active")?;

    // Since a time; and past a change that nobody recorded only by packages, with the reason.
    scene.change("rollback --to 1d")?;
    nothing.expect_same(&scene.state()?, "everything undone")?;
    let a = scene.change("install bs-a")?;
    scene.machine.write("/root/dark.conf", "", 0o600)?;
    scene.machine.check(["apt-mark", "auto", "bs-a"])?;
    scene.change("install bs-b=2")?;
    let back = scene.change(&format!("rollback --to {}", a.id()))?;
    assert_eq!((back.text("method"), back.plan()), ("packages", vec!["purge bs-a".to_owned(), "purge bs-b".to_owned()]));
    let why = back.json["plan_warnings"].to_string();
    ensure!(why.contains("was changed by others after") && why.contains("packages are changed instead of files"), "{why}");
    scene.expect(&[("bs-a", ""), ("bs-b", "")])
}

#[test]
fn one_package_of_a_transaction_is_undone_where_others_can_do_without() -> Result<()> {
    let app = |version| plain("bs-app", version).depends("bs-lib");
    let scene = Scene::new(&[app("1"), plain("bs-lib", "1"), plain("bs-by", "1")])?;
    let install = scene.change("install bs-app bs-by")?;
    let needed = scene.backstep(&format!("rollback -y {} bs-lib", install.id()))?;
    assert_eq!((needed.code, needed.text("error_code")), (14, "undo.conflict"), "{:#}", needed.json);
    ensure!(needed.text("error_text").contains("bs-app depends on bs-lib"), "{}", needed.text("error_text"));
    let unknown = scene.backstep(&format!("rollback -y {} bs-other", install.id()))?;
    assert_eq!((unknown.code, unknown.text("error_code")), (14, "undo.nothing"), "{:#}", unknown.json);
    ensure!(unknown.text("error_text").contains("did not change bs-other; it changed bs-app"), "{}", unknown.text("error_text"));

    let both = scene.state()?;
    let part = scene.change(&format!("rollback {} bs-by", install.id()))?;
    assert_eq!((part.text("method"), part.plan()), ("packages", vec!["purge bs-by".to_owned()]));
    scene.expect(&[("bs-app", "ii 1"), ("bs-lib", "ii 1"), ("bs-by", "")])?;
    ensure!(scene.document(install.id())?["reverted_by"].is_null(), "a part is not the whole");
    scene.change("rollback --last")?;
    both.expect_same(&scene.state()?, "a rollback of a part undone")?;

    scene.publish(&[app("2"), plain("bs-by", "2")])?;
    let upgrade = scene.change("upgrade")?;
    let part = scene.change(&format!("rollback {} bs-app", upgrade.id()))?;
    assert_eq!(part.plan(), ["downgrade bs-app 1"]);
    scene.expect(&[("bs-app", "ii 1"), ("bs-by", "ii 2")])?;
    scene.change(&format!("rollback {}", upgrade.id()))?;
    scene.expect(&[("bs-app", "ii 1"), ("bs-by", "ii 1")])
}

/// Debian's own packages, over the network: a service, alternatives, a user's group, triggers.
#[test]
fn debian_packages_come_back_whole() -> Result<()> {
    let scene = Scene::debian()?;
    scene.there_and_back("install --no-install-recommends nano cron less", |scene| {
        expect_service(scene, "cron", "active")?;
        ensure!(scene.machine.check(["readlink", "-f", "/usr/bin/editor"])?.contains("nano"), "nano is no editor");
        scene.machine.check(["less", "--version"]).map(drop)
    })?;
    scene.there_and_back("remove cron nano", |scene| expect_service(scene, "cron", "inactive"))?;
    scene.there_and_back("purge cron", |_| Ok(()))?;
    scene.there_and_back("autoremove", |_| Ok(())).map(drop)
}

#[test]
fn undo_material_beyond_the_limits_is_given_up_and_the_undo_goes_by_packages_then() -> Result<()> {
    let broken = plain("bs-broken", "1").script(Script::Postinst, "exit 1");
    let scene = Scene::new(&[plain("bs-old", "1"), plain("bs-new", "1"), broken])?;
    scene.machine.write("/etc/backstep/backstep.toml.d/50-test.toml", "[undo]\nchanges = 1\n", 0o644)?;
    let captures = || scene.machine.check(["ls", "/var/lib/backstep/capture"]);
    scene.machine.check(["systemctl", "restart", "backstepd"])?;
    let old = scene.change("install bs-old")?;
    let new = scene.change("install bs-new")?;
    scene.undone("install bs-broken", 9, "script.failed")?;
    // The worker gives up what it may after its last word.
    wait_until("only the newest change is kept", PATIENCE, || Ok((captures()?.trim() == format!("{}-1", new.id())).then_some(())))?;
    let back = scene.change(&format!("rollback {}", old.id()))?;
    assert_eq!(back.text("method"), "packages");
    assert_eq!(scene.machine.run(["dpkg-query", "-W", "bs-old"])?.status.code(), Some(1), "it is gone");
    Ok(())
}
