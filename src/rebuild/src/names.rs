//! Names of users and groups, as archives carry them beside the numbers.

use std::collections::HashMap;

/// Names by number.
#[derive(Debug, Default)]
pub(crate) struct Names {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl Names {
    /// From the texts of `/etc/passwd` and `/etc/group`; of two names the first counts.
    pub(crate) fn parse(passwd: &str, group: &str) -> Self {
        Self { users: by_number(passwd), groups: by_number(group) }
    }

    /// A user's name; none is known without one.
    pub(crate) fn user(&self, uid: u32) -> Option<&str> {
        self.users.get(&uid).map(String::as_str)
    }

    /// A group's name.
    pub(crate) fn group(&self, gid: u32) -> Option<&str> {
        self.groups.get(&gid).map(String::as_str)
    }
}

fn by_number(text: &str) -> HashMap<u32, String> {
    let line = |line: &str| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        Some((number.parse().ok()?, name.to_owned()))
    };
    let mut names = HashMap::new();
    for (number, name) in text.lines().filter_map(line) {
        names.entry(number).or_insert(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_of_a_number_counts() {
        let names = Names::parse("root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/:/bin/sh\nodd\n", "shadow:x:42:\n");
        assert_eq!((names.user(0), names.user(42), names.group(42)), (Some("root"), None, Some("shadow")));
    }
}
