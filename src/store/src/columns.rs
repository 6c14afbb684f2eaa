//! How values become columns and columns values. A column that holds no such value means a corrupt record.

use std::fmt::Display;
use std::str::FromStr;

use backstep_core::{BootId, Digest, ErrorCode, Failure, Stamp};
use rusqlite::Row;

use crate::error::StoreError;

/// A text column as a value of a closed list or grammar.
pub(crate) fn parsed<T>(row: &Row<'_>, column: &str) -> Result<T, StoreError>
where
    T: FromStr,
    T::Err: Display,
{
    parse(&row.get::<_, String>(column)?, column)
}

/// The same for a column that may be empty.
pub(crate) fn parsed_option<T>(row: &Row<'_>, column: &str) -> Result<Option<T>, StoreError>
where
    T: FromStr,
    T::Err: Display,
{
    row.get::<_, Option<String>>(column)?.map(|text| parse(&text, column)).transpose()
}

fn parse<T>(text: &str, column: &str) -> Result<T, StoreError>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|error: T::Err| StoreError::corrupt(format!("column {column}: {error}")))
}

/// An integer column as a smaller integer.
pub(crate) fn integer<T: TryFrom<i64>>(row: &Row<'_>, column: &str) -> Result<T, StoreError> {
    let value: i64 = row.get(column)?;
    T::try_from(value).map_err(|_| StoreError::corrupt(format!("column {column}: {value}")))
}

/// The same for a column that may be empty.
pub(crate) fn integer_option<T: TryFrom<i64>>(row: &Row<'_>, column: &str) -> Result<Option<T>, StoreError> {
    match row.get::<_, Option<i64>>(column)? {
        None => Ok(None),
        Some(value) => T::try_from(value).map(Some).map_err(|_| StoreError::corrupt(format!("column {column}: {value}"))),
    }
}

/// A digest column.
pub(crate) fn digest(row: &Row<'_>, column: &str) -> Result<Digest, StoreError> {
    Ok(Digest(row.get(column)?))
}

/// The same for a column that may be empty.
pub(crate) fn digest_option(row: &Row<'_>, column: &str) -> Result<Option<Digest>, StoreError> {
    Ok(row.get::<_, Option<[u8; 32]>>(column)?.map(Digest))
}

/// The three columns of a time.
pub(crate) fn stamp(row: &Row<'_>, name: &str) -> Result<Stamp, StoreError> {
    stamp_option(row, name)?.ok_or_else(|| StoreError::corrupt(format!("column {name}_us is empty")))
}

/// The same for a time that may not have come yet.
pub(crate) fn stamp_option(row: &Row<'_>, name: &str) -> Result<Option<Stamp>, StoreError> {
    let Some(utc_us) = row.get::<_, Option<i64>>(format!("{name}_us").as_str())? else {
        return Ok(None);
    };
    let monotonic_us = row.get(format!("{name}_monotonic_us").as_str())?;
    let boot = BootId(row.get(format!("{name}_boot").as_str())?);
    Ok(Some(Stamp { utc_us, monotonic_us, boot }))
}

/// The two columns of an error.
pub(crate) fn failure(row: &Row<'_>) -> Result<Option<Failure>, StoreError> {
    let Some(code) = parsed_option::<ErrorCode>(row, "error_code")? else {
        return Ok(None);
    };
    Ok(Some(Failure { code, text: row.get("error_text")? }))
}
