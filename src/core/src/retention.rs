//! How long undo material is kept: which captures and archives are given up.
//!
//! Giving material up takes nothing from the record. A transaction without its capture is undone by packages.

use crate::id::AttemptId;

/// What the administrator chose. A limit of 0 stands for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Captures of committed changes, at most.
    pub changes: u32,
    /// Age of a capture in days, at most.
    pub days: u32,
    /// Bytes that captures take together, at most.
    pub bytes: u64,
    /// Bytes that kept archives take together, at most.
    pub archive_bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { changes: 50, days: 180, bytes: 8 << 30, archive_bytes: 4 << 30 }
    }
}

/// What a configuration says of it: a key that is absent leaves what was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wishes {
    /// See [`Retention::changes`].
    pub changes: Option<u32>,
    /// See [`Retention::days`].
    pub days: Option<u32>,
    /// Of captures.
    pub mebibytes: Option<u32>,
    /// Of kept archives.
    pub archive_mebibytes: Option<u32>,
}

impl Wishes {
    /// The retention that results, over one that was chosen before.
    #[must_use]
    pub fn over(self, other: Retention) -> Retention {
        let bytes = |mebibytes: Option<u32>, otherwise| mebibytes.map_or(otherwise, |count| u64::from(count) << 20);
        Retention {
            changes: self.changes.unwrap_or(other.changes),
            days: self.days.unwrap_or(other.days),
            bytes: bytes(self.mebibytes, other.bytes),
            archive_bytes: bytes(self.archive_mebibytes, other.archive_bytes),
        }
    }
}

/// What has become of the change that a capture belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is committed: the capture can undo it.
    Committed,
    /// It was undone, and nothing differs from before.
    Undone,
    /// It is not over, or was not undone completely.
    Open,
}

/// One capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Material {
    /// Whose.
    pub attempt: AttemptId,
    /// When it was completed, in microseconds since 1970, UTC.
    pub at_us: i64,
    /// Bytes of disk that giving it up frees.
    pub bytes: u64,
    /// Of the change.
    pub fate: Fate,
    /// Whether somebody wants it kept, whatever the limits say.
    pub pinned: bool,
}

/// The captures to give up, oldest first. That of the newest committed change always stays, whatever the limits, and
/// so does what is pinned, which takes no room from the others either.
#[must_use]
pub fn given_up(materials: &[Material], retention: &Retention, now_us: i64) -> Vec<AttemptId> {
    let mut newest_first: Vec<&Material> = materials.iter().collect();
    newest_first.sort_by_key(|material| std::cmp::Reverse((material.at_us, material.attempt)));
    let (mut kept, mut bytes) = (0_u32, 0_u64);
    let mut out = Vec::new();
    for material in newest_first {
        if material.pinned {
            continue;
        }
        let stays = match material.fate {
            Fate::Open => true,
            Fate::Undone => false,
            Fate::Committed => kept == 0 || fits(material, retention, (kept, bytes), now_us),
        };
        if stays {
            kept += u32::from(material.fate == Fate::Committed);
            bytes = bytes.saturating_add(material.bytes);
        } else {
            out.push(material.attempt);
        }
    }
    out.reverse();
    out
}

fn fits(material: &Material, retention: &Retention, (kept, bytes): (u32, u64), now_us: i64) -> bool {
    let within = |limit: u64, value: u64| limit == 0 || value <= limit;
    let age = u64::try_from(now_us.saturating_sub(material.at_us)).unwrap_or(0);
    within(u64::from(retention.changes), u64::from(kept) + 1)
        && within(u64::from(retention.days) * DAY_US, age)
        && within(retention.bytes, bytes.saturating_add(material.bytes))
}

const DAY_US: u64 = 24 * 60 * 60 * 1_000_000;

/// How many of the oldest to give up so that the rest fits into `limit` bytes (0: no limit); sizes oldest first.
#[must_use]
pub fn too_many(sizes: &[u64], limit: u64) -> usize {
    if limit == 0 {
        return 0;
    }
    let mut sum = 0_u64;
    let newest_that_fit = sizes.iter().rev().take_while(|size| {
        sum = sum.saturating_add(**size);
        sum <= limit
    });
    sizes.len() - newest_that_fit.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = DAY_US as i64;

    fn material(number: u32, days_old: i64, bytes: u64, fate: Fate) -> Material {
        let transaction = "01936b2e-7c1a-7d3e-9f10-0123456789ab".parse().expect("id");
        Material { attempt: AttemptId { transaction, number }, at_us: (1000 - days_old) * DAY, bytes, fate, pinned: false }
    }

    fn numbers(materials: &[Material], retention: Retention) -> Vec<u32> {
        given_up(materials, &retention, 1000 * DAY).iter().map(|attempt| attempt.number).collect()
    }

    const NONE: Retention = Retention { changes: 0, days: 0, bytes: 0, archive_bytes: 0 };

    #[test]
    fn each_limit_gives_up_the_oldest_first() {
        let all = [1, 2, 3, 4].map(|n| material(n, 40 - 10 * i64::from(n), 100, Fate::Committed));
        assert_eq!(numbers(&all, NONE), [0; 0]);
        assert_eq!(numbers(&all, Retention { changes: 3, ..NONE }), [1]);
        assert_eq!(numbers(&all, Retention { days: 15, ..NONE }), [1, 2]);
        assert_eq!(numbers(&all, Retention { bytes: 250, ..NONE }), [1, 2]);
    }

    #[test]
    fn the_newest_committed_change_stays_and_so_does_what_is_not_over() {
        let all = [material(1, 400, 900, Fate::Open), material(2, 300, 900, Fate::Committed), material(3, 1, 1, Fate::Undone)];
        assert_eq!(numbers(&all, Retention { changes: 1, days: 1, bytes: 1, archive_bytes: 1 }), [3]);
    }

    #[test]
    fn what_is_pinned_stays_and_takes_no_room_from_others() {
        let mut all = [1, 2, 3].map(|n| material(n, 40 - 10 * i64::from(n), 100, Fate::Committed));
        all[0].pinned = true;
        all[2].pinned = true;
        assert_eq!(numbers(&all, Retention { changes: 1, days: 0, bytes: 100, archive_bytes: 0 }), [0; 0]);
        all[2].pinned = false;
        assert_eq!(numbers(&all, Retention { changes: 1, days: 0, bytes: 100, archive_bytes: 0 }), [2]);
    }

    #[test]
    fn a_clock_that_went_back_gives_nothing_up() {
        let all = [material(1, -5, 1, Fate::Committed), material(2, -6, 1, Fate::Committed)];
        assert_eq!(numbers(&all, Retention { days: 1, ..NONE }), [0; 0]);
    }

    #[test]
    fn a_key_that_is_absent_leaves_what_was() {
        let before = Retention { changes: 1, days: 2, bytes: 3, archive_bytes: 4 };
        assert_eq!(Wishes::default().over(before), before);
        let all = Wishes { changes: Some(0), days: Some(5), mebibytes: Some(6), archive_mebibytes: Some(7) };
        assert_eq!(all.over(before), Retention { changes: 0, days: 5, bytes: 6 << 20, archive_bytes: 7 << 20 });
    }

    #[test]
    fn archives_go_by_bytes_alone() {
        assert_eq!(too_many(&[5, 5, 5], 10), 1);
        assert_eq!(too_many(&[5, 5, 5], 15), 0);
        assert_eq!(too_many(&[5, 50], 10), 2);
        assert_eq!(too_many(&[5, 50], 0), 0);
    }
}
