//! The generated half of docs/security.md: the table of doors, the permissions and the limits.
//!
//! Purpose: the page says what the program does. `make docs` writes it, a test compares. Absent on purpose: prose.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use backstep_core::access::Permission;
use backstep_core::doors::{Door, Place, Who, doors};
use backstep_core::limits::Limits;

const BEGIN: &str = "<!-- generated from here: make docs -->\n";
const END: &str = "<!-- generated to here -->\n";

/// Where the page is.
#[must_use]
pub fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/security.md")
}

/// The page's text with its generated half made anew.
pub fn renewed(text: &str) -> Result<String> {
    let (before, rest) = text.split_once(BEGIN).context("the page has no beginning of the generated half")?;
    let (_, after) = rest.split_once(END).context("the page has no end of the generated half")?;
    Ok(format!("{before}{BEGIN}{}{END}{after}", generated()?))
}

fn generated() -> Result<String> {
    let mut text = String::from("\n## Doors\n\n| door | who | polkit action | reveals or does |\n|---|---|---|---|\n");
    for door in doors() {
        writeln!(text, "| {} | {} | {} | {} |", name(&door), who(door.who), actions(door.who), door.reveals)?;
    }
    text.push_str("\n## polkit actions\n\n| action | any | inactive | active | what for |\n|---|---|---|---|---|\n");
    let policy = fs::read_to_string(page().with_file_name("../polkit/org.backstep1.policy"))?;
    for permission in Permission::ALL {
        let action = action(&policy, *permission)?;
        let value = |tag: &str| between(action, &format!("<{tag}>"), "<").unwrap_or_default().to_owned();
        let defaults = ["allow_any", "allow_inactive", "allow_active", "description"].map(value);
        writeln!(text, "| `{permission}` | {} | {} | {} | {} |", defaults[0], defaults[1], defaults[2], defaults[3])?;
    }
    text.push_str("\n## Limits\n\nSection `[limits]` of the configuration.\n\n| key | default | bounds |\n|---|---|---|\n");
    for (key, value, bounds) in Limits::default().table() {
        writeln!(text, "| `{key}` | {value} | {bounds} |")?;
    }
    text.push('\n');
    Ok(text)
}

fn action(policy: &str, permission: Permission) -> Result<&str> {
    between(policy, &format!("<action id=\"{permission}\">"), "</action>").with_context(|| format!("no action {permission}"))
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.split_once(start)?.1.split_once(end).map(|(found, _)| found)
}

fn name(door: &Door) -> String {
    let sort = match door.place {
        Place::ManagerMethod => "method of Manager",
        Place::ManagerProperty => "property of Manager",
        Place::TransactionMethod => "method of Transaction",
        Place::TransactionProperty => "property of Transaction",
        Place::TransactionSignal => "signal of Transaction",
        Place::RecordMethod => "method of Record",
        Place::Standard => "bus",
        Place::Verb => "command line",
        Place::File => "file",
        Place::Program => "program",
    };
    format!("{sort}: `{}`", door.name)
}

const fn who(who: Who) -> &'static str {
    match who {
        Who::Everybody => "everybody",
        Who::Owner => "owner, root",
        Who::OwnerOr(_) => "owner, root; others with the action",
        Who::Holder(_) => "root; others with the action",
        Who::Plan => "root; the owner with each action that the plan needs",
        Who::SelfOr(_) => "everybody about themselves; of others root, and who has the action",
        Who::Root => "root",
        Who::Machine => "everybody on the machine, to read",
    }
}

fn actions(who: Who) -> String {
    match who {
        Who::OwnerOr(permission) | Who::Holder(permission) | Who::SelfOr(permission) => format!("`{permission}`"),
        Who::Plan => "of the plan".to_owned(),
        Who::Everybody | Who::Owner | Who::Root | Who::Machine => String::new(),
    }
}
