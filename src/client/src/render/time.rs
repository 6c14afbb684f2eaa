//! Times and durations for people. Microseconds since 1970 in UTC come in; local time goes out.

use chrono::{DateTime, Local, TimeZone};

const SECOND: i64 = 1_000_000;

/// Now. The only clock of the client; it is used for display alone.
pub(crate) fn now_us() -> i64 {
    Local::now().timestamp_micros()
}

/// When something was: `12 s ago`, `5 min ago`, `3 h ago` within a day, else the local date and time.
pub(crate) fn when(at_us: i64, now_us: i64) -> String {
    if at_us == 0 {
        return String::new();
    }
    let seconds = (now_us - at_us) / SECOND;
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        _ => local(at_us, &Local),
    }
}

/// The date and time in a zone, to the second; empty for 0 and what no calendar has.
pub(crate) fn local<Z: TimeZone>(at_us: i64, zone: &Z) -> String
where
    Z::Offset: std::fmt::Display,
{
    let utc = DateTime::from_timestamp_micros(at_us).filter(|_| at_us != 0);
    utc.map(|utc| utc.with_timezone(zone).format("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default()
}

/// The local date and time.
pub(crate) fn full(at_us: i64) -> String {
    local(at_us, &Local)
}

/// The local date.
pub(crate) fn day(at_us: i64) -> String {
    full(at_us).split(' ').next().unwrap_or_default().to_owned()
}

/// The local time of day, for what stands beside its date.
pub(crate) fn of_day(at_us: i64) -> String {
    full(at_us).split(' ').next_back().unwrap_or_default().to_owned()
}

/// `<0.1 s`, `0.4 s`, `12 s`, `3 min 5 s`, `2 h 5 min`; empty for what did not happen.
pub(crate) fn duration(us: i64) -> String {
    if us <= 0 {
        return String::new();
    }
    if us < SECOND / 10 {
        return "<0.1 s".to_owned();
    }
    let seconds = us / SECOND;
    match seconds {
        0..10 => format!("{}.{} s", seconds, us % SECOND / 100_000),
        10..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::Utc;

    #[test]
    fn times_within_a_day_are_relative() {
        let now = 1_700_000_000 * SECOND;
        assert_eq!(when(now - 5 * SECOND, now), "5 s ago");
        assert_eq!(when(now - 3_599 * SECOND, now), "59 min ago");
        assert_eq!(when(now - 86_399 * SECOND, now), "23 h ago");
        assert!(!when(now - 86_400 * SECOND, now).contains("ago"));
        assert_eq!(when(0, now), "");
        assert_eq!(local(now, &Utc), "2023-11-14 22:13:20");
        assert_eq!(format!("{} {}", day(now), of_day(now)), full(now));
        assert!(full(now).ends_with(&of_day(now)) && of_day(now).len() == 8, "{}", of_day(now));
    }

    #[test]
    fn durations() {
        let cases =
            [(0, ""), (1, "<0.1 s"), (450_000, "0.4 s"), (12 * SECOND, "12 s"), (185 * SECOND, "3 min 5 s"), (7_500 * SECOND, "2 h 5 min")];
        for (us, expected) in cases {
            assert_eq!(duration(us), expected);
        }
    }
}
