//! One module a verb. Each takes its arguments and answers an exit code.

mod cancel;
mod change;
mod denied;
mod drive;
mod generate;
mod list;
mod log;
mod repair;
mod retry;
mod show;
mod stats;
mod status;
mod watch;

use crate::args::{ChangeVerb, Cli, Command, TransactionVerb};
use crate::error::ClientError;
use crate::session::Session;
use crate::ui::Ui;

/// Runs a command line. Arguments are checked before anybody is called, so that a slip costs nothing.
pub(crate) async fn run(cli: Cli, ui: &Ui) -> Result<u8, ClientError> {
    let bus = cli.global.bus.as_str();
    match cli.command {
        Command::Change(verb) => change::change(bus, ui, verb, false).await,
        Command::Plan { verb } => change::change(bus, ui, verb, true).await,
        Command::Cancel(args) => cancel::cancel(&connect(bus).await?, ui, &args).await,
        Command::Retry(args) => retry::retry(&mut connect(bus).await?, ui, args).await,
        Command::Status => status::status(&connect(bus).await?, ui).await,
        Command::List(args) => list::list(&connect(bus).await?, ui, args, list::Which::Unfinished).await,
        Command::History(args) if args.denied => denied::denied(&connect(bus).await?, ui, &args.list).await,
        Command::History(args) => list::list(&connect(bus).await?, ui, args.list, list::Which::All).await,
        Command::Show(args) => show::show(&connect(bus).await?, ui, &args).await,
        Command::Log(args) => log::log(&mut connect(bus).await?, ui, &args).await,
        Command::Watch(args) => watch::watch(&mut connect(bus).await?, ui, &args).await,
        Command::Stats(args) => stats::stats(&connect(bus).await?, ui, &args).await,
        Command::Repair(args) => repair::repair(&mut connect(bus).await?, ui, &args).await,
        Command::Transaction { verb } => transaction(bus, ui, verb).await,
        Command::Generate { what, dir } => generate::generate(what, &dir),
    }
}

async fn transaction(bus: &str, ui: &Ui, verb: TransactionVerb) -> Result<u8, ClientError> {
    match verb {
        TransactionVerb::List(args) => list::list(&connect(bus).await?, ui, args, list::Which::Unfinished).await,
        TransactionVerb::Show(args) => show::show(&connect(bus).await?, ui, &args).await,
        TransactionVerb::Rollback(args) => change::change(bus, ui, ChangeVerb::Rollback(args), false).await,
        TransactionVerb::Cancel(args) => cancel::cancel(&connect(bus).await?, ui, &args).await,
        TransactionVerb::Log(args) => log::log(&mut connect(bus).await?, ui, &args).await,
        TransactionVerb::Watch(args) => watch::watch(&mut connect(bus).await?, ui, &args).await,
    }
}

async fn connect(bus: &str) -> Result<Session, ClientError> {
    Session::connect(bus).await
}
