//! The course of a transaction, read from its document: packages with their versions before and after, steps with
//! their times in both directions, notes, and who through what.
//!
//! The document is the daemon's, which may be of another version: what is not there is left out.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::render::escape::escaped;
use crate::render::result::step_ink;
use crate::render::table::{Cell, Column, table};
use crate::render::time;
use crate::ui::{Ink, Ui};

/// One doing or undoing of one step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Run {
    step: String,
    direction: String,
    attempt: Option<u64>,
    state: String,
    started: i64,
    duration: Option<i64>,
    code: String,
    text: String,
}

/// What the document tells.
#[derive(Debug, Clone, Default)]
pub(crate) struct Course {
    document: Value,
    runs: Vec<Run>,
}

impl Course {
    /// Reads a document; a text that is none has no course.
    pub(crate) fn read(document: &str) -> Self {
        let document: Value = serde_json::from_str(document).unwrap_or_default();
        let runs = runs(&document);
        Self { document, runs }
    }

    /// The login, the unit and the process behind the request, for people.
    pub(crate) fn behind(&self) -> String {
        let actor = &self.document["actor"];
        let number = |key: &str, name: &str| actor[key].as_u64().map(|value| format!("{name} {value}"));
        let unit = actor["unit"].as_str().filter(|unit| !unit.is_empty()).map(escaped);
        [number("loginuid", "login uid"), unit, number("pid", "process")].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// The request's digest.
    pub(crate) fn request_digest(&self) -> String {
        text(&self.document, "request_digest")
    }

    /// The packages with their versions before and after; empty when nothing was begun.
    pub(crate) fn items(&self, ui: &Ui) -> String {
        let columns =
            [Column::Left("Package"), Column::Left("Before"), Column::Left("Planned"), Column::Left("Last seen"), Column::Left("State")];
        let items: Vec<&Value> = self.document["items"].as_array().into_iter().flatten().collect();
        if self.runs.is_empty() || items.is_empty() {
            return String::new();
        }
        let cells = |item: &&Value| -> Vec<Cell> {
            let version = |key: &str| item[key].as_str().map_or_else(|| "none".to_owned(), escaped);
            let state = text(item, "state");
            let cell = if state == "half" { Cell::inked(state, Ink::Bad) } else { state.into() };
            vec![text(item, "package").into(), version("from").into(), version("to").into(), text(item, "now").into(), cell]
        };
        table(ui, &columns, &items.iter().map(cells).collect::<Vec<_>>())
    }

    /// Every doing and undoing of a step, in order; of which attempt when there were several. Empty when nothing was begun.
    pub(crate) fn steps(&self, ui: &Ui) -> String {
        let columns = [
            Column::Left("Step"),
            Column::Left("Direction"),
            Column::Left("State"),
            Column::Right("Attempt"),
            Column::Left("Began"),
            Column::Right("Took"),
            Column::Sentence("What"),
        ];
        if self.runs.is_empty() {
            String::new()
        } else {
            let several = self.runs.iter().any(|run| run.attempt > Some(1));
            table(ui, &columns, &self.runs.iter().map(|run| self.cells(run, several)).collect::<Vec<_>>())
        }
    }

    fn cells(&self, run: &Run, several: bool) -> Vec<Cell> {
        let state = run.state.replace('_', " ");
        let what = if run.code.is_empty() { run.text.clone() } else { format!("{} ({})", run.text, run.code) };
        vec![
            self.title(&run.step).into(),
            escaped(&run.direction).into(),
            step_ink(&run.state).map_or_else(|| Cell::from(escaped(&state)), |ink| Cell::inked(escaped(&state), ink)),
            run.attempt.filter(|_| several).map(|attempt| attempt.to_string()).unwrap_or_default().into(),
            time::of_day(run.started).into(),
            run.duration.map(|us| time::duration(us.max(1))).unwrap_or_default().into(),
            escaped(&what).into(),
        ]
    }

    fn title(&self, step: &str) -> String {
        let steps = self.document["steps"].as_array();
        let named = steps.into_iter().flatten().find(|row| row["kind"] == step).and_then(|row| row["title"].as_str());
        escaped(named.unwrap_or(step))
    }

    /// What was noted on the way and is no difference of an undo, one a line.
    pub(crate) fn notes(&self) -> Vec<String> {
        let noted = |event: &&Value| event["event"] == "noted" && event["code"] != "undo.incomplete";
        events(&self.document).filter(noted).map(|event| text(event, "text")).collect()
    }

    /// Items and runs for programs.
    pub(crate) fn json(&self) -> (Value, Value) {
        let run = |run: &Run| {
            json!({"step": run.step, "direction": run.direction, "state": run.state, "attempt": run.attempt, "started": run.started,
                "duration": run.duration, "error_code": run.code, "text": run.text})
        };
        (self.document["items"].clone(), self.runs.iter().map(run).collect())
    }
}

fn events(document: &Value) -> impl Iterator<Item = &Value> {
    document["events"].as_array().into_iter().flatten()
}

fn text(value: &Value, key: &str) -> String {
    escaped(value[key].as_str().unwrap_or_default())
}

fn raw(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// Pairs beginnings with ends. What has no end was cut off, or goes on.
fn runs(document: &Value) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut open: HashMap<String, (usize, Value)> = HashMap::new();
    for event in events(document) {
        let step = raw(event, "step");
        match event["event"].as_str() {
            Some("step-started") => {
                open.insert(step.clone(), (runs.len(), event["at"].clone()));
                runs.push(Run {
                    step,
                    direction: raw(event, "direction"),
                    attempt: event["attempt"].as_u64(),
                    state: "running".to_owned(),
                    started: event["at"]["utc_us"].as_i64().unwrap_or_default(),
                    ..Run::default()
                });
            }
            Some("step-ended") => {
                let (place, began) = open.remove(&step).unwrap_or_else(|| (runs.len(), Value::Null));
                if place == runs.len() {
                    runs.push(Run { step, attempt: event["attempt"].as_u64(), ..Run::default() });
                }
                let run = &mut runs[place];
                run.state = raw(event, "state");
                run.duration = between(&began, &event["at"]);
                (run.code, run.text) = (raw(event, "code"), raw(event, "text"));
            }
            Some("interrupted") => {
                for (place, _) in open.drain().map(|(_, run)| run) {
                    runs[place].state = "unknown".to_owned();
                }
            }
            Some(_) | None => {}
        }
    }
    runs
}

/// Microseconds between two times: by the monotonic clock within one boot.
fn between(began: &Value, ended: &Value) -> Option<i64> {
    let clock = if began["boot"] == ended["boot"] { "monotonic_us" } else { "utc_us" };
    Some(ended[clock].as_i64()? - began[clock].as_i64()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(us: i64) -> Value {
        json!({"utc_us": 0, "monotonic_us": us, "boot": "b"})
    }

    fn document() -> String {
        let started = |step: &str, direction: &str, us| json!({"event": "step-started", "step": step, "direction": direction, "attempt": 1, "at": at(us)});
        let ended =
            |step: &str, state: &str, us| json!({"event": "step-ended", "step": step, "state": state, "text": "done\n", "at": at(us)});
        json!({
            "actor": {"loginuid": 1000, "unit": "cron.service", "pid": 77},
            "items": [{"package": "lib:amd64", "from": null, "to": "2", "now": "half-installed 2", "state": "half"}],
            "steps": [{"kind": "fetch", "title": "Fetch archives"}],
            "events": [
                started("fetch", "forward", 0), ended("fetch", "completed", 1_500_000), started("apply", "forward", 2_000_000),
                {"event": "noted", "text": "a file was kept"}, {"event": "noted", "code": "undo.incomplete", "text": "a difference"},
                {"event": "interrupted", "text": "x"}, started("apply", "undo", 3_000_000), ended("apply", "undone", 5_000_000),
            ],
        })
        .to_string()
    }

    #[test]
    fn both_directions_are_told_with_their_times() {
        let mut course = Course::read(&document());
        let expected = "\
Step            Direction  State       Took  What
Fetch archives  forward    completed  1.5 s  done\\n
apply           forward    unknown
apply           undo       undone     2.0 s  done\\n
";
        assert_eq!(course.steps(&Ui::plain()), expected);
        course.runs[2].attempt = Some(2);
        assert!(course.steps(&Ui::plain()).contains("Attempt"), "the second attempt is told");
        let expected = "\
Package    Before  Planned  Last seen         State
lib:amd64  none    2        half-installed 2  half
";
        assert_eq!(course.items(&Ui::plain()), expected);
        assert_eq!(course.notes(), ["a file was kept"]);
        assert_eq!(course.behind(), "login uid 1000, cron.service, process 77");
        assert_eq!(course.json().1[1]["state"], "unknown");
    }

    #[test]
    fn no_document_has_no_course() {
        let course = Course::read("");
        assert_eq!((course.steps(&Ui::plain()), course.items(&Ui::plain()), course.behind()), Default::default());
    }
}
