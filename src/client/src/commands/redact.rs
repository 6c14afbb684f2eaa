//! `backstep redact`.

use std::io::{self, Read};
use std::path::Path;

use backstep_bus::{RedactAnswer, RedactOptions};
use serde_json::json;

use crate::agent::Agent;
use crate::commands::ignore::claims;
use crate::error::ClientError;
use crate::record_args::RedactArgs;
use crate::session::Session;
use crate::ui::{Ink, Ui};

/// Takes a text out of the record: says where it is, asks, does it.
pub(crate) async fn redact(session: &Session, ui: &Ui, args: &RedactArgs) -> Result<u8, ClientError> {
    let text = text(ui, args.file.as_deref())?;
    let _agent = Agent::start();
    if !args.yes || args.dry_run {
        let found = call(session, (&text, &args.comment), true).await?;
        if args.dry_run || found.1.is_empty() {
            tell(ui, &found, "would be taken out")?;
            return Ok(0);
        }
        // Where the text itself came in nobody can answer.
        if !ui.asks || ui.json {
            return Err(ClientError::NoTerminal);
        }
        tell(ui, &found, "would be taken out")?;
        if !confirmed(ui)? {
            ui.note("Nothing was taken out.")?;
            return Ok(crate::error::EXIT_CANCELLED);
        }
    }
    let done = call(session, (&text, &args.comment), false).await?;
    tell(ui, &done, "was taken out")?;
    Ok(0)
}

async fn call(session: &Session, (text, comment): (&str, &str), only_try: bool) -> Result<RedactAnswer, ClientError> {
    let claims = claims();
    let options = RedactOptions { only_try: only_try.then_some(true), client: claims.client, origin: claims.origin };
    Ok(session.manager.redact(text, comment, options).await?)
}

/// The text: of a terminal one line.
fn text(ui: &Ui, file: Option<&Path>) -> Result<String, ClientError> {
    let mut text = match file.filter(|path| *path != Path::new("-")) {
        Some(path) => std::fs::read_to_string(path).map_err(|source| ClientError::Archive { path: path.to_owned(), source })?,
        None if ui.asks => {
            ui.write("Text to take out: ")?;
            line()?
        }
        None => {
            let mut text = String::new();
            io::stdin().lock().read_to_string(&mut text).map_err(ClientError::Input)?;
            text
        }
    };
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

fn confirmed(ui: &Ui) -> Result<bool, ClientError> {
    ui.write("Take it out for good? [y/N] ")?;
    Ok(["y", "yes"].contains(&line()?.trim().to_ascii_lowercase().as_str()))
}

fn line() -> Result<String, ClientError> {
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(ClientError::Input)?;
    Ok(line)
}

fn tell(ui: &Ui, (number, places, transactions): &RedactAnswer, what: &str) -> Result<(), ClientError> {
    if ui.json {
        let places: Vec<_> = places.iter().map(|(place, count)| json!({ "place": place, "count": count })).collect();
        let number = (what == "was taken out" && !places.is_empty()).then_some(number);
        return ui.line(&json!({ "number": number, "places": places, "transactions": transactions }).to_string());
    }
    if places.is_empty() {
        return ui.note("The text is nowhere in the record.");
    }
    for (place, count) in places {
        ui.line(&format!("{:>6}  {place}", count))?;
    }
    ui.note(&format!("{} It {what}: in {} transactions.", ui.paint(Ink::Strong, "Redaction."), transactions.len()))?;
    if what == "was taken out" { ui.note(&format!("See 'backstep generation show {number}'.")) } else { Ok(()) }
}
