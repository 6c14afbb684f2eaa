//! `backstep show --files`: which files a transaction changed.

use backstep_bus::{CallError, TransactionProxy};
use serde_json::Value;

use crate::error::ClientError;
use crate::render::files;
use crate::ui::Ui;

/// Bytes a call asks for.
const CHUNK: u32 = 65_536;

/// Prints a transaction's record of files.
pub(crate) async fn files(ui: &Ui, proxy: &TransactionProxy<'static>) -> Result<u8, ClientError> {
    let rows = rows(&whole(proxy).await?)?;
    if ui.json {
        ui.line(&Value::Array(rows).to_string())?;
    } else if rows.is_empty() {
        ui.note("No file is recorded that it changed.")?;
    } else {
        ui.write(&files::table(ui, &rows))?;
    }
    Ok(0)
}

async fn whole(proxy: &TransactionProxy<'static>) -> Result<Vec<u8>, ClientError> {
    let (mut bytes, mut offset) = (Vec::new(), 0);
    loop {
        let (data, next, end) = proxy.read_files(offset, CHUNK).await?;
        let empty = data.is_empty();
        bytes.extend(data);
        offset = next;
        if end || empty {
            return Ok(bytes);
        }
    }
}

fn rows(bytes: &[u8]) -> Result<Vec<Value>, ClientError> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let no_json = |error: serde_json::Error| CallError::from(zbus::Error::Failure(format!("the record of files is no JSON: {error}")));
    Ok(lines.map(serde_json::from_slice).collect::<Result<_, _>>().map_err(no_json)?)
}
