//! Text from elsewhere made safe for a terminal.

/// One line: every control character, line ends included, becomes visible.
pub(crate) fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        push(&mut out, c, false);
        out
    })
}

/// Many lines: line ends and tabs stay; what is no UTF-8 becomes a replacement character. A carriage return
/// before a line end is dropped, another one becomes a line end: progress displays are full of them.
pub(crate) fn escaped_log(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        push(&mut out, c, true);
        out
    })
}

/// JSON: the same document with what JSON lets through spelled out: DEL, the controls above ASCII, turns of direction.
pub(crate) fn escaped_json(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if is_unsafe(c) && c != '\n' {
            out.push_str(&format!("\\u{:04x}", u32::from(c)))
        } else {
            out.push(c)
        }
        out
    })
}

fn push(out: &mut String, c: char, lines: bool) {
    match c {
        '\n' | '\t' if lines => out.push(c),
        '\n' => out.push_str("\\n"),
        '\t' => out.push_str("\\t"),
        c if is_unsafe(c) && u32::from(c) < 0x100 => out.push_str(&format!("\\x{:02x}", u32::from(c))),
        c if is_unsafe(c) => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
        c => out.push(c),
    }
}

/// Control characters, those that turn the direction of writing or end a line, and those that nobody sees.
fn is_unsafe(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns || matches!(c, '\u{200b}' | '\u{2028}' | '\u{2029}' | '\u{2060}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_as_a_command() {
        assert_eq!(escaped("a\u{1b}[31mb\nc\u{9b}d\u{202e}e"), "a\\x1b[31mb\\nc\\x9bd\\u{202e}e");
        assert_eq!(escaped("Größe …"), "Größe …");
        assert_eq!(escaped("a\u{200b}\u{2060}\u{feff}b"), "a\\u{200b}\\u{2060}\\u{feff}b", "what nobody sees");
        assert_eq!(escaped("\u{61c}\u{2028}\u{2029}"), "\\u{61c}\\u{2028}\\u{2029}");
        assert_eq!(escaped_json("{\"a\":\"\u{9b}ä\u{7f}\u{202e}\"}\n"), "{\"a\":\"\\u009bä\\u007f\\u202e\"}\n");
        assert_eq!(escaped_log(b"10%\r20%\r\nx\ty\x07\xff\n"), "10%\n20%\nx\ty\\x07\u{fffd}\n");
    }
}
