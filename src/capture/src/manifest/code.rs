//! Bytes as text: `%xx` for everything that could break a line or a list, and hexadecimal.

use std::fmt::Write;

pub(crate) const HEADER: &str = "backstep-capture 1";
pub(crate) const TRAILER: &str = "end";

/// Appends bytes, escaped.
pub(crate) fn escape(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        match byte {
            b'%' | b',' | b'=' | 0..=0x20 | 0x7f..=0xff => push_hex(*byte, out.push_percent()),
            0x21..=0x7e => out.push(char::from(*byte)),
        }
    }
}

trait PushPercent {
    fn push_percent(&mut self) -> &mut Self;
}

impl PushPercent for String {
    fn push_percent(&mut self) -> &mut Self {
        self.push('%');
        self
    }
}

fn push_hex(byte: u8, out: &mut String) {
    write!(out, "{byte:02x}").expect("writing to a string does not fail");
}

/// The inverse of [`escape`]; none when it is not what that writes.
pub(crate) fn unescape(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            out.push(u8::from_str_radix(text.get(at + 1..at + 3)?, 16).ok()?);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    Some(out)
}

/// Appends bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        push_hex(*byte, out);
    }
}

/// Reads 32 bytes of hexadecimal.
pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives() {
        let all: Vec<u8> = (0..=255).collect();
        let mut text = String::new();
        escape(&all, &mut text);
        assert!(text.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b',' && byte != b'='));
        assert_eq!(unescape(&text), Some(all));
        assert_eq!(unescape("%4"), None);
        assert_eq!(unescape("%zz"), None);
    }
}
