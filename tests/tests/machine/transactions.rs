//! Every kind of transaction through the client, judged by dpkg, marks and files; each rolled back and redone.

use anyhow::{Context, Result, ensure};
use backstep_tests::package::{Package, Script};

use crate::scene::Scene;

/// A package with a file and a configuration file that tell its version.
fn plain(name: &str, version: &str) -> Package {
    Package::new(name, version)
        .file(&format!("/usr/share/{name}/version"), version)
        .file(&format!("/usr/share/{name}/only-{version}"), "")
        .conffile(&format!("/etc/{name}.conf"), format!("of {name} {version}\n"))
}

fn app(version: &str) -> Package {
    plain("bs-app", version).depends("bs-lib").field("Recommends", "bs-extra")
}

fn first_versions() -> Vec<Package> {
    let solo = plain("bs-solo", "1").field("Recommends", "bs-tip");
    vec![app("1"), plain("bs-lib", "1"), plain("bs-extra", "1"), solo, plain("bs-tip", "1")]
}

#[test]
fn installing_updating_and_upgrading() -> Result<()> {
    let scene = Scene::new(&first_versions())?;
    let installed = scene.there_and_back("install --install-recommends bs-app", |scene| {
        scene.expect(&[("bs-app", "ii 1"), ("bs-lib", "ii 1"), ("bs-extra", "ii 1")])?;
        assert_eq!(scene.marked("showauto")?, ["bs-extra", "bs-lib"]);
        assert_eq!(scene.machine.read("/etc/bs-app.conf")?, "of bs-app 1\n");
        Ok(())
    })?;
    assert_eq!(installed.plan(), ["install bs-app 1", "install bs-extra 1", "install bs-lib 1"]);
    scene.there_and_back("install --no-install-recommends bs-solo", |scene| {
        scene.expect(&[("bs-solo", "ii 1"), ("bs-tip", "")])?;
        assert_eq!(scene.marked("showmanual")?, ["bs-app", "bs-solo"]);
        Ok(())
    })?;
    scene.there_and_back("hold bs-solo", |scene| {
        assert_eq!(scene.marked("showhold")?, ["bs-solo"]);
        Ok(())
    })?;

    scene.publish(&[app("2"), plain("bs-lib", "2"), plain("bs-extra", "2"), plain("bs-solo", "2")])?;
    scene.there_and_back("update bs-lib", |scene| {
        scene.expect(&[("bs-lib", "ii 2"), ("bs-app", "ii 1"), ("bs-extra", "ii 1"), ("bs-solo", "hi 1")])?;
        assert_eq!(scene.marked("showauto")?, ["bs-extra", "bs-lib"]);
        assert_eq!(scene.machine.read("/usr/share/bs-lib/version")?, "2");
        Ok(())
    })?;
    scene.there_and_back("upgrade", |scene| {
        scene.expect(&[("bs-lib", "ii 2"), ("bs-app", "ii 2"), ("bs-extra", "ii 2"), ("bs-solo", "hi 1")])?;
        assert_eq!(scene.marked("showauto")?, ["bs-extra", "bs-lib"]);
        Ok(())
    })?;
    scene.there_and_back("unhold bs-solo", |scene| {
        ensure!(scene.marked("showhold")?.is_empty(), "a hold is left");
        scene.expect(&[("bs-solo", "ii 1")])
    })?;
    Ok(())
}

#[test]
fn downgrading_reinstalling_and_removing() -> Result<()> {
    let scene = Scene::new(&first_versions())?;
    scene.publish(&[app("2"), plain("bs-lib", "2")])?;
    scene.machine.check(["apt-get", "install", "-qq", "--no-install-recommends", "bs-app", "bs-solo"])?;
    scene.machine.check(["apt-get", "install", "-qq", "bs-extra"])?;
    scene.machine.check(["apt-mark", "auto", "bs-extra"])?;
    scene.machine.write("/etc/bs-solo.conf", "by the administrator\n", 0o640)?;

    scene.there_and_back("downgrade bs-app=1", |scene| {
        scene.expect(&[("bs-app", "ii 1"), ("bs-lib", "ii 2")])?;
        assert_eq!(scene.machine.read("/usr/share/bs-app/version")?, "1");
        Ok(())
    })?;
    scene.machine.check(["rm", "/usr/share/bs-lib/version"])?;
    scene.there_and_back("reinstall bs-lib", |scene| {
        assert_eq!(scene.machine.read("/usr/share/bs-lib/version")?, "2");
        assert_eq!(scene.marked("showauto")?, ["bs-extra", "bs-lib"]);
        scene.expect(&[("bs-lib", "ii 2")])
    })?;
    scene.there_and_back("remove bs-app", |scene| {
        scene.expect(&[("bs-app", "rc 1"), ("bs-lib", "ii 2"), ("bs-extra", "ii 1")])?;
        ensure!(scene.machine.path("/etc/bs-app.conf").exists(), "a removal took the configuration");
        ensure!(!scene.machine.path("/usr/share/bs-app").exists(), "a removal left files");
        Ok(())
    })?;
    scene.there_and_back("autoremove", |scene| scene.expect(&[("bs-lib", "rc 2"), ("bs-extra", "rc 1"), ("bs-solo", "ii 1")]))?;
    scene.there_and_back("purge bs-solo", |scene| {
        scene.expect(&[("bs-solo", "")])?;
        ensure!(!scene.machine.path("/etc/bs-solo.conf").exists(), "a purge left the configuration");
        Ok(())
    })?;
    // Leftovers of a removal can be purged, too.
    scene.there_and_back("purge bs-app", |scene| scene.expect(&[("bs-app", "")]))?;
    Ok(())
}

#[test]
fn full_upgrades_mixed_requests_and_local_archives() -> Result<()> {
    let scene = Scene::new(&[
        plain("bs-main", "1"),
        plain("bs-rival", "1"),
        plain("bs-other", "1.2"),
        plain("bs-other", "1.3"),
        plain("bs-new", "1"),
    ])?;
    scene.machine.check(["apt-get", "install", "-qq", "bs-main", "bs-rival"])?;
    scene.publish(&[plain("bs-main", "2").conflicts("bs-rival")])?;

    let upgrade = scene.backstep("upgrade -y")?;
    assert_eq!((upgrade.code, upgrade.plan().len()), (0, 0), "{:#}", upgrade.json);
    scene.there_and_back("full-upgrade", |scene| scene.expect(&[("bs-main", "ii 2"), ("bs-rival", "rc 1")]))?;
    let mixed = scene.there_and_back("install bs-new bs-main- bs-other=1.2", |scene| {
        scene.expect(&[("bs-new", "ii 1"), ("bs-main", "rc 2"), ("bs-other", "ii 1.2")])
    })?;
    assert_eq!(mixed.plan(), ["install bs-new 1", "install bs-other 1.2", "remove bs-main"]);

    let archive = tempfile::tempdir()?;
    let local = plain("bs-local", "7").depends("bs-rival").build(archive.path())?;
    scene.machine.copy_in(&local, "/root/bs-local.deb")?;
    scene.machine.check(["chmod", "0600", "/root/bs-local.deb"])?;
    let installed = scene.there_and_back("install /root/bs-local.deb", |scene| {
        scene.expect(&[("bs-local", "ii 7"), ("bs-rival", "ii 1")])?;
        assert_eq!(scene.machine.read("/usr/share/bs-local/version")?, "7");
        Ok(())
    })?;
    assert_eq!(installed.plan(), ["install bs-local 7", "install bs-rival 1"]);
    Ok(())
}
