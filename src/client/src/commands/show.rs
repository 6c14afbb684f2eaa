//! `backstep show`.

use backstep_bus::{CallError, TransactionProxy};
use backstep_core::ErrorCode;

use crate::args::ShowArgs;
use crate::commands::{files, log};
use crate::error::ClientError;
use crate::render::course::Course;
use crate::render::escape::escaped_json;
use crate::render::{json, show as render};
use crate::session::Session;
use crate::ui::Ui;

/// Prints one transaction.
pub(crate) async fn show(session: &Session, ui: &Ui, args: &ShowArgs) -> Result<u8, ClientError> {
    let (_, proxy) = session.find(&args.id).await?;
    if args.document {
        ui.line(&escaped_json(&proxy.get_document().await?))?;
        return Ok(0);
    }
    if args.files {
        return files::files(ui, &proxy).await;
    }
    let properties = proxy.properties().await?;
    let course = course(&proxy).await?;
    if ui.json {
        let mut value = json::transaction(&properties);
        (value["items"], value["runs"]) = course.json();
        ui.line(&value.to_string())?;
    } else {
        let log = if properties.attempts > 0 { log::tail(&proxy).await } else { Vec::new() };
        ui.write(&render::whole(ui, &properties, &course, &log))?;
    }
    Ok(0)
}

/// The course as the record has it; none for callers who may only see that there is a transaction.
async fn course(proxy: &TransactionProxy<'static>) -> Result<Course, ClientError> {
    match proxy.get_document().await.map_err(CallError::from) {
        Err(error) if error.code() == Some(ErrorCode::AuthDenied) => Ok(Course::default()),
        document => Ok(Course::read(&document?)),
    }
}
