//! `backstep log`, and the end of a log for results.

use backstep_bus::TransactionProxy;
use serde_json::json;

use crate::args::LogArgs;
use crate::error::ClientError;
use crate::follow::{Follower, Sight, is_over};
use crate::render::escape::escaped_log;
use crate::render::result::short;
use crate::session::Session;
use crate::ui::Ui;

/// Bytes a call asks for.
const CHUNK: u32 = 65_536;
/// Bytes of a log's end that are kept.
const TAIL: usize = 16_384;

/// Prints what a transaction's children wrote; with `--follow` until it has ended.
pub(crate) async fn log(session: &mut Session, ui: &Ui, args: &LogArgs) -> Result<u8, ClientError> {
    let (id, proxy) = session.find(&args.id).await?;
    if ui.json && !args.follow {
        return whole(ui, &id.to_string(), &proxy).await;
    }
    let mut printer = Printer { id: id.to_string(), ..Printer::default() };
    if !args.follow {
        printer.read_on(ui, &proxy).await?;
        printer.finish(ui)?;
        return Ok(0);
    }
    let mut follower = Follower::new(session, id.to_string(), proxy).await?;
    loop {
        let Sight::Seen(properties) = follower.next().await? else { continue };
        // Read after the state was: what was written before the end is not missed.
        if printer.read_on(ui, &follower.proxy).await? || is_over(&properties) {
            printer.finish(ui)?;
            return Ok(0);
        }
    }
}

/// Prints a log as one object.
async fn whole(ui: &Ui, id: &str, proxy: &TransactionProxy<'static>) -> Result<u8, ClientError> {
    let (mut log, mut offset) = (Vec::new(), 0);
    loop {
        let (data, next, end) = proxy.read_log(offset, CHUNK).await?;
        let empty = data.is_empty();
        log.extend(data);
        offset = next;
        if end || empty {
            ui.line(&piece(id, &log))?;
            return Ok(0);
        }
    }
}

/// A log, or a piece of it, for programs.
fn piece(id: &str, log: &[u8]) -> String {
    json!({ "id": id, "log": String::from_utf8_lossy(log) }).to_string()
}

/// Prints a log piece by piece; characters that a piece cuts wait for the next one.
#[derive(Debug, Default)]
struct Printer {
    id: String,
    offset: u64,
    rest: Vec<u8>,
}

impl Printer {
    /// Prints what there is now; answers whether that was all there will be.
    async fn read_on(&mut self, ui: &Ui, proxy: &TransactionProxy<'static>) -> Result<bool, ClientError> {
        loop {
            let (data, next, end) = proxy.read_log(self.offset, CHUNK).await?;
            let empty = data.is_empty();
            self.offset = next;
            self.rest.extend(data);
            let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |i| i + 1);
            self.print(ui, &self.rest[..whole])?;
            self.rest.drain(..whole);
            if end || empty {
                return Ok(end);
            }
        }
    }

    fn print(&self, ui: &Ui, lines: &[u8]) -> Result<(), ClientError> {
        match (ui.json, lines.is_empty()) {
            (_, true) => Ok(()),
            (true, false) => ui.line(&piece(&self.id, lines)),
            (false, false) => ui.write(&escaped_log(lines)),
        }
    }

    fn finish(&self, ui: &Ui) -> Result<(), ClientError> {
        if self.offset == 0 && !ui.quiet && !ui.json {
            ui.warn(&format!("No program wrote anything. What was done says 'backstep show {}'.", short(&self.id)));
        }
        let ending = if self.rest.is_empty() || ui.json { "" } else { "\n" };
        self.print(ui, &self.rest)?;
        ui.write(ending)
    }
}

/// The end of a log. What cannot be read is left out: the result matters more than its decoration.
pub(crate) async fn tail(proxy: &TransactionProxy<'static>) -> Vec<u8> {
    let mut tail = Vec::new();
    let mut offset = 0;
    while let Ok((data, next, end)) = proxy.read_log(offset, CHUNK).await {
        let empty = data.is_empty();
        tail.extend(data);
        tail.drain(..tail.len().saturating_sub(TAIL));
        offset = next;
        if end || empty {
            break;
        }
    }
    tail
}
