//! Bytes for people, in the decimal units apt uses.

const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];

/// `0 B`, `999 B`, `1.5 kB`, `12 MB`: two digits of precision below ten.
pub(crate) fn bytes(bytes: u64) -> String {
    let mut unit = 0;
    // In tenths, so that no floating point is needed.
    let mut tenths = u128::from(bytes) * 10;
    while tenths >= 9_995 && unit + 1 < UNITS.len() {
        tenths = (tenths + 500) / 1000;
        unit += 1;
    }
    if unit == 0 || tenths >= 100 {
        format!("{} {}", (tenths + if unit == 0 { 0 } else { 5 }) / 10, UNITS[unit])
    } else {
        format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    }
}

/// `+1.5 kB` or `-3.0 MB`.
pub(crate) fn change(delta: i64) -> String {
    let sign = if delta < 0 { '-' } else { '+' };
    format!("{sign}{}", bytes(delta.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_540, "1.5 kB"),
            (53_100, "53 kB"),
            (999_600, "1.0 MB"),
            (12_345_678, "12 MB"),
        ];
        for (n, expected) in cases {
            assert_eq!(bytes(n), expected, "{n}");
        }
        assert_eq!(change(-3_000_000), "-3.0 MB");
        assert_eq!(change(0), "+0 B");
        assert_eq!(bytes(u64::MAX), "18446744 TB");
    }
}
