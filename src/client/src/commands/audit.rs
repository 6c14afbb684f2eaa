//! `backstep audit verify`, `backstep audit export`, `backstep backup` and `backstep restore`.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use backstep_bus::record::BackUpOptions;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use zbus::Fd;

use crate::agent::Agent;
use crate::error::ClientError;
use crate::inlet::{Target, piped};
use crate::record_args::{AuditVerb, BackupArgs, ExportArgs, RestoreArgs};
use crate::render::time::now_us;
use crate::session::Session;
use crate::ui::{Ink, Ui};

/// Checks the record or gives it away.
pub(crate) async fn audit(session: &Session, ui: &Ui, verb: AuditVerb) -> Result<u8, ClientError> {
    match verb {
        AuditVerb::Verify => verify(session, ui).await,
        AuditVerb::Export(args) => export(session, ui, &args).await,
    }
}

async fn verify(session: &Session, ui: &Ui) -> Result<u8, ClientError> {
    let _agent = Agent::start();
    let record = session.record().await?;
    let bar = (ui.progress && ui.bar).then(bar);
    let shown = bar.clone();
    let verified = piped(|fd| record.verify(fd), move |pipe| show(pipe, shown.as_ref())).await;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let ((events, hash, redacted, unvouched), ()) = verified?;
    if ui.json {
        let told = json!({"verified": true, "events": events, "hash": hash, "redacted": redacted, "unvouched": unvouched});
        ui.line(&told.to_string())?;
    } else {
        ui.line(&format!("{} {events} events are what was written.", ui.paint(Ink::Good, "Verified:")))?;
        ui.note(&format!("The last one's hash is {hash}."))?;
        if redacted > 0 {
            ui.line(&format!("{redacted} of what they vouch for had a text taken out; 'backstep audit export' has who, when and why."))?;
        }
        if unvouched > 0 {
            ui.line(&format!("For {unvouched} of these the event that vouches came later: this is a record of an earlier moment."))?;
        }
    }
    Ok(0)
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("[{bar:30}] {percent:>3}% {pos} of {len} events, {eta} left").expect("a constant template");
    bar.with_style(style.progress_chars("=> "))
}

/// Reads to the end, also when nobody looks: a pipe that is not read would keep the daemon waiting.
fn show(pipe: File, bar: Option<&ProgressBar>) -> Result<(), ClientError> {
    for line in BufReader::new(pipe).lines().map_while(Result::ok) {
        let told: Value = serde_json::from_str(&line).unwrap_or_default();
        if let (Some(bar), Some(done), Some(total)) = (bar, told["done"].as_u64(), told["total"].as_u64()) {
            bar.set_length(total);
            bar.set_position(done);
        }
    }
    Ok(())
}

async fn export(session: &Session, ui: &Ui, args: &ExportArgs) -> Result<u8, ClientError> {
    let format = args.format.as_str();
    let Some(path) = &args.file else {
        let _agent = Agent::start();
        let record = session.record().await?;
        piped(|fd| record.export(format, args.after, fd), print).await?;
        return Ok(0);
    };
    let target = Target::create(path)?;
    let _agent = Agent::start();
    let record = session.record().await?;
    let (events, (target, _)) = piped(|fd| record.export(format, args.after, fd), |pipe| filled(target, pipe)).await?;
    target.keep()?;
    done(ui, &json!({"file": path, "events": events}), &format!("{events} events are in {}.", shown(path)))
}

/// Copies a record to a file.
pub(crate) async fn backup(session: &Session, ui: &Ui, args: &BackupArgs) -> Result<u8, ClientError> {
    let target = Target::create(&args.file)?;
    let _agent = Agent::start();
    let record = session.record().await?;
    let options = BackUpOptions { time: args.to.map(|moment| moment.at(now_us())), event: args.event };
    let (size, (target, received)) = piped(|fd| record.back_up(options, fd), |pipe| filled(target, pipe)).await?;
    whole(size, received, &args.file)?;
    target.keep()?;
    done(ui, &json!({"file": args.file, "size": size}), &format!("The record is in {}, {size} bytes.", shown(&args.file)))
}

/// Makes a record, of the one in use or of a backup, in a new file.
pub(crate) async fn restore(session: &Session, ui: &Ui, args: &RestoreArgs) -> Result<u8, ClientError> {
    let open = |path: &PathBuf| File::open(path).map_err(|source| ClientError::Archive { path: path.clone(), source });
    let backup = args.from.as_ref().map(open).transpose()?.map(|file| Fd::from(OwnedFd::from(file)));
    let target = Target::create(&args.into)?;
    let record = session.record().await?;
    let options = BackUpOptions { time: args.to.map(|moment| moment.at(now_us())), event: args.event };
    let call = |fd| record.restore(options, backup.into_iter().collect(), fd);
    let ((size, events, hash), (target, received)) = piped(call, |pipe| filled(target, pipe)).await?;
    whole(size, received, &args.into)?;
    target.keep()?;
    let text = format!("A record of {events} events, verified, is in {}. The last one's hash is {hash}.", shown(&args.into));
    done(ui, &json!({"file": args.into, "size": size, "events": events, "hash": hash}), &text)
}

fn whole(size: u64, received: u64, path: &Path) -> Result<(), ClientError> {
    if size == received {
        return Ok(());
    }
    let source = io::Error::other(format!("{received} of {size} bytes came"));
    Err(ClientError::Target { path: path.to_owned(), source })
}

fn filled(mut target: Target, pipe: File) -> Result<(Target, u64), ClientError> {
    let received = target.fill(pipe)?;
    Ok((target, received))
}

fn print(mut pipe: File) -> Result<u64, ClientError> {
    io::copy(&mut pipe, &mut io::stdout().lock()).map_err(ClientError::Output)
}

fn shown(path: &Path) -> String {
    crate::render::escape::escaped(&path.display().to_string())
}

fn done(ui: &Ui, value: &Value, text: &str) -> Result<u8, ClientError> {
    if ui.json {
        ui.line(&value.to_string())?
    } else {
        ui.note(text)?
    }
    Ok(0)
}
