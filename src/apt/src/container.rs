//! The container of a Debian archive: three members, in their order, and nothing else.
//!
//! apt and dpkg find a member in ways of their own: of an archive with two lists of facts, or with something before or behind
//! the three, each may read another package. Absent on purpose: what is in the members, and signatures inside the container.

use std::ops::Range;

/// What a container begins with.
pub const MAGIC: &[u8; 8] = b"!<arch>\n";
/// Bytes of a member's header.
pub const HEADER: usize = 60;
/// The place of a member's size in its header: ten decimal digits, filled up with spaces.
pub const SIZE: Range<usize> = 48..58;
/// The place of a member's name in its header, filled up with spaces.
pub const NAME: Range<usize> = 0..16;
/// What a member's header ends with.
const END: &[u8; 2] = b"`\n";
const VERSION: &str = "debian-binary";

/// Checks a container of `size` bytes; `read` fills a buffer from a place in it. Answers what is wrong.
///
/// # Errors
/// Those of `read`, in `Err`.
pub fn fault<E>(size: u64, mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>) -> Result<Option<&'static str>, E> {
    let mut magic = [0; MAGIC.len()];
    if size < 132 {
        return Ok(Some("it is too short"));
    }
    read(0, &mut magic)?;
    if magic != *MAGIC {
        return Ok(Some("it begins with something else"));
    }
    let mut at = MAGIC.len() as u64;
    for wanted in [VERSION, "control.tar", "data.tar"] {
        let mut header = [0; HEADER];
        if size.saturating_sub(at) < HEADER as u64 {
            return Ok(Some("a member is missing"));
        }
        read(at, &mut header)?;
        let Some((name, length)) = member(&header) else { return Ok(Some("a member's header is damaged")) };
        if !is(name, wanted) {
            return Ok(Some("its members are not the three of a package, in their order"));
        }
        at = at.saturating_add(HEADER as u64).saturating_add(length);
        if at > size {
            return Ok(Some("it was cut off"));
        }
        at += length % 2;
    }
    // The last byte is filled up, or not.
    Ok((at != size && at != size + 1).then_some("something is behind its end"))
}

/// A member's name and its length in bytes, which is filled up to an even one. None where a header is damaged.
#[must_use]
pub fn member(header: &[u8; HEADER]) -> Option<(&str, u64)> {
    let text = |range: Range<usize>| std::str::from_utf8(&header[range]).ok().map(|text| text.trim_end_matches(' '));
    let length = text(SIZE)?;
    let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    (header[58..] == *END && digits).then_some(())?;
    let name = text(NAME)?;
    // GNU's form ends with a slash.
    Some((name.strip_suffix('/').unwrap_or(name), length.parse().ok()?))
}

fn is(name: &str, wanted: &str) -> bool {
    let compressions = ["", ".gz", ".xz", ".zst", ".bz2", ".lzma"];
    name.strip_prefix(wanted).is_some_and(|rest| if wanted == VERSION { rest.is_empty() } else { compressions.contains(&rest) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(members: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for (name, content) in members {
            bytes.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n{content}", 0, 0, 0, 100_644, content.len()).into_bytes());
            if content.len() % 2 == 1 {
                bytes.push(b'\n');
            }
        }
        bytes
    }

    fn look(bytes: &[u8]) -> Option<&'static str> {
        let read = |at: u64, buffer: &mut [u8]| {
            let at = usize::try_from(at).map_err(drop)?;
            buffer.copy_from_slice(bytes.get(at..at + buffer.len()).ok_or(())?);
            Ok::<(), ()>(())
        };
        fault(bytes.len() as u64, read).expect("no read beyond the end")
    }

    const VERSION_2: (&str, &str) = ("debian-binary", "2.0\n");

    #[test]
    fn a_package_is_three_members_in_their_order() {
        for (control, data) in [("control.tar.gz", "data.tar.xz"), ("control.tar", "data.tar"), ("control.tar.zst/", "data.tar.zst/")] {
            assert_eq!(look(&archive(&[VERSION_2, (control, "abc"), (data, "abcde")])), None, "{control}");
        }
        let unfilled = archive(&[VERSION_2, ("control.tar", "abc"), ("data.tar", "abc")]);
        assert_eq!(look(&unfilled[..unfilled.len() - 1]), None);
    }

    #[test]
    fn what_two_readers_could_read_in_two_ways_is_refused() {
        let (control, data) = (("control.tar.gz", "abcd"), ("data.tar.gz", "abcd"));
        let good = archive(&[VERSION_2, control, data]);
        let behind = [good.clone(), b"PK\x03\x04".to_vec()].concat();
        let before = [b"#!/bin/sh\nexit\n".to_vec(), good.clone()].concat();
        let mut damaged = good.clone();
        damaged[8 + 58] = b'x';
        let mut odd_length = good.clone();
        odd_length[8 + 48..8 + 58].copy_from_slice(b"-4        ");
        for (what, bytes, says) in [
            ("a second control", archive(&[VERSION_2, control, data, ("control.tar.xz", "ab")]), "behind"),
            ("a second control before", archive(&[VERSION_2, control, ("control.tar.xz", "ab"), data]), "three"),
            ("another order", archive(&[control, VERSION_2, data]), "three"),
            ("a member between", archive(&[VERSION_2, ("_x", "ab"), control, data]), "three"),
            ("another compression", archive(&[VERSION_2, ("control.tar.exe", "ab"), data]), "three"),
            ("something behind", behind, "behind"),
            ("something before", before, "begins"),
            ("cut off", good[..good.len() - 2].to_vec(), "cut off"),
            ("cut off in a header", good[..good.len() - 20].to_vec(), "missing"),
            ("a damaged header", damaged, "damaged"),
            ("a length that is none", odd_length, "damaged"),
            ("nothing", Vec::new(), "short"),
        ] {
            assert!(look(&bytes).is_some_and(|fault| fault.contains(says)), "{what}: {:?}", look(&bytes));
        }
    }
}
