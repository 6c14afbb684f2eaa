//! The same changes and undos on other file systems, and where a system is on several.

use anyhow::{Result, ensure};
use backstep_tests::machine::FileSystem;
use backstep_tests::package::{Package, Script};

use crate::scene::{Scene, plain};
use crate::undo::{expect_service, rich};

/// Changes of every sort there and back, one that fails, and how its writes became durable.
fn there_and_back_on(file_system: FileSystem, durability: &str) -> Result<()> {
    let scene = Scene::on(file_system, &[rich("1"), plain("bs-bad", "1")])?;
    let kind = scene.machine.check(["stat", "--file-system", "--format=%T", "/"])?;
    ensure!(kind.trim().starts_with(&file_system.name()[..3]), "the machine is on {kind}");
    scene.there_and_back("install bs-rich bs-bad", |scene| expect_service(scene, "bs-rich", "active"))?;
    scene.machine.write("/etc/bs-rich.conf", "by the administrator\n", 0o640)?;
    scene.publish(&[rich("2"), plain("bs-bad", "2").failing_script(Script::Postinst, &["configure"])])?;
    let upgrade = scene.there_and_back("update bs-rich", |scene| scene.expect(&[("bs-rich", "ii 2")]))?;
    let record = scene.document(upgrade.id())?.to_string();
    ensure!(record.contains(durability), "{record}");
    let before = scene.state()?;
    scene.undone("update bs-bad", 9, "script.failed")?;
    before.expect_same(&scene.state()?, "an update whose script fails")?;
    scene.there_and_back("purge bs-rich", |scene| scene.expect(&[("bs-rich", "")])).map(drop)
}

#[test]
fn undo_is_exact_on_ext4() -> Result<()> {
    there_and_back_on(FileSystem::Ext4, "durability: one barrier after unpacking")
}

#[test]
fn undo_is_exact_on_xfs() -> Result<()> {
    there_and_back_on(FileSystem::Xfs, "does not order what it writes")
}

#[test]
fn undo_is_exact_on_btrfs() -> Result<()> {
    there_and_back_on(FileSystem::Btrfs, "durability: one barrier after unpacking")
}

/// ext4 gives a file 65,000 names. dpkg makes one more for what it replaces, and fails without it.
#[test]
fn a_file_with_nearly_as_many_names_as_can_be_leaves_dpkg_room_for_its_own() -> Result<()> {
    let many = |version: &str| plain("bs-many", version).file("/usr/share/bs-many/file", version);
    let scene = Scene::on(FileSystem::Ext4, &[many("1")])?;
    scene.change("install bs-many")?;
    scene.machine.check(["mkdir", "/opt/names"])?;
    let names = "link '/usr/share/bs-many/file', '/opt/names/'.$_ or die $! while (stat '/usr/share/bs-many/file')[3] < 64_999 and ++$_";
    scene.machine.check(["perl", "-e", names])?;
    scene.publish(&[many("2")])?;
    scene.there_and_back("upgrade", |scene| scene.expect(&[("bs-many", "ii 2")])).map(drop)
}

/// Ships to folders that are on file systems of their own.
fn spread(version: &str) -> Package {
    let places = ["/usr/share", "/opt", "/boot", "/var/games"];
    let package = plain("bs-spread", version).script(Script::Postinst, "echo made >/opt/bs-made");
    places.into_iter().fold(package, |package, place| {
        package.file(&format!("{place}/bs-spread/{version}"), version).file(&format!("{place}/bs-spread/file"), version)
    })
}

#[test]
fn undo_is_exact_where_a_system_is_on_several_file_systems() -> Result<()> {
    let kept = &["/usr/.backstep", "/opt/.backstep", "/boot/.backstep", "/var/games/.backstep", "/.backstep"];
    let scene = Scene::new(&[spread("1"), plain("bs-bad", "1")])?.but(kept);
    for (folder, options) in [("/opt", "size=64m"), ("/boot", "size=64m"), ("/var/games", "size=64m")] {
        scene.machine.check(["mkdir", "-p", folder])?;
        scene.machine.check(["mount", "-t", "tmpfs", "-o", options, "bs", folder])?;
    }
    scene.machine.check(["mount", "--bind", "/usr", "/usr"])?;
    scene.there_and_back("install bs-spread", |scene| scene.expect(&[("bs-spread", "ii 1")]))?;
    scene.publish(&[spread("2")])?;
    scene.there_and_back("upgrade", |scene| {
        assert_eq!(scene.machine.read("/opt/bs-spread/file")?, "2");
        Ok(())
    })?;
    scene.there_and_back("purge bs-spread", |scene| scene.expect(&[("bs-spread", "")]))?;

    scene.machine.check(["mount", "-o", "remount,bind,ro", "/usr"])?;
    let before = scene.state()?;
    let refused = scene.backstep("install bs-bad -y")?;
    assert_eq!((refused.code, refused.text("error_code")), (8, "disk.read-only"), "{}", refused.stderr);
    ensure!(refused.text("error_text").contains("/usr is on a read-only file system"), "{}", refused.text("error_text"));
    before.expect_same(&scene.state()?, "an install with a read-only /usr")
}
