//! What differs between two pictures: both are sorted, so one pass over both finds it.

use std::cmp::Ordering;
use std::path::PathBuf;

use rustix::fs::FileType;

use super::{Directory, Fact, Part, Walk};
use crate::gaps::is_below;
use crate::root::absolute;

/// How a path differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Seen {
    /// It was not there before.
    Created,
    /// It is not there any more.
    Vanished,
    /// It is another inode, or its type, size or time of modification is another one.
    Content,
    /// Its owner, mode or time of change is another one. The last alone may mean extended attributes.
    Metadata,
}

/// One path that differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Differing {
    /// Which, absolute, as seen in the root.
    pub path: PathBuf,
    /// How.
    pub seen: Seen,
    /// The inode's number, now or, when it vanished, before.
    pub(crate) ino: u64,
}

type Place<'a> = (&'a Part, &'a Directory);

pub(super) fn differences(before: &Walk, after: &Walk) -> Vec<Differing> {
    let mut found = Vec::new();
    let (mut old, mut new) = (before.directories().peekable(), after.directories().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((_, one)), Some((_, other))) => one.path.as_os_str().cmp(other.path.as_os_str()),
        };
        let old = if order.is_le() { old.next() } else { None };
        let new = if order.is_ge() { new.next() } else { None };
        directory(old, new, &mut found);
    }
    let is_known = |one: &Differing| {
        let path = one.path.strip_prefix("/").unwrap_or(&one.path);
        !is_below(&before.gaps, path) && !is_below(&after.gaps, path)
    };
    found.retain(is_known);
    found.sort();
    found
}

fn directory(old: Option<Place<'_>>, new: Option<Place<'_>>, found: &mut Vec<Differing>) {
    let facts = |place: Option<Place<'_>>| place.map_or(0..0, |(_, directory)| directory.start..directory.end);
    let (mut before, mut after) = (facts(old), facts(new));
    let name = |place: Option<Place<'_>>, at: usize| place.map(|(part, _)| part.name(&part.facts[at]).to_os_string());
    let raw = |place: Option<Place<'_>>, at: usize| place.map(|(part, _)| part.facts[at]);
    while !before.is_empty() || !after.is_empty() {
        let order = match (before.is_empty(), after.is_empty()) {
            (false, true) => Ordering::Less,
            (true, _) => Ordering::Greater,
            (false, false) => compare_names(old, before.start, new, after.start),
        };
        let (was, at_old) = (order.is_le().then(|| raw(old, before.start)).flatten(), before.start);
        let (is, at_new) = (order.is_ge().then(|| raw(new, after.start)).flatten(), after.start);
        before.start += usize::from(order.is_le());
        after.start += usize::from(order.is_ge());
        if let Some((seen, ino)) = seen(was, is) {
            let (place, at) = if is.is_some() { (new, at_new) } else { (old, at_old) };
            let path = place.zip(name(place, at)).map(|((_, directory), name)| absolute(&directory.path.join(name)));
            found.extend(path.map(|path| Differing { path, seen, ino }));
        }
    }
}

fn compare_names(old: Option<Place<'_>>, at_old: usize, new: Option<Place<'_>>, at_new: usize) -> Ordering {
    match (old, new) {
        (Some((one, _)), Some((other, _))) => one.name(&one.facts[at_old]).cmp(other.name(&other.facts[at_new])),
        (_, None) => Ordering::Less,
        (None, _) => Ordering::Greater,
    }
}

fn seen(was: Option<Fact>, is: Option<Fact>) -> Option<(Seen, u64)> {
    match (was, is) {
        (None, None) => None,
        (Some(was), None) => Some((Seen::Vanished, was.ino)),
        (None, Some(is)) => Some((Seen::Created, is.ino)),
        (Some(was), Some(is)) => changed(&was, &is).map(|seen| (seen, is.ino)),
    }
}

/// A directory's own content is its names, and those are looked at for themselves. That a file got or lost another
/// name changes its time of change, and is no change of this one.
fn changed(was: &Fact, is: &Fact) -> Option<Seen> {
    let kind = |fact: &Fact| FileType::from_raw_mode(fact.mode);
    let described = (was.mode, was.uid, was.gid) == (is.mode, is.uid, is.gid);
    if kind(was) != kind(is) {
        return Some(Seen::Content);
    }
    if kind(was) == FileType::Directory {
        return (!described).then_some(Seen::Metadata);
    }
    if (was.ino, was.size, was.mtime) != (is.ino, is.size, is.mtime) {
        return Some(Seen::Content);
    }
    (!described || (was.ctime != is.ctime && was.nlink == is.nlink)).then_some(Seen::Metadata)
}
