//! `backstep list` and `backstep history`.

use backstep_bus::ListFilter;
use nix::unistd::User;
use serde_json::Value;

use crate::args::ListArgs;
use crate::error::ClientError;
use crate::render::{json, show, time};
use crate::session::Session;
use crate::ui::Ui;

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
    };
    let rows = session.manager.list_transactions(filter).await?;
    if ui.json {
        ui.line(&rows.iter().map(json::list_row).collect::<Value>().to_string())?;
    } else if rows.is_empty() {
        ui.note("No transactions.")?;
    } else {
        ui.write(&show::list(ui, &rows, time::now_us()))?;
    }
    Ok(0)
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
