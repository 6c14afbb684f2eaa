//! Steps: the units of doing and undoing.

closed_enum! {
    /// The steps of a transaction, in the order in which they are done. Undo runs in reverse.
    pub enum StepKind("step") {
        /// Download archives and verify them against the plan. Undo: nothing to bring back.
        Fetch = "fetch",
        /// Capture undo material: files, dpkg's and apt's state, units. Undo: units as they were, verified.
        Secure = "secure",
        /// Let apt and dpkg make the change. Undo: captured files restored.
        Apply = "apply",
        /// Reload the service manager where unit files changed. Undo: stop what the change started.
        Services = "services",
        /// Compare dpkg's facts, marks and unit health with the plan. Undo: nothing to bring back.
        Check = "check",
        /// Make everything durable and say so. After it only a new transaction can undo.
        Commit = "commit",
    }
}

impl StepKind {
    /// Whether a transaction can still be cancelled without undoing anything when this step is reached.
    #[must_use]
    pub const fn changes_system(self) -> bool {
        match self {
            Self::Fetch | Self::Secure | Self::Check | Self::Commit => false,
            Self::Apply | Self::Services => true,
        }
    }

    /// For people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Fetch => "Fetch archives",
            Self::Secure => "Secure undo material",
            Self::Apply => "Change packages",
            Self::Services => "Settle services",
            Self::Check => "Check the result",
            Self::Commit => "Commit",
        }
    }
}

closed_enum! {
    /// How far a step is.
    pub enum StepState("step state") {
        /// Not begun.
        Pending = "pending",
        /// Begun; its end is not recorded yet.
        Running = "running",
        /// Done and verified.
        Completed = "completed",
        /// Ended with an error.
        Failed = "failed",
        /// Not needed.
        Skipped = "skipped",
        /// Its worker ended without saying how.
        Unknown = "unknown",
        /// Undone and verified.
        Undone = "undone",
        /// Its undo ended with an error or left differences.
        UndoFailed = "undo_failed",
    }
}

closed_enum! {
    /// Which way a worker goes. It turns at most once, from forward to undo, and never back.
    pub enum Direction("direction") {
        /// Do.
        Forward = "forward",
        /// Undo, in reverse order.
        Undo = "undo",
    }
}
