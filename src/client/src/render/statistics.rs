//! The tables of `stats`.

use backstep_bus::StatisticsRow;
use backstep_bus::record::StepStatisticsRow;

use crate::render::escape::escaped;
use crate::render::result::short;
use crate::render::table::{Cell, Column, table};
use crate::render::time;
use crate::ui::{Ink, Ui};

/// How each kind of transaction fared.
pub(crate) fn kinds(ui: &Ui, rows: &[StatisticsRow]) -> String {
    let columns = [
        Column::Left("Kind"),
        Column::Right("Ended"),
        Column::Right("Completed"),
        Column::Right("Failed"),
        Column::Right("Running"),
        Column::Right("Mean"),
        Column::Right("Median"),
        Column::Right("95 %"),
    ];
    let cells = |row: &StatisticsRow| -> Vec<Cell> {
        vec![
            escaped(&row.kind).into(),
            row.count.to_string().into(),
            row.completed.to_string().into(),
            failed(row.failed, row.count),
            row.in_progress.to_string().into(),
            time::duration(row.mean_us).into(),
            time::duration(row.p50_us).into(),
            time::duration(row.p95_us).into(),
        ]
    };
    table(ui, &columns, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// How each step fared.
pub(crate) fn steps(ui: &Ui, rows: &[StepStatisticsRow]) -> String {
    let columns = [
        Column::Left("Step"),
        Column::Right("Done"),
        Column::Right("Failed"),
        Column::Right("In all"),
        Column::Right("Mean"),
        Column::Right("Median"),
        Column::Right("95 %"),
        Column::Right("Longest"),
        Column::Left("in"),
    ];
    // What was done took some time, however little.
    let cells = |row: &StepStatisticsRow| -> Vec<Cell> {
        vec![
            escaped(&row.title).into(),
            row.count.to_string().into(),
            failed(row.failed, row.count),
            time::duration(row.total_us.max(1)).into(),
            time::duration(row.mean_us.max(1)).into(),
            time::duration(row.p50_us.max(1)).into(),
            time::duration(row.p95_us.max(1)).into(),
            time::duration(row.max_us.max(1)).into(),
            row.slowest.as_deref().map(short).unwrap_or_default().into(),
        ]
    };
    table(ui, &columns, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// `3 (12 %)`; the share is rounded up, so that one failure among thousands is not none.
fn failed(failed: u64, of: u64) -> Cell {
    if failed == 0 {
        return "0".into();
    }
    let percent = (u128::from(failed) * 100).div_ceil(u128::from(of.max(1)));
    Cell::inked(format!("{failed} ({percent} %)"), Ink::Caution)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_and_shared_out() {
        let row = StatisticsRow { kind: "install".into(), count: 1000, completed: 998, failed: 1, p50_us: 1_500_000, ..Default::default() };
        let expected = "\
Kind     Ended  Completed   Failed  Running  Median
install   1000        998  1 (1 %)        0   1.5 s
";
        assert_eq!(kinds(&Ui::plain(), &[row]), expected);
        let row = StepStatisticsRow {
            title: "Fetch archives".into(),
            count: 2,
            slowest: Some("x".into()),
            max_us: 5_000_000,
            ..Default::default()
        };
        let expected = "\
Step            Done  Failed  In all    Mean  Median    95 %  Longest  in
Fetch archives     2       0  <0.1 s  <0.1 s  <0.1 s  <0.1 s    5.0 s  x
";
        assert_eq!(steps(&Ui::plain(), &[row]), expected);
    }
}
