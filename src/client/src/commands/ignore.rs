//! `backstep ignore`.

use backstep_bus::{Claims, IgnoreFilter, IgnoreOptions};
use serde_json::{Value, json};

use crate::error::ClientError;
use crate::render::{ignore, time};
use crate::session::Session;
use crate::ui::Ui;
use crate::upkeep_args::{IgnoreAddArgs, IgnoreListArgs, IgnoreRemoveArgs, IgnoreVerb};

/// Says what is ignored, takes it back, or lists it.
pub(crate) async fn ignore(session: &Session, ui: &Ui, verb: IgnoreVerb) -> Result<u8, ClientError> {
    match verb {
        IgnoreVerb::Add(args) => add(session, ui, args).await,
        IgnoreVerb::List(args) => list(session, ui, &args).await,
        IgnoreVerb::Remove(args) => remove(session, ui, args).await,
    }
}

async fn add(session: &Session, ui: &Ui, args: IgnoreAddArgs) -> Result<u8, ClientError> {
    let IgnoreAddArgs { patterns, comment, until, suite, from } = args;
    let until = until.map(|moment| moment.ahead(time::now_us()));
    let claims = claims();
    let options = IgnoreOptions { suite, from, until, client: claims.client, origin: claims.origin };
    let mut numbers = Vec::new();
    for pattern in &patterns {
        let number = session.manager.add_ignore(pattern, &comment, options.clone()).await?;
        if !ui.json {
            ui.write(&ignore::added(number, pattern, until))?;
        }
        numbers.push(json!({ "number": number, "pattern": pattern }));
    }
    if ui.json {
        ui.line(&Value::from(numbers).to_string())?;
    }
    Ok(0)
}

async fn list(session: &Session, ui: &Ui, args: &IgnoreListArgs) -> Result<u8, ClientError> {
    let rows = session.manager.list_ignores(IgnoreFilter { all: args.all.then_some(true) }).await?;
    if ui.json {
        ui.line(&rows.iter().map(ignore::json).collect::<Value>().to_string())?;
    } else if rows.is_empty() {
        ui.note("Nothing is ignored.")?;
    } else {
        ui.write(&ignore::table(ui, &rows, time::now_us()))?;
    }
    Ok(0)
}

async fn remove(session: &Session, ui: &Ui, args: IgnoreRemoveArgs) -> Result<u8, ClientError> {
    for number in &args.numbers {
        session.manager.remove_ignore(*number, &args.comment, claims()).await?;
    }
    if ui.json {
        ui.line(&json!({ "removed": args.numbers }).to_string())?;
    } else {
        ui.note("Offered again.")?;
    }
    Ok(0)
}

/// What this program says of itself.
pub(super) fn claims() -> Claims {
    Claims { client: Some(concat!("backstep ", env!("CARGO_PKG_VERSION")).to_owned()), origin: Some("cli".to_owned()) }
}
