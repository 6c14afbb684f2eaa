//! The verbs that change packages, and their dry run: from arguments to a transaction.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use backstep_bus::{Choices, OptionsBuilder, RevertsTarget};
use backstep_core::actor::Origin;
use backstep_core::{Kind, Tag, TransactionId};
use uuid::Uuid;
use zbus::OwnedObjectPath;

use crate::args::{ChangeOptions, ChangeVerb, Global, PackagesArgs, RollbackArgs};
use crate::commands::drive::drive;
use crate::commands::each::each;
use crate::error::ClientError;
use crate::moment::Since;
use crate::package_argument::{PackageArgument, PackageArgumentError, parse};
use crate::package_list;
use crate::render::time;
use crate::session::Session;
use crate::ui::Ui;

/// What the client says of itself.
pub(crate) const CLIENT: &str = concat!("backstep ", env!("CARGO_PKG_VERSION"));

/// Makes a transaction and leads it to its end; with `dry_run` only shows its plan.
pub(crate) async fn change(global: &Global, ui: &Ui, verb: ChangeVerb, dry_run: bool) -> Result<u8, ClientError> {
    match verb {
        ChangeVerb::Install(args) => packages(global, ui, Kind::Install, args, dry_run).await,
        ChangeVerb::Remove(args) => packages(global, ui, Kind::Remove, args, dry_run).await,
        ChangeVerb::Purge(args) => packages(global, ui, Kind::Purge, args, dry_run).await,
        ChangeVerb::Update(args) => packages(global, ui, Kind::Update, args, dry_run).await,
        ChangeVerb::Downgrade(args) => packages(global, ui, Kind::Downgrade, args, dry_run).await,
        ChangeVerb::Reinstall(args) => packages(global, ui, Kind::Reinstall, args, dry_run).await,
        ChangeVerb::Hold(args) => packages(global, ui, Kind::Hold, args, dry_run).await,
        ChangeVerb::Unhold(args) => packages(global, ui, Kind::Unhold, args, dry_run).await,
        ChangeVerb::Upgrade(options) => whole(global, ui, Kind::Upgrade, options, dry_run).await,
        ChangeVerb::FullUpgrade(options) => whole(global, ui, Kind::FullUpgrade, options, dry_run).await,
        ChangeVerb::Autoremove(options) => whole(global, ui, Kind::Autoremove, options, dry_run).await,
        ChangeVerb::Rollback(args) => rollback(global, ui, args, dry_run).await,
    }
}

async fn packages(global: &Global, ui: &Ui, kind: Kind, args: PackagesArgs, dry_run: bool) -> Result<u8, ClientError> {
    let PackagesArgs { packages: mut arguments, from, each: one_each, mut options } = args;
    if let Some(path) = from {
        arguments.extend(package_list::read(&path)?);
    }
    options.run.dry_run |= dry_run;
    if one_each {
        return each(global, ui, kind, &arguments, &options).await;
    }
    let builder = items(kind, &arguments)?;
    let mut session = Session::connect(global).await?;
    submit(&mut session, ui, kind, &options, builder).await
}

/// What a request is made of for these arguments.
pub(super) fn items(kind: Kind, arguments: &[String]) -> Result<OptionsBuilder, ClientError> {
    let mut packages = Vec::new();
    let mut archives = Vec::new();
    for argument in arguments {
        match parse(kind, argument)? {
            PackageArgument::Named { action, package, version } => {
                packages.push((action.map(|action| action.to_string()).unwrap_or_default(), package, version.unwrap_or_default()));
            }
            PackageArgument::File(path) => archives.push(open(&path)?),
        }
    }
    Ok(OptionsBuilder::new().packages(packages).archives(archives))
}

async fn whole(global: &Global, ui: &Ui, kind: Kind, mut options: ChangeOptions, dry_run: bool) -> Result<u8, ClientError> {
    options.run.dry_run |= dry_run;
    let mut session = Session::connect(global).await?;
    submit(&mut session, ui, kind, &options, OptionsBuilder::new()).await
}

async fn rollback(global: &Global, ui: &Ui, mut args: RollbackArgs, dry_run: bool) -> Result<u8, ClientError> {
    args.options.run.dry_run |= dry_run;
    let packages = args.packages.iter().map(|argument| part(argument)).collect::<Result<Vec<_>, _>>()?;
    let mut session = Session::connect(global).await?;
    let mut options = OptionsBuilder::new().packages(packages);
    let target = match (&args.target.id, &args.target.to) {
        (Some(id), _) | (None, Some(Since::Transaction(id))) => RevertsTarget::Id(session.find(id).await?.0),
        (None, Some(Since::Moment(moment))) => RevertsTarget::Since(moment.at(time::now_us())),
        (None, None) if args.target.last_failed => RevertsTarget::LastFailed,
        (None, None) => RevertsTarget::Last,
    };
    if args.target.to.is_some() {
        options = options.undo_later();
    }
    submit(&mut session, ui, Kind::Rollback, &args.options, options.reverts(target)).await
}

/// A package of a transaction that is undone in part: it has the version that it had before.
fn part(argument: &str) -> Result<(String, String, String), ClientError> {
    match parse(Kind::Rollback, argument)? {
        PackageArgument::Named { package, version: None, .. } => Ok((String::new(), package, String::new())),
        PackageArgument::Named { .. } | PackageArgument::File(_) => {
            let reason = "a rollback takes names, and no versions".to_owned();
            Err(PackageArgumentError::Grammar { argument: argument.to_owned(), reason }.into())
        }
    }
}

/// Opens a local archive with the caller's own rights: the daemon never opens a path that a caller names.
fn open(path: &Path) -> Result<OwnedFd, ClientError> {
    let failed = |source| ClientError::Archive { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(std::io::Error::other("it is no regular file")));
    }
    Ok(file.into())
}

async fn submit(session: &mut Session, ui: &Ui, kind: Kind, options: &ChangeOptions, builder: OptionsBuilder) -> Result<u8, ClientError> {
    let path = create(session, kind, options, builder).await?;
    drive(session, ui, &path, options.run).await
}

/// Puts a request on record; answers its path.
pub(super) async fn create(
    session: &mut Session,
    kind: Kind,
    options: &ChangeOptions,
    builder: OptionsBuilder,
) -> Result<OwnedObjectPath, ClientError> {
    let origin = if options.timer { Origin::Timer } else { Origin::Cli };
    let id = TransactionId::new(Uuid::now_v7()).expect("a UUID of version 7 was just made");
    let tags = options.tags.iter().map(Tag::to_string).collect();
    let built = builder.id(id).tags(tags).choices(&choices(options)).client(CLIENT).origin(origin).build();
    let description = options.comment.as_deref().unwrap_or_default();
    let (_, path) = session.manager.create_transaction(kind.as_str(), description, built).await?;
    Ok(path)
}

/// What was chosen on the command line; the rest is the daemon's configuration.
fn choices(given: &ChangeOptions) -> Choices {
    let flag = |given: bool| given.then_some(true);
    let recommends = flag(given.install_recommends).or_else(|| given.no_install_recommends.then_some(false));
    Choices {
        recommends,
        autoremove: flag(given.autoremove),
        allow_downgrade: flag(given.allow_downgrade),
        allow_remove_essential: flag(given.allow_remove_essential),
        override_hold: flag(given.override_hold),
        allow_irreversible: flag(given.allow_irreversible),
        on_failure: given.on_failure,
        services: given.services,
        conffiles: given.conffiles,
        lock_timeout_s: given.lock_timeout,
        priority: given.priority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_chosen_is_left_to_the_daemon() {
        assert_eq!(choices(&ChangeOptions::default()), Choices::default());
    }

    #[test]
    fn archives_are_regular_files_the_caller_can_read() {
        assert!(matches!(open(Path::new("/")), Err(ClientError::Archive { .. })));
        assert!(matches!(open(Path::new("/no/such.deb")), Err(ClientError::Archive { .. })));
    }
}
