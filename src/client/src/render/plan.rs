//! A plan as a table and a summary: what will happen, and how well it can be undone.

use std::collections::{BTreeSet, HashMap};

use backstep_bus::{PlanRow, TransactionProperties};
use backstep_core::PlanAction;
use backstep_core::count::named;

use crate::render::escape::escaped;
use crate::render::size;
use crate::render::table::{Cell, Column, table};
use crate::ui::{Ink, Ui};

const COLUMNS: &[Column] = &[
    Column::Left("Action"),
    Column::Flexible("Package"),
    Column::Flexible("From"),
    Column::Flexible("To"),
    Column::Right("Size"),
    Column::Left("Undo"),
];

/// Reasons that are shown before the rest is only counted.
const MAX_REASONS: usize = 10;

/// Repositories that are named before the rest is only counted.
const MAX_ORIGINS: usize = 4;

/// Whether nothing would happen. A plan that only changes marks has no rows but a summary.
pub(crate) fn is_empty(properties: &TransactionProperties) -> bool {
    properties.plan.is_empty() && matches!(properties.plan_summary.as_str(), "" | "nothing to do")
}

/// The table, the summary, why an undo is not exact, and warnings.
pub(crate) fn plan(ui: &Ui, properties: &TransactionProperties) -> String {
    let mut text = String::new();
    if !properties.plan.is_empty() {
        let names = Names::of(&properties.plan);
        let rows: Vec<Vec<Cell>> = properties.plan.iter().map(|row| cells(row, &names)).collect();
        text.push_str(&table(ui, COLUMNS, &rows));
        text.push('\n');
    }
    text.push_str(&summary(properties));
    text.push('\n');
    text.push_str(&reasons(properties));
    for warning in &properties.plan_warnings {
        text.push_str(&format!("{} {}\n", ui.paint(Ink::Caution, "Warning:"), escaped(warning)));
    }
    text
}

fn cells(row: &PlanRow, names: &Names) -> Vec<Cell> {
    let action = match row.action.parse::<PlanAction>() {
        Ok(PlanAction::Remove | PlanAction::Purge) if row.essential => Cell::inked(format!("{}!", escaped(&row.action)), Ink::Bad),
        Ok(PlanAction::Remove | PlanAction::Purge | PlanAction::Downgrade) => Cell::inked(escaped(&row.action), Ink::Caution),
        Ok(PlanAction::Install | PlanAction::Upgrade | PlanAction::Reinstall | PlanAction::Hold | PlanAction::Unhold) | Err(_) => {
            escaped(&row.action).into()
        }
    };
    let undo = match row.undo.as_str() {
        "impossible" => Cell::inked("impossible", Ink::Bad),
        "best-effort" => Cell::inked("best effort", Ink::Caution),
        other => escaped(other).into(),
    };
    let size = if row.size == 0 { String::new() } else { size::bytes(row.size) };
    vec![action, names.show(row).into(), escaped(&row.from).into(), escaped(&row.to).into(), size.into(), undo]
}

/// Names with their architecture where the name alone is not enough.
struct Names<'a>(HashMap<&'a str, usize>);

impl<'a> Names<'a> {
    fn of(plan: &'a [PlanRow]) -> Self {
        let mut counts = HashMap::new();
        for row in plan {
            *counts.entry(row.package.as_str()).or_insert(0) += 1;
        }
        Self(counts)
    }

    fn show(&self, row: &PlanRow) -> String {
        let ambiguous = self.0.get(row.package.as_str()).is_some_and(|count| *count > 1);
        if ambiguous { escaped(&format!("{}:{}", row.package, row.arch)) } else { escaped(&row.package) }
    }
}

/// One sentence of counts, one of sizes, one about undo.
fn summary(properties: &TransactionProperties) -> String {
    let counts: Vec<String> = counts(&properties.plan).into_iter().map(|(action, count)| format!("{count} to {action}")).collect();
    let mut sentences = vec![if counts.is_empty() { escaped(&properties.plan_summary) } else { counts.join(", ") }];
    if properties.download_bytes > 0 {
        sentences.push(format!("download {}", size::bytes(properties.download_bytes)));
    }
    sentences.extend(from(&properties.plan));
    if properties.installed_delta != 0 {
        sentences.push(format!("disk {}", size::change(properties.installed_delta)));
    }
    sentences.push(undo(properties).to_owned());
    sentences.join("; ") + "."
}

/// The repositories that archives come from.
fn from(plan: &[PlanRow]) -> Option<String> {
    let origins: BTreeSet<&str> = plan.iter().map(|row| row.origin.as_str()).filter(|origin| !origin.is_empty()).collect();
    let origins: Vec<String> = origins.into_iter().map(escaped).collect();
    (!origins.is_empty()).then(|| format!("from {}", named(&origins, MAX_ORIGINS)))
}

/// How many rows have each action, in the order of plan tables.
pub(crate) fn counts(plan: &[PlanRow]) -> Vec<(PlanAction, usize)> {
    let mut actions = PlanAction::ALL.to_vec();
    actions.sort_by_key(|action| action.rank());
    let count = |action: &PlanAction| plan.iter().filter(|row| row.action == action.as_str()).count();
    actions.into_iter().map(|action| (action, count(&action))).filter(|(_, count)| *count > 0).collect()
}

fn undo(properties: &TransactionProperties) -> &'static str {
    let has = |quality: &str| properties.plan.iter().any(|row| row.undo == quality);
    if properties.irreversible || has("impossible") {
        "a part cannot be undone"
    } else if has("best-effort") {
        "can be undone, in part as best effort"
    } else {
        "can be undone"
    }
}

fn reasons(properties: &TransactionProperties) -> String {
    let inexact: Vec<&PlanRow> = properties.plan.iter().filter(|row| !row.undo_why.is_empty()).collect();
    let mut text: String =
        inexact.iter().take(MAX_REASONS).map(|row| format!("  undo of {}: {}\n", escaped(&row.package), escaped(&row.undo_why))).collect();
    if inexact.len() > MAX_REASONS {
        text.push_str(&format!("  and {} more\n", inexact.len() - MAX_REASONS));
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn row(action: &str, package: &str, from: &str, to: &str, size: u64) -> PlanRow {
        PlanRow {
            action: action.into(),
            package: package.into(),
            arch: "amd64".into(),
            from: from.into(),
            to: to.into(),
            size,
            undo: "exact".into(),
            ..PlanRow::default()
        }
    }

    #[test]
    fn a_plan_says_what_goes_first_and_how_it_comes_back() {
        let mut removed = row("remove", "nano", "7.2-1", "", 0);
        removed.undo = "best-effort".into();
        removed.undo_why = "its script writes outside the package".into();
        let from = |origin: &str, row: PlanRow| PlanRow { origin: origin.into(), ..row };
        let properties = TransactionProperties {
            plan: vec![
                removed,
                from("Debian/stable", row("install", "hello", "", "2.10-3", 53_100)),
                from("Debian-Security/stable", row("upgrade", "base-files", "12.4", "12.4+deb12u5", 70_000)),
            ],
            download_bytes: 123_100,
            installed_delta: -2_000_000,
            plan_warnings: vec!["nano is\u{1b} the editor".into()],
            ..TransactionProperties::default()
        };
        let expected = "\
Action   Package     From   To             Size  Undo
remove   nano        7.2-1                       best effort
install  hello              2.10-3        53 kB  exact
upgrade  base-files  12.4   12.4+deb12u5  70 kB  exact

1 to remove, 1 to install, 1 to upgrade; download 123 kB; from Debian-Security/stable, Debian/stable; disk -2.0 MB; can be undone, in part as best effort.
  undo of nano: its script writes outside the package
Warning: nano is\\x1b the editor
";
        assert_eq!(plan(&Ui::plain(), &properties), expected);
    }

    #[test]
    fn architectures_are_shown_where_names_are_not_enough() {
        let mut foreign = row("install", "libc6", "", "2.36", 1);
        foreign.arch = "i386".into();
        let text = plan(
            &Ui::plain(),
            &TransactionProperties { plan: vec![row("upgrade", "libc6", "2.35", "2.36", 1), foreign], ..Default::default() },
        );
        assert!(text.contains("libc6:i386") && text.contains("libc6:amd64"), "{text}");
    }

    #[test]
    fn many_repositories_are_counted() {
        let rows = |number: u32| (0..number).map(|n| PlanRow { origin: format!("O{}/s", n % 6), ..PlanRow::default() }).collect::<Vec<_>>();
        assert_eq!(from(&rows(4)).as_deref(), Some("from O0/s, O1/s, O2/s, O3/s"));
        assert_eq!(from(&rows(9)).as_deref(), Some("from O0/s, O1/s, O2/s, O3/s and 2 more"));
        assert_eq!(from(&[PlanRow::default()]), None);
    }

    #[test]
    fn marks_alone_are_something_to_do() {
        assert!(is_empty(&TransactionProperties { plan_summary: "nothing to do".into(), ..Default::default() }));
        assert!(!is_empty(&TransactionProperties { plan_summary: "2 marks".into(), ..Default::default() }));
    }
}
