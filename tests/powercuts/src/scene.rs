//! What happens in the machine: packages, and the program that changes them and says so on the console.
//!
//! Invariants: each change begins and ends with everything on the disk, so that a cut between two of them has one right
//! answer. What is said is said after it is so.

use backstep_tests::package::{Package, Script};

/// The changes, in their order: a name and the words for `backstep`.
pub const CHANGES: [(&str, &str); 5] = [
    ("install", "install bs-new"),
    ("upgrade", "upgrade"),
    ("rollback", "rollback --last"),
    ("several", "update bs-library bs-tool bs-hook"),
    ("purge", "purge bs-new"),
];

/// What is there before; the rest comes later.
#[must_use]
pub fn old() -> Vec<Package> {
    vec![library("1"), tool("1"), hook("1")]
}

/// What is offered.
#[must_use]
pub fn offered() -> Vec<Package> {
    [old(), vec![library("2"), tool("2"), hook("2"), new()]].concat()
}

/// Text that is different in every file, version and line.
fn text(name: &str, version: &str, lines: usize) -> String {
    (0..lines).map(|line| format!("{name} {version} line {line}\n")).collect()
}

fn files(package: Package, name: &str, version: &str, count: usize, lines: usize) -> Package {
    (0..count).fold(package, |package, number| {
        let path = format!("/usr/share/{name}/{}/file-{number}", number % 7);
        package.file(&path, text(&path, version, lines))
    })
}

fn library(version: &str) -> Package {
    let package = Package::new("bs-library", version).file(&format!("/usr/share/bs-library/only-{version}"), version);
    files(package, "bs-library", version, 40, 800)
}

fn tool(version: &str) -> Package {
    let package = Package::new("bs-tool", version)
        .depends("bs-library")
        .conffile("/etc/bs-tool.conf", text("conffile", version, 5))
        .script(
            Script::Postinst,
            &format!("echo {version} >/etc/bs-tool.made\nmkdir -p /var/lib/bs-tool\ndate +%N >/var/lib/bs-tool/state-{version}"),
        )
        .triggers("activate-noawait bs-hook");
    files(package, "bs-tool", version, 150, 40)
}

fn hook(version: &str) -> Package {
    Package::new("bs-hook", version)
        .triggers("interest-noawait bs-hook")
        .script(Script::Postinst, &format!("[ \"$1\" != triggered ] || echo {version} >/etc/bs-hook.triggered"))
}

fn new() -> Package {
    let package = Package::new("bs-new", "1")
        .conffile("/etc/bs-new.conf", "new\n")
        .unit("bs-new.service", "[Service]\nExecStart=/usr/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n")
        .script(Script::Postinst, "deb-systemd-helper enable bs-new.service >/dev/null")
        .script(Script::Postrm, "[ \"$1\" != purge ] || deb-systemd-helper purge bs-new.service >/dev/null");
    files(package, "bs-new", "1", 120, 60)
}

/// Where the program is in the machine.
pub const PROGRAM: &str = "/usr/local/sbin/powercut";
/// The unit that runs it.
pub const UNIT: &str = "/etc/systemd/system/powercut.service";
/// Where it leaves what it found.
pub const FOUND: &str = "var/log/powercut";

/// The unit.
pub const UNIT_TEXT: &str = "[Unit]\nConditionKernelCommandLine=powercut\nAfter=backstepd.service dbus.service\n\
    [Service]\nExecStart=/usr/local/sbin/powercut\nStandardOutput=tty\nStandardError=tty\nTTYPath=/dev/ttyS0\n\
    [Install]\nWantedBy=multi-user.target\n";

/// What the program looks at when it was told to settle: a file name and a command.
const LOOKS: [(&str, &str); 3] =
    [("audit", "dpkg --audit"), ("history", "backstep --json history --limit 500"), ("chain", "backstep audit verify")];

/// The program. `begin` is said when everything before is on the disk, `acknowledged` when the client has its answer, and
/// `end` when all is on the disk.
#[must_use]
pub fn program() -> String {
    let changes: String = CHANGES.iter().map(|(name, words)| format!("  change {name} {words} --yes\n")).collect();
    let looks: String = LOOKS.iter().map(|(name, words)| format!("  {words} >$found/{name} 2>&1; echo $? >$found/{name}.code\n")).collect();
    format!(
        "#!/bin/sh\nfound=/{FOUND}; mkdir -p $found\n\
         say() {{ echo \"powercut: $*\"; }}\n\
         change() {{\n  name=$1; shift; sync; say begin $name; sleep 1\n  backstep --no-progress \"$@\" >$found/$name.out 2>&1 || {{ cat $found/$name.out; say failed $name; }}\n\
         \x20 say acknowledged $name; sleep 1; sync; say end $name\n}}\n\
         record() {{\n{changes}}}\n\
         rest() {{\n  for i in $(seq 600); do\n    [ \"$(backstep --json list)\" != '[]' ] || return 0\n    sleep 1\n  done\n  backstep list\n  say no rest\n}}\n\
         settle() {{\n  rest\n{looks}}}\n\
         case \" $(cat /proc/cmdline) \" in *powercut=record*) record;; *) settle;; esac\n\
         sync; say off; systemctl poweroff\n"
    )
}
