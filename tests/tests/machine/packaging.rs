//! What our Debian packages put on a system, and what they leave behind.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use backstep_core::access::Permission;
use backstep_tests::backstep::{machine, usual_archives};
use backstep_tests::machine::{Machine, USER};

/// How open a unit may be at most, by `systemd-analyze security`, in tenths.
const EXPOSURE_LIMITS: [(&str, u32); 2] = [("backstepd.service", 20), ("backstep-planner@x.service", 10)];

/// A call of every interface that everybody may use.
const PUBLIC: [(&str, &str); 6] = [
    ("org.backstep1.Manager", "Anything"),
    ("org.backstep1.Transaction", "Anything"),
    ("org.freedesktop.DBus.Introspectable", "Introspect"),
    ("org.freedesktop.DBus.ObjectManager", "GetManagedObjects"),
    ("org.freedesktop.DBus.Peer", "Ping"),
    ("org.freedesktop.DBus.Properties", "GetAll"),
];

#[test]
fn units_are_valid_and_nothing_changes_packages_by_itself() -> Result<()> {
    let machine = machine()?;
    let units = [
        "backstepd.service",
        "backstep-worker@a-1.service",
        "backstep-hook@a.service",
        "backstep-planner.socket",
        "backstep-ignores.timer",
        "backstepd.timer",
        "backstep-recover.service",
        "backstep-upgrade.timer",
    ];
    let verdict = machine.run([["systemd-analyze", "verify", "--man=no"].as_slice(), &units].concat())?.success()?;
    assert!(!verdict.stderr.contains("backstep"), "{}", verdict.stderr);
    assert_eq!(machine.check(["systemctl", "is-active", "backstep-planner.socket"])?, "active\n");
    assert_eq!(machine.check(["stat", "-c", "%a %U", "/run/backstep-planner.sock"])?, "600 root\n");
    for timer in ["backstep-ignores.timer", "backstepd.timer"] {
        assert_eq!(machine.check(["systemctl", "is-enabled", timer])?, "enabled\n");
    }
    assert_eq!(machine.run(["systemctl", "is-enabled", "backstep-upgrade.timer"])?.stdout, "disabled\n");
    assert_eq!(machine.run(["systemctl", "is-active", "backstep-upgrade.timer"])?.stdout, "inactive\n");
    Ok(())
}

#[test]
fn daemon_and_planner_are_shut_in() -> Result<()> {
    let machine = machine()?;
    for (unit, limit) in EXPOSURE_LIMITS {
        let report = machine.check(["systemd-analyze", "security", "--no-pager", unit])?;
        let exposure = exposure_in(&report).with_context(|| format!("no exposure level in {report}"))?;
        assert!(exposure <= limit, "{unit}: {exposure} tenths\n{report}");
    }
    Ok(())
}

/// The exposure level in tenths from the report's last line, `→ Overall exposure level for X: 1.1 OK`.
fn exposure_in(report: &str) -> Option<u32> {
    let (_, level) = report.lines().last()?.rsplit_once(": ")?;
    level.split_whitespace().next()?.replace('.', "").parse().ok()
}

#[test]
fn every_action_is_known_to_polkit_and_none_is_free() -> Result<()> {
    let machine = machine()?;
    let known = machine.check(["pkaction"])?;
    let ours: Vec<_> = known.lines().filter(|line| line.starts_with("org.backstep1.")).collect();
    assert_eq!(ours.len(), Permission::ALL.len(), "{ours:?}");
    for action in ours {
        let about = machine.check(["pkaction", "--verbose", "--action-id", action])?;
        let implicit = about.lines().filter(|line| line.trim_start().starts_with("implicit"));
        assert!(implicit.clone().all(|line| line.contains("auth_admin")), "{about}");
        assert_eq!(implicit.count(), 3, "{about}");
    }
    Ok(())
}

#[test]
fn ordinary_callers_reach_only_the_public_interfaces() -> Result<()> {
    let machine = machine()?;
    // The bus judges a call before it starts the daemon: what it lets through ends at the masked unit.
    machine.check(["systemctl", "mask", "--runtime", "--now", "backstepd.service"])?;
    let call = |interface: &str, words: &[&str]| {
        let fixed = ["busctl", "call", "--timeout=5", "org.backstep1", "/org/backstep1", interface];
        Ok::<_, anyhow::Error>(machine.run_as(USER, [fixed.as_slice(), words].concat())?.failure(1)?.stderr)
    };
    assert!(call("org.freedesktop.DBus.Properties", &["Set", "ssv", "a", "b", "s", "c"])?.contains("Access denied"));
    assert!(call("org.backstep1.Secret", &["Anything"])?.contains("Access denied"));
    for (interface, member) in PUBLIC {
        let arguments: &[&str] = if member == "GetAll" { &["s", ""] } else { &[] };
        let answer = call(interface, &[&[member], arguments].concat())?;
        assert!(answer.contains("masked"), "{interface}.{member}: {answer}");
    }
    let owned = machine
        .run_as(USER, ["busctl", "call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "RequestName", "su", "org.backstep1", "0"])?;
    assert!(!owned.failure(1)?.stderr.is_empty());
    Ok(())
}

#[test]
fn reinstalling_keeps_a_running_worker_and_purging_leaves_nothing() -> Result<()> {
    let machine = machine()?;
    let worker = "backstep-worker@test-1.service";
    machine.write(
        &format!("/run/systemd/system/{worker}.d/test.conf"),
        "[Service]\nExecStart=\nExecStart=/usr/bin/sleep infinity\n",
        0o644,
    )?;
    machine.check(["systemctl", "daemon-reload"])?;
    machine.check(["systemctl", "start", worker])?;
    let process = |machine: &Machine| machine.check(["systemctl", "show", "--value", "--property=MainPID", worker]);
    let before = process(&machine)?;
    machine.install_archives(&usual_archives()?)?;
    let copied = machine.check(["sh", "-c", "echo /var/tmp/backstepd_*.deb"])?;
    machine.check(["apt-get", "install", "--reinstall", "-y", copied.trim()])?;
    machine.run(["systemctl", "stop", worker])?.failure(4)?;
    assert_eq!(process(&machine)?, before);
    assert_ne!(before, "0\n");
    machine.check(["systemctl", "kill", "--signal=KILL", worker])?;

    machine.check(["apt-get", "purge", "-y", "backstepd", "backstep"])?;
    for path in ["/etc/backstep", "/var/lib/backstep", "/run/backstep", "/run/backstep-planner.sock", "/usr/libexec/backstep"] {
        assert!(!fs::exists(machine.path(path))?, "{path} is left");
    }
    assert_eq!(machine.run(["systemctl", "list-unit-files", "--no-legend", "backstep*"])?.stdout, "");
    Ok(())
}

/// The bus's policy and our program for dpkg would be gone before it is over.
#[test]
fn the_package_does_not_remove_itself_and_is_removed_by_apt() -> Result<()> {
    let machine = machine()?;
    for kind in ["remove", "purge"] {
        let said = machine.run(["backstep", kind, "-y", "backstepd"])?.failure(4)?;
        assert!(said.stderr.contains("apt-get remove backstepd"), "{said:?}");
    }
    machine.check(["apt-get", "remove", "-y", "backstepd"])?;
    assert_eq!(machine.check(["dpkg", "--audit"])?, "");
    Ok(())
}

/// What Debian's infrastructure would run with the packages installed (autopkgtest).
#[test]
fn the_packages_own_smoke_test_passes() -> Result<()> {
    let machine = machine()?;
    let smoke = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/debian/tests/smoke");
    machine.write("/var/tmp/smoke", fs::read(smoke)?, 0o755)?;
    let said = machine.check(["/var/tmp/smoke"])?;
    assert!(said.ends_with("smoke: install and rollback through the daemon work\n"), "{said}");
    Ok(())
}
