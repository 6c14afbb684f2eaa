//! How well a package's change can be undone.
//!
//! Files and facts that dpkg's process tree changes come back exactly. This module names what does not: data of
//! servers that a new version may rewrite, what a purge deletes beyond the package's own files, what a running
//! kernel or boot loader already did. `Impossible` is only said where user data is deleted and no undo material
//! holds it: the purge of a data server. Reads the removal scripts of packages, and nothing else.

use std::fs;
use std::path::Path;

use backstep_core::{PackageId, PlanAction, UndoQuality};

/// Names (exact, or followed by `-` or a digit) of packages whose data a server owns.
const DATA_SERVERS: &[&str] = &[
    "cassandra",
    "couchdb",
    "elasticsearch",
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
];

/// Prefixes of packages that only a restart of the system puts to use.
const BOOT: &[&str] =
    &["linux-image-", "grub-", "systemd-boot", "shim-signed", "u-boot-", "intel-microcode", "amd64-microcode", "initramfs-tools"];

/// Client sides and libraries that share a server's name.
const HARMLESS: &[&str] = &["-client", "-common", "-doc", "-dev", "-tools", "-contrib"];

/// Judges one change. `admin` is dpkg's database folder; `installed` says whether the package is there now.
#[must_use]
pub fn judge(package: &PackageId, action: PlanAction, installed: bool, admin: &Path) -> UndoQuality {
    let name = package.name.as_str();
    match action {
        PlanAction::Purge if is_data_server(name) => UndoQuality::Impossible("purging it may delete the data it manages".into()),
        PlanAction::Purge if deletes_on_purge(package, admin) => {
            UndoQuality::BestEffort("its removal script may delete data that it made itself".into())
        }
        PlanAction::Upgrade | PlanAction::Downgrade | PlanAction::Reinstall if is_data_server(name) => {
            UndoQuality::BestEffort("its data may be migrated by the running server".into())
        }
        PlanAction::Install
        | PlanAction::Upgrade
        | PlanAction::Downgrade
        | PlanAction::Reinstall
        | PlanAction::Remove
        | PlanAction::Purge
            if BOOT.iter().any(|prefix| name.starts_with(prefix)) && (installed || action == PlanAction::Install) =>
        {
            UndoQuality::BestEffort("what is running now changes only with a restart of the system".into())
        }
        PlanAction::Install
        | PlanAction::Upgrade
        | PlanAction::Downgrade
        | PlanAction::Reinstall
        | PlanAction::Remove
        | PlanAction::Purge
        | PlanAction::Hold
        | PlanAction::Unhold => UndoQuality::Exact,
    }
}

fn is_data_server(name: &str) -> bool {
    let of = |server: &str| {
        name.strip_prefix(server).is_some_and(|rest| rest.is_empty() || rest.starts_with(|c: char| c == '-' || c.is_ascii_digit()))
    };
    DATA_SERVERS.iter().any(|server| of(server)) && !HARMLESS.iter().any(|suffix| name.contains(suffix))
}

/// A script that cannot be read is taken for one that deletes.
fn deletes_on_purge(package: &PackageId, admin: &Path) -> bool {
    let names = [format!("{}.postrm", package.name), format!("{package}.postrm")];
    names.iter().map(|name| admin.join("info").join(name)).any(|path| match fs::read(&path) {
        Ok(script) => script.windows(5).any(|word| word == b"purge"),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    })
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
    }
}
