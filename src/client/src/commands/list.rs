//! `backstep list` and `backstep history`.

use backstep_bus::ListFilter;
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
    let filter = ListFilter {
        limit: args.limit,
        before: match &args.before {
            Some(id) => Some(session.find(id).await?.0.to_string()),
            None => None,
        },
        kind: args.kind.map(|kind| kind.to_string()),
        state: args.state.map(|state| state.to_string()),
        unfinished: (which == Which::Unfinished && args.state.is_none()).then_some(true),
        package: args.package,
        uid: args.user.as_deref().map(uid).transpose()?,
        origin: args.origin.map(|origin| origin.to_string()),
        since: args.since.map(|moment| moment.at(now)),
        until: args.until.map(|moment| moment.at(now)),
        text: args.text,
    };
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
    use super::*;

    #[test]
    fn users_are_names_or_numbers() {
        assert_eq!(uid("root").expect("root"), 0);
        assert_eq!(uid("1000").expect("number"), 1000);
        assert!(matches!(uid("no such user"), Err(ClientError::UserUnknown(_))));
    }
}
