//! One module a verb. Each takes its arguments and answers an exit code.

mod archive;
mod audit;
mod backoff;
mod blame;
mod cancel;
mod change;
mod denied;
mod diff;
mod drive;
mod each;
mod files;
mod generate;
mod generation;
mod ignore;
mod inventory;
mod list;
mod log;
mod pin;
mod redact;
mod repair;
mod report;
mod retry;
mod risks;
mod show;
mod stats;
mod status;
mod watch;
mod why;

use crate::args::{ChangeVerb, Cli, Command, Global, TransactionVerb};
use crate::error::ClientError;
use crate::session::Session;
use crate::ui::Ui;

/// Runs a command line. Arguments are checked before anybody is called, so that a slip costs nothing.
pub(crate) async fn run(cli: Cli, ui: &Ui) -> Result<u8, ClientError> {
    let global = &cli.global;
    match cli.command {
        Command::Change(verb) => change::change(global, ui, verb, false).await,
        Command::Plan { verb } => change::change(global, ui, verb, true).await,
        Command::Cancel(args) => cancel::cancel(&connect(global).await?, ui, &args).await,
        Command::Retry(args) => retry::retry(&mut connect(global).await?, ui, args).await,
        Command::Status => status::status(&connect(global).await?, ui).await,
        Command::List(args) => list::list(&connect(global).await?, ui, args, list::Which::Unfinished).await,
        Command::History(args) if args.denied => denied::denied(&connect(global).await?, ui, &args.list).await,
        Command::History(args) => list::list(&connect(global).await?, ui, args.list, list::Which::All).await,
        Command::Show(args) => show::show(&connect(global).await?, ui, &args).await,
        Command::Log(args) => log::log(&mut connect(global).await?, ui, &args).await,
        Command::Watch(args) => watch::watch(&mut connect(global).await?, ui, &args).await,
        Command::Stats(args) => stats::stats(&connect(global).await?, ui, &args).await,
        Command::Why(args) => why::why(&connect(global).await?, ui, &args).await,
        Command::Inventory(args) => inventory::inventory(&connect(global).await?, ui, &args).await,
        Command::Diff(args) => diff::diff(&connect(global).await?, ui, &args).await,
        Command::Blame(args) => blame::blame(&connect(global).await?, ui, &args).await,
        Command::Pin(args) => pin::pin(&connect(global).await?, ui, &args).await,
        Command::Unpin(args) => pin::unpin(&connect(global).await?, ui, &args).await,
        Command::Timeline(args) => generation::timeline(&connect(global).await?, ui, &args).await,
        Command::Generation { verb } => generation::generation(&connect(global).await?, ui, verb).await,
        Command::Audit { verb } => audit::audit(&connect(global).await?, ui, verb).await,
        Command::Backup(args) => audit::backup(&connect(global).await?, ui, &args).await,
        Command::Redact(args) => redact::redact(&connect(global).await?, ui, &args).await,
        Command::Archive(args) => archive::archive(&connect(global).await?, ui, &args).await,
        Command::Restore(args) => audit::restore(&connect(global).await?, ui, &args).await,
        Command::Backoff { verb } => backoff::backoff(&connect(global).await?, ui, verb).await,
        Command::Ignore { verb } => ignore::ignore(&connect(global).await?, ui, verb).await,
        Command::Report(args) => report::report(&connect(global).await?, ui, &args).await,
        Command::Repair(args) => repair::repair(&mut connect(global).await?, ui, &args).await,
        Command::Transaction { verb } => transaction(global, ui, verb).await,
        Command::Generate { what, dir } => generate::generate(what, &dir),
    }
}

async fn transaction(global: &Global, ui: &Ui, verb: TransactionVerb) -> Result<u8, ClientError> {
    match verb {
        TransactionVerb::List(args) => list::list(&connect(global).await?, ui, args, list::Which::Unfinished).await,
        TransactionVerb::Show(args) => show::show(&connect(global).await?, ui, &args).await,
        TransactionVerb::Rollback(args) => change::change(global, ui, ChangeVerb::Rollback(args), false).await,
        TransactionVerb::Cancel(args) => cancel::cancel(&connect(global).await?, ui, &args).await,
        TransactionVerb::Log(args) => log::log(&mut connect(global).await?, ui, &args).await,
        TransactionVerb::Watch(args) => watch::watch(&mut connect(global).await?, ui, &args).await,
    }
}

async fn connect(global: &Global) -> Result<Session, ClientError> {
    Session::connect(global).await
}
