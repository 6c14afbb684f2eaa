//! How changes of a plan's packages ended before, for who decides on the plan. What never failed is not worth a line.

use backstep_bus::record::RiskRow;
use serde_json::{Map, Value, json};

use crate::render::escape::escaped;
use crate::render::json::object;
use crate::render::time;
use crate::ui::{Ink, Ui};

/// Packages that have a line before the rest is only counted.
const MAX_LINES: usize = 10;

/// A line for each package that failed: first those that failed with the version that is planned.
pub(crate) fn lines(ui: &Ui, risks: &[RiskRow]) -> String {
    let own = risks.iter().filter(|row| row.failed > 0);
    let others = risks.iter().filter(|row| row.failed == 0 && row.other_failed > 0);
    let mut told: Vec<String> = own.map(of_version).chain(others.map(of_others)).collect();
    let more = told.len().saturating_sub(MAX_LINES);
    told.truncate(MAX_LINES);
    if more > 0 {
        told.push(format!("{more} more failed before"));
    }
    told.iter().map(|line| format!("{} {line}\n", ui.paint(Ink::Caution, "Risk:"))).collect()
}

fn of_version(row: &RiskRow) -> String {
    format!("{} {} failed in {}", escaped(&row.package), escaped(&row.version), rate(row, (row.failed, row.attempts)))
}

fn of_others(row: &RiskRow) -> String {
    format!("{}: other versions failed in {}", escaped(&row.package), rate(row, (row.other_failed, row.other_attempts)))
}

fn rate(row: &RiskRow, (failed, attempts): (u32, u32)) -> String {
    let noun = if attempts == 1 { "attempt" } else { "attempts" };
    let (day, code) = (time::day(row.last.unwrap_or_default()), escaped(row.code.as_deref().unwrap_or_default()));
    format!("{failed} of {attempts} {noun}, last on {day} ({code})")
}

/// A row for programs; what is unknown is absent.
pub(crate) fn json(row: &RiskRow) -> Value {
    let mut map = object!(row, package, version, failed, attempts, other_failed, other_attempts, last, code);
    map.retain(|_, value| !value.is_null());
    Value::Object(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(package: &str, counts: [u32; 4]) -> RiskRow {
        let [failed, attempts, other_failed, other_attempts] = counts;
        let last = (failed + other_failed > 0).then_some(1_700_000_000_000_000);
        let code = last.map(|_| "script.failed".to_owned());
        RiskRow { package: package.into(), version: "7.2-1".into(), failed, attempts, other_failed, other_attempts, last, code }
    }

    #[test]
    fn a_version_s_failures_come_first_and_what_never_failed_is_not_told() {
        let rows = [row("vim", [0, 2, 2, 5]), row("less", [0, 4, 0, 9]), row("nano", [2, 3, 1, 1]), row("b\u{1b}", [1, 1, 0, 0])];
        let day = time::day(1_700_000_000_000_000);
        assert!(day.starts_with("2023-11-1") && day.len() == 10, "{day}");
        let expected = format!(
            "\
Risk: nano 7.2-1 failed in 2 of 3 attempts, last on {day} (script.failed)
Risk: b\\x1b 7.2-1 failed in 1 of 1 attempt, last on {day} (script.failed)
Risk: vim: other versions failed in 2 of 5 attempts, last on {day} (script.failed)
"
        );
        assert_eq!(lines(&Ui::plain(), &rows), expected);
        assert_eq!(lines(&Ui::plain(), &rows[1..2]), "");
        assert!(lines(&Ui::colored(), &rows).starts_with("\u{1b}[33mRisk:\u{1b}[0m nano"), "as a warning");
    }

    #[test]
    fn of_many_the_rest_is_counted() {
        let many: Vec<RiskRow> = (0..12).map(|n| row(&format!("p{n}"), [1, 2, 0, 0])).collect();
        let text = lines(&Ui::plain(), &many);
        assert_eq!((text.lines().count(), text.lines().last()), (11, Some("Risk: 2 more failed before")));
        assert_eq!(lines(&Ui::plain(), &many[..10]).lines().count(), 10);
    }

    #[test]
    fn programs_get_every_count() {
        let expected = json!({"package": "less", "version": "7.2-1", "failed": 0, "attempts": 4, "other_failed": 0, "other_attempts": 9});
        assert_eq!(json(&row("less", [0, 4, 0, 9])), expected);
        assert_eq!(json(&row("nano", [1, 1, 0, 0]))["code"], "script.failed");
    }
}
