//! `backstep retry`.

use std::collections::HashMap;

use zbus::Variant;

use crate::args::RetryArgs;
use crate::commands::change::CLIENT;
use crate::commands::drive::drive;
use crate::error::ClientError;
use crate::session::Session;
use crate::ui::Ui;

/// Makes a new transaction of an ended one's request, and leads it to its end.
pub(crate) async fn retry(session: &mut Session, ui: &Ui, args: RetryArgs) -> Result<u8, ClientError> {
    let (id, _) = session.find(&args.id).await?;
    let mut options: HashMap<&str, Variant<'_>> = HashMap::from([("client", CLIENT.into()), ("origin", "cli".into())]);
    if let Some(comment) = &args.comment {
        options.insert("comment", comment.as_str().into());
    }
    let (_, path) = session.manager.retry(&id.to_string(), options).await?;
    drive(session, ui, &path, args.run).await
}
