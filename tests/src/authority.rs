//! Answers on a private bus in polkit's place, as a test wants it.
//!
//! Purpose: every answer that an authority can give, and those that none should. Absent on purpose: rules.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use futures_util::StreamExt;
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream, OwnedVariant};

use crate::private_bus::PrivateBus;

/// What the authority says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    Yes,
    /// No.
    No,
    /// Somebody has to authenticate, and could not.
    Challenge,
    /// Somebody was asked and closed the dialogue.
    Dismissed,
    /// An error.
    Error,
    /// Nothing, ever.
    Silence,
    /// A message of another shape that begins like a yes.
    Garbage,
    /// A yes of another type.
    NumberOne,
    /// It is not there.
    Absent,
}

impl Answer {
    /// Every one.
    pub const ALL: [Self; 9] =
        [Self::Yes, Self::No, Self::Challenge, Self::Dismissed, Self::Error, Self::Silence, Self::Garbage, Self::NumberOne, Self::Absent];
}

/// A question that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The subject's unique bus name.
    pub subject: String,
    /// The action.
    pub action: String,
    /// What the person is shown.
    pub details: HashMap<String, String>,
    /// Whether a person may be asked.
    pub interactive: bool,
}

#[derive(Debug)]
struct State {
    answer: Answer,
    asked: Vec<Asked>,
    waiting: Vec<Message>,
}

/// The authority; it goes with the value.
pub struct FakeAuthority {
    connection: Connection,
    state: Arc<Mutex<State>>,
}

const NAME: &str = "org.freedesktop.PolicyKit1";

impl FakeAuthority {
    /// Takes polkit's place.
    pub async fn start(bus: &PrivateBus, answer: Answer) -> Result<Self> {
        let connection = bus.connect().await?;
        let state = Arc::new(Mutex::new(State { answer, asked: Vec::new(), waiting: Vec::new() }));
        let calls = MessageStream::from(&connection);
        tokio::spawn(serve(connection.clone(), calls, Arc::clone(&state)));
        connection.request_name(NAME).await?;
        Ok(Self { connection, state })
    }

    /// Answers so from now on.
    pub async fn answers(&self, answer: Answer) -> Result<()> {
        let before = std::mem::replace(&mut self.lock().answer, answer);
        if answer == Answer::Absent {
            self.connection.release_name(NAME).await?;
        } else if before == Answer::Absent {
            self.connection.request_name(NAME).await?;
        }
        Ok(())
    }

    /// What was asked since the last time.
    pub fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.lock().asked)
    }

    /// Answers those who wait because of [`Answer::Silence`]. Says how many.
    pub async fn release(&self, answer: Answer) -> Result<usize> {
        let waiting = std::mem::take(&mut self.lock().waiting);
        for call in &waiting {
            reply(&self.connection, call, answer).await?;
        }
        Ok(waiting.len())
    }

    /// The questions about one transaction whose answer has not come, by what the person was shown.
    pub fn waiting_about(&self, transaction: &str) -> Vec<Asked> {
        self.lock().waiting.iter().filter_map(asked).filter(|asked| is_about(asked, transaction)).collect()
    }

    /// The same as [`FakeAuthority::release`] for one transaction.
    pub async fn release_about(&self, transaction: &str, answer: Answer) -> Result<usize> {
        let waiting = std::mem::take(&mut self.lock().waiting);
        let (about, others): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|call| asked(call).is_some_and(|asked| is_about(&asked, transaction)));
        self.lock().waiting.extend(others);
        for call in &about {
            reply(&self.connection, call, answer).await?;
        }
        Ok(about.len())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no test panics under the lock")
    }
}

fn is_about(asked: &Asked, transaction: &str) -> bool {
    asked.details.get("transaction").is_some_and(|shown| shown == transaction)
}

async fn serve(connection: Connection, mut calls: MessageStream, state: Arc<Mutex<State>>) {
    while let Some(Ok(call)) = calls.next().await {
        if call.message_type() != Type::MethodCall || call.header().member().is_none_or(|name| name != "CheckAuthorization") {
            continue;
        }
        let answer = {
            let mut state = state.lock().expect("no test panics under the lock");
            state.asked.extend(asked(&call));
            if state.answer == Answer::Silence {
                state.waiting.push(call.clone());
            }
            state.answer
        };
        // A bus that went away ends the test on its own.
        drop(reply(&connection, &call, answer).await);
    }
}

type Question = ((String, HashMap<String, OwnedVariant>), String, HashMap<String, String>, u32, String);

fn asked(call: &Message) -> Option<Asked> {
    let body = call.body();
    let ((_, mut facts), action, details, flags, _): Question = body.deserialize().ok()?;
    let subject = facts.remove("name").and_then(|name| String::try_from(name).ok()).unwrap_or_default();
    Some(Asked { subject, action, details, interactive: flags & 1 == 1 })
}

async fn reply(connection: &Connection, call: &Message, answer: Answer) -> zbus::Result<()> {
    let header = call.header();
    let result = |yes: bool, challenge: bool, details: &[(&str, &str)]| {
        ((yes, challenge, details.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<HashMap<String, String>>()),)
    };
    match answer {
        Answer::Yes => connection.reply(&header, &result(true, false, &[])).await,
        Answer::No => connection.reply(&header, &result(false, false, &[])).await,
        Answer::Challenge => connection.reply(&header, &result(false, true, &[])).await,
        Answer::Dismissed => connection.reply(&header, &result(false, true, &[("polkit.dismissed", "true")])).await,
        Answer::Error => connection.reply_dbus_error(&header, zbus::fdo::Error::Failed("no".into())).await,
        Answer::Garbage => connection.reply(&header, &(true, "yes", 1_u32)).await,
        Answer::NumberOne => connection.reply(&header, &((1_u32, 0_u32, HashMap::<String, String>::new()),)).await,
        Answer::Silence | Answer::Absent => Ok(()),
    }
}
