//! How apt-get and dpkg are called for a plan: options, environment and package arguments.
//!
//! Invariants: packages are written as `name:arch=version`, `name:arch-` or an absolute path, after `--`, from
//! values that cannot spell anything else; the plan lists every package, so that apt-get decides nothing.
//! apt-get marks everything it is told to install as manual: the caller sets the marks afterwards from the plan.
//!
//! apt 2.6 takes no lock of dpkg's with `Debug::NoLocking`; dpkg, told by `DPKG_FRONTEND_LOCKED`, takes only the
//! inner one. The caller holds `lock-frontend` meanwhile. `name:all` is understood for versions and removals.
//!
//! Two ways to name what comes: [`fetch`] as `name:arch=version` out of the package lists; [`commands`] as archives
//! whose content is known, with no package lists at all. The second knows only what is installed and what the plan
//! brings: nothing else can be chosen, what is unpacked is what was compared with the plan, and apt-get starts in a
//! tenth of the time.

use backstep_core::request::ConffilePolicy;
use backstep_core::{Archive, ArchiveSource, Plan, PlanAction, PlanItem};

/// The environment of apt-get and dpkg but what the policy for configuration files adds.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("LOGNAME", "root"),
    ("USER", "root"),
    ("SHELL", "/bin/sh"),
    ("TERM", "dumb"),
    ("LC_ALL", "C.UTF-8"),
    ("LANG", "C.UTF-8"),
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("DEBIAN_PRIORITY", "critical"),
    ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
    ("DEBCONF_NOWARNINGS", "yes"),
    ("APT_LISTCHANGES_FRONTEND", "none"),
    ("APT_LISTBUGS_FRONTEND", "none"),
    ("NEEDRESTART_SUSPEND", "1"),
    ("PAGER", "cat"),
    ("DPKG_FRONTEND_LOCKED", "1"),
];

/// The whole environment of apt-get and dpkg: nothing is inherited. ucf, which many packages keep their
/// configuration with, is told the same as dpkg.
pub fn environment(policy: ConffilePolicy) -> impl Iterator<Item = (&'static str, &'static str)> {
    let ucf = match policy {
        ConffilePolicy::Keep => "UCF_FORCE_CONFFOLD",
        ConffilePolicy::Replace => "UCF_FORCE_CONFFNEW",
    };
    ENVIRONMENT.iter().copied().chain([(ucf, "1")])
}

/// How a plan is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commands {
    /// apt-get's arguments, without the program's name; empty when there is nothing for it.
    pub apt_get: Vec<String>,
    /// dpkg's arguments for packages whose configuration goes too, run after apt-get; empty when apt-get's
    /// `--purge` does that or nothing is purged.
    pub dpkg: Vec<String>,
}

/// The commands that carry out a plan. `archive_path` names the absolute path of an archive; all must be there.
/// `status_fd` is the number of the descriptor that apt-get inherits for its progress.
#[must_use]
pub fn commands(plan: &Plan, status_fd: i32, archive_path: impl Fn(&Archive) -> String) -> Commands {
    let packages = arguments(plan, |_| true, archive_path);
    if packages.is_empty() {
        return Commands { apt_get: Vec::new(), dpkg: Vec::new() };
    }
    let apart = APART.iter().flat_map(|setting| ["-o".to_owned(), (*setting).to_owned()]);
    let apt_get = apart.chain(install(plan, status_fd, packages)).collect();
    Commands { apt_get, dpkg: dpkg_purge(plan) }
}

/// apt-get's arguments for getting, or simulating, a plan out of the package lists; empty when there is nothing for
/// it. `archive_path` names the absolute path of an archive that no repository offers (local or kept).
#[must_use]
pub fn fetch(plan: &Plan, status_fd: i32, archive_path: impl Fn(&Archive) -> String) -> Vec<String> {
    let packages = arguments(plan, |archive| archive.source != ArchiveSource::Repository, archive_path);
    if packages.is_empty() { Vec::new() } else { install(plan, status_fd, packages) }
}

fn install(plan: &Plan, status_fd: i32, packages: Vec<String>) -> Vec<String> {
    let mut apt_get = options(plan, status_fd);
    apt_get.extend(["install".to_owned(), "--".to_owned()]);
    apt_get.extend(packages);
    apt_get
}

/// The package arguments of the one `apt-get install` that realises the plan, in the plan's order.
fn arguments(plan: &Plan, from_file: impl Fn(&Archive) -> bool, archive_path: impl Fn(&Archive) -> String) -> Vec<String> {
    plan.items.iter().filter_map(|item| argument(item, &from_file, &archive_path)).collect()
}

fn argument(item: &PlanItem, from_file: impl Fn(&Archive) -> bool, archive_path: impl Fn(&Archive) -> String) -> Option<String> {
    match item.action {
        PlanAction::Hold | PlanAction::Unhold => None,
        PlanAction::Remove | PlanAction::Purge => Some(format!("{}-", item.package)),
        PlanAction::Install | PlanAction::Upgrade | PlanAction::Downgrade | PlanAction::Reinstall => {
            let named = || item.to.as_ref().map(|version| format!("{}={version}", item.package));
            item.archive.as_ref().filter(|archive| from_file(archive)).map(archive_path).or_else(named)
        }
    }
}

/// No package sources, no lists, and apt's own caches left alone. Nothing comes over a network then, so apt's
/// unprivileged user, who cannot read our archives, is not needed.
const APART: &[&str] = &[
    "Dir::Etc::sourcelist=/dev/null",
    "Dir::Etc::sourceparts=/dev/null",
    "Dir::State::lists=/nonexistent/",
    "Dir::Cache::pkgcache=",
    "Dir::Cache::srcpkgcache=",
    "APT::Sandbox::User=root",
];

fn options(plan: &Plan, status_fd: i32) -> Vec<String> {
    let mut settings = vec![
        format!("APT::Status-Fd={status_fd}"),
        "Dpkg::Use-Pty=0".to_owned(),
        "Debug::NoLocking=1".to_owned(),
        "APT::Install-Recommends=false".to_owned(),
        "APT::Install-Suggests=false".to_owned(),
        "APT::Get::AutomaticRemove=false".to_owned(),
        "APT::Get::HideAutoRemove=true".to_owned(),
        "APT::Color=0".to_owned(),
    ];
    settings.extend(dpkg_options(plan.options.conffiles).iter().map(|option| format!("Dpkg::Options::={option}")));
    let mut options = vec!["-y".to_owned(), "-q".to_owned()];
    options.extend(settings.into_iter().flat_map(|setting| ["-o".to_owned(), setting]));
    options.extend(permissions(plan).into_iter().map(str::to_owned));
    options
}

/// Only what the plan has: apt-get refuses whatever goes beyond.
fn permissions(plan: &Plan) -> Vec<&'static str> {
    let has = |action| plan.count(action) > 0;
    let wanted = [
        (has(PlanAction::Downgrade), "--allow-downgrades"),
        (plan.removes_essential(), "--allow-remove-essential"),
        (plan.options.override_hold, "--allow-change-held-packages"),
        (has(PlanAction::Reinstall), "--reinstall"),
        (purges_all(plan), "--purge"),
    ];
    wanted.into_iter().filter_map(|(wanted, option)| wanted.then_some(option)).collect()
}

/// Whether apt-get itself purges: its `--purge` is for all removals or none.
pub(crate) fn purges_all(plan: &Plan) -> bool {
    plan.count(PlanAction::Purge) > 0 && plan.count(PlanAction::Remove) == 0
}

/// dpkg's options for configuration files. `--force-confdef` takes the default where there is one, the second
/// decides where there is none.
#[must_use]
pub const fn dpkg_options(policy: ConffilePolicy) -> &'static [&'static str] {
    match policy {
        ConffilePolicy::Keep => &["--force-confdef", "--force-confold"],
        ConffilePolicy::Replace => &["--force-confnew"],
    }
}

fn dpkg_purge(plan: &Plan) -> Vec<String> {
    if purges_all(plan) || plan.count(PlanAction::Purge) == 0 {
        return Vec::new();
    }
    let purged = plan.items.iter().filter(|item| item.action == PlanAction::Purge).map(|item| item.package.to_string());
    ["--purge".to_owned(), "--".to_owned()].into_iter().chain(purged).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{archive, item, plan};

    fn path(archive: &Archive) -> String {
        format!("/kept/{}.deb", archive.sha256)
    }

    #[test]
    fn packages_are_fetched_by_name_and_applied_by_archive() {
        let mut local = item(PlanAction::Install, "mine:amd64", None, Some("1"));
        local.archive = Some(archive(ArchiveSource::Local));
        let plan = plan(vec![
            item(PlanAction::Remove, "gone:all", Some("1"), None),
            item(PlanAction::Upgrade, "hello:amd64", Some("1"), Some("1:2-3")),
            local,
            item(PlanAction::Hold, "held:amd64", Some("1"), Some("1")),
        ]);
        let names = |words: &[String]| words.iter().skip_while(|word| *word != "--").skip(1).cloned().collect::<Vec<_>>();
        let fetched = names(&fetch(&plan, 3, path));
        assert_eq!(fetched[..2], ["gone:all-", "hello:amd64=1:2-3"]);
        assert!(fetched[2].starts_with("/kept/0707") && fetched.len() == 3);
        let applied = commands(&plan, 3, path).apt_get;
        assert!(names(&applied)[1..].iter().all(|word| word.starts_with("/kept/")), "{applied:?}");
        assert!(applied.iter().any(|word| word == "Dir::State::lists=/nonexistent/"));
    }

    #[test]
    fn ucf_is_told_what_dpkg_is_told() {
        let names = |policy| environment(policy).map(|(name, _)| name).filter(|name| name.starts_with("UCF")).collect::<Vec<_>>();
        assert_eq!(names(ConffilePolicy::Keep), ["UCF_FORCE_CONFFOLD"]);
        assert_eq!(names(ConffilePolicy::Replace), ["UCF_FORCE_CONFFNEW"]);
    }

    #[test]
    fn permissions_are_given_only_where_the_plan_has_a_use() {
        let quiet = commands(&plan(vec![item(PlanAction::Install, "a1:amd64", None, Some("1"))]), 7, path);
        let text = quiet.apt_get.join(" ");
        assert!(text.contains(" install -- /kept/") && text.contains("APT::Status-Fd=7"), "{text}");
        for option in ["--allow", "--purge", "--reinstall"] {
            assert!(!text.contains(option), "{option} in {text}");
        }
        let mut loud = plan(vec![
            item(PlanAction::Downgrade, "a1:amd64", Some("2"), Some("1")),
            item(PlanAction::Reinstall, "b1:amd64", Some("2"), Some("2")),
            item(PlanAction::Purge, "c1:amd64", Some("2"), None),
        ]);
        loud.items[2].essential = true;
        loud.options.override_hold = true;
        let commands = commands(&loud, 3, path);
        for option in ["--allow-downgrades", "--allow-remove-essential", "--allow-change-held-packages", "--purge", "--reinstall"] {
            assert!(commands.apt_get.iter().any(|word| word == option), "{option}");
        }
        assert!(commands.dpkg.is_empty());
    }

    #[test]
    fn a_purge_beside_a_removal_is_dpkgs() {
        let plan = plan(vec![item(PlanAction::Purge, "c1:amd64", Some("2"), None), item(PlanAction::Remove, "d1:amd64", Some("2"), None)]);
        let commands = commands(&plan, 3, path);
        assert!(!commands.apt_get.iter().any(|word| word == "--purge"));
        assert_eq!(commands.dpkg, ["--purge", "--", "c1:amd64"]);
    }

    #[test]
    fn nothing_to_do_starts_nothing() {
        let nothing = commands(&plan(vec![item(PlanAction::Hold, "a1:amd64", Some("1"), Some("1"))]), 3, path);
        assert!(nothing.apt_get.is_empty() && nothing.dpkg.is_empty());
    }
}
