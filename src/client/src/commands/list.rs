//! `backstep list` and `backstep history`.

use backstep_bus::ListFilter;
use backstep_core::Tag;
use nix::unistd::User;
use serde_json::Value;

use crate::args::ListArgs;
use crate::error::ClientError;
use crate::render::result::short;
use crate::render::{json, show, time};
use crate::session::Session;
use crate::ui::Ui;

const DEFAULT_PAGE: usize = 50;
const MAX_PAGE: usize = 500;

/// Which transactions a list is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those that have not ended.
    Unfinished,
    /// All.
    All,
}

/// Prints transactions, newest first.
pub(crate) async fn list(session: &Session, ui: &Ui, args: ListArgs, which: Which) -> Result<u8, ClientError> {
    let now = time::now_us();
    let before = match &args.before {
        Some(id) => Some(session.find(id).await?.0.to_string()),
        None => None,
    };
    let filter = filter(&args, before, which, now)?;
    let full = page_size(args.limit);
    let rows = session.manager.list_transactions(filter).await?;
    if ui.json {
        ui.line(&rows.iter().map(json::list_row).collect::<Value>().to_string())?;
    } else if rows.is_empty() {
        ui.note("No transactions.")?;
    } else {
        ui.write(&show::list(ui, &rows, now))?;
        if let Some(last) = rows.last().filter(|_| rows.len() >= full) {
            ui.note(&format!("Earlier ones: the same with --before {}", short(&last.id)))?;
        }
    }
    Ok(0)
}

/// What was asked for in the daemon's words: each argument is a key of the filter, and each key an argument.
fn filter(args: &ListArgs, before: Option<String>, which: Which, now: i64) -> Result<ListFilter, ClientError> {
    Ok(ListFilter {
        limit: args.limit,
        before,
        kind: args.kind.map(|kind| kind.to_string()),
        state: args.state.map(|state| state.to_string()),
        unfinished: (which == Which::Unfinished && args.state.is_none()).then_some(true),
        package: args.package.clone(),
        tag: args.tag.as_ref().map(Tag::to_string),
        uid: args.user.as_deref().map(uid).transpose()?,
        origin: args.origin.map(|origin| origin.to_string()),
        since: args.since.map(|moment| moment.at(now)),
        until: args.until.map(|moment| moment.at(now)),
        text: args.text.clone(),
    })
}

/// Rows of a full page, as the daemon bounds them.
pub(super) fn page_size(limit: Option<u32>) -> usize {
    match limit {
        None | Some(0) => DEFAULT_PAGE,
        Some(limit) => usize::try_from(limit).unwrap_or(MAX_PAGE).min(MAX_PAGE),
    }
}

/// A user's number by name or number.
pub(crate) fn uid(user: &str) -> Result<u32, ClientError> {
    if let Ok(uid) = user.parse() {
        return Ok(uid);
    }
    let found = User::from_name(user).map_err(|e| ClientError::Runtime(e.into()))?;
    found.map(|user| user.uid.as_raw()).ok_or_else(|| ClientError::UserUnknown(user.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use clap::{CommandFactory, Parser};
    use zbus::OwnedVariant;
    use zbus::wire::{LE, serialized::Context, to_bytes};

    use super::*;
    use crate::args::{Cli, Command};

    /// The keys that are sent to the daemon.
    fn keys(filter: &ListFilter) -> BTreeSet<String> {
        let sent = to_bytes(Context::new(LE, 0), filter).expect("encode");
        sent.deserialize::<HashMap<String, OwnedVariant>>().expect("decode").0.into_keys().collect()
    }

    fn asked(line: &str) -> BTreeSet<String> {
        match Cli::try_parse_from(line.split(' ')).expect(line).command {
            Command::List(args) => keys(&filter(&args, args.before.clone(), Which::Unfinished, 0).expect(line)),
            Command::History(args) => keys(&filter(&args.list, args.list.before.clone(), Which::All, 0).expect(line)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_and_the_bus_narrow_by_the_same() {
        let samples = [
            ("limit", "3", "limit"),
            ("before", "0123456789ab", "before"),
            ("kind", "install", "kind"),
            ("state", "completed", "state"),
            ("package", "hello", "package"),
            ("tag", "env=prod", "tag"),
            ("user", "0", "uid"),
            ("origin", "cli", "origin"),
            ("since", "2h", "since"),
            ("until", "2h", "until"),
            ("text", "why", "text"),
        ];
        for (flag, value, key) in samples {
            assert_eq!(asked(&format!("backstep history --{flag} {value}")), BTreeSet::from([key.to_owned()]), "--{flag}");
        }
        assert_eq!(asked("backstep list"), BTreeSet::from(["unfinished".to_owned()]));
        let mut known: BTreeSet<&str> = samples.iter().map(|(_, _, key)| *key).collect();
        known.insert("unfinished");
        assert_eq!(known, ListFilter::KEYS.iter().copied().collect(), "a key that no argument sends");
        let command = Cli::command();
        for verb in ["list", "history"] {
            let own = command.find_subcommand(verb).expect(verb).get_arguments().filter_map(|argument| argument.get_long());
            let flags: BTreeSet<&str> = own.filter(|flag| *flag != "denied").collect();
            assert_eq!(flags, samples.iter().map(|(flag, _, _)| *flag).collect(), "{verb}: an argument without a sample");
        }
    }

    #[test]
    fn users_are_names_or_numbers() {
        assert_eq!(uid("root").expect("root"), 0);
        assert_eq!(uid("1000").expect("number"), 1000);
        assert!(matches!(uid("no such user"), Err(ClientError::UserUnknown(_))));
    }
}
