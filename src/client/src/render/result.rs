//! How a transaction ended, in a few lines.

use backstep_bus::{PlanRow, StepRow, TransactionProperties};
use backstep_core::{ErrorCode, PlanAction, StepState, TransactionState};

use crate::error::{EXIT_CANCELLED, EXIT_DEFECT};
use crate::render::escape::{escaped, escaped_log};
use crate::render::plan::counts;
use crate::render::table::{Cell, Column, table};
use crate::render::time;
use crate::ui::{Ink, Ui};

/// Lines of a log that are shown with an error.
const TAIL: usize = 12;
/// Names in the line of what was done.
const MAX_NAMES: usize = 5;

/// The last digits of an id, as people use them.
pub(crate) fn short(id: &str) -> String {
    id.parse::<backstep_core::TransactionId>().map_or_else(|_| escaped(id), backstep_core::TransactionId::short)
}

/// The exit code of an ended transaction, or of one that needs a person.
pub(crate) fn exit_code(properties: &TransactionProperties) -> u8 {
    let code = properties.error_code.parse::<ErrorCode>();
    let of_error = || code.as_ref().map_or(EXIT_DEFECT, |code| code.exit_code());
    match properties.transaction_state() {
        Some(TransactionState::Completed) => 0,
        Some(TransactionState::Cancelled | TransactionState::Expired) => EXIT_CANCELLED,
        Some(TransactionState::PartiallyRolledBack) => ErrorCode::UndoIncomplete.exit_code(),
        Some(TransactionState::NeedsAttention) => ErrorCode::WorkerLost.exit_code(),
        // A lost worker needs a person only as long as its transaction is not undone.
        Some(TransactionState::RolledBack) if properties.error_code.is_empty() || code == Ok(ErrorCode::WorkerLost) => {
            ErrorCode::DpkgFailed.exit_code()
        }
        Some(TransactionState::RolledBack | TransactionState::Failed) => of_error(),
        Some(
            TransactionState::Created
            | TransactionState::Prepared
            | TransactionState::Queued
            | TransactionState::Executing
            | TransactionState::Cancelling
            | TransactionState::RollingBack
            | TransactionState::Interrupted,
        )
        | None => EXIT_DEFECT,
    }
}

/// What was done, for standard output. `tail` is the end of the log, shown with errors.
pub(crate) fn result(ui: &Ui, properties: &TransactionProperties, tail: &[u8]) -> String {
    let lines = match properties.transaction_state() {
        Some(TransactionState::Completed) => completed(ui, properties),
        Some(TransactionState::Cancelled) => vec![format!("Cancelled; everything is as before. {}", reference(properties))],
        Some(TransactionState::Expired) => vec![format!("Expired before it began; nothing was changed. {}", reference(properties))],
        Some(TransactionState::Failed) => failed(ui, properties),
        Some(TransactionState::RolledBack) => undone(ui, properties, tail, ui.paint(Ink::Good, "Everything is as before.")),
        Some(TransactionState::PartiallyRolledBack) => undone(ui, properties, tail, differences(ui, properties)),
        Some(TransactionState::NeedsAttention) => attention(ui, properties),
        Some(
            TransactionState::Created
            | TransactionState::Prepared
            | TransactionState::Queued
            | TransactionState::Executing
            | TransactionState::Cancelling
            | TransactionState::RollingBack
            | TransactionState::Interrupted,
        )
        | None => vec![format!("State: {}. {}", escaped(&properties.state), reference(properties))],
    };
    lines.join("\n") + "\n"
}

fn completed(ui: &Ui, properties: &TransactionProperties) -> Vec<String> {
    let id = short(&properties.id);
    let undo = if properties.irreversible { String::new() } else { format!(" Undo it with 'backstep rollback {id}'.") };
    let done = done(&properties.plan);
    let what = if done.is_empty() { escaped(&properties.plan_summary) } else { done };
    let mut lines = vec![format!("{} {what}.", ui.paint(Ink::Good, "Done:"))];
    // A rollback that puts files back can find what it cannot make as it was.
    if !properties.differences.is_empty() {
        lines.push(differences(ui, properties).trim_end().to_owned());
    }
    lines.push(format!("{}{undo}", reference(properties)));
    lines
}

/// `1 installed, 2 upgraded (hello, nano, …)`.
fn done(plan: &[PlanRow]) -> String {
    let counts: Vec<String> = counts(plan).into_iter().map(|(action, count)| format!("{count} {}", past(action))).collect();
    let names: Vec<String> = plan.iter().take(MAX_NAMES).map(|row| escaped(&row.package)).collect();
    if counts.is_empty() {
        return String::new();
    }
    let more = if plan.len() > MAX_NAMES { ", …" } else { "" };
    format!("{} ({}{more})", counts.join(", "), names.join(", "))
}

const fn past(action: PlanAction) -> &'static str {
    match action {
        PlanAction::Install => "installed",
        PlanAction::Upgrade => "upgraded",
        PlanAction::Downgrade => "downgraded",
        PlanAction::Reinstall => "reinstalled",
        PlanAction::Remove => "removed",
        PlanAction::Purge => "purged",
        PlanAction::Hold => "held",
        PlanAction::Unhold => "released",
    }
}

/// `Transaction 0123456789ab, 2.3 s.`
fn reference(properties: &TransactionProperties) -> String {
    let duration = time::duration(properties.duration);
    let comma = if duration.is_empty() { "" } else { ", " };
    format!("Transaction {}{comma}{duration}.", short(&properties.id))
}

/// The error line of a transaction; empty when it has none.
pub(crate) fn error(ui: &Ui, properties: &TransactionProperties) -> Option<String> {
    if properties.error_code.is_empty() && properties.error_text.is_empty() {
        return None;
    }
    let code = ui.paint(Ink::Dim, &format!("({})", escaped(&properties.error_code)));
    Some(format!("{} {} {code}", ui.paint(Ink::Bad, "Error:"), escaped(&properties.error_text)))
}

/// The hint of a transaction's error, about this transaction.
pub(crate) fn hint(ui: &Ui, properties: &TransactionProperties) -> Option<String> {
    let code: ErrorCode = properties.error_code.parse().ok()?;
    let id = short(&properties.id);
    let undone = properties.transaction_state() == Some(TransactionState::RolledBack);
    let text = if undone && code == ErrorCode::WorkerLost { ErrorCode::Cancelled.hint() } else { code.hint() };
    let text = text.replace(" ID'", &format!(" {id}'")).replace("'backstep retry'", &format!("'backstep retry {id}'"));
    Some(format!("{} {text}", ui.paint(Ink::Dim, "Hint:")))
}

fn failed(ui: &Ui, properties: &TransactionProperties) -> Vec<String> {
    let nothing = format!("Nothing was changed. {}", reference(properties));
    error(ui, properties).into_iter().chain([nothing]).chain(hint(ui, properties)).collect()
}

fn undone(ui: &Ui, properties: &TransactionProperties, tail: &[u8], end: String) -> Vec<String> {
    let interrupted = || ui.paint(Ink::Caution, "It was interrupted and could not be carried on.");
    let mut lines = vec![error(ui, properties).unwrap_or_else(interrupted)];
    lines.extend(log_tail(ui, tail));
    let steps = undone_steps(ui, &properties.steps);
    if !steps.is_empty() {
        lines.push("Undone, the last step first:".to_owned());
        lines.push(steps.trim_end().to_owned());
    }
    lines.push(format!("{end} {}", reference(properties)));
    lines.extend(hint(ui, properties));
    lines
}

fn undone_steps(ui: &Ui, steps: &[StepRow]) -> String {
    let touched = |step: &&StepRow| matches!(step.state.parse(), Ok(StepState::Undone | StepState::UndoFailed));
    let rows: Vec<String> = steps
        .iter()
        .rev()
        .filter(touched)
        .map(|step| {
            let failed = step.state == StepState::UndoFailed.as_str();
            let mark = if failed { ui.paint(Ink::Bad, "not undone") } else { ui.paint(Ink::Good, "undone") };
            format!("  {:<22} {mark}", escaped(&step.title))
        })
        .collect();
    rows.join("\n")
}

fn differences(ui: &Ui, properties: &TransactionProperties) -> String {
    let count = properties.differences.len();
    if count == 0 {
        return ui.paint(Ink::Caution, "What it changed was left as it is.");
    }
    let head = ui.paint(Ink::Caution, &format!("{count} {} left:", if count == 1 { "difference is" } else { "differences are" }));
    let list: String = properties.differences.iter().map(|difference| format!("\n  {}", escaped(difference))).collect();
    format!("{head}{list}\n")
}

fn attention(ui: &Ui, properties: &TransactionProperties) -> Vec<String> {
    let id = short(&properties.id);
    let mut lines: Vec<String> = error(ui, properties).into_iter().collect();
    let plan = escaped(&properties.plan_summary);
    let what = if plan.is_empty() { String::new() } else { format!("{plan}; ") };
    lines.push(format!("State: {what}{}.", escaped(&properties.state)));
    lines.push(ui.paint(Ink::Caution, "A person has to decide how this goes on:"));
    lines.extend(decisions(&id, &properties.actions));
    lines.push(reference(properties));
    lines
}

/// How to decide for a transaction that needs attention.
pub(crate) fn decisions(id: &str, actions: &[String]) -> Vec<String> {
    let known = [("resume", "go on"), ("undo", "undo what was changed"), ("accept", "leave things as they are")];
    let allowed = |action: &str| actions.iter().any(|a| a == action);
    known.iter().filter(|(action, _)| allowed(action)).map(|(action, what)| format!("  backstep repair {id} --{action}   {what}")).collect()
}

/// The end of a log: up to the first complaint that follows from the failure, some lines before it.
pub(crate) fn log_tail(ui: &Ui, tail: &[u8]) -> Vec<String> {
    let text = escaped_log(tail);
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let end = lines.iter().rposition(|line| line.starts_with("dpkg: error")).map_or(lines.len(), |i| (i + 2).min(lines.len()));
    let start = end.saturating_sub(TAIL);
    lines[start..end].iter().map(|line| ui.paint(Ink::Dim, &format!("  | {line}"))).collect()
}

/// The steps as a table, with times; of which attempt when there were several.
pub(crate) fn steps(ui: &Ui, steps: &[StepRow]) -> String {
    let columns = [
        Column::Left("Step"),
        Column::Left("State"),
        Column::Right("Attempt"),
        Column::Left("Began"),
        Column::Right("Took"),
        Column::Sentence("What"),
    ];
    let several = steps.iter().any(|step| step.attempt > 1);
    let rows: Vec<Vec<Cell>> = steps.iter().map(|step| step_cells(step, several)).collect();
    table(ui, &columns, &rows)
}

/// A step state's colour.
pub(crate) fn step_ink(state: &str) -> Option<Ink> {
    match state.parse() {
        Ok(StepState::Completed | StepState::Undone) => Some(Ink::Good),
        Ok(StepState::Failed | StepState::UndoFailed) => Some(Ink::Bad),
        Ok(StepState::Unknown | StepState::Running) => Some(Ink::Caution),
        Ok(StepState::Pending | StepState::Skipped) | Err(_) => None,
    }
}

fn step_cells(step: &StepRow, several: bool) -> Vec<Cell> {
    let ink = step_ink(&step.state);
    let state = step.state.replace('_', " ");
    let took = if step.started > 0 && step.finished > 0 { time::duration((step.finished - step.started).max(1)) } else { String::new() };
    let text = if step.error_code.is_empty() { escaped(&step.text) } else { escaped(&format!("{} ({})", step.text, step.error_code)) };
    vec![
        escaped(&step.title).into(),
        ink.map_or_else(|| Cell::from(escaped(&state)), |ink| Cell::inked(escaped(&state), ink)),
        if several { step.attempt.to_string() } else { String::new() }.into(),
        time::of_day(step.started).into(),
        took.into(),
        text.into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::plan::tests::row;

    const ID: &str = "01936b2e-7c1a-7d3e-9f10-0123456789ab";

    fn ended(state: &str, code: &str, text: &str) -> TransactionProperties {
        TransactionProperties {
            id: ID.into(),
            state: state.into(),
            error_code: code.into(),
            error_text: text.into(),
            duration: 2_340_000,
            ..Default::default()
        }
    }

    #[test]
    fn success_is_two_lines() {
        let mut properties = ended("completed", "", "");
        properties.plan = vec![row("remove", "nano", "7", "", 0), row("install", "hello", "", "2.10-3", 1)];
        let expected = "\
Done: 1 removed, 1 installed (nano, hello).
Transaction 0123456789ab, 2.3 s. Undo it with 'backstep rollback 0123456789ab'.
";
        assert_eq!(result(&Ui::plain(), &properties, b""), expected);
        assert_eq!(exit_code(&properties), 0);
    }

    #[test]
    fn an_undo_is_told_in_its_order() {
        let mut properties = ended("rolled-back", "script.failed", "postinst of bad failed with status 1");
        let step = |title: &str, state: &str| StepRow { title: title.into(), state: state.into(), ..StepRow::default() };
        properties.steps = vec![
            step("Fetch archives", "undone"),
            step("Secure undo material", "undone"),
            step("Change packages", "undone"),
            step("Commit", "pending"),
        ];
        let log = b"Setting up bad (1) ...\npostinst: no luck\ndpkg: error processing package bad (--configure):\n installed bad package\nRemoving bad\n";
        let expected = "\
Error: postinst of bad failed with status 1 (script.failed)
  | Setting up bad (1) ...
  | postinst: no luck
  | dpkg: error processing package bad (--configure):
  |  installed bad package
Undone, the last step first:
  Change packages        undone
  Secure undo material   undone
  Fetch archives         undone
Everything is as before. Transaction 0123456789ab, 2.3 s.
Hint: See 'backstep log 0123456789ab' for the script's output.
";
        assert_eq!(result(&Ui::plain(), &properties, log), expected);
        assert_eq!(exit_code(&properties), 9);
    }

    #[test]
    fn an_undo_without_an_error_was_an_interruption() {
        let text = result(&Ui::plain(), &ended("rolled-back", "", ""), b"");
        assert!(text.starts_with("It was interrupted and could not be carried on.\nEverything is as before."), "{text}");
    }

    #[test]
    fn every_end_has_its_code() {
        for (state, code, exit) in [
            ("failed", "package.unknown", 3),
            ("failed", "fetch.failed", 7),
            ("cancelled", "cancelled", 11),
            ("expired", "expired", 11),
            ("rolled-back", "worker.lost", 9),
            ("partially-rolled-back", "script.failed", 10),
            ("needs-attention", "worker.lost", 10),
            ("failed", "no-such-code", 70),
            ("no-such-state", "", 70),
        ] {
            assert_eq!(exit_code(&ended(state, code, "")), exit, "{state} {code}");
        }
    }

    #[test]
    fn differences_and_decisions_are_listed() {
        let mut properties = ended("partially-rolled-back", "undo.incomplete", "left");
        properties.differences = vec!["/etc/x differs".into()];
        assert!(result(&Ui::plain(), &properties, b"").contains("1 difference is left:\n  /etc/x differs\n"));
        let mut properties = ended("completed", "", "");
        properties.differences = vec!["x.service still runs".into()];
        assert!(result(&Ui::plain(), &properties, b"").contains("1 difference is left:\n  x.service still runs\nTransaction"));
        let mut properties = ended("needs-attention", "worker.lost", "lost");
        properties.actions = vec!["resume".into(), "undo".into(), "accept".into()];
        assert!(result(&Ui::plain(), &properties, b"").contains("backstep repair 0123456789ab --undo"));
    }
}
