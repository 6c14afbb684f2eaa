//! The documentation against the code: what rots when nothing checks it.

// Tests set their scene with plain calls.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use backstep_core::ErrorCode;
use backstep_core::doors::{Place, doors};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are in the repository").to_owned()
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
}

fn names(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("cannot read {folder}: {error}"));
    entries.map(|entry| entry.expect("entry").file_name().into_string().expect("UTF-8")).collect()
}

/// Every Markdown file of the project, relative to its root.
fn pages() -> Vec<String> {
    let list = |folder: &str| -> Vec<String> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        names(if folder.is_empty() { "." } else { folder }).iter().map(|name| format!("{prefix}{name}")).collect()
    };
    let all = ["", "docs", "docs/errors", "src/engine"].into_iter().flat_map(list);
    all.filter(|path| path.ends_with(".md")).collect()
}

/// The fenced blocks of a language, in order.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}");
    let mut found = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line == fence {
            found.push(lines.by_ref().take_while(|line| *line != "```").collect::<Vec<_>>().join("\n"));
        } else if line.starts_with("```") {
            lines.by_ref().find(|line| *line == "```");
        }
    }
    found
}

/// The local targets of a page's links: path without fragment, and fragment.
fn links(page: &str) -> Vec<(String, String)> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let local = targets.filter(|target| !target.contains("://"));
    local
        .map(|target| {
            let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
            (path.to_owned(), fragment.to_owned())
        })
        .collect()
}

/// A heading as its link.
fn slug(heading: &str) -> String {
    let kept = heading.trim_start_matches(['#', ' ']).to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_error_code_has_its_page() {
    let expected: BTreeSet<String> = ErrorCode::ALL.iter().map(|code| format!("{code}.md")).chain([String::from("README.md")]).collect();
    assert_eq!(names("docs/errors"), expected, "a page is missing, or is of no code");
}

#[test]
fn every_error_page_says_what_the_code_says() {
    let index = text("docs/errors/README.md");
    for code in ErrorCode::ALL {
        let page = text(&format!("docs/errors/{code}.md"));
        assert!(page.starts_with(&format!("# {code}\n")), "{code}: the title");
        assert!(page.contains(&format!("| exit code | {} |", code.exit_code())), "{code}: the exit code");
        assert!(page.contains(&format!("| D-Bus name | `{}` |", code.dbus_name())), "{code}: the D-Bus name");
        let titles: Vec<&str> = page.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(titles, ["## What it means", "## What was left changed", "## What to do"], "{code}");
        assert!(index.contains(&format!("| [{code}]({code}.md) | {} |", code.exit_code())), "{code}: the index");
    }
}

#[test]
fn the_shell_blocks_of_the_readme_parse() {
    let script = blocks(&text("README.md"), "sh");
    assert!(script.len() > 10, "only {} blocks", script.len());
    for block in script {
        let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("bash");
        bash.stdin.take().expect("piped").write_all(block.as_bytes()).expect("bash reads");
        let output = bash.wait_with_output().expect("bash ends");
        assert!(output.status.success(), "{}\n{block}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_readme_has_every_exit_code() {
    let readme = text("README.md");
    for code in ErrorCode::ALL {
        assert!(readme.contains(&format!("\n| {} | ", code.exit_code())), "{code} ends with {}", code.exit_code());
    }
}

#[test]
fn the_architecture_is_short_and_names_every_crate() {
    let page = text("ARCHITECTURE.md");
    let lines = page.lines().count();
    assert!(lines <= 200, "{lines} lines, 200 at most");
    for name in names("src") {
        assert!(page.contains(&format!("| `src/{name}` |")), "src/{name} is not in the map");
    }
}

#[test]
fn every_direct_dependency_has_its_reason() {
    let manifest = text("Cargo.toml");
    let page = text("CONTRIBUTING.md");
    let listed: BTreeSet<&str> = page
        .lines()
        .skip_while(|line| *line != "## Direct dependencies")
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
        .flat_map(|cell| cell.split(", "))
        .collect();
    let section = manifest.split("[workspace.dependencies]").nth(1).expect("the list").split("\n[").next().expect("its end");
    let names = section.lines().filter_map(|line| line.split_once(" =")).map(|(name, _)| name);
    for name in names.filter(|name| !name.starts_with("backstep-") && is_used(name)) {
        assert!(listed.contains(name), "{name} has no reason in CONTRIBUTING.md");
    }
}

fn is_used(name: &str) -> bool {
    let manifests = names("src").into_iter().map(|folder| format!("src/{folder}/Cargo.toml")).chain(["tests/Cargo.toml".to_owned()]);
    let starts = [format!("{name}.workspace"), format!("{name} = ")];
    manifests.map(|path| text(&path)).any(|toml| toml.lines().any(|line| starts.iter().any(|start| line.starts_with(start))))
}

/// The verbs that a page calls the program with, in code within a line.
fn verbs(page: &str) -> BTreeSet<&str> {
    let code = page.split('`').skip(1).step_by(2);
    code.filter_map(|code| code.strip_prefix("backstep ")?.split(' ').next()).collect()
}

#[test]
fn the_page_for_auditors_names_commands_that_there_are() {
    let page = text("docs/compliance.md");
    let there: BTreeSet<&str> = doors().iter().filter(|door| door.place == Place::Verb).map(|door| door.name).collect();
    let named = verbs(&page);
    assert!(named.len() > 10, "only {named:?}");
    assert!(named.is_subset(&there), "no verbs: {:?}", named.difference(&there));
}

#[test]
fn links_lead_somewhere() {
    for page in pages() {
        let content = text(&page);
        let folder = Path::new(&page).parent().unwrap_or(Path::new("")).to_owned();
        for (path, fragment) in links(&content) {
            let target = if path.is_empty() { PathBuf::from(&page) } else { folder.join(&path) };
            assert!(root().join(&target).exists(), "{page}: {} is not there", target.display());
            if !fragment.is_empty() {
                let there = text(&target.display().to_string());
                let found = there.lines().any(|line| line.starts_with('#') && slug(line) == fragment);
                assert!(found, "{page}: {} has no heading #{fragment}", target.display());
            }
        }
    }
}

#[test]
fn the_default_configuration_has_every_key_of_the_readme() {
    let keys = |text: &str| -> BTreeSet<String> {
        let names = text.lines().filter_map(|line| line.trim_start_matches('#').split_once(" = ")).map(|(name, _)| name.trim().to_owned());
        names.filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-')).collect()
    };
    let readme = blocks(&text("README.md"), "toml").join("\n");
    assert_eq!(keys(&text("packaging/backstep.toml")), keys(&readme));
}

#[test]
fn the_page_about_the_schema_is_that_of_the_live_schema() {
    let page = backstep_store::schema_page().expect("every column has its words");
    assert!(text("docs/schema/record.md") == page, "docs/schema/record.md is old: make docs");
}
