//! The readers of a capture's files, for tests that hand them damaged bytes. Checksums are made good first: what is tested
//! is what comes behind them.

use sha2::{Digest as _, Sha256};

use crate::late::{log, record};
use crate::manifest::hex;
use crate::{changes, manifest, walk};

/// Reads every line as a record of the late log. What is read comes back the same when it is written and read again.
pub fn late_lines(text: &str) {
    for line in text.lines() {
        if let Some(read) = record::decode(line) {
            assert_eq!(record::decode(&record::encode(&read)), Some(read), "{line:?}");
        }
    }
}

/// Reads the bytes as a late log, as they are, and their lines framed as one.
pub fn late_log(bytes: &[u8]) {
    drop(log::parse(bytes));
    let mut whole = log::HEADER.to_vec();
    for line in bytes.split(|byte| *byte == b'\n') {
        let at = whole.len() as u64;
        log::frame(line, at, &mut whole);
    }
    if let Ok((_, end)) = log::parse(&whole) {
        assert_eq!(end, whole.len() as u64, "a whole record is not torn");
    }
}

/// Reads the lines as those of a manifest and of a record of changes.
pub fn closed_files(lines: &[u8]) {
    drop(manifest::parse(&closed(manifest::HEADER, lines)));
    drop(changes::parse(&closed(changes::HEADER, lines)));
}

/// Reads the bytes as the body of a picture.
pub fn picture(body: &[u8]) {
    let mut whole = walk::HEADER.to_vec();
    whole.extend_from_slice(body);
    let sum = Sha256::digest(&whole);
    whole.extend_from_slice(&sum);
    if let Some(read) = walk::decode(&whole) {
        let again = walk::decode(&walk::encode(&read));
        assert_eq!(again.map(|again| again.count()), Some(read.count()));
    }
}

fn closed(header: &str, lines: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{header}\n").into_bytes();
    bytes.extend_from_slice(lines);
    if !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    let count = bytes.iter().filter(|byte| **byte == b'\n').count() - 1;
    let mut sum = String::new();
    hex(Sha256::digest(&bytes).as_slice(), &mut sum);
    bytes.extend_from_slice(format!("end\t{count}\t{sum}\n").as_bytes());
    bytes
}
