//! What a power cut right after a change takes away.
//!
//! Purpose: packages whose every file is known, shipped ones and those that scripts make, so that after a machine lost what
//! was not durable it can be said which of them are not what the finished change had made them. Absent on purpose: who changes.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::machine::Machine;
use crate::package::{Package, Script};

/// Packages.
const PACKAGES: usize = 3;
/// Files that each ships.
const SHIPPED: usize = 60;
/// Files that the script of each makes.
const MADE: usize = 40;
/// Bytes of a shipped file, at least.
const SIZE: usize = 8 << 10;

/// The names of the packages, as words of a command.
#[must_use]
pub fn names() -> Vec<String> {
    (0..PACKAGES).map(|number| format!("bs-torn-{number}")).collect()
}

/// The packages in this version. Their scripts write files as scripts do, without `sync`.
#[must_use]
pub fn packages(version: &str) -> Vec<Package> {
    names().iter().map(|name| package(name, version)).collect()
}

fn package(name: &str, version: &str) -> Package {
    let script = format!(
        "mkdir -p /etc/{name}; i=0; while [ $i -lt {MADE} ]; do echo {version} >/etc/{name}/$i.new; mv /etc/{name}/$i.new /etc/{name}/$i; \
         i=$((i+1)); done"
    );
    let package = Package::new(name, version).script(Script::Postinst, &script);
    (0..SHIPPED).fold(package, |package, number| package.file(&shipped(name, number), content(version)))
}

fn shipped(name: &str, number: usize) -> String {
    format!("/usr/lib/{name}/{number}")
}

fn content(version: &str) -> String {
    version.repeat(SIZE / version.len() + 1)
}

/// How many paths there are to look at.
#[must_use]
pub const fn count() -> usize {
    PACKAGES * (SHIPPED + MADE)
}

/// Paths that are not as the change to this version left them, with what is wrong: lost, empty, or another content.
pub fn torn(machine: &Machine, version: &str) -> Result<BTreeMap<String, &'static str>> {
    let mut wrong = BTreeMap::new();
    for name in names() {
        let shipped = (0..SHIPPED).map(|number| (shipped(&name, number), content(version)));
        let made = (0..MADE).map(|number| (format!("/etc/{name}/{number}"), format!("{version}\n")));
        for (path, expected) in shipped.chain(made) {
            let what = match std::fs::read(machine.path(&path)) {
                Ok(found) if found == expected.as_bytes() => continue,
                Ok(found) if found.is_empty() => "empty",
                Ok(_) => "another content",
                Err(_) => "lost",
            };
            wrong.insert(path, what);
        }
    }
    Ok(wrong)
}
