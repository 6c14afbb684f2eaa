//! Progress: one bar that never goes back, or plain lines where no terminal is.

use std::time::Instant;

use backstep_bus::TransactionProperties;
use backstep_core::{StepState, TransactionState};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::error::ClientError;
use crate::render::escape::escaped;
use crate::render::time;
use crate::ui::Ui;

/// Shows how far a transaction is.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Nothing is wanted.
    None,
    /// A bar on the terminal's standard error.
    Bar(ProgressBar, Estimate),
    /// A line for each phase, on standard output.
    Lines(String),
}

/// The remaining time as it was last told: between two tellings it runs on by itself, in a script of minutes, too.
#[derive(Debug)]
pub(crate) struct Estimate {
    told: i32,
    at: Instant,
}

impl Default for Estimate {
    fn default() -> Self {
        Self { told: -1, at: Instant::now() }
    }
}

impl Estimate {
    /// Seconds from now on, below 0 when it has taken longer than was told; none when nothing is known.
    fn left(&mut self, told: i32, now: Instant) -> Option<i32> {
        if told != self.told {
            *self = Self { told, at: now };
        }
        let gone = i32::try_from(now.saturating_duration_since(self.at).as_secs()).unwrap_or(i32::MAX);
        (told >= 0).then(|| told.saturating_sub(gone))
    }
}

impl Progress {
    /// What fits the terminal and the caller's wishes.
    pub(crate) fn new(ui: &Ui) -> Self {
        if !ui.progress {
            Self::None
        } else if ui.bar {
            Self::Bar(bar(ProgressDrawTarget::stderr()), Estimate::default())
        } else {
            Self::Lines(String::new())
        }
    }

    /// Shows what was seen.
    pub(crate) fn update(&mut self, ui: &Ui, properties: &TransactionProperties) -> Result<(), ClientError> {
        match self {
            Self::None => Ok(()),
            Self::Bar(bar, estimate) => {
                bar.set_position(bar.position().max(u64::from(properties.permille.min(1000))));
                bar.set_message(message(properties));
                let left = estimate.left(properties.remaining_seconds, Instant::now());
                bar.set_prefix(left.map(|left| time_left(properties, left)).unwrap_or_default());
                Ok(())
            }
            Self::Lines(last) => {
                let next = phase(properties);
                if next.is_empty() || *last == next {
                    return Ok(());
                }
                ui.line(&format!("[{:>3}%] {next}", properties.permille.min(1000) / 10))?;
                *last = next;
                Ok(())
            }
        }
    }

    /// Says something beside the progress.
    pub(crate) fn say(&self, ui: &Ui, text: &str) -> Result<(), ClientError> {
        match self {
            Self::Bar(bar, _) => {
                bar.suspend(|| ui.warn(text));
                Ok(())
            }
            Self::Lines(_) => ui.note(text),
            Self::None if ui.quiet || ui.json => Ok(()),
            Self::None => ui.note(text),
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        if let Self::Bar(bar, _) = self {
            bar.finish_and_clear();
        }
    }
}

/// The bar: the text is cut where the terminal is narrow, the time at its right never is.
fn bar(target: ProgressDrawTarget) -> ProgressBar {
    let style = ProgressStyle::with_template("[{bar:20}] {percent:>3}% {wide_msg} {prefix}").expect("a constant template");
    ProgressBar::with_draw_target(Some(1000), target).with_style(style.progress_chars("=> "))
}

/// The bar's text: whether it goes back, phase, package; or what is waited for. Empty when it has ended.
fn message(properties: &TransactionProperties) -> String {
    if !properties.waits_for.is_empty() {
        return escaped(&format!("waiting for {}", properties.waits_for));
    }
    match properties.transaction_state() {
        Some(state) if state.is_final() => String::new(),
        Some(TransactionState::RollingBack) => format!("Undoing: {}", detail(properties)),
        Some(TransactionState::Cancelling) => format!("Stopping: {}", detail(properties)),
        Some(_) | None => detail(properties),
    }
}

/// What the worker does just now, and with which package; the running step where it did not say.
fn detail(properties: &TransactionProperties) -> String {
    let said = properties.phase.strip_prefix("Undo: ").unwrap_or(&properties.phase);
    let text = if said.is_empty() { step(properties).unwrap_or_else(|| phase(properties)) } else { escaped(said) };
    let package = escaped(&properties.current_package);
    if package.is_empty() || text.contains(&package) { text } else { format!("{text}: {package}") }
}

/// The remaining time, while there is any.
fn time_left(properties: &TransactionProperties, seconds: i32) -> String {
    let over = properties.transaction_state().is_some_and(TransactionState::is_final);
    match seconds {
        _ if over || !properties.waits_for.is_empty() => String::new(),
        ..-1 => "longer than expected".to_owned(),
        -1.. => format!("about {} left", remaining(seconds)),
    }
}

/// The title of the step that runs.
fn step(properties: &TransactionProperties) -> Option<String> {
    let running = properties.steps.iter().find(|step| step.state == StepState::Running.as_str());
    running.map(|step| escaped(&step.title))
}

/// Whole seconds: an estimate has no tenths.
fn remaining(seconds: i32) -> String {
    if seconds < 10 { format!("{} s", seconds.max(1)) } else { time::duration(i64::from(seconds) * 1_000_000) }
}

/// What changes at most once a step: the running step with its direction, or what is waited for.
fn phase(properties: &TransactionProperties) -> String {
    if !properties.waits_for.is_empty() {
        return escaped(&format!("waiting for {}", properties.waits_for));
    }
    let title = step(properties);
    match properties.transaction_state() {
        Some(TransactionState::RollingBack) => title.map_or_else(|| "Undoing".to_owned(), |title| format!("Undoing: {title}")),
        Some(TransactionState::Cancelling) => "Stopping".to_owned(),
        Some(TransactionState::Queued) if properties.queue_position > 1 => {
            format!("Waiting, {} in the queue", properties.queue_position)
        }
        Some(TransactionState::Interrupted) => "Interrupted; recovery decides".to_owned(),
        Some(TransactionState::Executing) => title.unwrap_or_default(),
        Some(
            TransactionState::Created
            | TransactionState::Prepared
            | TransactionState::Queued
            | TransactionState::NeedsAttention
            | TransactionState::Completed
            | TransactionState::RolledBack
            | TransactionState::PartiallyRolledBack
            | TransactionState::Cancelled
            | TransactionState::Failed
            | TransactionState::Expired,
        )
        | None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backstep_bus::StepRow;
    use std::time::Duration;

    fn running(permille: u32, state: &str, title: &str) -> TransactionProperties {
        let step = StepRow { state: "running".into(), title: title.into(), ..StepRow::default() };
        TransactionProperties { permille, state: state.into(), steps: vec![step], remaining_seconds: -1, ..Default::default() }
    }

    #[test]
    fn the_bar_never_goes_back() {
        let mut progress = Progress::Bar(ProgressBar::hidden(), Estimate::default());
        for (permille, expected) in [(100, 100), (50, 100), (400, 400), (5000, 1000), (0, 1000)] {
            progress.update(&Ui::plain(), &running(permille, "executing", "Change packages")).expect("update");
            let Progress::Bar(bar, _) = &progress else { panic!("a bar") };
            assert_eq!(bar.position(), expected);
        }
    }

    #[test]
    fn the_message_names_phase_package_and_time() {
        let mut properties = running(10, "executing", "Change packages");
        assert_eq!(message(&properties), "Change packages");
        properties.phase = "Unpacking".into();
        properties.current_package = "hello".into();
        assert_eq!((message(&properties), time_left(&properties, 65)), ("Unpacking: hello".into(), "about 1 min 5 s left".into()));
        assert_eq!([0, -1, -2].map(|left| time_left(&properties, left)), ["about 1 s left", "about 1 s left", "longer than expected"]);
        properties.state = "cancelling".into();
        assert_eq!(message(&properties), "Stopping: Unpacking: hello");
        properties.waits_for = "transaction 0123 of alice".into();
        assert_eq!((message(&properties), time_left(&properties, 5)), ("waiting for transaction 0123 of alice".into(), String::new()));
    }

    #[test]
    fn an_undo_is_named_as_one_whatever_the_worker_says() {
        let mut properties = running(700, "rolling-back", "Change packages");
        assert_eq!(message(&properties), "Undoing: Change packages");
        for (said, shown) in
            [("stopping new services", "Undoing: stopping new services"), ("Undo: change packages", "Undoing: change packages")]
        {
            properties.phase = said.into();
            assert_eq!(message(&properties), shown);
        }
    }

    #[test]
    fn what_has_ended_has_no_time_left() {
        let properties = running(1000, "completed", "Commit");
        assert_eq!((message(&properties), time_left(&properties, 0)), (String::new(), String::new()));
    }

    #[test]
    fn the_time_runs_on_while_nothing_new_is_told() {
        let (mut estimate, now) = (Estimate::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(estimate.left(-1, now), None);
        assert_eq!(estimate.left(60, now), Some(60));
        assert_eq!(estimate.left(60, after(25)), Some(35));
        assert_eq!(estimate.left(60, after(62)), Some(-2));
        assert_eq!(estimate.left(61, after(62)), Some(61), "told anew");
        assert_eq!(estimate.left(-1, after(63)), None);
    }

    /// A terminal of so many columns that remembers what was written.
    #[derive(Debug, Clone)]
    struct Screen(u16, std::sync::Arc<std::sync::Mutex<String>>);

    impl indicatif::TermLike for Screen {
        fn width(&self) -> u16 {
            self.0
        }
        fn move_cursor_up(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn write_line(&self, line: &str) -> std::io::Result<()> {
            self.write_str(line)
        }
        fn write_str(&self, text: &str) -> std::io::Result<()> {
            self.1.lock().expect("the screen").push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> std::io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_time_is_seen_beside_the_longest_name() {
        let screen = Screen(80, Default::default());
        let mut progress = Progress::Bar(bar(ProgressDrawTarget::term_like(Box::new(screen.clone()))), Estimate::default());
        let mut properties = running(550, "executing", "Change packages");
        properties.phase = "Configuring a-package-with-quite-a-long-name-that-no-line-of-80-columns-holds (amd64)".into();
        properties.remaining_seconds = 65;
        progress.update(&Ui::plain(), &properties).expect("update");
        if let Progress::Bar(bar, _) = &progress {
            bar.force_draw();
        }
        let shown = screen.1.lock().expect("the screen").clone();
        assert!(shown.contains("Configuring a-package-with-q") && shown.contains(" about 1 min 5 s left"), "{shown:?}");
    }

    #[test]
    fn a_phase_is_a_step_and_a_direction() {
        assert_eq!(phase(&running(1, "executing", "Change packages")), "Change packages");
        assert_eq!(phase(&running(1, "rolling-back", "Change packages")), "Undoing: Change packages");
        assert_eq!(phase(&running(1, "completed", "Change packages")), "");
    }
}
