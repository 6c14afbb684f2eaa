//! The machine harness itself: boots, runs commands, installs packages, ends cleanly.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use backstep_tests::machine::{Image, Machine, Storage, USER};
use backstep_tests::package::{Package, Script};
use backstep_tests::repository::{Repository, Transport};
use backstep_tests::snapshot::{Snapshot, VOLATILE};

use crate::clients::Background;

fn machine() -> Result<Machine> {
    Machine::boot(&Image::debian()?)
}

#[test]
fn machine_has_systemd_a_bus_and_polkit() -> Result<()> {
    let machine = machine()?;
    assert_eq!(machine.check(["cat", "/proc/1/comm"])?, "systemd\n");
    assert!(machine.check(["systemctl", "list-units", "--failed", "--no-legend"])?.is_empty());
    machine.check([
        "busctl",
        "call",
        "org.freedesktop.PolicyKit1",
        "/org/freedesktop/PolicyKit1/Authority",
        "org.freedesktop.DBus.Peer",
        "Ping",
    ])?;
    assert!(machine.journal("dbus.service")?.contains("D-Bus System Message Bus"));
    Ok(())
}

#[test]
fn commands_have_their_own_user_environment_input_and_limit() -> Result<()> {
    let machine = machine()?;
    assert_eq!(machine.check(["id", "-u"])?, "0\n");
    assert_eq!(machine.run_as(USER, ["id", "-u"])?.success()?.stdout, "1000\n");
    assert_eq!(machine.run_as(USER, ["cat", "/etc/shadow"])?.failure(1)?.stdout, "");
    assert_eq!(machine.call(["printenv", "HOME", "X"]).env("X", "y").output()?.stdout, "/root\ny\n");
    assert_eq!(machine.call(["cat"]).input("text").output()?.stdout, "text");
    let started = Instant::now();
    assert!(machine.call(["sleep", "60"]).limit(Duration::from_secs(1)).output().is_err());
    assert!(started.elapsed() < Duration::from_secs(10));
    Ok(())
}

#[test]
fn apt_installs_from_the_network_and_from_a_local_repository() -> Result<()> {
    let machine = machine()?;
    machine.check(["apt-get", "update"])?;
    machine.check(["apt-get", "install", "-y", "hello"])?;
    assert!(machine.package("hello")?.context("hello is not installed")?.starts_with("ii"));

    let (old, new) = (Package::new("bs-tool", "1").file("/usr/share/bs-tool", "old"), Package::new("bs-tool", "2"));
    let repository = Repository::new(&[old, Package::new("bs-app", "1").depends("bs-tool").service("bs-app")])?;
    machine.add_repository("local", &repository, Transport::Copy)?;
    machine.check(["apt-get", "install", "-y", "bs-app"])?;
    assert_eq!(machine.check(["systemctl", "is-active", "bs-app.service"])?, "active\n");
    assert_eq!(machine.read("/usr/share/bs-tool")?, "old");

    repository.add(&[new.failing_script(Script::Postinst, &["configure"])])?;
    machine.add_repository("local", &repository, Transport::File)?;
    machine.run(["apt-get", "upgrade", "-y"])?.failure(100)?;
    assert_eq!(machine.package("bs-tool")?.as_deref(), Some("iF 2"));
    Ok(())
}

#[test]
fn machines_run_beside_each_other_and_survive_reboot_and_power_cut() -> Result<()> {
    let (mut one, two) = (machine()?, machine()?);
    one.write("/root/mark", "here", 0o600)?;
    one.reboot()?;
    one.power_cut()?;
    assert_eq!(one.check(["cat", "/root/mark"])?, "here");
    assert_eq!(two.check(["systemctl", "is-system-running"])?, "running\n");
    assert_ne!(one.read("/etc/machine-id")?, two.read("/etc/machine-id")?);
    Ok(())
}

#[test]
fn installing_and_purging_by_apt_shows_in_snapshots() -> Result<()> {
    let machine = machine()?;
    let repository = Repository::new(&[Package::new("bs-snap", "1").file("/usr/share/bs-snap/file", "x").conffile("/etc/bs-snap", "y")])?;
    machine.add_repository("local", &repository, Transport::Copy)?;
    let before = Snapshot::take(&machine.path("/"), &VOLATILE)?;
    machine.check(["apt-get", "install", "-y", "bs-snap"])?;
    let during = Snapshot::take(&machine.path("/"), &VOLATILE)?;
    assert!(before.differences(&during).iter().any(|line| line.starts_with("+ /usr/share/bs-snap/file ")));
    machine.check(["apt-get", "purge", "-y", "bs-snap"])?;
    let after = Snapshot::take(&machine.path("/"), &VOLATILE)?;
    let left: Vec<_> = before.differences(&after).into_iter().filter(|line| !line.contains("/var/lib/")).collect();
    assert!(left.is_empty(), "{left:#?}");
    Ok(())
}

#[test]
fn derived_image_is_made_once() -> Result<()> {
    let base = Image::debian()?;
    let inputs = format!("{:?}", std::time::SystemTime::now());
    let derive = |marker: &str| base.derive("harness-derived", &inputs, |machine| machine.write("/root/derived", marker, 0o644));
    derive("first")?;
    assert_eq!(Machine::boot(&derive("second")?)?.read("/root/derived")?, "first");
    Ok(())
}

#[test]
fn a_command_that_a_test_left_keeps_no_machine_from_ending() -> Result<()> {
    let mut machine = machine()?;
    drop(Background::start(&machine, &["sleep", "600"])?);
    machine.power_off()
}

#[test]
fn machine_can_be_on_disk_or_run_out_of_space() -> Result<()> {
    let image = Image::debian()?;
    let on_disk = Machine::boot_on(&image, Storage::Disk)?;
    assert_ne!(on_disk.check(["stat", "-f", "-c", "%T", "/"])?, "tmpfs\n");
    let small = Machine::boot_on(&image, Storage::Memory(512))?;
    small.run(["dd", "if=/dev/zero", "of=/fill", "bs=1M"])?.failure(1)?;
    small.run(["apt-get", "install", "-y", "hello"])?.failure(100)?;
    Ok(())
}
