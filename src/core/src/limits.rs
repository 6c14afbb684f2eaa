//! Bounds on what a caller may send. Beyond them a request is refused before anything is stored.

/// Packages named in one request.
pub const MAX_ITEMS: usize = 1_000;
/// Local archives in one request.
pub const MAX_LOCAL_ARCHIVES: usize = 64;
/// Bytes of a description or comment.
pub const MAX_TEXT: usize = 256;
/// Tags of one request.
pub const MAX_TAGS: usize = 16;
/// Bytes of a tag.
pub const MAX_TAG: usize = 64;
/// Characters that a search for text needs: fewer find everything and no index helps.
pub const MIN_TEXT: usize = 3;
/// Worker attempts after which a person decides.
pub const MAX_ATTEMPTS: u32 = 3;
/// Denials of one transaction that are on its own record; the rest are counted among the refusals.
pub const MAX_DENIALS: usize = 16;

/// Bounds that the configuration may change: section `[limits]`, one key each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Transactions one user may have waiting for preparation, authorisation or their turn.
    pub open_per_user: u32,
    /// Transactions all users together may have waiting.
    pub open: u32,
    /// Objects of transactions on the bus at a time; those that wait keep theirs beyond it.
    pub objects: u32,
    /// Method calls of one user a second, on the average; four times as many at once.
    pub calls_per_second: u32,
    /// Method calls of one user that may be under way.
    pub calls_at_once_per_user: u32,
    /// Method calls of all users that may be under way.
    pub calls_at_once: u32,
    /// Bytes of one request's arguments.
    pub request_bytes: u32,
    /// Local archives, and so descriptors, of one request. At most [`MAX_LOCAL_ARCHIVES`].
    pub archives: u32,
    /// Bytes of all local archives of the requests of one user that wait.
    pub archive_bytes: u64,
    /// Seconds that people have to answer polkit.
    pub answer_seconds: u32,
    /// Bytes that one user's requests and their plans may add to the record in an hour.
    pub record_bytes_per_hour: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            open_per_user: 8,
            open: 64,
            objects: 128,
            calls_per_second: 50,
            calls_at_once_per_user: 32,
            calls_at_once: 256,
            request_bytes: 256 << 10,
            archives: 64,
            archive_bytes: 2 << 30,
            answer_seconds: 120,
            record_bytes_per_hour: 16 << 20,
        }
    }
}

impl Limits {
    /// Every limit: its key in the configuration, its value, what it bounds.
    #[must_use]
    pub fn table(&self) -> [(&'static str, u64, &'static str); 11] {
        [
            ("open-per-user", self.open_per_user.into(), "transactions of one user that wait to be planned, authorised or run"),
            ("open", self.open.into(), "transactions of all users that wait"),
            ("objects", self.objects.into(), "objects of transactions on the bus; those that wait keep theirs beyond it"),
            (
                "calls-per-second",
                self.calls_per_second.into(),
                "method calls of one user a second on the average; four times as many at once",
            ),
            (
                "calls-at-once-per-user",
                self.calls_at_once_per_user.into(),
                "method calls of one user that are under way, questions to people included",
            ),
            ("calls-at-once", self.calls_at_once.into(), "method calls of all users that are under way"),
            ("request-bytes", self.request_bytes.into(), "bytes of a call's arguments"),
            ("archives", self.archives.into(), "local archives of one request, each a descriptor; 64 at most"),
            ("answer-seconds", self.answer_seconds.into(), "seconds that people have to answer polkit's question"),
            ("archive-bytes", self.archive_bytes, "bytes of all local archives of one user's requests that wait"),
            (
                "record-bytes-per-hour",
                self.record_bytes_per_hour,
                "bytes that one user's requests and their plans add to the record in an hour; a request counts as 4 KiB at least",
            ),
        ]
    }

    /// Sets one limit by its key. `None` is no key, or a value that would let nobody in or is beyond what is possible.
    #[must_use]
    pub fn set(&mut self, key: &str, value: u64) -> Option<()> {
        let small = u32::try_from(value).ok().filter(|value| *value > 0);
        match key {
            "open-per-user" => self.open_per_user = small?,
            "open" => self.open = small?,
            "objects" => self.objects = small?,
            "calls-per-second" => self.calls_per_second = small.filter(|value| *value <= 1_000_000)?,
            "calls-at-once-per-user" => self.calls_at_once_per_user = small?,
            "calls-at-once" => self.calls_at_once = small?,
            "request-bytes" => self.request_bytes = small?,
            "archives" => self.archives = small.filter(|value| *value as usize <= MAX_LOCAL_ARCHIVES)?,
            "answer-seconds" => self.answer_seconds = small?,
            "archive-bytes" => self.archive_bytes = Some(value).filter(|value| *value > 0)?,
            "record-bytes-per-hour" => self.record_bytes_per_hour = Some(value).filter(|value| *value > 0)?,
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_set_by_its_key_and_by_no_other() {
        for (place, (key, value, _)) in Limits::default().table().into_iter().enumerate() {
            let mut limits = Limits::default();
            assert_eq!(limits.set(key, value - 1), Some(()), "{key}");
            let changed: Vec<usize> = (0..11).filter(|n| limits.table()[*n].1 != Limits::default().table()[*n].1).collect();
            assert_eq!((changed.as_slice(), limits.table()[place].1), (&[place][..], value - 1), "{key}");
            assert_eq!(limits.set(key, 0), None, "{key}");
        }
        assert_eq!(Limits::default().set("archives", 65), None);
        assert_eq!(Limits::default().set("open", u64::MAX), None);
        assert_eq!(Limits::default().set("hook", 1), None);
    }
}
