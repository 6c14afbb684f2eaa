//! `backstepd`: runs package transactions that can be undone, and serves them on D-Bus.

use clap::Parser;

/// One thread: the daemon waits far more than it works.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let options = backstepd::options::Options::parse();
    backstepd::log::init()?;
    let result = backstepd::compose::run(options).await;
    if let Err(error) = &result {
        tracing::error!("backstepd ends: {error:#}");
    }
    result
}
