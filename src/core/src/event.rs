//! What happened to a transaction. The record is the list of these; everything else is derived from it.

use crate::id::Digest;
use crate::scrub::scrub;
use crate::{Direction, ErrorCode, StepKind, StepState, UnknownName};

/// One recorded fact. Times, attempts' numbers and the chain of hashes belong to the row, not to the fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The request was taken.
    Created,
    /// The plan was made and frozen.
    Prepared {
        /// Of the plan's bytes.
        digest: Digest,
    },
    /// The authority said no, or nothing.
    Denied {
        /// The polkit action asked for.
        action: String,
        /// What it answered.
        reason: String,
    },
    /// The authority said yes and the transaction has its place in the queue.
    Queued {
        /// The polkit action that was granted.
        action: String,
    },
    /// A worker was started, forward.
    Started {
        /// Its number.
        attempt: u32,
    },
    /// A worker began a step.
    StepStarted {
        /// Which.
        step: StepKind,
        /// Doing or undoing.
        direction: Direction,
    },
    /// A worker ended a step.
    StepEnded {
        /// Which.
        step: StepKind,
        /// How.
        state: StepState,
        /// The error's code, when it ended with one.
        code: Option<ErrorCode>,
        /// For people: what was done, or what went wrong.
        text: String,
    },
    /// A package's state in dpkg's database changed.
    ItemChanged {
        /// `name:arch`.
        package: String,
        /// dpkg's status before, for example `installed`; with the version after a space.
        before: String,
        /// The same after.
        after: String,
    },
    /// Something worth keeping that changes nothing: a warning, a file put beside another.
    Noted {
        /// The warning's code, when it has one.
        code: Option<ErrorCode>,
        /// For people.
        text: String,
    },
    /// Someone asked to stop.
    CancelRequested {
        /// The user id.
        uid: u32,
    },
    /// It ended before anything was changed.
    Failed {
        /// Why.
        code: ErrorCode,
        /// For people.
        text: String,
    },
    /// It waited too long.
    Expired,
    /// The worker turned round.
    UndoStarted {
        /// Why.
        code: ErrorCode,
        /// For people.
        text: String,
    },
    /// Every step is done and verified.
    Completed,
    /// Every step that was begun is undone.
    UndoFinished {
        /// What still differs from before; zero is clean.
        differences: u32,
    },
    /// The worker ended without a result.
    Interrupted {
        /// What was found.
        text: String,
    },
    /// Recovery or a person set it going again.
    Resumed {
        /// The new attempt's number.
        attempt: u32,
        /// Which way.
        direction: Direction,
        /// Why this way.
        reason: String,
    },
    /// Nothing more can be done without a person.
    AttentionNeeded {
        /// Why.
        code: ErrorCode,
        /// For people.
        text: String,
    },
    /// A person accepted things as they are, or a plain run of apt left them so.
    Accepted,
    /// A text was taken out of what is recorded of it; nothing else changed.
    Redacted {
        /// In how many places it stood.
        places: u32,
        /// Why.
        text: String,
    },
}

/// An event as flat named fields: the form in which the store and the documents keep it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFields {
    /// [`Event::name`].
    pub event: String,
    /// A step's name.
    pub step: Option<String>,
    /// A direction's name.
    pub direction: Option<String>,
    /// A step state's name.
    pub state: Option<String>,
    /// An error code.
    pub code: Option<String>,
    /// A package, a polkit action or a digest.
    pub subject: Option<String>,
    /// Text for people, or a package's state before.
    pub text: Option<String>,
    /// A package's state after.
    pub after: Option<String>,
    /// An attempt, a user id or a count.
    pub number: Option<i64>,
}

/// Flat fields that are no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// A name outside its enumeration.
    #[error(transparent)]
    Unknown(#[from] UnknownName),
    /// A field the event needs is absent or malformed.
    #[error("event {event} lacks {field}")]
    Missing {
        /// The event.
        event: String,
        /// The field.
        field: &'static str,
    },
}

impl Event {
    /// The stable name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Prepared { .. } => "prepared",
            Self::Denied { .. } => "denied",
            Self::Queued { .. } => "queued",
            Self::Started { .. } => "started",
            Self::StepStarted { .. } => "step-started",
            Self::StepEnded { .. } => "step-ended",
            Self::ItemChanged { .. } => "item-changed",
            Self::Noted { .. } => "noted",
            Self::CancelRequested { .. } => "cancel-requested",
            Self::Failed { .. } => "failed",
            Self::Expired => "expired",
            Self::UndoStarted { .. } => "undo-started",
            Self::Completed => "completed",
            Self::UndoFinished { .. } => "undo-finished",
            Self::Interrupted { .. } => "interrupted",
            Self::Resumed { .. } => "resumed",
            Self::AttentionNeeded { .. } => "attention-needed",
            Self::Accepted => "accepted",
            Self::Redacted { .. } => "redacted",
        }
    }

    /// As flat fields.
    #[must_use]
    pub fn fields(&self) -> EventFields {
        let mut fields = EventFields { event: self.name().to_owned(), ..EventFields::default() };
        let name = |text: &'static str| Some(text.to_owned());
        match self {
            Self::Created | Self::Expired | Self::Completed | Self::Accepted => {}
            Self::Prepared { digest } => fields.subject = Some(digest.to_string()),
            Self::Denied { action, reason } => {
                fields.subject = Some(action.clone());
                fields.text = Some(reason.clone());
            }
            Self::Queued { action } => fields.subject = Some(action.clone()),
            Self::Started { attempt } => fields.number = Some(i64::from(*attempt)),
            Self::StepStarted { step, direction } => {
                fields.step = name(step.as_str());
                fields.direction = name(direction.as_str());
            }
            Self::StepEnded { step, state, code, text } => {
                fields.step = name(step.as_str());
                fields.state = name(state.as_str());
                fields.code = code.and_then(|code| name(code.as_str()));
                fields.text = Some(text.clone());
            }
            Self::ItemChanged { package, before, after } => {
                fields.subject = Some(package.clone());
                fields.text = Some(before.clone());
                fields.after = Some(after.clone());
            }
            Self::Noted { code, text } => {
                fields.code = code.and_then(|code| name(code.as_str()));
                fields.text = Some(text.clone());
            }
            Self::CancelRequested { uid } => fields.number = Some(i64::from(*uid)),
            Self::Failed { code, text } | Self::UndoStarted { code, text } | Self::AttentionNeeded { code, text } => {
                fields.code = name(code.as_str());
                fields.text = Some(text.clone());
            }
            Self::UndoFinished { differences } => fields.number = Some(i64::from(*differences)),
            Self::Interrupted { text } => fields.text = Some(text.clone()),
            Self::Resumed { attempt, direction, reason } => {
                fields.number = Some(i64::from(*attempt));
                fields.direction = name(direction.as_str());
                fields.text = Some(reason.clone());
            }
            Self::Redacted { places, text } => {
                fields.number = Some(i64::from(*places));
                fields.text = Some(text.clone());
            }
        }
        fields
    }

    /// The same without secrets in what is for people.
    #[must_use]
    pub fn scrubbed(&self) -> Self {
        let mut event = self.clone();
        match &mut event {
            Self::Denied { reason: text, .. }
            | Self::StepEnded { text, .. }
            | Self::Noted { text, .. }
            | Self::Failed { text, .. }
            | Self::UndoStarted { text, .. }
            | Self::Interrupted { text }
            | Self::Resumed { reason: text, .. }
            | Self::AttentionNeeded { text, .. }
            | Self::Redacted { text, .. } => *text = scrub(text).into_owned(),
            Self::Created
            | Self::Prepared { .. }
            | Self::Queued { .. }
            | Self::Started { .. }
            | Self::StepStarted { .. }
            | Self::ItemChanged { .. }
            | Self::CancelRequested { .. }
            | Self::Expired
            | Self::Completed
            | Self::UndoFinished { .. }
            | Self::Accepted => {}
        }
        event
    }

    /// From flat fields; the exact inverse of [`Self::fields`].
    pub fn from_fields(fields: &EventFields) -> Result<Self, EventError> {
        let missing = |field| EventError::Missing { event: fields.event.clone(), field };
        let text = || fields.text.clone().ok_or_else(|| missing("text"));
        let subject = || fields.subject.clone().ok_or_else(|| missing("subject"));
        let number = || fields.number.and_then(|n| u32::try_from(n).ok()).ok_or_else(|| missing("number"));
        let step = || Ok::<StepKind, EventError>(fields.step.as_deref().ok_or_else(|| missing("step"))?.parse()?);
        let direction = || Ok::<Direction, EventError>(fields.direction.as_deref().ok_or_else(|| missing("direction"))?.parse()?);
        let some_code = || fields.code.as_deref().map(str::parse::<ErrorCode>).transpose().map_err(EventError::from);
        let code = || some_code()?.ok_or_else(|| missing("code"));
        Ok(match fields.event.as_str() {
            "created" => Self::Created,
            "prepared" => Self::Prepared { digest: subject()?.parse().map_err(|_| missing("subject"))? },
            "denied" => Self::Denied { action: subject()?, reason: text()? },
            "queued" => Self::Queued { action: subject()? },
            "started" => Self::Started { attempt: number()? },
            "step-started" => Self::StepStarted { step: step()?, direction: direction()? },
            "step-ended" => Self::StepEnded {
                step: step()?,
                state: fields.state.as_deref().ok_or_else(|| missing("state"))?.parse()?,
                code: some_code()?,
                text: text()?,
            },
            "item-changed" => {
                Self::ItemChanged { package: subject()?, before: text()?, after: fields.after.clone().ok_or_else(|| missing("after"))? }
            }
            "noted" => Self::Noted { code: some_code()?, text: text()? },
            "cancel-requested" => Self::CancelRequested { uid: number()? },
            "failed" => Self::Failed { code: code()?, text: text()? },
            "expired" => Self::Expired,
            "undo-started" => Self::UndoStarted { code: code()?, text: text()? },
            "completed" => Self::Completed,
            "undo-finished" => Self::UndoFinished { differences: number()? },
            "interrupted" => Self::Interrupted { text: text()? },
            "resumed" => Self::Resumed { attempt: number()?, direction: direction()?, reason: text()? },
            "attention-needed" => Self::AttentionNeeded { code: code()?, text: text()? },
            "accepted" => Self::Accepted,
            "redacted" => Self::Redacted { places: number()?, text: text()? },
            other => return Err(UnknownName { what: "event", name: other.to_owned() }.into()),
        })
    }

    /// One of each, for exhaustive tests.
    #[doc(hidden)]
    #[must_use]
    pub fn samples() -> Vec<Self> {
        let text = || "text".to_owned();
        let code = ErrorCode::ScriptFailed;
        vec![
            Self::Created,
            Self::Prepared { digest: Digest([7; 32]) },
            Self::Denied { action: "org.backstep1.install".into(), reason: text() },
            Self::Queued { action: "org.backstep1.install".into() },
            Self::Started { attempt: 1 },
            Self::StepStarted { step: StepKind::Apply, direction: Direction::Undo },
            Self::StepEnded { step: StepKind::Apply, state: StepState::Failed, code: Some(code), text: text() },
            Self::StepEnded { step: StepKind::Fetch, state: StepState::Completed, code: None, text: text() },
            Self::ItemChanged { package: "hello:amd64".into(), before: "not-installed".into(), after: "installed 2.10-3".into() },
            Self::Noted { code: None, text: text() },
            Self::CancelRequested { uid: 1000 },
            Self::Failed { code, text: text() },
            Self::Expired,
            Self::UndoStarted { code, text: text() },
            Self::Completed,
            Self::UndoFinished { differences: 0 },
            Self::UndoFinished { differences: 2 },
            Self::Interrupted { text: text() },
            Self::Resumed { attempt: 2, direction: Direction::Forward, reason: text() },
            Self::Resumed { attempt: 2, direction: Direction::Undo, reason: text() },
            Self::AttentionNeeded { code, text: text() },
            Self::Accepted,
            Self::Redacted { places: 3, text: text() },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_everything() {
        for event in Event::samples() {
            assert_eq!(Event::from_fields(&event.fields()), Ok(event));
        }
    }

    #[test]
    fn every_text_for_people_is_scrubbed() {
        for event in Event::samples() {
            let mut fields = event.fields();
            if fields.text.as_deref() != Some("text") {
                continue;
            }
            fields.text = Some("token=Xq7".to_owned());
            let planted = Event::from_fields(&fields).expect("an event");
            assert_eq!(planted.scrubbed().fields().text.as_deref(), Some("token=[secret]"), "{}", event.name());
        }
    }

    #[test]
    fn unknown_and_incomplete_fields_are_refused() {
        let unknown = EventFields { event: "exploded".into(), ..EventFields::default() };
        assert!(matches!(Event::from_fields(&unknown), Err(EventError::Unknown(_))));
        let incomplete = EventFields { event: "failed".into(), text: Some("x".into()), ..EventFields::default() };
        assert!(matches!(Event::from_fields(&incomplete), Err(EventError::Missing { field: "code", .. })));
    }
}
