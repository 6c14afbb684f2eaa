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
