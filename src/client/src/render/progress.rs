//! Progress: one bar that never goes back, or plain lines where no terminal is.

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
    Bar(ProgressBar),
    /// A line for each phase, on standard output.
    Lines(String),
}

impl Progress {
    /// What fits the terminal and the caller's wishes.
    pub(crate) fn new(ui: &Ui) -> Self {
        if !ui.progress {
            Self::None
        } else if ui.bar {
            let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("[{bar:30}] {percent:>3}% {wide_msg}").expect("a constant template");
            Self::Bar(bar.with_style(style.progress_chars("=> ")))
        } else {
            Self::Lines(String::new())
        }
    }

    /// Shows what was seen.
    pub(crate) fn update(&mut self, ui: &Ui, properties: &TransactionProperties) -> Result<(), ClientError> {
        match self {
            Self::None => Ok(()),
            Self::Bar(bar) => {
                bar.set_position(bar.position().max(u64::from(properties.permille.min(1000))));
                bar.set_message(message(properties));
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
            Self::Bar(bar) => {
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
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// The bar's text: phase, package, remaining time; or what is waited for.
fn message(properties: &TransactionProperties) -> String {
    if !properties.waits_for.is_empty() {
        return escaped(&format!("waiting for {}", properties.waits_for));
    }
    let mut text = if properties.phase.is_empty() { phase(properties) } else { escaped(&properties.phase) };
    let package = escaped(&properties.current_package);
    if !package.is_empty() && !text.contains(&package) {
        text = format!("{text}: {package}");
    }
    if properties.remaining_seconds >= 0 {
        text = format!("{text} (about {} left)", remaining(properties.remaining_seconds));
    }
    text
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
    let running = properties.steps.iter().find(|step| step.state == StepState::Running.as_str());
    let title = running.map(|step| escaped(&step.title));
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

    fn running(permille: u32, state: &str, title: &str) -> TransactionProperties {
        let step = StepRow { state: "running".into(), title: title.into(), ..StepRow::default() };
        TransactionProperties { permille, state: state.into(), steps: vec![step], remaining_seconds: -1, ..Default::default() }
    }

    #[test]
    fn the_bar_never_goes_back() {
        let mut progress = Progress::Bar(ProgressBar::hidden());
        for (permille, expected) in [(100, 100), (50, 100), (400, 400), (5000, 1000), (0, 1000)] {
            progress.update(&Ui::plain(), &running(permille, "executing", "Change packages")).expect("update");
            let Progress::Bar(bar) = &progress else { panic!("a bar") };
            assert_eq!(bar.position(), expected);
        }
    }

    #[test]
    fn the_message_names_phase_package_and_time() {
        let mut properties = running(10, "executing", "Change packages");
        assert_eq!(message(&properties), "Change packages");
        properties.phase = "Unpacking".into();
        properties.current_package = "hello".into();
        properties.remaining_seconds = 65;
        assert_eq!(message(&properties), "Unpacking: hello (about 1 min 5 s left)");
        properties.remaining_seconds = 0;
        assert_eq!(message(&properties), "Unpacking: hello (about 1 s left)");
        properties.waits_for = "transaction 0123 of alice".into();
        assert_eq!(message(&properties), "waiting for transaction 0123 of alice");
    }

    #[test]
    fn a_phase_is_a_step_and_a_direction() {
        assert_eq!(phase(&running(1, "executing", "Change packages")), "Change packages");
        assert_eq!(phase(&running(1, "rolling-back", "Change packages")), "Undoing: Change packages");
        assert_eq!(phase(&running(1, "completed", "Change packages")), "");
    }
}
