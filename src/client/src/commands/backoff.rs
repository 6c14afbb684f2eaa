//! `backstep backoff`.

use backstep_bus::BackoffFilter;
use serde_json::{Value, json};

use crate::commands::ignore::claims;
use crate::error::ClientError;
use crate::render::{backoff, time};
use crate::session::Session;
use crate::ui::Ui;
use crate::upkeep_args::{BackoffAddArgs, BackoffClearArgs, BackoffListArgs, BackoffVerb};

/// Has work left alone, lets it run again, or lists what is left alone.
pub(crate) async fn backoff(session: &Session, ui: &Ui, verb: BackoffVerb) -> Result<u8, ClientError> {
    match verb {
        BackoffVerb::List(args) => list(session, ui, &args).await,
        BackoffVerb::Add(args) => add(session, ui, args).await,
        BackoffVerb::Clear(args) => clear(session, ui, args).await,
    }
}

async fn list(session: &Session, ui: &Ui, args: &BackoffListArgs) -> Result<u8, ClientError> {
    let rows = session.manager.list_backoffs(BackoffFilter { all: args.all.then_some(true) }).await?;
    if ui.json {
        ui.line(&rows.iter().map(backoff::json).collect::<Value>().to_string())?;
    } else if rows.is_empty() {
        ui.note("Nothing is backed off.")?;
    } else {
        ui.write(&backoff::table(ui, &rows))?;
    }
    Ok(0)
}

async fn add(session: &Session, ui: &Ui, args: BackoffAddArgs) -> Result<u8, ClientError> {
    let BackoffAddArgs { subjects, kind, until, comment } = args;
    let until = until.ahead(time::now_us());
    let process = kind.map_or("*", backstep_core::Kind::as_str);
    let mut numbers = Vec::new();
    for subject in &subjects {
        let number = session.manager.add_backoff(subject, process, until, &comment, claims()).await?;
        if !ui.json {
            ui.write(&backoff::added(number, subject, process, until))?;
        }
        numbers.push(json!({ "number": number, "subject": subject, "process": process }));
    }
    if ui.json {
        ui.line(&Value::from(numbers).to_string())?;
    }
    Ok(0)
}

async fn clear(session: &Session, ui: &Ui, args: BackoffClearArgs) -> Result<u8, ClientError> {
    let process = args.kind.map_or("", backstep_core::Kind::as_str);
    // Everything is one subject on the bus: none.
    let subjects = if args.all { vec![String::new()] } else { args.subjects };
    let mut cleared = 0;
    for subject in &subjects {
        cleared += session.manager.clear_backoffs(subject, process, &args.comment, claims()).await?;
    }
    if ui.json {
        ui.line(&json!({ "cleared": cleared }).to_string())?;
    } else {
        ui.note(&format!("{cleared} cleared."))?;
    }
    Ok(0)
}
