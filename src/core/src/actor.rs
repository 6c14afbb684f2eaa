//! Who asked, as the bus and the kernel say it; nothing here comes from the caller's own text except the
//! client's name and version, which are kept as claims.

closed_enum! {
    /// Through which door a request came.
    pub enum Origin("origin") {
        /// The command line.
        Cli = "cli",
        /// Another D-Bus client.
        Dbus = "dbus",
        /// The spool of request files.
        Spool = "spool",
        /// A systemd timer.
        Timer = "timer",
        /// A plain run of apt, which the hook of `apt.conf.d` recorded.
        Apt = "apt",
        /// Backstep itself, for example recovery.
        Daemon = "daemon",
    }
}

/// The caller of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// User id.
    pub uid: u32,
    /// The user's name at that time; empty when the id has none.
    pub user: String,
    /// The audit login uid; `None` when unset.
    pub loginuid: Option<u32>,
    /// Process id at that time; `None` when the bus did not tell.
    pub pid: Option<u32>,
    /// The unique bus name; empty for Backstep itself.
    pub sender: String,
    /// The systemd unit the caller ran in; empty when unknown.
    pub unit: String,
    /// Through which door.
    pub origin: Origin,
    /// The client's claim of its name and version, at most 64 bytes.
    pub client: String,
}

/// The systemd unit of a `/proc/PID/cgroup`: the outermost, which systemd itself made; empty without one. What is below it may
/// be delegated, and named by whoever it was delegated to.
#[must_use]
pub fn unit_of(cgroup: &str) -> String {
    cgroup.lines().find_map(unit_of_line).unwrap_or_default()
}

fn unit_of_line(line: &str) -> Option<String> {
    let path = line.splitn(3, ':').nth(2)?;
    // `..` is what is above a namespace.
    let first = path.split('/').find(|part| !matches!(*part, "" | "..") && !part.ends_with(".slice"))?;
    let is_unit = [".service", ".scope"].iter().any(|suffix| first.ends_with(suffix));
    is_unit.then(|| first.chars().filter(|c| !c.is_control()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_the_one_that_systemd_made() {
        assert_eq!(unit_of("0::/user.slice/user-1000.slice/session-3.scope\n"), "session-3.scope");
        assert_eq!(unit_of("0::/system.slice/backstep-upgrade.service\n"), "backstep-upgrade.service");
        assert_eq!(unit_of("0::/system.slice/system-getty.slice/getty@tty1.service\n"), "getty@tty1.service");
        assert_eq!(unit_of("0::/../../init.scope\n"), "init.scope");
        assert_eq!(unit_of("0::/\n"), "");
        let forged = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/\u{1b}[31mbackstep-upgrade.service\n";
        assert_eq!(unit_of(forged), "user@1000.service");
        assert_eq!(unit_of("0::/system.slice/a\u{1b}b.service/backstep-upgrade.service\n"), "ab.service");
        assert_eq!(unit_of("0::/lent/backstep-upgrade.service\n"), "");
    }
}
