//! Why there is no plan, naming the packages, in our own words: libapt's are localised and many lines long.

use backstep_core::{ErrorCode, Failure};
use rust_apt::error::AptErrors;
use rust_apt::{BaseDep, Cache, DepFlags, DepType, Dependency, Package, PkgSelectedState};

const MAX_REASONS: usize = 8;
const MAX_SUGGESTIONS: usize = 3;

/// libapt's own errors, taken off its stack, on one line.
pub(crate) fn apt_errors(errors: &AptErrors) -> String {
    let texts: Vec<&str> = errors.iter().filter(|error| error.is_error).map(|error| error.msg.trim()).collect();
    texts.join("; ")
}

/// The dependencies that cannot be met in the state that the resolver left.
pub(crate) fn unsatisfiable(cache: &Cache) -> Failure {
    let mut reasons: Vec<String> = cache.iter().filter(Package::is_inst_broken).flat_map(|package| broken(cache, &package)).collect();
    reasons.sort();
    reasons.dedup();
    let more = reasons.len().saturating_sub(MAX_REASONS);
    reasons.truncate(MAX_REASONS);
    let mut text = reasons.join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    if text.is_empty() {
        text = format!("no set of packages fulfils the request: {}", apt_errors(&AptErrors::new()));
    }
    Failure::new(ErrorCode::DepsUnsatisfiable, text)
}

fn broken(cache: &Cache, package: &Package<'_>) -> Vec<String> {
    let name = package.fullname(true);
    let Some(version) = package.install_version() else { return vec![format!("{name} cannot stay")] };
    let unmet = |group: &&Dependency<'_>| {
        group
            .last()
            .is_some_and(|last| cache.depcache().is_important_dep(last) && cache.depcache().dep_state(last) & DepFlags::DepGInstall == 0)
    };
    version.depends_map().values().flatten().filter(unmet).map(|group| format!("{name} {}", sentence(group))).collect()
}

fn sentence(group: &Dependency<'_>) -> String {
    let verb = match group.dep_type() {
        DepType::Depends | DepType::PreDepends => "depends on",
        DepType::Recommends => "recommends",
        DepType::Suggests | DepType::Enhances => "suggests",
        DepType::Conflicts | DepType::Obsoletes => "conflicts with",
        DepType::DpkgBreaks => "breaks",
        DepType::Replaces => "replaces",
    };
    let targets: Vec<String> = group.iter().map(target).collect();
    format!("{verb} {}", targets.join(" or "))
}

fn target(dependency: &BaseDep<'_>) -> String {
    let package = dependency.target_package();
    let mut text = package.fullname(true);
    if let (Some(relation), Some(version)) = (dependency.comp_type(), dependency.version()) {
        text.push_str(&format!(" ({relation} {version})"));
    }
    text.push_str(&fate(package));
    text
}

/// What becomes of a package instead.
fn fate(package: &Package<'_>) -> String {
    let held = if package.selected_state() == PkgSelectedState::Hold { ", which is on hold" } else { "" };
    match (package.install_version(), package.installed()) {
        (Some(next), Some(now)) if next == now => format!(", but {now} is installed{held}"),
        (Some(next), _) => format!(", but {next} would be installed{held}"),
        (None, Some(_)) => format!(", but it would be removed{held}"),
        (None, None) if package.candidate().is_some() => ", but it cannot be installed as well".to_owned(),
        (None, None) if package.has_provides() => ", which only other packages provide".to_owned(),
        (None, None) => ", which no source offers".to_owned(),
    }
}

/// An unknown name, with known ones that are spelled almost like it.
pub(crate) fn unknown(cache: &Cache, name: &str) -> Failure {
    let mut close: Vec<(usize, String)> = cache
        .iter()
        .filter(Package::has_versions)
        .map(|package| (distance(name, package.name()), package.name().to_owned()))
        .filter(|(distance, _)| *distance <= 2 && *distance < name.len() / 2)
        .collect();
    close.sort();
    close.dedup();
    let names: Vec<String> = close.into_iter().take(MAX_SUGGESTIONS).map(|(_, name)| name).collect();
    let hint = if names.is_empty() { String::new() } else { format!("; did you mean {}?", names.join(" or ")) };
    Failure::new(ErrorCode::PackageUnknown, format!("no package is named {name}{hint}"))
}

/// Levenshtein's distance; anything beyond 2 is 3, because nobody asks for more.
fn distance(left: &str, right: &str) -> usize {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len().abs_diff(right.len()) > 2 {
        return 3;
    }
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let next = (diagonal + usize::from(a != b)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[right.len()].min(3)
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distances() {
        assert_eq!(distance("hello", "hello"), 0);
        assert_eq!(distance("helo", "hello"), 1);
        assert_eq!(distance("hlelo", "hello"), 2);
        assert_eq!(distance("vim", "emacs"), 3);
        assert_eq!(distance("a", "abcdef"), 3);
    }
}
