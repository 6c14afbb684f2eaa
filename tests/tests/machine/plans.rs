//! The plan is what apt would do: requests of all kinds over Debian's real lists, each compared item by item with
//! `apt-get -s` in the same machine at the same moment.
//!
//! Versions are looked up, never written down: [`REQUESTS`] says `{new:NAME}`, `{old:NAME}` and `{oldest:NAME}`.

use std::collections::BTreeMap;
use std::thread;

use anyhow::{Context, Result, ensure};
use backstep_tests::command::{Output, host, output};
use backstep_tests::machine::Machine;
use serde_json::Value;

use crate::scene::{Ended, Scene};

/// Packages of which Debian keeps several versions, installed at `{old}`.
const BEHIND: [&str; 4] = ["libexpat1", "openssl", "sudo", "tzdata"];
/// Installed besides.
const PRESENT: &str = "less nano tmux";
/// The pins of the requests.
const PINS: &str = "/etc/apt/preferences.d/test";

/// What is asked of both.
struct Request {
    /// A shell line that changes the scene before; empty for none.
    before: &'static str,
    /// The words after `backstep plan`.
    ours: &'static str,
    /// The words after `apt-get -s -y`.
    apts: &'static str,
    /// For an impossible request: what the explanation must name.
    names: &'static [&'static str],
}

const fn same(words: &'static str) -> Request {
    both(words, words)
}

const fn both(ours: &'static str, apts: &'static str) -> Request {
    Request { before: "", ours, apts, names: &[] }
}

const fn impossible(ours: &'static str, apts: &'static str, names: &'static [&'static str]) -> Request {
    Request { before: "", ours, apts, names }
}

const fn after(before: &'static str, request: Request) -> Request {
    Request { before, ..request }
}

/// Asked in this order: a line in `before` holds until another one changes it back.
const REQUESTS: &[Request] = &[
    // Installing.
    same("install hello"),
    same("install hello:amd64"),
    same("install --install-recommends git"),
    same("install --no-install-recommends git"),
    same("install openssl={new:openssl}"),
    same("install hello nano-"),
    same("install hello nano- tmux-"),
    // Real packages behind names that others provide.
    same("install perlapi-5.36.0"),
    same("install gawk mawk-"),
    // One of several alternatives: the first, or the one that is asked for too.
    same("install --no-install-recommends bsd-mailx"),
    same("install --no-install-recommends bsd-mailx postfix"),
    same("install python3-apt apache2"),
    // Removing.
    same("remove nano"),
    same("remove nano tmux"),
    same("remove libevent-core-2.1-7"),
    both("remove --autoremove tmux", "remove --auto-remove tmux"),
    same("purge nano"),
    same("purge libevent-core-2.1-7"),
    both("purge --autoremove tmux", "purge --auto-remove tmux"),
    after("apt-mark auto less", same("autoremove")),
    // Newer, earlier and the same versions.
    both("update openssl", "install --only-upgrade openssl"),
    both("update openssl sudo", "install --only-upgrade openssl sudo"),
    both("upgrade", "upgrade --with-new-pkgs"),
    both("full-upgrade", "dist-upgrade"),
    both("full-upgrade --autoremove", "dist-upgrade --auto-remove"),
    both("downgrade openssl={oldest:openssl}", "install --allow-downgrades openssl={oldest:openssl}"),
    both(
        "downgrade openssl={oldest:openssl} tzdata={oldest:tzdata}",
        "install --allow-downgrades openssl={oldest:openssl} tzdata={oldest:tzdata}",
    ),
    both("reinstall nano", "install --reinstall nano"),
    both("reinstall nano tmux", "install --reinstall nano tmux"),
    // Holds.
    after("apt-mark hold sudo", both("upgrade", "upgrade --with-new-pkgs")),
    both("full-upgrade", "dist-upgrade"),
    impossible("install sudo={new:sudo}", "install sudo={new:sudo}", &["sudo"]),
    both("install --override-hold sudo={new:sudo}", "install --allow-change-held-packages sudo={new:sudo}"),
    // Pins.
    after(
        "apt-mark unhold sudo; printf 'Package: openssl\\nPin: version {old:openssl}\\nPin-Priority: 1001\\n' >/etc/apt/preferences.d/test",
        both("upgrade", "upgrade --with-new-pkgs"),
    ),
    after(
        "printf 'Package: openssl\\nPin: version {oldest:openssl}\\nPin-Priority: 1001\\n' >/etc/apt/preferences.d/test",
        both("full-upgrade --allow-downgrade", "dist-upgrade --allow-downgrades"),
    ),
    after(
        "printf 'Package: hello\\nPin: release *\\nPin-Priority: -1\\n' >/etc/apt/preferences.d/test",
        // Another package provides it, and takes its place.
        same("install hello"),
    ),
    after(
        "printf 'Package: cowsay\\nPin: release *\\nPin-Priority: -1\\n' >/etc/apt/preferences.d/test",
        impossible("install cowsay", "install cowsay", &["cowsay"]),
    ),
    // Impossible or not allowed.
    after("rm /etc/apt/preferences.d/test", impossible("install nosuch", "install nosuch", &["nosuch"])),
    impossible("install hello=99", "install hello=99", &["hello", "99"]),
    impossible("install hello:i386", "install hello:i386", &["hello"]),
    impossible("install mail-transport-agent", "install mail-transport-agent", &["mail-transport-agent"]),
    impossible("install exim4-daemon-light postfix", "install exim4-daemon-light postfix", &["exim4-daemon-light", "postfix"]),
    impossible(
        "install tmux={new:tmux} libevent-core-2.1-7-",
        "install tmux={new:tmux} libevent-core-2.1-7-",
        &["tmux", "libevent-core-2.1-7"],
    ),
    impossible("install openssl={oldest:openssl}", "install openssl={oldest:openssl}", &["openssl"]),
    impossible("remove dpkg", "remove dpkg", &["dpkg"]),
];

/// An item: action, package, architecture, version before and version after.
type Item = [String; 5];

#[test]
fn plans_are_what_apt_would_do() -> Result<()> {
    ensure!(REQUESTS.len() >= 30);
    let scene = Scene::debian()?;
    let versions = versions(&scene.machine)?;
    prepare(&scene.machine, &versions)?;
    let mut differences = Vec::new();
    for request in REQUESTS {
        if !request.before.is_empty() {
            scene.machine.check(["sh", "-c", &filled(request.before, &versions)])?;
        }
        if let Err(error) = compare(&scene, request, &versions) {
            differences.push(format!("{}: {error:#}", request.ours));
        }
    }
    ensure!(!scene.machine.path(PINS).exists());
    ensure!(differences.is_empty(), "{} of {} requests:\n{}", differences.len(), REQUESTS.len(), differences.join("\n"));
    Ok(())
}

/// What Debian offers of the packages that requests give versions of: newest first.
fn versions(machine: &Machine) -> Result<BTreeMap<String, Vec<String>>> {
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in machine.check(["apt-cache", "madison"].into_iter().chain(BEHIND).chain(["tmux"]))?.lines() {
        let mut fields = line.split('|').map(|field| field.trim().to_owned());
        let (name, version) = (fields.next().context("no name")?, fields.next().context("no version")?);
        versions.entry(name).or_default().push(version);
    }
    for name in BEHIND {
        versions.entry(name.to_owned()).or_default().dedup();
        ensure!(versions[name].len() > 1, "Debian has one version of {name} only: choose another package");
    }
    Ok(versions)
}

fn filled(words: &str, versions: &BTreeMap<String, Vec<String>>) -> String {
    let mut words = words.to_owned();
    for (name, versions) in versions {
        let ages = [("new", versions.first()), ("old", versions.get(1)), ("oldest", versions.last())];
        for (age, version) in ages.into_iter().filter_map(|(age, version)| Some((age, version?))) {
            words = words.replace(&format!("{{{age}:{name}}}"), version);
        }
    }
    words
}

fn prepare(machine: &Machine, versions: &BTreeMap<String, Vec<String>>) -> Result<()> {
    let old = BEHIND.map(|name| filled(&format!("{name}={{old:{name}}}"), versions));
    let install = ["apt-get", "install", "-y", "-qq", "--allow-downgrades", "--no-install-recommends"];
    machine.check(install.into_iter().chain(PRESENT.split(' ')).chain(old.iter().map(String::as_str))).map(drop)
}

fn compare(scene: &Scene, request: &Request, versions: &BTreeMap<String, Vec<String>>) -> Result<()> {
    let (ours, apts) = (filled(request.ours, versions), filled(request.apts, versions));
    let (ours, apts) = thread::scope(|scope| {
        let ours = scope.spawn(|| scene.backstep(&format!("plan {ours}")));
        let apts = scene.machine.run(["apt-get", "-s", "-y"].into_iter().chain(apts.split(' ')));
        (ours.join(), apts)
    });
    let ours = ours.map_err(|_| anyhow::anyhow!("the client's thread panicked"))??;
    if request.names.is_empty() { possible(scene, &ours, &apts?.success()?) } else { refused(request, &ours, &apts?) }
}

fn possible(scene: &Scene, ours: &Ended, apts: &Output) -> Result<()> {
    ensure!(ours.code == 0, "exit {}: {} {}", ours.code, ours.text("error_text"), ours.stderr);
    let planned = planned(&ours.json);
    let simulated = simulated(&scene.machine, &apts.stdout)?;
    let only =
        |one: &[Item], other: &[Item]| one.iter().filter(|item| !other.contains(item)).map(|item| item.join(" ")).collect::<Vec<_>>();
    let (more, less) = (only(&planned, &simulated), only(&simulated, &planned));
    ensure!(more.is_empty() && less.is_empty() && planned.len() == simulated.len(), "only planned: {more:?}; only apt: {less:?}");
    Ok(())
}

fn refused(request: &Request, ours: &Ended, apts: &Output) -> Result<()> {
    ensure!(ours.code != 0, "planned: {:?}", ours.plan());
    ensure!(!apts.status.success(), "apt-get would do it:\n{}", apts.stdout);
    let text = ours.text("error_text");
    let unnamed: Vec<_> = request.names.iter().filter(|name| !text.contains(**name)).collect();
    ensure!(unnamed.is_empty(), "{unnamed:?} is not named in: {text}");
    Ok(())
}

fn planned(transaction: &Value) -> Vec<Item> {
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let rows = transaction["plan"].as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter().map(|row| ["action", "package", "arch", "from", "to"].map(|key| text(row, key))).collect()
}

/// What apt-get says it would do.
fn simulated(machine: &Machine, text: &str) -> Result<Vec<Item>> {
    let installed = machine.check(["dpkg-query", "--show", "--showformat=${Package} ${Architecture}\\n"])?;
    let architecture = |name: &str| installed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap_or_default();
    text.lines().filter_map(|line| deed(line, architecture)).collect()
}

/// `Inst name [from] (to origin [arch])`, `Remv name [from]`, `Purg name [from]`.
fn deed<'a>(line: &str, architecture: impl Fn(&str) -> &'a str) -> Option<Result<Item>> {
    let (verb, rest) = line.split_once(' ')?;
    let (name, rest) = rest.split_once(' ')?;
    let between = |text: &str, open: char, close: char| {
        text.split_once(open).and_then(|(_, rest)| rest.split_once(close)).map(|(inside, _)| inside.to_owned())
    };
    let (old, new) = rest.split_once('(').map_or((rest, ""), |(old, new)| (old, new));
    let from = between(old, '[', ']').unwrap_or_default();
    let to = new.split([' ', ')']).next().unwrap_or_default().to_owned();
    let brought = between(new, '[', ']').unwrap_or_default();
    let item = |action: &str, arch: String| Some(Ok([action.to_owned(), name.to_owned(), arch, from.clone(), to.clone()]));
    match verb {
        "Inst" => match direction(&from, &to) {
            Ok(action) => item(action, brought),
            Err(error) => Some(Err(error)),
        },
        "Remv" => item("remove", architecture(name).to_owned()),
        "Purg" => item("purge", architecture(name).to_owned()),
        _ => None,
    }
}

/// The action that leads from one version to another; dpkg says which is newer.
fn direction(from: &str, to: &str) -> Result<&'static str> {
    if from.is_empty() || from == to {
        return Ok(if from.is_empty() { "install" } else { "reinstall" });
    }
    let newer = output(&mut host("dpkg", ["--compare-versions", from, "lt", to]))?.status.success();
    Ok(if newer { "upgrade" } else { "downgrade" })
}
