//! How values become columns and columns values. A column that holds no such value means a corrupt record.

use std::fmt::Display;
use std::str::FromStr;

use backstep_core::{BootId, Digest, ErrorCode, Failure, Stamp};
use rusqlite::Row;
use rusqlite::types::FromSql;

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

/// The values of a row, one after the other in the order of the query: to look for a name among fifty takes longer than to read
/// what it names, and lists read dozens of values of each row.
pub(crate) struct Values<'r, 's> {
    row: &'r Row<'s>,
    next: usize,
}

impl<'r, 's> Values<'r, 's> {
    /// From the first one on.
    pub(crate) const fn new(row: &'r Row<'s>) -> Self {
        Self { row, next: 0 }
    }

    const fn place(&mut self) -> usize {
        self.next += 1;
        self.next - 1
    }

    pub(crate) fn get<T: FromSql>(&mut self) -> Result<T, StoreError> {
        Ok(self.row.get(self.place())?)
    }

    /// A text as a value of a closed list or grammar.
    pub(crate) fn parsed<T>(&mut self) -> Result<T, StoreError>
    where
        T: FromStr,
        T::Err: Display,
    {
        let place = self.next;
        self.parsed_option()?.ok_or_else(|| self.odd(place, "empty"))
    }

    /// The same for one that may be empty.
    pub(crate) fn parsed_option<T>(&mut self) -> Result<Option<T>, StoreError>
    where
        T: FromStr,
        T::Err: Display,
    {
        let place = self.place();
        let text = self.row.get_ref(place)?.as_str_or_null().map_err(|_| self.odd(place, "no text"))?;
        text.map(|text| text.parse().map_err(|error: T::Err| self.odd(place, error))).transpose()
    }

    /// An integer as a smaller integer.
    pub(crate) fn integer<T: TryFrom<i64>>(&mut self) -> Result<T, StoreError> {
        let place = self.place();
        let value: i64 = self.row.get(place)?;
        T::try_from(value).map_err(|_| self.odd(place, value))
    }

    /// The same for one that may be empty.
    pub(crate) fn integer_option<T: TryFrom<i64>>(&mut self) -> Result<Option<T>, StoreError> {
        let place = self.place();
        let value: Option<i64> = self.row.get(place)?;
        value.map(|value| T::try_from(value).map_err(|_| self.odd(place, value))).transpose()
    }

    /// The three values of a time.
    pub(crate) fn stamp(&mut self) -> Result<Stamp, StoreError> {
        let place = self.next;
        self.stamp_option()?.ok_or_else(|| self.odd(place, "empty"))
    }

    /// The same for a time that may not have come yet.
    pub(crate) fn stamp_option(&mut self) -> Result<Option<Stamp>, StoreError> {
        let (utc_us, monotonic_us, boot) = (self.get::<Option<i64>>()?, self.place(), self.place());
        let Some(utc_us) = utc_us else { return Ok(None) };
        Ok(Some(Stamp { utc_us, monotonic_us: self.row.get(monotonic_us)?, boot: BootId(self.row.get(boot)?) }))
    }

    /// The two values of an error.
    pub(crate) fn failure(&mut self) -> Result<Option<Failure>, StoreError> {
        let (code, text) = (self.parsed_option::<ErrorCode>()?, self.place());
        code.map(|code| Ok(Failure { code, text: self.row.get(text)? })).transpose()
    }

    fn name(&self, place: usize) -> &str {
        self.row.as_ref().column_name(place).unwrap_or_default()
    }

    fn odd(&self, place: usize, what: impl Display) -> StoreError {
        StoreError::corrupt(format!("column {}: {what}", self.name(place)))
    }
}
