//! Times as people write them: so long ago, a date, a date and a time.

use std::str::FromStr;

use chrono::{Local, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};

const SECOND: i64 = 1_000_000;

/// A time that is looked back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// So many microseconds before now.
    Ago(i64),
    /// Microseconds since 1970 in UTC.
    At(i64),
}

/// Why a text is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a time is written 45min, 12h, 30d, 8w or 1y for so long ago, 2026-11-01, \"2026-11-01 14:30\" or \"2026-11-01 14:30:05\"")]
pub(crate) struct MomentError;

impl Moment {
    /// The same where one looks ahead: so long from now.
    pub(crate) fn ahead(self, now_us: i64) -> i64 {
        match self {
            Self::Ago(us) => now_us.saturating_add(us),
            Self::At(us) => us,
        }
    }

    /// Microseconds since 1970 in UTC; not before 1970.
    pub(crate) fn at(self, now_us: i64) -> i64 {
        match self {
            Self::Ago(us) => now_us.saturating_sub(us).max(0),
            Self::At(us) => us.max(0),
        }
    }
}

impl FromStr for Moment {
    type Err = MomentError;
    fn from_str(text: &str) -> Result<Self, MomentError> {
        ago(text).map(Self::Ago).or_else(|| date(text).and_then(utc).map(Self::At)).ok_or(MomentError)
    }
}

/// From where on something is undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Since {
    /// From a time on.
    Moment(Moment),
    /// From a transaction on: its id or the last digits of it.
    Transaction(String),
}

impl FromStr for Since {
    type Err = MomentError;
    fn from_str(text: &str) -> Result<Self, MomentError> {
        let digits = text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        let transaction = || Self::Transaction(text.to_owned());
        // Digits and a "d" may be days; nobody counts so many of them.
        if text.len() >= 8 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(transaction());
        }
        let moment = text.parse().map(Self::Moment);
        if moment.is_err() && digits && text.len() >= 4 { Ok(transaction()) } else { moment }
    }
}

fn ago(text: &str) -> Option<i64> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    let seconds = match unit {
        "s" => 1,
        "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        "y" => 365 * 86_400,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(seconds)?.checked_mul(SECOND)
}

/// A date alone is its beginning.
fn date(text: &str) -> Option<NaiveDateTime> {
    let midnight = |date: NaiveDate| date.and_time(NaiveTime::MIN);
    ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(midnight))
}

/// Local time. Of a time that comes twice, when clocks are set back, the first.
fn utc(local: NaiveDateTime) -> Option<i64> {
    Local.from_local_datetime(&local).earliest().map(|time| time.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_people_write() {
        let parse = |text: &str| text.parse::<Moment>();
        assert_eq!(parse("30d"), Ok(Moment::Ago(30 * 86_400 * SECOND)));
        assert_eq!(parse("45min"), Ok(Moment::Ago(45 * 60 * SECOND)));
        let midnight = parse("2026-11-01").expect("date");
        assert_eq!(parse("2026-11-01 00:00"), Ok(midnight));
        assert_eq!(parse("2026-11-01T00:00:00"), Ok(midnight));
        let Moment::At(at) = midnight else { panic!("{midnight:?}") };
        assert_eq!(crate::render::time::full(at), "2026-11-01 00:00:00");
        for text in ["", "d", "30", "30m", "-3d", "2026-13-01", "yesterday", "99999999999999999999d", "9999999999999999d"] {
            assert_eq!(parse(text), Err(MomentError), "{text}");
        }
        assert_eq!(Moment::Ago(50).at(20), 0);
        assert_eq!((Moment::Ago(50).ahead(20), Moment::At(50).ahead(90)), (70, 50));
    }

    #[test]
    fn a_transaction_is_told_from_a_time() {
        let since = |text: &str| text.parse::<Since>();
        let days = |count: i64| Ok(Since::Moment(Moment::Ago(count * 86_400 * SECOND)));
        assert_eq!((since("30d"), since("1234d")), (days(30), days(1234)));
        for id in ["0123456789ab", "01234567890d", "beef", "01936b2e-7c1a-7d3e-9f10-0123456789ab"] {
            assert_eq!(since(id), Ok(Since::Transaction(id.to_owned())), "{id}");
        }
        assert!(matches!(since("2026-11-01"), Ok(Since::Moment(Moment::At(_)))));
        for text in ["soon", "be", ""] {
            assert_eq!(since(text), Err(MomentError), "{text:?}");
        }
    }
}
