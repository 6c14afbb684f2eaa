//! The only place of the daemon that reads clocks and makes identities.

use backstep_core::{BootId, Stamp, TransactionId};
use backstep_engine::ports::{Clock, Identities};
use nix::time::{ClockId, clock_gettime};

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    boot: BootId,
}

impl SystemClock {
    /// Reads the boot id once: it cannot change while we run.
    pub fn new() -> anyhow::Result<Self> {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        Ok(Self { boot: text.trim().parse()? })
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Stamp {
        Stamp { utc_us: micros(ClockId::CLOCK_REALTIME), monotonic_us: micros(ClockId::CLOCK_BOOTTIME), boot: self.boot }
    }
}

/// Both clocks exist on every kernel we run on, so reading them cannot fail.
fn micros(clock: ClockId) -> i64 {
    let time = clock_gettime(clock).expect("CLOCK_REALTIME and CLOCK_BOOTTIME exist on Linux");
    time.tv_sec() * 1_000_000 + time.tv_nsec() / 1000
}

/// UUIDs of version 7 from the machine's clock and random source.
#[derive(Debug, Clone, Copy, Default)]
pub struct NewIds;

impl Identities for NewIds {
    fn next(&mut self) -> TransactionId {
        TransactionId::new(uuid::Uuid::now_v7()).expect("now_v7 makes version 7")
    }
}
