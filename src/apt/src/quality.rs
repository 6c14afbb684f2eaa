//! How well a package's change can be undone.
//!
//! Files and facts that dpkg's process tree changes come back exactly. This module names what does not: data of
//! servers that a new version may rewrite, what a purge deletes beyond the package's own files, what a running
//! kernel or boot loader already did. `Impossible` is only said where user data is deleted and no undo material
//! holds it: the purge of a data server, and a removal script that deletes in a place that is never kept. Reads the
//! removal scripts of packages, and nothing else.

use std::fs;
use std::path::Path;

use backstep_core::{PackageId, PlanAction, UndoQuality};

/// Names (exact, or followed by `-` or a digit) of packages whose data a server owns.
const DATA_SERVERS: &[&str] = &[
    "cassandra",
    "clickhouse-server",
    "couchdb",
    "elasticsearch",
    "etcd",
    "firebird3.0-server",
    "influxdb",
    "mariadb-server",
    "mongodb-org-server",
    "mongodb-server",
    "mysql-community-server",
    "mysql-server",
    "opensearch",
    "postgresql",
    "rabbitmq-server",
    "redis",
    "slapd",
    "valkey",
    "zabbix-server",
];

/// Where people and servers keep their data, and no undo material is made (`backstep-capture` leaves it alone).
const UNKEPT: &[&str] = &[
    "/home",
    "/media",
    "/mnt",
    "/srv",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/docker",
    "/var/lib/libvirt/images",
    "/var/lib/lxc",
    "/var/lib/machines",
];

/// Prefixes of packages that only a restart of the system puts to use.
const BOOT: &[&str] =
    &["linux-image-", "grub-", "systemd-boot", "shim-signed", "u-boot-", "intel-microcode", "amd64-microcode", "initramfs-tools"];

const MIGRATES: &str = "its data may be migrated by the running server";

/// Client sides and libraries that share a server's name.
const HARMLESS: &[&str] = &["-client", "-common", "-doc", "-dev", "-tools", "-contrib"];

/// Judges one change. `admin` is dpkg's database folder; `installed` says whether the package is there now.
#[must_use]
pub fn judge(package: &PackageId, action: PlanAction, installed: bool, admin: &Path) -> UndoQuality {
    let name = package.name.as_str();
    match action {
        PlanAction::Purge if is_data_server(name) => UndoQuality::Impossible("purging it may delete the data it manages".into()),
        PlanAction::Purge => match on_purge(package, admin) {
            Purge::DeletesUnkept(place) => {
                UndoQuality::Impossible(format!("its removal script deletes in {place}, of which nothing is kept"))
            }
            Purge::Deletes => UndoQuality::BestEffort("its removal script may delete data that it made itself".into()),
            Purge::DeletesNothing => judge_files(package, installed),
        },
        PlanAction::Upgrade | PlanAction::Downgrade | PlanAction::Reinstall if is_data_server(name) => {
            UndoQuality::BestEffort(MIGRATES.into())
        }
        PlanAction::Install => judge_files(package, true),
        PlanAction::Upgrade | PlanAction::Downgrade | PlanAction::Reinstall | PlanAction::Remove => judge_files(package, installed),
        PlanAction::Hold | PlanAction::Unhold => UndoQuality::Exact,
    }
}

/// Judges a change that only puts files back: no script runs, so none deletes anything.
#[must_use]
pub fn judge_restore(package: &PackageId, action: PlanAction) -> UndoQuality {
    match action {
        PlanAction::Upgrade | PlanAction::Downgrade | PlanAction::Reinstall if is_data_server(package.name.as_str()) => {
            UndoQuality::BestEffort(MIGRATES.into())
        }
        PlanAction::Install
        | PlanAction::Upgrade
        | PlanAction::Downgrade
        | PlanAction::Reinstall
        | PlanAction::Remove
        | PlanAction::Purge => judge_files(package, true),
        PlanAction::Hold | PlanAction::Unhold => UndoQuality::Exact,
    }
}

fn judge_files(package: &PackageId, there: bool) -> UndoQuality {
    let boots = BOOT.iter().any(|prefix| package.name.as_str().starts_with(prefix));
    if boots && there {
        UndoQuality::BestEffort("what is running now changes only with a restart of the system".into())
    } else {
        UndoQuality::Exact
    }
}

fn is_data_server(name: &str) -> bool {
    let of = |server: &str| {
        name.strip_prefix(server).is_some_and(|rest| rest.is_empty() || rest.starts_with(|c: char| c == '-' || c.is_ascii_digit()))
    };
    DATA_SERVERS.iter().any(|server| of(server)) && !HARMLESS.iter().any(|suffix| name.contains(suffix))
}

/// What the removal script of a package does on purge, as far as its text shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purge {
    DeletesNothing,
    Deletes,
    DeletesUnkept(&'static str),
}

/// A script that cannot be read is taken for one that deletes.
fn on_purge(package: &PackageId, admin: &Path) -> Purge {
    let names = [format!("{}.postrm", package.name), format!("{package}.postrm")];
    for path in names.iter().map(|name| admin.join("info").join(name)) {
        match fs::read(&path) {
            Ok(script) if script.windows(5).any(|word| word == b"purge") => return deleted(&String::from_utf8_lossy(&script)),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Purge::Deletes,
            Ok(_) | Err(_) => {}
        }
    }
    Purge::DeletesNothing
}

fn deleted(script: &str) -> Purge {
    let commands = script.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let removals = commands.filter(|line| line.split(|c: char| c.is_whitespace() || ";&|(".contains(c)).any(|word| word == "rm"));
    let is_below = |word: &str, place: &str| word.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let unkept = |line: &str| {
        let words = || line.split(|c: char| c.is_whitespace() || "\"';".contains(c));
        UNKEPT.iter().copied().find(|place| words().any(|word| is_below(word, place)))
    };
    removals.filter_map(unkept).next().map_or(Purge::Deletes, Purge::DeletesUnkept)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test sets its scene with plain calls")]
mod tests {
    use super::*;

    fn judged(package: &str, action: PlanAction) -> &'static str {
        judge(&package.parse().expect("id"), action, true, Path::new("/nonexistent")).as_str()
    }

    #[test]
    fn servers_kernels_and_the_rest() {
        assert_eq!(judged("postgresql-15:amd64", PlanAction::Purge), "impossible");
        assert_eq!(judged("postgresql-15:amd64", PlanAction::Upgrade), "best-effort");
        assert_eq!(judged("postgresql-15:amd64", PlanAction::Remove), "exact");
        assert_eq!(judged("postgresql-client-15:amd64", PlanAction::Purge), "exact");
        assert_eq!(judged("redis-server:amd64", PlanAction::Upgrade), "best-effort");
        assert_eq!(judged("redistools:amd64", PlanAction::Upgrade), "exact");
        assert_eq!(judged("linux-image-amd64:amd64", PlanAction::Upgrade), "best-effort");
        assert_eq!(judged("hello:amd64", PlanAction::Purge), "exact");
    }

    #[test]
    fn a_purge_script_makes_a_purge_less_exact() {
        let folder = tempfile::tempdir().expect("folder");
        fs::create_dir(folder.path().join("info")).expect("folder");
        fs::write(folder.path().join("info/hello.postrm"), "#!/bin/sh\n[ \"$1\" = purge ] && rm -rf /var/lib/hello\n").expect("script");
        let judged = judge(&"hello:amd64".parse().expect("id"), PlanAction::Purge, true, folder.path());
        assert_eq!(judged.as_str(), "best-effort");
        for (line, undo) in [
            ("rm -rf /srv/hello", "impossible"),
            ("test -d \"/var/lib/docker\" && rm -rf \"/var/lib/docker/x\"", "impossible"),
            ("# rm -rf /srv/hello", "best-effort"),
            ("confirm /srv/hello", "best-effort"),
            ("rm -rf /srvice /usr/home", "best-effort"),
        ] {
            fs::write(folder.path().join("info/hello.postrm"), format!("#!/bin/sh\n[ \"$1\" = purge ] || exit 0\n{line}\n"))
                .expect("script");
            let judged = judge(&"hello:amd64".parse().expect("id"), PlanAction::Purge, true, folder.path());
            assert_eq!(judged.as_str(), undo, "{line}");
            assert!(judged.why().is_some_and(|why| why.contains("removal script")), "{judged:?}");
        }
    }

    #[test]
    fn where_only_files_are_put_back_no_script_deletes_anything() {
        let judged = |package: &str, action| judge_restore(&package.parse().expect("id"), action).as_str();
        assert_eq!(judged("postgresql-15:amd64", PlanAction::Purge), "exact");
        assert_eq!(judged("postgresql-15:amd64", PlanAction::Downgrade), "best-effort");
        assert_eq!(judged("linux-image-amd64:amd64", PlanAction::Purge), "best-effort");
        assert_eq!(judged("hello:amd64", PlanAction::Install), "exact");
    }
}
