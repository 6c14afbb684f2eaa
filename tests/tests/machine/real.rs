//! Popular packages of Debian with their real maintainer scripts: installed, removed and purged, each of it undone and
//! done again, the whole root compared every time.
//!
//! All of them are tried by `make real`, which takes half an hour, or those of `make real REAL='cups nginx'`; every other
//! run tries a few.

use anyhow::{Result, ensure};

use crate::scene::Scene;

#[cfg(not(feature = "real"))]
const PACKAGES: [&str; 3] = ["rsync", "nginx-light", "ucf"];

#[cfg(feature = "real")]
const PACKAGES: [&str; 44] = [
    "apache2",
    "avahi-daemon",
    "bash-completion",
    "bind9",
    "ca-certificates-java",
    "chrony",
    "cron",
    "cups",
    "dnsmasq",
    "emacs-nox",
    "exim4-daemon-light",
    "fail2ban",
    "fish",
    "fontconfig",
    "ghostscript",
    "git",
    "haproxy",
    "imagemagick",
    "iptables",
    "locales",
    "logrotate",
    "man-db",
    "mariadb-server",
    "mc",
    "memcached",
    "nano",
    "nginx",
    "nodejs",
    "openssh-server",
    "php-fpm",
    "postfix",
    "postgresql",
    "prometheus-node-exporter",
    "python3-pip",
    "redis-server",
    "rsync",
    "rsyslog",
    "samba",
    "snmpd",
    "squid",
    "tmux",
    "unattended-upgrades",
    "vim",
    "zsh",
];

/// What services of these packages write by themselves while they run: their users' data, which is not undone.
const WRITTEN: [&str; 13] = [
    "/etc/cups/subscriptions.conf",
    "/var/agentx",
    "/var/cache/bind",
    "/var/cache/cups",
    "/var/cache/samba",
    "/var/lib/mysql",
    "/var/lib/postfix/master.lock",
    "/var/lib/postgresql",
    "/var/lib/prometheus",
    "/var/lib/redis",
    "/var/lib/samba",
    "/var/lib/snmp",
    "/var/spool/postfix/pid",
];

#[test]
fn popular_packages_come_and_go_and_come_back() -> Result<()> {
    let mut scene = prepared()?;
    let mut failed = Vec::new();
    let chosen = std::env::var("REAL").unwrap_or_default();
    let chosen: Vec<&str> = if chosen.is_empty() { PACKAGES.to_vec() } else { chosen.split_whitespace().collect() };
    for package in &chosen {
        match round_trips(&scene, package) {
            Ok(()) => println!("{package}: as before"),
            Err(error) => {
                println!("{package}: {error:#}");
                failed.push(format!("{package}: {error:#}"));
                scene = prepared()?;
            }
        }
    }
    ensure!(failed.is_empty(), "{} of {} packages\n{}", failed.len(), chosen.len(), failed.join("\n"));
    Ok(())
}

fn prepared() -> Result<Scene> {
    let mut scene = Scene::debian()?.but(&WRITTEN);
    if cfg!(feature = "real") {
        scene.machine.run_for_long();
    }
    Ok(scene)
}

fn round_trips(scene: &Scene, package: &str) -> Result<()> {
    let any = |_: &Scene| Ok(());
    scene.there_and_back(&format!("install {package}"), any)?;
    scene.there_and_back(&format!("remove {package}"), any)?;
    scene.change(&format!("install {package}"))?;
    // The plan calls the purge of a database impossible to undo, because it cannot look into the script.
    scene.there_and_back(&format!("purge --allow-irreversible {package}"), any)?;
    scene.machine.check(["apt-get", "-y", "-qq", "purge", "--auto-remove", package]).map(drop)
}
