//! The JSON between our processes, and a request's options as they come over the bus.

use std::collections::HashMap;
use std::fmt::Debug;

use backstep_bus::{PackageArgument, request_from_options};
use backstep_core::{Options, Request};
use backstep_wire::{files, foreign, journal, order, plan, planner, request as wire_request};
use zbus::{OwnedVariant, Variant};

/// What is read is what its own bytes say.
fn same<T: PartialEq + Debug, E>(bytes: &[u8], read: impl Fn(&[u8]) -> Result<T, E>, write: impl Fn(&T) -> Vec<u8>) {
    if let Ok(value) = read(bytes) {
        let again = write(&value);
        assert_eq!(read(&again).ok().as_ref(), Some(&value));
        assert_eq!(read(&again).ok().map(|value| write(&value)), Some(again), "a digest of equal documents is equal");
    }
}

/// A request as the record keeps it, and the same bytes as words of a caller's options.
pub(crate) fn request(bytes: &[u8]) {
    same(bytes, wire_request::from_bytes, wire_request::to_bytes);
    if let Some(request) = of_options(&crate::text(bytes)) {
        let frozen = wire_request::to_bytes(&request);
        assert_eq!(wire_request::from_bytes(&frozen).ok(), Some(request), "what is taken over the bus can be kept");
    }
}

/// The first line is the kind, the second the description, each other one a package: action, name and version.
fn of_options(text: &str) -> Option<Request> {
    let mut lines = text.split('\n');
    let (kind, description) = (lines.next()?, lines.next()?);
    let package = |line: &str| -> PackageArgument {
        let mut words = line.splitn(3, '\t').map(str::to_owned);
        let mut word = || words.next().unwrap_or_default();
        (word(), word(), word())
    };
    let packages: Vec<PackageArgument> = lines.map(package).collect();
    let options = HashMap::from([("packages".to_owned(), OwnedVariant::try_from(Variant::from(packages)).ok()?)]);
    request_from_options(kind, description, options, &Options::default()).ok().map(|parsed| parsed.request)
}

/// A plan, and what goes with it: an order, a question to the planner and its answer.
pub(crate) fn plan(bytes: &[u8]) {
    same(bytes, plan::from_bytes, plan::to_bytes);
    same(bytes, order::from_bytes, order::to_bytes);
    same(bytes, planner::question_from_bytes, planner::question_to_bytes);
    same(bytes, planner::answer_from_bytes, planner::answer_to_bytes);
}

/// A worker's journal, its record of files, and the document of a plain run of apt.
pub(crate) fn journal(bytes: &[u8]) {
    if let Ok((lines, taken)) = journal::whole_lines(bytes) {
        assert!(taken <= bytes.len() && bytes[taken..].iter().all(|byte| *byte != b'\n'));
        assert_eq!(lines.len(), bytes[..taken].iter().filter(|byte| **byte == b'\n').count());
    }
    same(bytes, journal::from_line, journal::to_line);
    same(bytes, files::from_line, files::to_line);
    if let Ok(row) = files::from_line(bytes) {
        drop(row.exact_path());
    }
    same(bytes, foreign::from_bytes, foreign::to_bytes);
}
