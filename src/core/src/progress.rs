//! One number that never goes back, from many that do.

use crate::step::{Direction, StepKind};

/// What a worker last said of its progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The step.
    pub step: StepKind,
    /// Doing or undoing.
    pub direction: Direction,
    /// How far the step is, 0 to 1000.
    pub permille: u16,
    /// The package it is about; empty when about none.
    pub package: String,
    /// What is happening, for people.
    pub what: String,
}

/// What clients see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// 0 to 1000; 1000 only at the end.
    pub permille: u16,
    /// What is happening, for people.
    pub what: String,
    /// The package it is about; empty when about none.
    pub package: String,
    /// Estimated seconds that remain; `None` while unknown.
    pub remaining_s: Option<u32>,
}

/// Folds reports into a monotone overall value and an estimate.
#[derive(Debug, Clone)]
pub struct Tracker {
    weights: [u32; 6],
    current: Progress,
    undo: bool,
    started_us: i64,
    base: u16,
}

impl Tracker {
    /// A tracker for a plan that downloads so many bytes and changes so many packages, begun at `started_us`
    /// (monotonic microseconds).
    ///
    /// The weights are seconds expected on a plain machine: 20 MB/s of download, 0.25 s a package.
    #[must_use]
    pub fn new(download_bytes: u64, packages: usize, started_us: i64) -> Self {
        let packages = u32::try_from(packages).unwrap_or(u32::MAX / 8).min(100_000);
        let download = u32::try_from(download_bytes / 20_000).unwrap_or(u32::MAX / 8).min(10_000_000);
        let weights = [100 + download, 150 + packages * 10, 300 + packages * 250, 50, 100 + packages * 5, 100];
        Self { weights, current: Progress::default(), undo: false, started_us, base: 0 }
    }

    /// Takes a report heard at `now_us`; answers what clients should see.
    pub fn report(&mut self, report: &Report, now_us: i64) -> &Progress {
        if report.direction == Direction::Undo && !self.undo {
            self.undo = true;
            self.base = self.current.permille;
            self.started_us = now_us;
        }
        let here = self.position(report);
        let permille = if self.undo { self.base + scale(here, 999 - self.base) } else { scale(here, 999) };
        self.current.permille = self.current.permille.max(permille);
        self.current.what.clone_from(&report.what);
        self.current.package.clone_from(&report.package);
        self.current.remaining_s = self.remaining(here, now_us);
        &self.current
    }

    /// The last value.
    #[must_use]
    pub fn current(&self) -> &Progress {
        &self.current
    }

    /// How far the way is gone, 0 to 1000, forward or undoing.
    fn position(&self, report: &Report) -> u16 {
        let total: u64 = self.weights.iter().map(|w| u64::from(*w)).sum();
        let index = StepKind::ALL.iter().position(|kind| *kind == report.step).unwrap_or(0);
        let before: u64 = match report.direction {
            Direction::Forward => self.weights[..index].iter().map(|w| u64::from(*w)).sum(),
            Direction::Undo => self.weights[index + 1..].iter().map(|w| u64::from(*w)).sum(),
        };
        let within = u64::from(self.weights[index]) * u64::from(report.permille.min(1000)) / 1000;
        u16::try_from((before + within) * 1000 / total).unwrap_or(1000)
    }

    /// An estimate only once a twentieth of the way is gone: earlier ones mislead.
    fn remaining(&self, here: u16, now_us: i64) -> Option<u32> {
        let elapsed = u64::try_from(now_us - self.started_us).ok()?;
        if here < 50 {
            return None;
        }
        let here = u64::from(here);
        u32::try_from(elapsed * (1000 - here) / here / 1_000_000).ok()
    }
}

fn scale(permille: u16, to: u16) -> u16 {
    u16::try_from(u32::from(permille) * u32::from(to) / 1000).unwrap_or(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn report(step: StepKind, direction: Direction, permille: u16) -> Report {
        Report { step, direction, permille, package: String::new(), what: String::new() }
    }

    proptest! {
        #[test]
        fn never_goes_back_and_never_ends_early(reports in proptest::collection::vec((0usize..6, any::<bool>(), 0u16..2000), 1..80), bytes in any::<u64>(), packages in 0usize..100_000) {
            let mut tracker = Tracker::new(bytes, packages, 0);
            let mut last = 0;
            let mut undone = false;
            for (n, (step, undo, permille)) in reports.into_iter().enumerate() {
                undone |= undo;
                let direction = if undone { Direction::Undo } else { Direction::Forward };
                let now = tracker.report(&report(StepKind::ALL[step], direction, permille), n as i64 * 1000).permille;
                prop_assert!(now >= last && now < 1000);
                last = now;
            }
        }
    }

    #[test]
    fn most_of_the_way_is_the_change_itself() {
        let mut tracker = Tracker::new(0, 100, 0);
        let before = tracker.report(&report(StepKind::Apply, Direction::Forward, 0), 0).permille;
        let after = tracker.report(&report(StepKind::Apply, Direction::Forward, 1000), 0).permille;
        assert!(after - before > 800, "{before} to {after}");
    }

    #[test]
    fn remaining_time_is_the_elapsed_scaled_by_the_way_left() {
        let mut tracker = Tracker::new(0, 100, 0);
        let half = tracker.report(&report(StepKind::Apply, Direction::Forward, 480), 10_000_000).clone();
        assert!((400..600).contains(&half.permille), "{half:?}");
        assert!((8..=13).contains(&half.remaining_s.expect("known by now")), "{half:?}");
    }
}
