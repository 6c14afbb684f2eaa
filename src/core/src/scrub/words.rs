//! Words that are secret by the words before them: flags, `machine … login … password …`, debconf's answers, `Bearer …`.

use std::ops::Range;

pub(super) fn find(line: &[u8], found: &mut Vec<Range<usize>>) {
    let words = words(line);
    let text = |place: usize| words.get(place).map(|range: &Range<usize>| &line[range.clone()]).unwrap_or_default();
    let is = |place: usize, known: &[&str]| known.iter().any(|known| text(place).eq_ignore_ascii_case(known.as_bytes()));
    let netrc = (0..words.len()).any(|place| is(place, &["machine", "login"]));
    let sshpass = (0..words.len()).any(|place| text(place).ends_with(b"sshpass"));
    let database = (0..words.len()).any(|place| [&b"mysql"[..], b"mysqldump", b"mysqladmin", b"mariadb"].contains(&text(place)));
    for (place, word) in words.iter().enumerate() {
        let next = words.get(place + 1).cloned();
        if is_flag(&line[word.clone()]) || (netrc && is(place, &["password", "passwd"])) || (sshpass && text(place) == b"-p") {
            found.extend(next);
        } else if is(place, &["-u", "--user", "--proxy-user"]) {
            found.extend(next.filter(|range| line[range.clone()].contains(&b':')));
        } else if is(place, &["bearer", "basic", "negotiate"]) {
            found.extend(next.filter(|range| is_encoded(&line[range.clone()])));
        } else if database && text(place).starts_with(b"-p") && word.len() > 2 {
            found.push(word.start + 2..word.end);
        } else if place == 2 && is(2, &["password"]) && text(1).contains(&b'/') {
            // An owner, a question, its type, and the answer to the end of the line.
            found.extend(next.map(|range| range.start..line.len()));
        }
    }
}

/// `--password`, `--db-token`, `-passphrase` and so on, with the value as the next word.
fn is_flag(word: &[u8]) -> bool {
    let endings = [&b"password"[..], b"passwd", b"passphrase", b"token", b"secret", b"api-key", b"apikey", b"access-key", b"secret-key"];
    word.starts_with(b"-") && endings.iter().any(|ending| word.to_ascii_lowercase().ends_with(ending))
}

/// Whether it looks like base64, and not like a word of a sentence.
fn is_encoded(word: &[u8]) -> bool {
    let of_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=_-.~".contains(byte);
    let mixed =
        word.iter().any(u8::is_ascii_digit) || (word.iter().skip(1).any(u8::is_ascii_uppercase) && word.iter().any(u8::is_ascii_lowercase));
    word.len() >= 8 && mixed && word.iter().all(of_base64)
}

/// Runs of anything but white space and quotes.
fn words(line: &[u8]) -> Vec<Range<usize>> {
    let outside = |byte: u8| byte.is_ascii_whitespace() || b"\"'`".contains(&byte);
    let mut words = Vec::new();
    let mut start = None;
    for (at, byte) in line.iter().enumerate() {
        match (outside(*byte), start) {
            (false, None) => start = Some(at),
            (true, Some(from)) => {
                words.push(from..at);
                start = None;
            }
            (false, Some(_)) | (true, None) => {}
        }
    }
    words.extend(start.map(|from| from..line.len()));
    words
}
