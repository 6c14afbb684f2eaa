//! `backstep watch`: looking on. Ctrl-C only leaves: who looks on does not stop another's work.

use backstep_bus::TransactionProxy;
use backstep_core::TransactionId;

use crate::args::WatchArgs;
use crate::commands::drive::finish;
use crate::error::ClientError;
use crate::follow::{Follower, Sight, is_over};
use crate::render::json;
use crate::render::progress::Progress;
use crate::render::result::exit_code;
use crate::session::Session;
use crate::ui::Ui;

/// Follows a transaction to its end; the exit code is the transaction's.
pub(crate) async fn watch(session: &mut Session, ui: &Ui, args: &WatchArgs) -> Result<u8, ClientError> {
    let Some((id, proxy)) = target(session, args.id.as_deref()).await? else {
        ui.note("Nothing is running.")?;
        return Ok(0);
    };
    follow(session, ui, id, proxy).await
}

async fn target(session: &Session, id: Option<&str>) -> Result<Option<(TransactionId, TransactionProxy<'static>)>, ClientError> {
    if let Some(id) = id {
        return session.find(id).await.map(Some);
    }
    let running = session.manager.active().await?.into_iter().chain(session.manager.queue().await?).next();
    match running {
        Some(path) => session.at(&path).await.map(Some),
        None => Ok(None),
    }
}

/// Follows one transaction.
pub(crate) async fn follow(session: &mut Session, ui: &Ui, id: TransactionId, proxy: TransactionProxy<'static>) -> Result<u8, ClientError> {
    let mut follower = Follower::new(session, id.to_string(), proxy).await?;
    let mut progress = Progress::new(ui);
    let mut last = None;
    loop {
        let Sight::Seen(properties) = follower.next().await? else {
            progress.say(ui, "The daemon is away; waiting for it to come back.")?;
            continue;
        };
        progress.update(ui, &properties)?;
        let line = json::sight(&properties);
        if ui.json && last.as_ref() != Some(&line) {
            ui.line(&line.to_string())?;
        }
        last = Some(line);
        if is_over(&properties) {
            progress.clear();
            // In JSON the last line has said it; the text is for people.
            return if ui.json { Ok(exit_code(&properties)) } else { finish(ui, &properties, &follower.proxy).await };
        }
    }
}
