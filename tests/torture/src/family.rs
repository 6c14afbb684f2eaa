//! Who is traced now, and as what.
//!
//! A child and its parent's stop that tells of its birth come in any order: the child may have become another program, or have
//! ended, before anybody hears of it. Invariant: nobody is here who has ended; a number that the kernel gives to somebody else
//! afterwards would be killed in its place.

use std::collections::{BTreeMap, BTreeSet};

use nix::unistd::Pid;

/// The processes that are traced, each with its role.
#[derive(Debug)]
pub struct Family<R> {
    roles: BTreeMap<Pid, R>,
    /// Those whose birth was told.
    born: BTreeSet<Pid>,
    /// Those that ended before that.
    early: BTreeSet<Pid>,
}

impl<R> Default for Family<R> {
    fn default() -> Self {
        Self { roles: BTreeMap::new(), born: BTreeSet::new(), early: BTreeSet::new() }
    }
}

impl<R: Copy> Family<R> {
    /// The role of one that is traced, as far as it is known.
    #[must_use]
    pub fn role(&self, pid: Pid) -> Option<R> {
        self.roles.get(&pid).copied()
    }

    /// Everybody.
    pub fn all(&self) -> impl Iterator<Item = Pid> {
        self.roles.keys().copied()
    }

    /// One that was seized, or is told of by its parent: it has this role unless it has become another program already.
    pub fn bear(&mut self, pid: Pid, role: R) {
        if !self.early.remove(&pid) {
            self.born.insert(pid);
            self.roles.entry(pid).or_insert(role);
        }
    }

    /// One has this role now.
    pub fn turn_into(&mut self, pid: Pid, role: R) {
        self.roles.insert(pid, role);
    }

    /// One has ended.
    pub fn end(&mut self, pid: Pid) {
        self.roles.remove(&pid);
        if !self.born.remove(&pid) {
            self.early.insert(pid);
        }
    }

    /// Nobody is left, the kernel says.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(family: &Family<char>) -> Vec<(i32, char)> {
        family.all().map(|pid| (pid.as_raw(), family.role(pid).expect("role"))).collect()
    }

    #[test]
    fn births_are_told_late_and_nobody_stays_who_has_ended() {
        let [parent, child, late] = [1, 2, 3].map(Pid::from_raw);
        let mut family = Family::default();
        family.bear(parent, 'p');
        family.bear(child, 'p');
        assert_eq!(all(&family), [(1, 'p'), (2, 'p')]);
        family.turn_into(child, 'c');
        family.end(child);
        // This one became another program before its birth was told, and the next one ended, too.
        family.turn_into(child, 'd');
        family.bear(child, 'p');
        family.turn_into(late, 'd');
        family.end(late);
        family.bear(late, 'p');
        assert_eq!(all(&family), [(1, 'p'), (2, 'd')]);
        // The number is another's now.
        family.bear(late, 'p');
        assert_eq!(all(&family), [(1, 'p'), (2, 'd'), (3, 'p')]);
        family.clear();
        assert_eq!(all(&family), []);
    }
}
