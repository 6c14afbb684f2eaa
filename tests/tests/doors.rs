//! The doors behind a real bus: who is turned away, that it is on record, and that a flood of one is no flood of all.
//! Packages are simulated, polkit is scripted, users are real.

// Tests set their scene with plain calls.
#![allow(clippy::disallowed_methods)]

#[path = "doors/exhaustion.rs"]
mod exhaustion;
#[path = "doors/flood.rs"]
mod flood;
#[path = "doors/hidden.rs"]
mod hidden;
#[path = "doors/interleavings.rs"]
mod interleavings;
#[path = "doors/matrix.rs"]
mod matrix;
#[path = "doors/refusals.rs"]
mod refusals;
#[path = "doors/spoofing.rs"]
mod spoofing;
#[path = "doors/traced.rs"]
mod traced;

use anyhow::Result;
use backstep_bus::CallError;
use backstep_core::ErrorCode;
use backstep_tests::authority::{Answer, FakeAuthority};
use backstep_tests::private_bus::{PrivateBus, Simulated, packages};

fn code<T>(result: Result<T, zbus::Error>) -> Option<ErrorCode> {
    result.err().and_then(|error| CallError::from(error).code())
}

/// A daemon that asks an authority, and lets everybody come.
async fn daemon(configuration: &str, answer: Answer) -> Result<(Simulated, FakeAuthority)> {
    let bus = PrivateBus::start()?.open_to_all(configuration)?;
    let authority = FakeAuthority::start(&bus, answer).await?;
    Ok((Simulated::on(bus, &["--ask-polkit"]).await?, authority))
}
